"""The page: what it says first, in both languages, and that nothing on it can be forged."""

import re
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from edged.core.types import Pause
from edged.web.documents import AlertsView, RouterView
from edged.web.event_words import EVENT_SENTENCES
from edged.web.html import join
from edged.web.page import NODES_MAX, page
from edged.web.page_words import WORDS
from edged.web.story import docs, stories
from edged.web.watch import Picture
from edged.web.words import SENTENCES
from tests.support.documents import healthy, node2_refused, not_adopted
from tests.support.engine_run import EngineRun, core_config, list_row
from tests.support.pages import ASSETS, drained, picture_of, router_lost, say_of, silent_everywhere

LOST = (RouterView(name="hex", connected=False, detail="timed out"),)


def paused() -> EngineRun:
    run = healthy()
    wish = Pause(owner="kim", until_ms=run.now_ms + 3_600_000)
    run.events.extend(run.engine.command(wish, run.now_ms))
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(30_000)
    return run


def returning() -> EngineRun:
    run = node2_refused(10_000)
    run.behaviour["node2"] = "pass"
    run.run(15_000)
    return run


def last_one_silent() -> EngineRun:
    """node2 and node3 were refused and taken out; node1, the last, is kept."""
    run = node2_refused(10_000)
    run.behaviour["node3"] = "refused"
    run.lose_held("node3")
    run.run(10_000)
    return run


def lines_of(picture: Picture, language: str = "en") -> list[str]:
    """Return the first story as plain lines: title, then `label: words`."""
    told = next(stories(picture, say_of(language)))
    lines = [told.title]
    for label, content in told.lines:
        words = re.sub(r"<[^>]+>", "", str(join(content)).replace("</p><p>", "; "))
        lines.append(f"{label}: {unescape(words)}")
    return lines


def shown(picture: Picture, language: str = "en") -> str:
    return page(picture, say_of(language), ASSETS)


def test_all_is_well_in_one_sentence() -> None:
    assert lines_of(picture_of(healthy())) == ["web: 3 of 3 nodes in the route, as it should be"]


def test_what_is_wrong_what_edged_did_what_is_left_and_what_to_do() -> None:
    title, why, did, impact, you = lines_of(picture_of(node2_refused()))
    assert title == "web: node2 out of the route · 2 of 3 left"
    assert why == (
        "Why: node2 (172.30.1.70): The host answers, but nothing listens on :443. Envoy is gone."
    )
    assert did == (
        "edged did: took node2 out of the route on hex 13 ms after the first sign, read back as "
        "written · 18:12:20 (1 m 17 s ago)"
    )
    assert impact == (
        "What it means: new connections → node1, node3; connections through node2 are cut"
    )
    assert you == (
        "You: nothing now. It returns by itself after 3 good probes, 2 s clean, a wait; to see "
        "more, type edged why node2"
    )


def test_the_same_in_korean() -> None:
    title, why, did, impact, you = lines_of(picture_of(node2_refused()), "ko")
    assert title == "web: node2 경로에서 제외 · 3대 중 2대 남음"
    assert why == "원인: node2 (172.30.1.70): :443 연결 거부. 서버는 응답, Envoy만 죽음"
    assert did.startswith("조치: hex 경로에서 node2 제외, 첫 징후 후 13 ms, 반영 확인 · 18:12:20")
    assert impact == "영향: 새 연결 → node1, node3; node2 연결 끊김"
    assert you.startswith("할 일: 지금은 없음. 정상 프로브 3회, 2초 무실패, 대기 시간 뒤 자동 복귀")


TITLES: list[tuple[str, Callable[[], EngineRun], dict[str, Any], str]] = [
    ("nobody answers", silent_everywhere, {}, "web: no node answers edged · route NOT changed"),
    ("router lost", router_lost, {"routers": LOST}, "hex: router API unreachable · the route can"),
    ("drained", drained, {}, "web: node3 drained · 2 of 3 left"),
    ("paused", paused, {}, "web: node2 DOWN, still in the route · Paused by kim until 19:12:20"),
    ("waits", returning, {}, "web: node2 answers again and waits · 2 of 3 in the route"),
    ("not adopted", not_adopted, {"mode": "observe"}, "[observe] web: not adopted · edged writes"),
    ("two are out", last_one_silent, {}, "web: node2, node3 out of the route · 1 of 3 left"),
]


@pytest.mark.parametrize(
    ("case", "make", "changes", "title"), TITLES, ids=[case for case, *_ in TITLES]
)
def test_the_title_says_what_is_wrong(
    case: str, make: Callable[[], EngineRun], changes: dict[str, Any], title: str
) -> None:
    del case
    picture = picture_of(make(), **changes)
    assert lines_of(picture)[0].startswith(title)
    assert lines_of(picture, "ko")[0] != lines_of(picture)[0]


def test_with_nobody_answering_it_says_that_the_route_stays_and_where_to_look() -> None:
    lines = lines_of(picture_of(silent_everywhere()))
    assert "edged did: left node1, node2, node3 in: nobody else answered meanwhile" in lines[2]
    assert lines[3] == "What it means: the route stays: node1, node2, node3"
    assert lines[4].startswith("You: look at Envoy, switch and power now")


def test_a_pause_names_who_and_the_word_that_ends_it() -> None:
    lines = lines_of(picture_of(paused()))
    assert lines[2] == "edged did: nothing: Paused by kim until 19:12:20"
    assert "a part of new connections may go to node2, which does not answer" in lines[3]
    assert "type edged resume" in lines[4]


def test_a_difference_between_wanted_and_shown_is_marked_in_words() -> None:
    html = shown(picture_of(paused()))
    assert '<span class="chip odd">node2<span> ! should not be in</span></span>' in html
    assert "no: edged may not write" in html


def test_a_router_that_is_away_is_not_called_in_step() -> None:
    html = shown(picture_of(router_lost(), routers=LOST))
    assert "unknown: not connected" in html
    assert "NOT connected for 1 m" in html


def test_rows_that_were_read_long_ago_are_said_to_be_old() -> None:
    picture = picture_of(healthy())
    assert "read 2 s ago" in shown(picture)
    old = replace(picture, reads={("hex", "web"): picture.wall_ms - 90_000})
    assert "read 1 m 30 s ago: what stands here may be old" in shown(old)
    assert "never read" in shown(replace(picture, reads={}))


def test_the_age_of_the_configuration_and_of_the_bgp_sessions_is_said() -> None:
    run = healthy()
    read = run.wall - timedelta(hours=3)
    html = shown(picture_of(run, config_path="/etc/edged/config.toml", config_read=read))
    assert "/etc/edged/config.toml · read 3 h ago" in html
    assert "<dt>BGP (hex)</dt><dd>read 2 s ago</dd>" in html
    assert "BGP (" not in shown(picture_of(run, bgp=()))


def test_open_alerts_explain_why_a_fine_route_is_not_all() -> None:
    picture = picture_of(healthy(), alerts=AlertsView(open=2))
    assert "Alerts open: 2." in shown(picture)
    assert "Alerts open" not in shown(picture_of(healthy(), alerts=AlertsView()))


def test_without_a_dead_mans_switch_it_says_what_nobody_would_hear() -> None:
    html = shown(picture_of(healthy(), alerts=AlertsView()))
    assert "none: nobody hears if edged dies" in html


def test_the_page_is_whole_without_script_and_carries_no_code_or_style_inline() -> None:
    for language in ("en", "ko"):
        html = shown(picture_of(node2_refused()), language)
        assert f'<html lang="{language}">' in html
        assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in html
        assert re.findall(r"<script[^>]*>", html) == ['<script src="/static/page.js" defer>']
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)


class _Outline(HTMLParser):
    """Notes what opens and closes, and what the tables hold."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.labels: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append(tag)
            assert given.get("role") in {"columnheader", "rowheader", "cell"}
        if tag == "svg":
            assert given["role"] == "img"
            self.labels.append(given["aria-label"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "ko"])
def test_tables_are_tables_and_each_drawing_is_said_in_words(language: str) -> None:
    outline = _Outline()
    outline.feed(shown(picture_of(node2_refused()), language))
    assert outline.open == []
    nodes = [row for row in outline.rows if len(row) == 8]
    assert nodes == [["th"] * 8, *[["th"] + ["td"] * 7] * 3]
    assert all(outline.labels)
    if language == "en":
        assert outline.labels[1] == "node2, last 10 minutes: 516 probes passed, 77 failed"
        assert "node2: DOWN 18:12 to now" in outline.labels


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e"


def test_what_others_wrote_stays_text() -> None:
    run = drained(HOSTILE)
    html = shown(
        picture_of(
            run,
            host=HOSTILE,
            routers=(RouterView(name="hex", connected=True, version=HOSTILE, detail=HOSTILE),),
        )
    )
    assert "<img" not in html
    assert html.count("<script") == 1
    assert "\u202e" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def crowd(count: int) -> EngineRun:
    names = {f"node{i}": f"10.0.{i // 250}.{i % 250 + 1}" for i in range(count)}
    run = EngineRun(config=core_config(names=names), rows=(list_row(tuple(names.values())),))
    run.connect()
    run.run(8_000)
    run.behaviour[f"node{count - 1}"] = "refused"
    run.lose_held(f"node{count - 1}")
    run.run(3_000)
    return run


def test_of_many_nodes_those_in_trouble_are_shown_and_the_others_counted() -> None:
    html = shown(picture_of(crowd(90)))
    assert html.count('role="rowheader"') == NODES_MAX + 1
    assert ">node89</strong>" in html
    assert "and 30 more, all UP and in the route" in html


def test_a_node_that_only_one_of_two_routers_lost_is_not_called_out() -> None:
    picture = picture_of(node2_refused())
    vip = docs(picture.document["vips"])[0]
    gateways = [
        {**one, "in_route_on": ["hex2"]} if one["name"] == "node2" else one
        for one in docs(vip["gateways"])
    ]
    routes = [*docs(vip["routes"]), {**docs(vip["routes"])[0], "router": "hex2"}]
    document = {**picture.document, "vips": [{**vip, "gateways": gateways, "routes": routes}]}
    partly = replace(picture, document=document)
    assert lines_of(partly)[0] == "web: node2 DOWN, still in the route · 2 of 3 in"
    assert "only on hex2" in shown(partly)
    assert "a part of new connections may go to node2" in shown(partly)


# --- the words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_fill_the_same_places(key: str) -> None:
    english, korean = (
        {name for _, name, _, _ in string.Formatter().parse(words) if name} for words in WORDS[key]
    )
    assert english == korean
    assert all(WORDS[key])


PARTICLE = re.compile(r"\}(은|는|이|가|을|를|와|과|으로|로|이나|나)(?![가-힣])")


def test_no_korean_particle_stands_after_a_value() -> None:
    said = [korean for _, korean in WORDS.values()]
    said += [one for table in SENTENCES["ko"].values() for one in table.values()]
    said += EVENT_SENTENCES["ko"].values()
    assert [words for words in said if PARTICLE.search(words)] == []
