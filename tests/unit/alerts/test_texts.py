"""What messages say: the samples word by word, both languages complete, nothing that steers."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edged.alerts.texts import english, korean
from edged.alerts.texts.compose import compose, spell_duration
from edged.alerts.texts.message import Message
from edged.config.types import Language
from edged.core.alerting import NOTICES, AlertKind, AlertStep
from edged.core.events import EVENTS, Severity
from tests.support.alerts import HAPPENED, NODES, about, facts

FIELD = re.compile(r"\{(\w+)\}")
PARTICLE = re.compile(r"\}(은|는|이|가|을|를|와|과|으로|로)(?![가-힣])")


def say(
    kind: AlertKind = AlertKind.GATEWAY_OUT,
    step: AlertStep = AlertStep.OPEN,
    *,
    language: Language = Language.ENGLISH,
    **changes: Any,  # noqa: ANN401 - fields of AlertFacts
) -> Message:
    given = facts(kind, step, **changes)
    return compose(given, about(), language, now=given.at)


def test_a_gateway_that_left_in_english() -> None:
    assert say().text.splitlines() == [
        "🔴 web: node2 out of the route · 2 of 3 left",
        "Why: node2 (172.30.1.70) refuses :443; the host answers, Envoy is gone",
        "Did: removed on hex 13 ms after the first sign, read back; new connections → node1, node3",
        "Impact: connections through node2 are cut; a few others may reconnect once",
        "You: nothing tonight. It returns by itself 30 s after it is healthy",
        "03:12:44 KST · ssh mgmt-1 edged why node2 · 7k2",
    ]


def test_a_gateway_that_left_in_korean() -> None:
    assert say(language=Language.KOREAN).text.splitlines() == [
        "🔴 web: node2 경로에서 제외 · 3대 중 2대 남음",
        "원인: node2 (172.30.1.70) :443 연결 거부. 서버는 응답, Envoy만 죽음",
        "조치: 첫 징후 후 13 ms에 hex에서 제외, 반영 확인. 새 연결 → node1, node3",
        "영향: node2 연결 끊김. 다른 노드 연결도 일부 재접속 가능",
        "할 일: 지금은 없음. 정상화되면 30초 뒤 자동 복귀",
        "03:12:44 KST · ssh mgmt-1 edged why node2 · 7k2",
    ]


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            Language.ENGLISH,
            [
                "🟢 web: node2 back in the route · 3 of 3 · out for 4 min 12 s",
                "Was: refused :443 (03:12:44–03:16:56 KST)",
                "You: nothing.",
            ],
        ),
        (
            Language.KOREAN,
            [
                "🟢 web: node2 복귀 · 3대 중 3대 · 4분 12초 동안 제외",
                "원인: :443 연결 거부 (03:12:44–03:16:56 KST)",
                "할 일: 없음",
            ],
        ),
    ],
)
def test_a_gateway_that_is_back(language: Language, lines: list[str]) -> None:
    assert say(step=AlertStep.RESOLVE, language=language).text.splitlines()[:3] == lines


SILENT = {
    "class": "silent",
    "span_ms": 400,
    "down": NODES,
    "in_route": NODES,
    "vip_routers": ("hex",),
}


@pytest.mark.parametrize(
    ("opinion", "line"),
    [
        ("alive", "hex can ping them all → edged's own cable or host is the likely fault"),
        ("dead", "hex cannot reach them either → power or switch. Get up."),
    ],
)
def test_no_answer_says_whose_fault_it_is_and_what_to_do(opinion: str, line: str) -> None:
    message = say(
        AlertKind.NO_ANSWER,
        severity=Severity.CRITICAL,
        gateways=(),
        facts=SILENT | {"opinion": opinion},
    )
    assert message.text.splitlines()[:5] == [
        "🚨 web: no node answers edged. Route NOT changed (frozen)",
        "Seen: node1, node2, node3 silent within 0.4 s",
        line,
        "Route stays: node1, node2, node3",
        (
            "You: open https://grafana.example.test on mobile data, not Wi-Fi. Works → check "
            "mgmt-1. Fails → check Envoy, switch, power now."
        ),
    ]


def test_observe_mode_stands_in_front_and_says_what_would_have_been_done() -> None:
    whole = facts(observe=True)
    undone = replace(whole, facts={k: v for k, v in whole.facts.items() if k != "changed_on"})
    message = compose(undone, about(), Language.ENGLISH, now=HAPPENED)
    assert message.title == "[observe] 🔴 web: node2 down · 2 of 3 pass"
    assert "Did: nothing (observe mode); it would have been removed" in message.text
    korean_message = compose(undone, about(), Language.KOREAN, now=HAPPENED)
    assert korean_message.title == "[관찰] 🔴 web: node2 장애 · 3대 중 2대 정상"


def test_a_late_message_says_when_it_happened() -> None:
    message = compose(facts(), about(), Language.ENGLISH, now=HAPPENED + timedelta(minutes=5))
    assert "(sent late: happened 03:12:44 KST)" in message.text
    assert "late" not in say().text


def test_a_public_url_takes_the_place_of_the_command() -> None:
    surroundings = about(public_url="https://edged.example.test")
    message = compose(facts(), surroundings, Language.ENGLISH, now=HAPPENED)
    assert message.link == "https://edged.example.test"
    assert "ssh" not in message.text


@pytest.mark.parametrize(
    ("lost_ms", "title"),
    [
        (30_000, "🚨 hex: router API unreachable for 30 s · route cannot be changed"),
        (0, "🚨 hex: router API unreachable · route cannot be changed"),
    ],
)
def test_a_lost_router_says_for_how_long_and_what_to_do(lost_ms: int, title: str) -> None:
    message = say(
        AlertKind.ROUTER_LOST,
        severity=Severity.CRITICAL,
        vips=(),
        gateways=(),
        routers=("hex",),
        facts={"lost_ms": lost_ms, "down": (), "in_route": NODES},
    )
    assert message.text.splitlines()[:4] == [
        title,
        "Last route read: node1, node2, node3",
        "Impact: traffic goes on if hex itself is alive; a node that dies now stays in",
        "You: ping 172.30.1.1. Alive → API service, firewall. Dead → hex.",
    ]


def test_a_certificate_says_when_it_ends() -> None:
    given = {
        "event": "certificate.expiring",
        "names": ("*.example.test",),
        "not_after": "2026-05-15T00:00:00+00:00",
        "days": 13,
    }
    message = say(AlertKind.NOTICE, AlertStep.NOTICE, gateways=NODES, facts=given)
    assert message.title == ("🟡 *.example.test: certificate expires in 13 days (15 May 09:00 KST)")
    in_korean = say(
        AlertKind.NOTICE, AlertStep.NOTICE, language=Language.KOREAN, gateways=NODES, facts=given
    )
    assert in_korean.title == "🟡 *.example.test: 인증서 만료 13일 전 (5월 15일 09:00 KST)"


def test_a_drain_says_who_why_and_until_when() -> None:
    message = say(
        AlertKind.NOTICE,
        AlertStep.NOTICE,
        severity=Severity.INFO,
        vips=(),
        gateways=("node3",),
        facts={
            "event": "gateway.drained",
            "owner": "kim",
            "reason": "kernel update",
            "until_ms": 1_777_662_000_000,
            "left": 2,
        },
    )
    assert message.title == "🔵 web: node3 drained · 2 of 3 left"
    assert "By kim: “kernel update”, until 04:00 KST." in message.text
    assert "You: edged undrain node3 when done" in message.text


# --- both languages -----------------------------------------------------------------------------


def test_both_languages_say_the_same_things() -> None:
    assert english.WORDS.keys() == korean.WORDS.keys()


@pytest.mark.parametrize("key", sorted(english.WORDS))
def test_both_languages_name_fields_that_exist_in_the_other(key: str) -> None:
    ours, theirs = (set(FIELD.findall(table.WORDS[key])) for table in (english, korean))
    assert theirs - ours <= {"host", "total", "routers"}, f"{key}: unknown in English"


@pytest.mark.parametrize("key", sorted(korean.WORDS))
def test_no_korean_particle_follows_a_variable(key: str) -> None:
    assert not PARTICLE.search(korean.WORDS[key])


@pytest.mark.parametrize("name", sorted(NOTICES))
def test_every_notice_has_a_title_and_an_event(name: str) -> None:
    assert f"notice.{name}" in english.WORDS
    assert name in EVENTS or name == "alert.undeliverable"


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("step", [AlertStep.OPEN, AlertStep.UPDATE, AlertStep.RESOLVE])
@pytest.mark.parametrize("kind", [kind for kind in AlertKind if kind is not AlertKind.NOTICE])
def test_every_kind_is_said_in_each_state(
    kind: AlertKind, step: AlertStep, language: Language
) -> None:
    message = say(
        kind,
        step,
        language=language,
        routers=("hex",),
        facts={
            "back": ("node1",),
            "frozen": "contested",
            "changes": 5,
            "cause": "bgp",
            "failed": 3,
            "probes": 20,
            "failed_percent": 34,
            "before": NODES,
            "after": ("node1",),
            "detail": "why",
        },
    )
    assert "{" not in message.text
    assert "…" not in message.title
    assert len(message.title) < 110, "a title fits a phone's line, or nearly"


@pytest.mark.parametrize(
    "name",
    [
        "node\u202e2",
        "node\x1b[31m",
        "line\nbreak",
        "tab\there",
        "zero\u200bwidth",
        "null\x00",
    ],
)
def test_signs_that_steer_are_taken_out_of_names(name: str) -> None:
    text = say(gateways=(name,)).text
    assert not set(text) & set("\u202e\x1b\t\u200b\x00")
    assert text.count("\n") == say().text.count("\n")


def test_many_names_are_counted() -> None:
    names = tuple(f"node{number}" for number in range(1, 20))
    assert "node6 and 13 more out of the route" in say(gateways=names).title
    assert "외 13대" in say(gateways=names, language=Language.KOREAN).title


@pytest.mark.parametrize(
    ("length_ms", "english_words", "korean_words"),
    [
        (13, "13 ms", "13 ms"),
        (400, "0.4 s", "0.4초"),
        (2_000, "2 s", "2초"),
        (30_000, "30 s", "30초"),
        (252_000, "4 min 12 s", "4분 12초"),
        (3_600_000, "1 h", "1시간"),
        (90_000_000, "1 d 1 h", "1일 1시간"),
    ],
)
def test_durations(length_ms: int, english_words: str, korean_words: str) -> None:
    assert spell_duration(length_ms, english.UNITS) == english_words
    assert spell_duration(length_ms, korean.UNITS) == korean_words
