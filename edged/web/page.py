"""The status page: one screen, made on the server, whole without script.

Pure: from a picture, words and the names of the static files to HTML. Order: what is wrong and
what edged did, the route as wanted and as it is, the nodes, the last day, the last events, edged
itself. A state is always said by sign, word and colour.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edged.core.types import GatewayState, WaitReason
from edged.web.drawings import bars, lane
from edged.web.event_words import event_sentence
from edged.web.html import Child, Html, h, join
from edged.web.page_words import Say
from edged.web.sources import BGP
from edged.web.story import (
    Doc,
    Story,
    code,
    docs,
    kept_words,
    names,
    reason_of,
    stories,
    text,
)
from edged.web.watch import DAY_MS, Mark, Picture, Stretch, wall_ms_of
from edged.web.words import brief, sentence

SIGNS: Final[Mapping[str, str]] = {
    "UP": "✓",
    "DEGRADED": "!",
    "DOWN": "✗",
    "WAIT": "…",
    "DRAIN": "–",
    "UNKNOWN": "?",
}
NODES_MAX: Final = 60
"""Nodes shown of one VIP; beyond it those that are UP and in the route are only counted."""

READ_STALE_MS: Final = 40_000
"""Rows are read every ten seconds; four times that is too long ago to be believed."""

RELOAD_S: Final = 10


@dataclass(frozen=True, slots=True)
class Assets:
    """Addresses of the static files, each with a hash of its content."""

    style: str
    script: str
    icons: Mapping[str, str]
    """For each level."""


def page(picture: Picture, say: Say, assets: Assets) -> str:
    """Return the whole page."""
    document = picture.document
    level = text(document["level"])
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="robots", content="noindex"),
        h("title", _title(picture, say)),
        h("link", rel="icon", id="icon", href=assets.icons[level], type="image/svg+xml"),
        h("link", rel="stylesheet", href=assets.style),
        h("script", src=assets.script, defer=True),
        h("noscript", h("meta", http_equiv="refresh", content=str(RELOAD_S))),
    )
    body = h(
        "body",
        h("a", say("skip"), class_="skip", href="#nodes"),
        h("p", class_="stale", id="stale", role="alert", hidden=True),
        _header(document, say),
        main(picture, say, assets),
    )
    return f"<!doctype html>\n{h('html', head, body, lang=say.language)}\n"


def main(picture: Picture, say: Say, assets: Assets) -> Html:
    """Return what changes: the part that streams send anew."""
    document = picture.document
    told = list(stories(picture, say))
    level = text(document["level"])
    host = text(document["host"])
    return h(
        "main",
        _as_of(picture, say),
        _open_alerts(document, say),
        h("div", [_story(one, say) for one in told], class_="stories"),
        _routes(picture, say),
        _nodes(picture, say),
        _day(picture, say),
        _events(picture, say),
        _foot(picture, say),
        id="main",
        data_title=_title(picture, say),
        data_icon=assets.icons[level],
        data_stale=say("stale", time=say.clock(picture.wall_ms), host=host),
        data_stale_title=say("stale_title"),
        data_live=say("live"),
    )


def _title(picture: Picture, say: Say) -> str:
    level = text(picture.document["level"])
    names_ = ", ".join(text(vip["name"]) for vip in docs(picture.document["vips"]))
    return f"{say('sign_' + level)} {names_}: {say('level_' + level)} · edged"


def _header(document: Doc, say: Say) -> Html:
    return h(
        "header",
        h("h1", "edged"),
        h("span", text(document["host"]), class_="host"),
        h("span", say("not_live"), id="live", class_="live"),
    )


def _as_of(picture: Picture, say: Say) -> Html:
    document = picture.document
    level = text(document["level"])
    uptime = say.ago(int(str(document["uptime_s"])) * 1_000)
    return h(
        "p",
        h("span", say("sign_" + level), " ", say("level_" + level), class_=f"badge l-{level}"),
        " ",
        h("span", say("mode_" + text(document["mode"])), class_="mode"),
        " ",
        h("span", say("on_host", host=document["host"], uptime=uptime), class_="quiet"),
        " ",
        h("span", say("as_of"), " ", h("time", say.day(picture.wall_ms)), class_="quiet"),
        class_="asof",
    )


def _open_alerts(document: Doc, say: Say) -> Child:
    alerts = document["alerts"]
    assert isinstance(alerts, Mapping)
    if not alerts["open"]:
        return None
    words = say("alerts_open", count=alerts["open"])
    return h("p", words, " ", say("alerts_see"), " ", code("edged alerts list"), class_="also")


# --- what is wrong ------------------------------------------------------------------------------


def _story(story: Story, say: Say) -> Html:
    sign = h("span", say("sign_" + story.level), class_="sign", aria_hidden="true")
    spoken = h("span", say("level_" + story.level), ": ", class_="spoken")
    lines = [(h("dt", label), h("dd", content)) for label, content in story.lines]
    return h(
        "section",
        h("h2", sign, spoken, story.title, aria_live="polite"),
        h("dl", lines) if lines else None,
        class_=f"story l-{story.level}",
        data_key=f"story-{story.vip}",
    )


# --- the route ----------------------------------------------------------------------------------


def _routes(picture: Picture, say: Say) -> Html:
    rows = [
        _route(vip, route, picture, say)
        for vip in docs(picture.document["vips"])
        for route in docs(vip["routes"])
    ]
    heads = [say(key) for key in ("router", "wanted", "shown", "in_step")]
    return h(
        "section",
        h("h2", say("route"), id="route-title"),
        _table(heads, rows, "routes", "route-title"),
    )


def _route(vip: Doc, route: Doc, picture: Picture, say: Say) -> Html:
    desired, observed = names(route["desired"]), names(route["observed"])
    router = next(
        (r for r in docs(picture.document["routers"]) if r["name"] == route["router"]), None
    )
    ours = bool(route["adopted"])
    missing, surplus = set(desired) - set(observed), set(observed) - set(desired)
    if not ours:
        missing = surplus = set()
    shown = [_chip(name, "!" if name in surplus else "", say("goes_out")) for name in observed]
    wanted = [_chip(name, "+" if name in missing else "", say("comes_in")) for name in desired]
    return h(
        "tr",
        _cell(
            say("router"),
            h("strong", text(route["router"])),
            f" {vip['name']} {vip['address']}",
            h("small", _router_words(router, picture, say)) if router else None,
            head=True,
        ),
        _cell(say("wanted"), h("span", wanted or say("nobody"))),
        _cell(
            say("shown"),
            h("span", shown or say("nobody")),
            h("small", _read_words(vip, route, picture, say)),
        ),
        _cell(say("in_step"), _in_step(route, router, say)),
        role="row",
        data_key=f"route-{route['router']}-{vip['name']}",
    )


def _in_step(route: Doc, router: Doc | None, say: Say) -> Html:
    if router is not None and not router["connected"]:
        return _mark("unknown", "?", say("step_unknown"))
    if route["adopted"] is None:
        return _mark("unknown", "?", say("step_unread"))
    if not route["adopted"]:
        return _mark("unknown", "–", say("step_not_ours"))
    if route["in_sync"]:
        return _mark("fine", "✓", say("yes"))
    return _mark("degraded", "!", say("held_back" if route["held_back"] else "no"))


def _chip(name: str, sign: str, spoken: str) -> Html:
    if not sign:
        return Html(h("span", name, class_="chip") + " ")
    words = h("span", f" {sign} {spoken}")
    return Html(h("span", name, words, class_="chip odd") + " ")


def _router_words(router: Doc, picture: Picture, say: Say) -> str:
    since_ms = picture.router_since.get(text(router["name"]))
    key = "connected" if router["connected"] else "disconnected"
    words = say(key)
    if since_ms is not None:
        words = say(key + "_for", age=say.ago(picture.wall_ms - since_ms))
    parts = [f"RouterOS {router['version']}" if router["version"] else "", words]
    if router["connected"] and router["rtt_ms"]:
        parts.append(f"{float(str(router['rtt_ms'])):.1f} ms")
    if not router["verified"]:
        parts.append(say("unverified_tls"))
    written = router["writes"]
    assert isinstance(written, Mapping)
    parts.append(say("writes", today=written["today"]))
    return " · ".join(part for part in parts if part)


def _read_words(vip: Doc, route: Doc, picture: Picture, say: Say) -> str:
    read_ms = picture.reads.get((text(route["router"]), text(vip["name"])))
    if read_ms is None:
        return say("never_read")
    age_ms = picture.wall_ms - read_ms
    return say("read_stale" if age_ms > READ_STALE_MS else "read", age=say.ago(age_ms))


# --- the nodes ----------------------------------------------------------------------------------


def _nodes(picture: Picture, say: Say) -> Html:
    vips = docs(picture.document["vips"])
    keys = ("node", "state", "in_route", "probe", "bgp", "since", "reason", "history")
    heads = [_head(key, say) for key in keys]
    tables = []
    for vip in vips:
        rows = [_node(one, vip, picture, say) for one in _shown(docs(vip["gateways"]))]
        hidden = len(docs(vip["gateways"])) - len(rows)
        title = f"{say('nodes')}: {vip['name']}" if len(vips) > 1 else say("nodes")
        ident = f"nodes-{vip['name']}"
        tables.append(
            h(
                "section",
                h("h2", title, id=ident),
                _table(heads, rows, "nodes", ident),
                h("p", say("more_nodes", count=hidden), class_="quiet") if hidden else None,
                data_key=ident,
            )
        )
    return h("div", tables, id="nodes", tabindex="-1")


def _head(key: str, say: Say) -> Child:
    if key == "bgp":
        return "BGP"
    if key == "probe":
        return [say("probe"), h("small", say("probe_hint"))]
    return say(key)


def _shown(gateways: list[Doc]) -> list[Doc]:
    """Return all that are in trouble, and of the others as many as there is room for."""
    room = NODES_MAX - sum(_troubled(one) for one in gateways)
    chosen = []
    for one in gateways:
        if _troubled(one):
            chosen.append(one)
        elif room > 0:
            room -= 1
            chosen.append(one)
    return chosen


def _troubled(gateway: Doc) -> bool:
    return gateway["state"] != GatewayState.UP or not gateway["in_route"]


def _node(gateway: Doc, vip: Doc, picture: Picture, say: Say) -> Html:
    name, state = text(gateway["name"]), text(gateway["state"])
    since = gateway["since"]
    age = say.ago(picture.wall_ms - wall_ms_of(since)) if isinstance(since, str) else ""
    progress = f" {gateway['progress']}" if gateway["progress"] else ""
    bgp = gateway["bgp"]
    return h(
        "tr",
        _cell(say("node"), h("strong", name), h("small", text(gateway["address"])), head=True),
        _cell(say("state"), _mark(state.lower(), SIGNS[state], say("state_" + state) + progress)),
        _cell(say("in_route"), _membership(gateway, vip, say)),
        _cell(say("probe"), _probe_words(gateway, picture, say)),
        _cell("BGP", say("bgp_" + text(bgp)) if bgp else "–"),
        _cell(say("since"), age or "–"),
        _cell(say("reason"), _reason(gateway, picture, say) or "–"),
        _cell(say("history"), bars(name, picture.cells.get(name), say)),
        role="row",
        class_=f"n-{state.lower()}",
        data_key=f"node-{vip['name']}-{name}",
    )


def _membership(gateway: Doc, vip: Doc, say: Say) -> Child:
    inside, routers = names(gateway["in_route_on"]), docs(vip["routes"])
    if gateway["kept"]:
        return _mark("degraded", "!", say("kept"))
    if gateway["in_route"]:
        wrong = gateway["state"] in {GatewayState.DOWN, GatewayState.DRAIN}
        return _mark("degraded" if wrong else "fine", "!" if wrong else "✓", say("in"))
    if inside and len(inside) < len(routers):
        return _mark("degraded", "!", say("partly", routers=", ".join(inside)))
    return _mark("off", "✗", say("not_in"))


def _probe_words(gateway: Doc, picture: Picture, say: Say) -> Child:
    probe = gateway["probe"]
    assert isinstance(probe, Mapping)
    found = picture.latencies.get(text(gateway["name"]))
    age = None
    if isinstance(probe["at"], str):
        age_ms = picture.wall_ms - wall_ms_of(probe["at"])
        age = h("small", say("age", age=say.ago(age_ms)))
    if probe["last"] != "passed":
        words = text(probe["last"])
        known = brief(words, say.language, port=gateway["port"]) if words else say("never")
        return [known, age]
    if found is None:
        latency = probe["latency_ms"]
        return [f"{float(str(latency)):.1f} ms" if latency else "✓", age]
    return [f"{found[0] / 1_000:.1f} / {found[1] / 1_000:.1f} ms", age]


def _reason(gateway: Doc, picture: Picture, say: Say) -> Child:
    words: list[Child] = [reason_of(gateway, picture, say)]
    kept, waits = gateway["kept"], gateway["waits"]
    if isinstance(kept, Mapping):
        words.append(h("small", f"{say('kept')}: {kept_words(kept, gateway, say)}"))
    elif isinstance(waits, Mapping) and gateway["state"] == GatewayState.UP:
        reason = WaitReason(text(waits["reason"]))
        words.append(sentence(reason, say.language, router=waits["router"]))
    return join(words)


# --- the day ------------------------------------------------------------------------------------


def _day(picture: Picture, say: Say) -> Html:
    rows = []
    for vip in docs(picture.document["vips"]):
        name = text(vip["name"])
        label = say("route_of", vip=name)
        rows.append(
            _lane(
                label, picture.route_lanes.get(name, ()), picture.marks.get(name, ()), picture, say
            )
        )
        rows.extend(
            _lane(text(g["name"]), picture.lanes.get(text(g["name"]), ()), (), picture, say)
            for g in _shown(docs(vip["gateways"]))
        )
    times = [picture.wall_ms - DAY_MS + i * DAY_MS // 4 for i in range(5)]
    axis = h(
        "div",
        h("span"),
        h("span", [h("span", say.clock(at, seconds=False)) for at in times], class_="axis"),
        class_="lane-row",
        aria_hidden="true",
    )
    legend = h("p", list(_legend(say)), class_="legend", aria_hidden="true")
    return h("section", h("h2", say("day")), h("div", rows, axis, class_="lanes"), legend)


def _lane(
    label: str,
    stretches: tuple[Stretch, ...],
    marks: tuple[Mark, ...],
    picture: Picture,
    say: Say,
) -> Html:
    drawn = lane(label, stretches, marks, picture.wall_ms, say)
    return h(
        "div",
        h("span", label, class_="lane-name"),
        drawn,
        class_="lane-row",
        data_key=f"lane-{label}",
    )


def _legend(say: Say) -> Iterator[Child]:
    for state in ("UP", "DEGRADED", "DOWN", "WAIT", "DRAIN", "frozen", "off"):
        key = h("span", class_=f"key k-{state.lower()}")
        yield h("span", key, say("state_" + state))
    yield h("span", h("span", class_="key k-mark"), say("legend_mark"))


# --- the events ---------------------------------------------------------------------------------


def _events(picture: Picture, say: Say) -> Html:
    rows = []
    for one in reversed(picture.events):
        at_ms = wall_ms_of(text(one["time"]))
        fields = one["fields"]
        assert isinstance(fields, Mapping)
        severity = text(one["severity"])
        sign = {"critical": "✗", "warning": "!"}.get(severity, "·")
        rows.append(
            h(
                "li",
                h("time", say.moment(at_ms, picture.wall_ms)),
                h("span", sign, class_=f"sev v-{severity}", aria_hidden="true"),
                h(
                    "span",
                    h("span", say("severity_" + severity), ": ", class_="spoken"),
                    event_sentence(text(one["name"]), fields, say.language),
                ),
                data_key=f"event-{one['seq']}",
            )
        )
    shown: Child = h("ol", rows, class_="events") if rows else h("p", say("no_events"))
    return h("section", h("h2", say("events")), shown)


# --- edged itself -------------------------------------------------------------------------------


def _foot(picture: Picture, say: Say) -> Html:
    lines = [(h("dt", label), h("dd", words)) for label, words in _about(picture, say)]
    return h(
        "section",
        h("h2", say("about")),
        h("dl", lines, class_="about"),
        h("p", say("local_only", host=picture.document["host"]), class_="quiet"),
    )


def _about(picture: Picture, say: Say) -> Iterator[tuple[str, Child]]:
    document = picture.document
    yield say("version"), text(document["version"])
    yield say("mode"), say("mode_" + text(document["mode"]))
    if document["config"]:
        yield say("config"), _aged(text(document["config"]), document["config_read"], picture, say)
    for router, read in _bgp_reads(document).items():
        yield f"BGP ({router})", _aged("", read, picture, say)
    if document["writer"]:
        yield say("writer"), text(document["writer"])
    paused = document["paused"]
    if isinstance(paused, Mapping):
        until = ""
        if isinstance(paused["until"], str):
            until = say("until", time=say.moment(wall_ms_of(paused["until"]), picture.wall_ms))
        yield say("paused"), say("paused_by", who=paused["owner"], until=until)
    alerts = document["alerts"]
    assert isinstance(alerts, Mapping)
    words = say("alerts_are", open=alerts["open"], pending=alerts["pending"])
    states = [f"{one['name']} {one['state']}" for one in docs(alerts["channels"])]
    yield say("alerts"), " · ".join([words, *states])
    yield say("switch"), text(alerts["dead_mans_switch"]) or say("switch_none")
    kubernetes = text(document["kubernetes"])
    none = kubernetes in {"", "not configured"}
    yield "Kubernetes", say("kubernetes_none") if none else kubernetes
    yield say("history_kept"), text(document["store"]) or say("history_on_disk")


def _aged(words: str, read: object, picture: Picture, say: Say) -> str:
    """Add to what is known how old it is."""
    if not isinstance(read, str):
        return words or say("never")
    age = say("read", age=say.ago(picture.wall_ms - wall_ms_of(read)))
    return f"{words} · {age}" if words else age


def _bgp_reads(document: Doc) -> dict[str, object]:
    """Return when each router's BGP sessions were read last, for those that have some."""
    return {
        text(known["source"]): known["at"]
        for vip in docs(document["vips"])
        for gateway in docs(vip["gateways"])
        for known in docs(gateway["known"])
        if known["fact"] == BGP
    }


# --- small parts --------------------------------------------------------------------------------


def _mark(kind: str, sign: str, words: str) -> Html:
    return h(
        "span",
        h("span", sign, class_="sign", aria_hidden="true"),
        " ",
        words,
        class_=f"mark m-{kind}",
    )


def _table(heads: Sequence[Child], rows: list[Html], kind: str, label: str) -> Html:
    """Return a table; its roles are spelled out, since small screens lay it out as cards."""
    head = h("tr", [h("th", one, scope="col", role="columnheader") for one in heads], role="row")
    return h(
        "table",
        h("thead", head, role="rowgroup"),
        h("tbody", rows, role="rowgroup"),
        class_=kind,
        role="table",
        aria_labelledby=label,
    )


def _cell(label: str, *content: Child, head: bool = False) -> Html:
    if head:
        return h("th", content, scope="row", role="rowheader", data_label=label)
    return h("td", content, role="cell", data_label=label)
