"""History: one incident's time line, a summary, and both as Markdown for a post-mortem.

Reads what the daemon has, or its file while no daemon runs. Offsets count from the first sign of
trouble, which is earlier than the first event: nobody knows the moment of death.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from edged.cli.client import NoDaemon
from edged.cli.context import Context
from edged.cli.render import Terminal, clean, local, read_time, wrap, zone_name
from edged.core.errors import EdgedError
from edged.core.events import Severity
from edged.web.event_words import event_sentence, spell_duration

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1
OFFSET_COLUMN: Final = 13
MARKDOWN: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})
LIFE: Final = ("alert.opened", "alert.resolved")

Document = Mapping[str, Any]


class NoHistory(EdgedError):
    """There is neither a daemon to ask nor a file to read."""

    exit_code = EXIT_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a time line."""

    at: datetime
    offset_ms: int
    text: str


def found_events(words: Mapping[str, Any], context: Context) -> tuple[Document, str | None]:
    """Return `edged.events/v1` and the time zone, from the daemon or from its file."""
    client = context.client
    try:
        document = client.get("events", words)
        return document, client.get("status").get("timezone")
    except NoDaemon as silent:
        return _from_file(words, context, silent)


def _from_file(
    words: Mapping[str, Any], context: Context, silent: NoDaemon
) -> tuple[Document, str | None]:
    from edged.config.load import load
    from edged.store.file import FILE_NAME, read_history

    if context.config_path is None:
        raise silent
    config = load(context.config, context.config_environ, check_secrets=False).config
    if config.state_dir is None:
        raise NoHistory("no edged runs, and state_dir is empty, so no history is kept")
    names = words.get("names")
    since = words.get("since")
    stored = read_history(
        config.state_dir / FILE_NAME,
        limit=int(words.get("limit") or 50),
        since=datetime.fromisoformat(since) if since else None,
        names=tuple(names.split(",")) if names else (),
        gateway=words.get("gateway"),
        vip=words.get("vip"),
        incident=words.get("incident"),
        min_severity=Severity(words.get("severity") or Severity.INFO),
    )
    context.warn(["edged: no daemon answers; this is what its file holds"])
    events = [one.document() for one in stored]
    return {"schema": "edged.events/v1", "events": events}, config.timezone


# --- one incident -------------------------------------------------------------------------------


def incident(arguments: Namespace, words: Mapping[str, Any], context: Context) -> int:
    """Print one incident's time line, plain or as Markdown."""
    document, zone = found_events({**words, "limit": 10_000}, context)
    events = document["events"]
    if not events:
        context.warn([f"edged: there is no incident {clean(arguments.incident)}"])
        return EXIT_ERROR
    terminal = context.terminal.at(zone)
    moments = timeline(events)
    if arguments.markdown:
        context.say(markdown(arguments.incident, events, moments, terminal))
    else:
        context.say(plain(arguments.incident, events, moments, terminal))
    return EXIT_FINE


def timeline(events: Sequence[Document]) -> list[Moment]:
    """Return an incident's events in order, with their distance from its first sign."""
    ordered = sorted(events, key=lambda one: (read_time(one["time"]), one["seq"]))
    start = min(_first_sign(one) for one in ordered)
    moments = [
        Moment(
            at=read_time(one["time"]),
            offset_ms=_ms(read_time(one["time"]) - start),
            text=clean(event_sentence(one["name"], one["fields"])),
        )
        for one in ordered
    ]
    if moments[0].at > start:
        moments.insert(0, Moment(at=start, offset_ms=0, text="first sign of trouble"))
    return moments


def _first_sign(event: Document) -> datetime:
    """Return when the trouble behind an event began, as far as the event knows."""
    detect_ms = event["fields"].get("detect_ms") if event["name"] == "gateway.went_down" else None
    at = read_time(event["time"])
    return at - timedelta(milliseconds=detect_ms) if isinstance(detect_ms, int) else at


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


def _heading(events: Sequence[Document]) -> tuple[str, str]:
    """Return title and state."""
    opened = next((one for one in events if one["name"] == "alert.opened"), None)
    resolved = next((one for one in events if one["name"] == "alert.resolved"), None)
    title = clean(opened["fields"].get("title", "")) if opened else "nobody was told"
    if resolved is None:
        return title, "not resolved"
    open_ms = resolved["fields"].get("open_ms")
    return title, f"over after {spell_duration(open_ms)}" if open_ms else "over"


def plain(
    name: str, events: Sequence[Document], moments: Sequence[Moment], terminal: Terminal
) -> list[str]:
    """Lay a time line out for a terminal."""
    title, state = _heading(events)
    first = moments[0].at
    day = f"{local(first, terminal):%Y-%m-%d} {zone_name(first, terminal)}"
    lines = wrap(terminal.sign(f"Incident {clean(name)}: {title}"), terminal.width)
    lines += [f"{day}, {state}", ""]
    for moment in moments:
        stamp = f"{local(moment.at, terminal):%H:%M:%S.%f}"[:-3]
        head = f"  {stamp}  {_offset(moment.offset_ms):>{OFFSET_COLUMN}}  "
        body = wrap(terminal.sign(moment.text), max(terminal.width - len(head), 20))
        lines += [(head if not at else " " * len(head)) + line for at, line in enumerate(body)]
    return lines


def _offset(offset_ms: int) -> str:
    return f"{offset_ms:+,d} ms".replace("+0 ms", "0 ms").replace(",", " ")


def markdown(
    name: str, events: Sequence[Document], moments: Sequence[Moment], terminal: Terminal
) -> list[str]:
    """Lay a time line out as Markdown; names from outside are escaped."""
    title, state = _heading(events)
    first = moments[0].at
    zone = zone_name(first, terminal)
    lines = [
        f"## Incident {_md(name)}: {_md(title)}",
        "",
        f"* Began: {local(first, terminal):%Y-%m-%d %H:%M:%S} {zone} (first sign)",
        f"* State: {_md(state)}",
        f"* Events: {len(events)}",
        "",
        f"| Time ({zone}) | After first sign | What |",
        "| --- | ---: | --- |",
    ]
    for moment in moments:
        stamp = f"{local(moment.at, terminal):%H:%M:%S.%f}"[:-3]
        lines.append(f"| {stamp} | {_offset(moment.offset_ms)} | {_md(moment.text)} |")
    return lines


def _md(text: str) -> str:
    return clean(text).translate(MARKDOWN)


# --- the summary --------------------------------------------------------------------------------


def summary(arguments: Namespace, words: Mapping[str, Any], context: Context) -> int:
    """Print how often each thing happened, and the incidents."""
    document, zone = found_events({**words, "limit": 10_000}, context)
    events = document["events"]
    if arguments.json:
        context.say_json({"schema": "edged.events-summary/v1", **counted(events)})
        return EXIT_FINE
    terminal = context.terminal.at(zone)
    if arguments.markdown:
        context.say(_summary_markdown(events, terminal))
    else:
        context.say(_summary_plain(events, terminal))
    return EXIT_FINE


def counted(events: Sequence[Document]) -> dict[str, Any]:
    """Return counts by name, and the incidents with their lengths."""
    incidents: dict[str, dict[str, Any]] = {}
    for one in events:
        key = one["fields"].get("incident")
        if key is None or one["name"] not in LIFE:
            continue
        entry = incidents.setdefault(
            key, {"incident": key, "opened": None, "title": "", "open_ms": None, "over": False}
        )
        if one["name"] == "alert.opened":
            entry["opened"] = one["time"]
            entry["title"] = one["fields"].get("title", "")
        else:
            entry["over"] = True
            entry["open_ms"] = one["fields"].get("open_ms")
    return {
        "since": events[0]["time"] if events else None,
        "counts": dict(Counter(one["name"] for one in events).most_common()),
        "incidents": list(incidents.values()),
    }


def _summary_plain(events: Sequence[Document], terminal: Terminal) -> Iterator[str]:
    found = counted(events)
    if not events:
        yield "Nothing happened."
        return
    yield f"Since {_day(found['since'], terminal)}"
    yield ""
    for name, count in found["counts"].items():
        yield f"  {count:>6}  {clean(name)}"
    if found["incidents"]:
        yield ""
    for one in found["incidents"]:
        at = _day(one["opened"], terminal) if one["opened"] else "earlier"
        text = f"{one['incident']}  {at}  {clean(one['title'])}  ({_length(one)})"
        yield from wrap(terminal.sign(text), terminal.width)


def _summary_markdown(events: Sequence[Document], terminal: Terminal) -> Iterator[str]:
    found = counted(events)
    yield "| Incident | Opened | What | Length |"
    yield "| --- | --- | --- | --- |"
    for one in found["incidents"]:
        at = _day(one["opened"], terminal) if one["opened"] else "earlier"
        yield f"| {_md(one['incident'])} | {at} | {_md(one['title'])} | {_length(one)} |"


def _length(one: Document) -> str:
    if one["open_ms"]:
        return spell_duration(one["open_ms"])
    return "over" if one["over"] else "open, or told once"


def _day(stamp: str, terminal: Terminal) -> str:
    at = read_time(stamp)
    return f"{local(at, terminal):%Y-%m-%d %H:%M:%S} {zone_name(at, terminal)}"
