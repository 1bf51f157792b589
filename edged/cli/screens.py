"""The screens of `status`, `why`, `plan`, `events`, `probe`, `adopt`: documents in, lines out.

Pure: no clock, no socket. Everything is said from the document, whose own time is "now", so that a
screen is right even where the two clocks differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from edged.cli.render import (
    Cell,
    Colour,
    Column,
    Terminal,
    between,
    clean,
    clock_time,
    cut,
    day_time,
    labelled,
    listing,
    read_time,
    table,
    width_of,
    wrap,
    wrap_command,
    zone_name,
)
from edged.web.event_words import event_sentence, spell_duration

Document = Mapping[str, Any]

MARKS: Final = {
    "UP": "✓",
    "DEGRADED": "!",
    "DOWN": "✗",
    "WAIT": "…",
    "DRAIN": "–",
    "UNKNOWN": "?",
}
STATE_COLOURS: Final = {
    "UP": Colour.GOOD,
    "DEGRADED": Colour.WARN,
    "DOWN": Colour.BAD,
    "WAIT": Colour.WARN,
    "DRAIN": Colour.WARN,
    "UNKNOWN": Colour.FAINT,
}
LEVELS: Final = {
    "fine": ("✓", "OK", Colour.GOOD),
    "degraded": ("!", "DEGRADED", Colour.WARN),
    "critical": ("✗", "CRITICAL", Colour.BAD),
}

GATEWAY_COLUMNS: Final = (
    Column(title="NODE", keep=9),
    Column(title="ADDRESS", keep=2),
    Column(title="STATE", keep=8),
    Column(title="ROUTE", keep=7),
    Column(title="PROBE", keep=4),
    Column(title="BGP", keep=1),
    Column(title="SINCE", keep=3),
    Column(title="WHY", keep=5, flexible=True),
)


def spread(left: str, right: str, width: int) -> list[str]:
    """Put two texts at the two ends of a line, or on two lines where they do not fit."""
    room = width - width_of(left) - width_of(right)
    if room < 2:  # noqa: PLR2004 - a gap
        return [*wrap(left, width), *wrap(right, width)]
    return [left + " " * room + right]


def ago(earlier: str | None, now: datetime) -> str:
    """Say how long ago a document's time was."""
    return "" if earlier is None else spell_duration(max(0, between(read_time(earlier), now)))


# --- status -------------------------------------------------------------------------------------


def status_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out `edged.status/v1`."""
    now = read_time(document["time"])
    terminal = terminal.at(document.get("timezone"))
    lines = list(_heading(document, now, terminal))
    for vip in document["vips"]:
        lines.append("")
        lines.extend(_vip_lines(vip, now, terminal))
    lines.append("")
    lines.extend(_summary(document, now, terminal))
    return lines


def _heading(document: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    uptime = spell_duration(1_000 * int(document["uptime_s"]))
    left = f"edged {document['version']}   {document['mode'].upper()}"
    where = f"on {clean(document['host'])}, up {uptime}"
    lines = spread(terminal.sign(f"{left}   {where}"), day_time(now, terminal), terminal.width)
    lines[0] = terminal.paint(lines[0], Colour.STRONG)
    yield from lines
    writer = document.get("writer")
    if writer and writer != document["host"]:
        yield from labelled("Writer", f"{writer} holds the lease and writes", terminal)


def _vip_lines(vip: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    mark, level, colour = LEVELS[vip["level"]]
    inside = sum(bool(gateway["in_route"]) for gateway in vip["gateways"])
    count = f"{inside} of {len(vip['gateways'])} in route (floor {vip['min_healthy']})"
    head = f"{clean(vip['name'])} {vip['address']}"
    state = terminal.sign(f"{mark} {level}")
    rest = [count, _sync_words(vip)]
    lines = [terminal.sign(gap.join([head, state, *rest])) for gap in ("   ", "  ")]
    fitting = next((line for line in lines if width_of(line) <= terminal.width), None)
    if fitting is not None:
        yield fitting.replace(state, terminal.paint(state, colour), 1)
    else:
        yield from wrap(terminal.sign(head), terminal.width)
        for index, part in enumerate([state, *rest]):
            painted = [terminal.paint(text, colour) if not index else text for text in [part]]
            yield from (f"  {text}" for text in painted for text in wrap(text, terminal.width - 2))
    for frozen in _merged(vip["frozen"]):
        yield from _frozen_lines(frozen, now, terminal)
    yield ""
    rows = [_gateway_row(gateway, vip, now, terminal) for gateway in vip["gateways"]]
    yield from table(GATEWAY_COLUMNS, rows, terminal)


def _sync_words(vip: Document) -> str:
    routes = vip["routes"]
    if not routes:
        return "no router"
    lost = [item["router"] for item in vip["frozen"] if item["reason"] == "router_lost"]
    if lost:
        return f"as last read from {', '.join(dict.fromkeys(lost))}"
    apart = [route["router"] for route in routes if not route["in_sync"]]
    if apart:
        return f"NOT in sync with {', '.join(apart)}"
    unread = [route["router"] for route in routes if route["adopted"] is None]
    if unread:
        return f"{', '.join(unread)} not read yet"
    not_ours = [route["router"] for route in routes if not route["adopted"]]
    if not_ours:
        return f"not adopted on {', '.join(not_ours)}"
    return f"in sync with {', '.join(route['router'] for route in routes)}"


def _merged(frozen: Sequence[Document]) -> list[dict[str, Any]]:
    """Say once what holds on several routers."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for item in frozen:
        seen.setdefault((item["reason"], item["sentence"]), dict(item))
    return list(seen.values())


def _frozen_lines(frozen: Document, now: datetime, terminal: Terminal) -> list[str]:
    text = str(frozen["sentence"])
    if frozen["until"]:
        text += f" until {clock_time(read_time(frozen['until']), terminal, now=now)}"
    if frozen["detail"]:
        text += f" ({frozen['detail']})"
    if frozen["do"]:
        text += f". To do: {frozen['do']}"
    label = "frozen" if frozen["blocking"] else "note"
    return labelled(f"  {label}", text, terminal, column=10)


def _gateway_row(gateway: Document, vip: Document, now: datetime, terminal: Terminal) -> list[Cell]:
    state = gateway["state"]
    shown = f"{MARKS.get(state, '?')} {state}"
    if gateway["progress"]:
        shown += f" {gateway['progress']}"
    probe = gateway["probe"]
    if probe["latency_ms"] is not None:
        measured = f"{probe['latency_ms']:.1f} ms"
    else:
        measured = str(probe["last"]).replace("_", " ")
    return [
        Cell(gateway["name"]),
        Cell(gateway["address"]),
        Cell(shown, (STATE_COLOURS.get(state, Colour.WARN),)),
        Cell(_in_route(gateway, vip)),
        Cell(measured),
        Cell(gateway["bgp"] or ""),
        Cell(ago(gateway["since"], now)),
        Cell(_why_words(gateway, now, terminal)),
    ]


def _in_route(gateway: Document, vip: Document) -> str:
    if gateway["in_route"]:
        return "in"
    return (
        f"{len(gateway['in_route_on'])} of {len(vip['routes'])}"
        if gateway["in_route_on"]
        else "out"
    )


def _why_words(gateway: Document, now: datetime, terminal: Terminal) -> str:
    words = []
    if gateway["kept"]:
        words.append(f"kept: {gateway['kept']['reason'].replace('_', ' ')}")
    if gateway["brief"] and gateway["state"] != "UP":
        words.append(str(gateway["brief"]))
    waits = gateway["waits"]
    if gateway["hold_until"]:
        until = clock_time(read_time(gateway["hold_until"]), terminal, now=now)
        words.append(f"returns {until}")
    elif waits and gateway["state"] in {"UP", "DEGRADED"}:
        words.append(f"waits: {waits['reason'].replace('_', ' ')}")
    return ", ".join(words)


def _summary(document: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    change = document["last_change"]
    if change is not None:
        at = clock_time(read_time(change["time"]), terminal, now=now)
        yield from labelled("Last change", f"{at} {change['text']}", terminal, column=13)
    yield from listing(
        "Next", [_next_words(item, now, terminal) for item in document["next"]], terminal, column=13
    )
    for router in document["routers"]:
        text = _router_words(router, now)
        lines = labelled(f"Router {clean(router['name'])}", text, terminal, column=13)
        if not router["connected"]:
            lines[0] = lines[0].replace("LOST", terminal.paint("LOST", Colour.BAD), 1)
        yield from lines
    yield from labelled("Known from", _sources_words(document, now), terminal, column=13)
    yield from labelled("Alerts", _alert_words(document["alerts"]), terminal, column=13)
    policy = document["policy"]
    if not policy["fine"]:
        yield from labelled("Policy", f"! {policy['text']}", terminal, column=13)
    if document.get("store"):
        yield from labelled("Store", f"! {document['store']}", terminal, column=13)
    yield from labelled("More", " · ".join(_more(document)), terminal, column=13)


def _next_words(item: Document, now: datetime, terminal: Terminal) -> str:
    text = str(item["text"])
    if item["at"]:
        at = read_time(item["at"])
        left = spell_duration(max(0, between(now, at)))
        text = f"{clock_time(at, terminal, now=now)} {text} (in {left})"
    return f"{text} · {item['do']}" if item["do"] else text


def _router_words(router: Document, now: datetime) -> str:
    if not router["connected"]:
        return f"LOST: {router['detail'] or 'not connected yet'}"
    parts = [str(router["version"])]
    parts.append(f"connected {ago(router['since'], now)}" if router["since"] else "connected")
    parts.append(f"{router['rtt_ms']:.1f} ms")
    if router["cpu_load_percent"] is not None:
        parts.append(f"cpu {router['cpu_load_percent']} %")
    writes = router["writes"]
    parts.append(f"writes {writes['today']} today / {writes['ever']} ever")
    if router["reads_backed_off"]:
        parts.append("slow: read four times less often")
    if not router["verified"]:
        parts.append(f"NOT VERIFIED (tls = {router['tls']})")
    return ", ".join(part for part in parts if part)


def _sources_words(document: Document, now: datetime) -> str:
    """Name every source and the age of the oldest thing that it said."""
    oldest: dict[str, Document] = {}
    for vip in document["vips"]:
        for part in _all_known(vip):
            name = KNOWN_FROM[part["fact"]].format(source=part["source"])
            if part["at"] and part["at"] <= oldest.get(name, part)["at"]:
                oldest[name] = part
    words = [name + _aged(part, now) for name, part in oldest.items()]
    if document.get("kubernetes", NO_CLUSTER) != NO_CLUSTER:
        words.append(f"Kubernetes: {document['kubernetes']}")
    return ", ".join(words) or "nothing has been read yet"


def _all_known(vip: Document) -> Iterator[Document]:
    for route in vip["routes"]:
        yield {"fact": "rows", "source": route["router"], "at": route.get("read")}
    for gateway in vip["gateways"]:
        yield from gateway.get("known", ())


NO_CLUSTER: Final = "not configured"


def _alert_words(alerts: Document) -> str:
    text = f"{alerts['open']} open, {alerts['pending']} unsent"
    ways = [f"{way['name']} {way['state']}" for way in alerts["channels"]]
    if alerts["dead_mans_switch"]:
        ways.append(f"dead-man's switch {alerts['dead_mans_switch']}")
    return f"{text}; {', '.join(ways) if ways else 'no channel is configured'}"


def _more(document: Document) -> Iterator[str]:
    """Yield what is worth typing next."""
    troubled = [
        gateway["name"]
        for vip in document["vips"]
        for gateway in vip["gateways"]
        if gateway["state"] != "UP" or not gateway["in_route"]
    ]
    yield f"edged why {troubled[0]}" if troubled else "edged why"
    if any(not vip["in_sync"] or vip["frozen"] for vip in document["vips"]):
        yield "edged plan"
    change = document["last_change"]
    incident = change["fields"].get("incident") if change is not None else None
    yield f"edged events --incident {incident}" if incident else "edged events"


# --- why ----------------------------------------------------------------------------------------


def why_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out `edged.why/v1`."""
    now = read_time(document["time"])
    terminal = terminal.at(document.get("timezone"))
    if document["gateway"] is not None:
        return list(_why_gateway(document["gateway"], now, terminal))
    lines: list[str] = []
    for vip in document["vips"]:
        if lines:
            lines.append("")
        lines.extend(_why_vip(vip, now, terminal))
    return lines


def _why_gateway(gateway: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    state = gateway["state"]
    head = f"{clean(gateway['name'])} ({gateway['address']})"
    where = f"{state}, {_places(gateway)}"
    if gateway["since"]:
        since = read_time(gateway["since"])
        at = f"{clock_time(since, terminal, now=now)} {zone_name(since, terminal)}"
        where += f" for {ago(gateway['since'], now)}   ({at})"
    text = terminal.sign(f"{head}   {where}")
    lines = [text] if width_of(text) <= terminal.width else wrap(text, terminal.width)
    lines[0] = lines[0].replace(
        state, terminal.paint(state, STATE_COLOURS.get(state, Colour.WARN)), 1
    )
    yield from lines
    yield ""
    yield from labelled("In a word", gateway["word"], terminal)
    yield ""
    if gateway["trail"]:
        yield from _trail_lines(gateway["trail"], now, terminal)
        yield ""
    if gateway["kept"]:
        yield from labelled("Kept", f"in the route: {gateway['kept']['sentence']}", terminal)
    if gateway["rule"]:
        yield from labelled("Rule", gateway["rule"], terminal)
    yield from labelled("Also known", "; ".join(gateway["also"]), terminal)
    yield from labelled("Now", gateway["now"], terminal)
    if gateway["waits"] and gateway["state"] in {"UP", "DEGRADED"}:
        yield from labelled("Waits", gateway["waits"]["sentence"], terminal)
    if gateway["to_return"]:
        yield from labelled("To return", gateway["to_return"], terminal)
    yield from _can_lines(gateway["can"], terminal)


def _places(gateway: Document) -> str:
    inside = [vip["name"] for vip in gateway["vips"] if len(vip["in_route"]) == len(vip["routers"])]
    partly = [
        f"{vip['name']} on {', '.join(vip['in_route'])} only"
        for vip in gateway["vips"]
        if vip["in_route"] and vip["name"] not in inside
    ]
    outside = [vip["name"] for vip in gateway["vips"] if not vip["in_route"]]
    parts = [
        f"in {', '.join(inside)}" if inside else "",
        f"in {', '.join(partly)}" if partly else "",
        f"out of {', '.join(outside)}" if outside else "",
    ]
    return ", ".join(part for part in parts if part) or "in no VIP"


TRAIL_TITLE: Final = "What edged saw and did"
FIRST_SIGN: Final = "after first sign"


def _trail_lines(trail: Sequence[Document], now: datetime, terminal: Terminal) -> Iterator[str]:
    timed = any(item["after_ms"] is not None for item in trail)
    right = FIRST_SIGN if timed and terminal.width >= 60 else ""  # noqa: PLR2004 - room for both
    (title,) = spread(TRAIL_TITLE, right, terminal.width) if right else [TRAIL_TITLE]
    yield terminal.paint(title, Colour.STRONG)
    for item in trail:
        at = clock_time(read_time(item["time"]), terminal, now=now, exact=True)
        after = _after(item["after_ms"]) if right else ""
        room = terminal.width - 4 - width_of(at) - (width_of(after) + 2 if after else 0)
        words = wrap(terminal.sign(clean(item["text"])), max(room, 10))
        for number, line in enumerate(words):
            left = f"  {at if not number else ' ' * width_of(at)}  {line}"
            end = after if not number else ""
            yield (spread(left, end, terminal.width)[0] if end else left)


def _after(after_ms: int | None) -> str:
    if after_ms is None:
        return ""
    return f"{after_ms:,} ms" if abs(after_ms) < 10_000 else spell_duration(after_ms)  # noqa: PLR2004


def _can_lines(can: Sequence[Document], terminal: Terminal) -> Iterator[str]:
    if terminal.width < 60:  # noqa: PLR2004 - no room for two columns
        yield terminal.paint("You can", Colour.STRONG)
        for item in can:
            yield f"  {item['to']}:"
            yield from _command_lines(item["type"], terminal)
        return
    column = max((width_of(item["to"]) for item in can), default=0) + 3
    indent = 12 + column
    label = terminal.paint("You can", Colour.STRONG) + " " * 5
    for item in can:
        commands = wrap_command(terminal.sign(clean(item["type"])), terminal.width - indent)
        head = f"{label}{item['to'] + ':':<{column}}"
        for number, command in enumerate(commands):
            yield (" " * indent if number else head) + command
        label = " " * 12


def _why_vip(vip: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    yield from _vip_lines(vip, now, terminal)
    yield ""
    yield from labelled("In a word", vip["word"], terminal)
    for gateway in vip["gateways"]:
        for label, held in (("kept", gateway["kept"]), ("waits", gateway["waits"])):
            if held is not None:
                text = f"{gateway['name']} {label}: {held['sentence']}"
                yield from labelled("", text, terminal)
    for route in vip["routes_why"]:
        steps = [step["routeros"] for step in route["would"]]
        if steps:
            label = "Would do" if vip["frozen"] else "Will do"
            yield from labelled(label, f"on {route['router']}:", terminal)
            for step in steps:
                yield from _command_lines(step, terminal)
    if vip["trail"]:
        yield ""
        yield terminal.paint("What happened last", Colour.STRONG)
        for item in vip["trail"]:
            yield from _event_lines(item["time"], item["text"], now, terminal)


def _command_lines(command: str, terminal: Terminal, indent: int = 4) -> list[str]:
    lines = wrap_command(terminal.sign(clean(command)), terminal.width - indent)
    return [" " * indent + line for line in lines]


def _event_lines(time: str, text: str, now: datetime, terminal: Terminal) -> Iterator[str]:
    at = clock_time(read_time(time), terminal, now=now)
    indent = 2 + width_of(at) + 2
    if terminal.width - indent < 16:  # noqa: PLR2004 - too narrow for two columns
        yield f"  {at}"
        indent = 4
        yield from (" " * indent + line for line in wrap(terminal.sign(text), terminal.width - 4))
        return
    for number, line in enumerate(wrap(terminal.sign(clean(text)), terminal.width - indent)):
        yield (f"  {at}  " if not number else " " * indent) + line


# --- plan ---------------------------------------------------------------------------------------

ROW_COLUMNS: Final = (
    Column(title="ROW", keep=5),
    Column(title="WHOSE", keep=8),
    Column(title="NEXT HOPS", keep=9),
    Column(title="DIST", keep=4),
    Column(title="STATE", keep=6),
    Column(title="COMMENT", keep=3, flexible=True),
)


def plan_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out `edged.plan/v1`."""
    now = read_time(document["time"])
    terminal = terminal.at(document.get("timezone"))
    lines: list[str] = []
    for route in document["routes"]:
        if lines:
            lines.append("")
        lines.extend(_plan_route(route, document, now, terminal))
    if document["note"]:
        lines.extend(["", *wrap(terminal.sign(document["note"]), terminal.width)])
    return lines


def _plan_route(
    route: Document, document: Document, now: datetime, terminal: Terminal
) -> Iterator[str]:
    version = f" (RouterOS {route['version']})" if route["version"] else ""
    head = f"{route['vip']} {route['address']} on {route['router']}{version}"
    for line in wrap(terminal.sign(clean(head)), terminal.width):
        yield terminal.paint(line, Colour.STRONG)
    yield ""
    if not route["read"]:
        yield "  Its rows have not been read yet."
    elif not route["rows"]:
        yield "  The router has no row for this destination and table."
    else:
        yield from table(ROW_COLUMNS, [_plan_row(row) for row in route["rows"]], terminal)
    yield ""
    yield from _row_notes(route, terminal)
    yield from labelled("Would change", _would(route, document), terminal, column=14)
    for step in route["steps"]:
        yield from _command_lines(step["routeros"], terminal)
        names = _step_names(step)
        if names:
            yield from (f"      {line}" for line in wrap(names, terminal.width - 6))
    for frozen in route["frozen"]:
        yield from _plan_frozen(frozen, now, terminal)
    for label, held in (("Kept", route["kept"]), ("Waits", route["waits"])):
        texts = [f"{item['gateway']}: {item['sentence']}" for item in held]
        yield from listing(label, texts, terminal, column=14)
    yield from listing(
        "Known from", list(_known_words(route.get("known", ()), now)), terminal, column=14
    )


KNOWN_FROM: Final = {
    "rows": "rows of {source}",
    "probe": "probes of {source}",
    "ping": "ping from {source}",
    "bgp": "BGP on {source}",
    "kubernetes": "{source}",
}


def _known_words(known: Sequence[Document], now: datetime) -> Iterator[str]:
    """Yield one text for each source: what it said of whom, and how long ago."""
    sources: dict[tuple[str, str], list[Document]] = {}
    for part in known:
        sources.setdefault((part["fact"], part["source"]), []).append(part)
    for (fact, source), parts in sources.items():
        together = len({part["at"] for part in parts}) == 1
        said = [_said(part, now, aged=not together) for part in parts]
        age = _aged(parts[0], now) if together else ""
        yield f"{KNOWN_FROM[fact].format(source=source)}{age}: {', '.join(said)}"


def _said(part: Document, now: datetime, *, aged: bool) -> str:
    said = f"{part['gateway']} {part['said']}" if part["gateway"] else str(part["said"])
    return said + _aged(part, now) if aged else said


def _aged(part: Document, now: datetime) -> str:
    return f" ({ago(part['at'], now)} ago)" if part["at"] else ""


def _plan_row(row: Document) -> list[Cell]:
    hops = ", ".join(
        name or hop for hop, name in zip(row["next_hops"], row["gateways"], strict=True)
    )
    state = "disabled" if row["disabled"] else "active" if row["active"] else "inactive"
    whose = {"ours": "ours", "foreign": "not ours", "bgp": "BGP"}[row["whose"]]
    colour = (Colour.WARN,) if row["blocks"] else ()
    return [
        Cell(row["id"]),
        Cell(whose, colour),
        Cell(hops),
        Cell(str(row["distance"])),
        Cell(state),
        Cell(row["comment"]),
    ]


def _row_notes(route: Document, terminal: Terminal) -> Iterator[str]:
    notes = []
    for row in route["rows"]:
        if row["unreachable"]:
            notes.append(
                f"{row['id']}: the router calls {', '.join(row['unreachable'])} unreachable"
            )
        if row["unknown"]:
            hops = ", ".join(row["unknown"])
            notes.append(f"{row['id']}: {hops} is no configured gateway; edged leaves it alone")
        if row["blocks"]:
            notes.append(f"{row['id']}: takes part in the route without the mark")
        if row["adoptable"]:
            notes.append(f"{row['id']}: can be adopted: edged adopt {route['vip']}")
    yield from listing("Rows", notes, terminal, column=14)


def _would(route: Document, document: Document) -> str:
    if route["in_sync"] is None:
        return "not known without a daemon"
    if not route["steps"] and any(item["blocking"] for item in route["frozen"]):
        return "nothing while it is frozen, see below"
    if not route["steps"]:
        return "nothing: the route is as it should be" if route["desired"] else "nothing"
    count = len(route["steps"])
    text = (
        f"{count} command{'s' if count > 1 else ''}, because: {route['reason'].replace('_', ' ')}"
    )
    if document["mode"] != "enforce":
        return f"{text}. Observe mode: nothing is written"
    return f"{text}. Held back, see below" if route["held_back"] else text


def _step_names(step: Document) -> str:
    parts = []
    if step["removed"]:
        parts.append(f"out: {', '.join(step['removed'])}")
    if step["added"]:
        parts.append(f"in: {', '.join(step['added'])}")
    if step["early"]:
        parts.append("early, to keep the floor")
    return "   ".join(parts)


def _plan_frozen(frozen: Document, now: datetime, terminal: Terminal) -> Iterator[str]:
    text = str(frozen["sentence"])
    if frozen["detail"]:
        text += f": {frozen['detail']}"
    if frozen["until"]:
        text += f" (until {clock_time(read_time(frozen['until']), terminal, now=now)})"
    if frozen["do"] and frozen["do"] != "edged plan":
        text += f". To do: {frozen['do']}"
    yield from labelled("Frozen" if frozen["blocking"] else "Note", text, terminal, column=14)


# --- events -------------------------------------------------------------------------------------

SEVERITY_COLOURS: Final = {"warning": Colour.WARN, "critical": Colour.BAD, "debug": Colour.FAINT}


def event_line(event: Document, now: datetime, terminal: Terminal) -> list[str]:
    """Lay out one stored event."""
    words = clean(event_sentence(event["name"], event["fields"]))
    at = clock_time(read_time(event["time"]), terminal, now=now)
    mark = {"warning": "!", "critical": "✗"}.get(event["severity"], " ")
    head = terminal.sign(f"{at} {mark} ")
    lines = wrap(terminal.sign(words), terminal.width - width_of(head))
    indent = " " * width_of(head)
    colour = SEVERITY_COLOURS.get(event["severity"])
    if colour is not None:
        lines = [terminal.paint(line, colour) for line in lines]
    return [(head if not number else indent) + line for number, line in enumerate(lines)]


# --- probe --------------------------------------------------------------------------------------


def probe_screen(document: Document, terminal: Terminal, *, trace: bool) -> list[str]:
    """Lay out `edged.probe/v1`."""
    lines: list[str] = []
    for probe in document["probes"]:
        passed = probe["outcome"] == "passed"
        mark = terminal.paint(
            terminal.sign("✓ passed" if passed else f"✗ {probe['outcome']}"),
            Colour.GOOD if passed else Colour.BAD,
        )
        where = f"{clean(probe['gateway'])} ({probe['address']}:{probe['port']})"
        lines.append(f"{terminal.sign(cut(where, terminal.width - 16))}  {mark}")
        told = [probe["depth"] + " probe", f"SNI {probe['server_name']}"]
        if probe["latency_ms"] is not None:
            told.insert(1, f"{probe['latency_ms']:.1f} ms")
        if probe["http_status"] is not None:
            told.append(f"HTTP {probe['http_status']}")
        lines.extend(f"  {line}" for line in wrap(", ".join(told), terminal.width - 2))
        if probe["sentence"]:
            text = probe["sentence"] + (f" ({probe['detail']})" if probe["detail"] else "")
            lines.extend(
                f"  {line}" for line in wrap(terminal.sign(clean(text)), terminal.width - 2)
            )
        if trace:
            lines.extend(_phase_lines(probe["phases"], terminal))
    return lines


def _phase_lines(phases: Sequence[Document], terminal: Terminal) -> Iterator[str]:
    for phase in phases:
        took = f"{phase['took_ms']:8.3f} ms"
        text = f"{phase['name']}  {phase['detail']}" if phase["detail"] else phase["name"]
        lines = wrap(terminal.sign(clean(text)), terminal.width - 17)
        for number, line in enumerate(lines):
            yield (f"    {took}  " if not number else " " * 17) + line


# --- adoption -----------------------------------------------------------------------------------


def adoption_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out what `edged adopt` or `edged release` would do."""
    lines: list[str] = []
    for route in document["routes"]:
        if lines:
            lines.append("")
        lines.extend(_adoption_route(route, terminal))
    return lines


def _adoption_route(route: Document, terminal: Terminal) -> Iterator[str]:
    head = f"{route['vip']} {route['address']} on {route['router']}"
    yield terminal.paint(cut(terminal.sign(clean(head)), terminal.width), Colour.STRONG)
    if route["objection"]:
        yield from labelled("  Not here", route["objection"], terminal)
        return
    for row in route["rows"]:
        hops = ", ".join(
            name or hop for hop, name in zip(row["next_hops"], row["gateways"], strict=True)
        )
        state = "disabled" if row["disabled"] else "enabled"
        text = f"row {row['id']}: {hops}, distance {row['distance']}, {state}"
        yield from (f"  {line}" for line in wrap(terminal.sign(clean(text)), terminal.width - 2))
        yield from labelled("    before", f'comment="{row["comment"]}"', terminal, column=12)
        if row["change"]:
            yield from labelled("    after", row["change"], terminal, column=12)
    if not route["rows"]:
        yield from wrap("  no row yet; these are created:", terminal.width)
        for step in route["steps"]:
            yield from _command_lines(step, terminal)


def undo_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out the RouterOS lines that put things back."""
    lines: list[str] = []
    for route in document["routes"]:
        if route["undo"]:
            lines.append(f"To put it back by hand, on {route['router']}:")
            for line in route["undo"]:
                lines.extend(_command_lines(line, terminal))
    return lines


def paragraphs(texts: Iterable[str], terminal: Terminal) -> list[str]:
    """Wrap sentences to the terminal."""
    return [line for text in texts for line in wrap(terminal.sign(clean(text)), terminal.width)]
