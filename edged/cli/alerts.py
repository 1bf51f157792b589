"""Verbs about alerts: what is open and unsent, a test message, and silence."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edged.cli.context import Context
from edged.cli.render import Colour, Terminal, clean, clock_time, read_time, wrap, zone_name
from edged.cli.screens import paragraphs
from edged.system import clock

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1

Document = Mapping[str, Any]


def alerts(arguments: Namespace, context: Context) -> int:
    """Show, test, retry or drop."""
    match arguments.what:
        case "test":
            return _test(arguments, context)
        case "retry" | "drop":
            return _change(arguments, context)
        case _:
            return _list(arguments, context)


def _test(arguments: Namespace, context: Context) -> int:
    answer = context.client.post("alerts", {"do": "test", "channel": arguments.channel})
    fine = all(one["delivered"] for one in answer["channels"])
    if arguments.json:
        context.say_json(answer)
    else:
        terminal = context.terminal
        for one in answer["channels"]:
            context.say(_tested(one, terminal))
    return EXIT_FINE if fine else EXIT_ERROR


def _tested(one: Document, terminal: Terminal) -> list[str]:
    mark = terminal.sign("✓" if one["delivered"] else "✗")
    took = f" after {one['took_ms']} ms" if one["took_ms"] is not None else ""
    said = clean(one["detail"]) or "nothing"
    text = f"{mark} {clean(one['name'])}: the service said{took}: {said}"
    colour = Colour.GOOD if one["delivered"] else Colour.BAD
    return [terminal.paint(line, colour) for line in wrap(terminal.sign(text), terminal.width)]


def _change(arguments: Namespace, context: Context) -> int:
    words = {"do": arguments.what, "channel": arguments.channel, "number": arguments.number}
    answer = context.client.post("alerts", words)
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    count = answer["messages"]
    if arguments.what == "retry":
        text = f"{count} message(s) are tried again now. See: edged alerts"
    else:
        text = f"{count} message(s) dropped; nobody will get them."
    context.say(paragraphs([text], context.terminal))
    return EXIT_FINE


def _list(arguments: Namespace, context: Context) -> int:
    answer = context.client.get("alerts")
    if arguments.json:
        context.say_json(answer)
    else:
        terminal = context.terminal.at(context.client.get("status").get("timezone"))
        context.say(alerts_screen(answer, terminal))
    return EXIT_FINE


def alerts_screen(document: Document, terminal: Terminal) -> list[str]:
    """Lay out `edged.alerts/v1`."""
    lines: list[str] = []
    for text in _texts(document, terminal):
        lines.extend(wrap(terminal.sign(text), terminal.width) if text else [""])
    return lines


def _texts(document: Document, terminal: Terminal) -> Iterator[str]:
    now = read_time(document["time"])

    def at(stamp: str) -> str:
        return clock_time(read_time(stamp), terminal, now=now)

    if not document["open"]:
        yield "No alert is open."
    for one in document["open"]:
        told = "" if one["told"] else " (nobody was told yet)"
        title = clean(one["title"]) or f"{one['kind']}, {one['severity']}"
        yield f"{one['incident']}  since {at(one['since'])}  {title}{told}"
    yield ""
    if not document["channels"]:
        yield "No [[channel]] is configured, so nobody is told."
    for one in document["channels"]:
        waits = f", {one['pending']} waiting" if one["pending"] else ""
        yield f"{clean(one['name'])} ({one['type']}): {clean(one['state'])}{waits}"
    for one in document["outbox"]:
        state = "given up" if one["given_up"] else f"tried {one['tries']} time(s)"
        error = f": {clean(one['error'])}" if one["error"] else ""
        yield (
            f"  message {one['number']} to {clean(one['channel'])}, {one['step']} of "
            f"{one['incident']}, since {at(one['since'])}, {state}{error}"
        )
    for one in document["silences"]:
        about = clean(one["gateway"] or one["vip"] or "everything")
        who = f" by {clean(one['owner'])}" if one["owner"] else ""
        why = f": {clean(one['reason'])}" if one["reason"] else ""
        yield f"Silence about {about} until {at(one['until'])}{who}{why}"


def silence(arguments: Namespace, context: Context) -> int:
    """Send no alerts for a time, or end that."""
    words = {
        "owner": context.owner,
        "reason": arguments.reason,
        "for_ms": arguments.for_ms,
        "gateway": arguments.gateway,
        "vip": arguments.vip,
    }
    answer = context.client.post("silence", words)
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    if "ended" in answer:
        count = answer["ended"]
        text = f"{count} silence(s) ended." if count else "There was no silence."
    else:
        terminal = context.terminal.at(context.client.get("status").get("timezone"))
        until = read_time(answer["until"])
        moment = f"{clock_time(until, terminal, now=clock.wall())} {zone_name(until, terminal)}"
        about = clean(answer["gateway"] or answer["vip"] or "anything")
        text = (
            f"No alerts about {about} until {moment}. edged goes on acting; what is still wrong "
            "then is told then. To end it: edged silence --end"
        )
    context.say(paragraphs([text], context.terminal))
    return EXIT_FINE
