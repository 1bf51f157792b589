"""Verbs that look: status, why, plan, events, probe, recheck. None of them changes anything."""

import time
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from edged.cli.client import NoDaemon
from edged.cli.context import Context
from edged.cli.screens import (
    event_line,
    paragraphs,
    plan_screen,
    probe_screen,
    status_screen,
    why_screen,
)
from edged.cli.verbs import duration_ms
from edged.core.errors import EdgedError
from edged.system import clock

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_OF_LEVEL: Final = {"fine": 0, "degraded": 3, "critical": 4}
EXIT_CHANGES: Final = 6
WATCH_S: Final = 1.0


def status(arguments: Namespace, context: Context) -> int:
    """Show how things are; with `--check` the exit code says it, too."""
    if arguments.watch:
        return _watch(arguments, context)
    document = context.client.get("status")
    if arguments.json:
        context.say_json(document)
    else:
        context.say(status_screen(document, context.terminal))
    return EXIT_OF_LEVEL[document["level"]] if arguments.check else EXIT_FINE


def _watch(arguments: Namespace, context: Context) -> int:
    """Show it again every second until Ctrl-C; a daemon that is away may come back."""
    from edged.cli.live import LiveView

    if arguments.json:
        while True:
            context.say_json(context.client.get("status"), indent=None)
            time.sleep(WATCH_S)
    with LiveView(context.out, context.terminal) as view:
        while True:
            try:
                document = context.client.get("status")
            except NoDaemon as error:
                view.update("\n".join(paragraphs([str(error)], context.terminal)))
            else:
                screen = "\n".join(status_screen(document, context.terminal))
                view.update(screen, key=_lasting(document))
            time.sleep(WATCH_S)


def _lasting(document: dict[str, Any]) -> str:
    """Return what of a status is worth a new print: states and routes, not times."""
    parts = [document["mode"], document["level"]]
    for vip in document["vips"]:
        parts.append(f"{vip['observed']} {vip['in_sync']}")
        parts.extend(item["reason"] for item in vip["frozen"])
        parts.extend(f"{g['name']} {g['state']} {g['reason']}" for g in vip["gateways"])
    parts.extend(f"{router['name']} {router['connected']}" for router in document["routers"])
    return " ".join(parts)


def why(arguments: Namespace, context: Context) -> int:
    """Explain a gateway or a VIP."""
    document = context.client.get("why", {"name": arguments.name})
    if arguments.json:
        context.say_json(document)
    else:
        context.say(why_screen(document, context.terminal))
    return EXIT_FINE


def plan(arguments: Namespace, context: Context) -> int:
    """Show each row and what would be written; exit code 6 if anything would."""
    try:
        document = context.client.get("plan")
    except NoDaemon:
        from edged.cli.offline import read_plan

        document = read_plan(context)
    if arguments.json:
        context.say_json(document)
    else:
        context.say(plan_screen(document, context.terminal))
    return EXIT_CHANGES if document["changes"] else EXIT_FINE


def events(arguments: Namespace, context: Context) -> int:
    """Show what happened, and with `--follow` what happens."""
    from edged.cli import history

    words = {
        "since": _since(arguments.since),
        "limit": arguments.limit,
        "gateway": arguments.gateway,
        "vip": arguments.vip,
        "incident": arguments.incident,
        "names": arguments.type,
        "severity": arguments.severity,
    }
    if arguments.summary:
        return history.summary(arguments, words, context)
    if arguments.incident and not (arguments.json or arguments.follow):
        return history.incident(arguments, words, context)
    if arguments.markdown:
        raise UsageFault("--markdown goes with --incident ID or --summary")
    client = context.client
    zone: str | None = None
    document: Mapping[str, Any]
    if arguments.follow:
        document = client.get("events", words)
    else:
        document, zone = history.found_events(words, context)
    found = document["events"]
    if arguments.json and not arguments.follow:
        context.say_json(document)
        return EXIT_FINE
    show = _shower(arguments, context, zone)
    for event in found:
        show(event)
    if not arguments.follow:
        if not found:
            context.warn(["edged: nothing like that happened"])
        return EXIT_FINE
    after = found[-1]["seq"] if found else 0
    for event in client.stream({"after": after} if found else None):
        if _wanted(event, arguments):
            show(event)
    context.warn(["edged: the daemon ended"])
    return EXIT_FINE


def _shower(arguments: Namespace, context: Context, zone: str | None) -> Any:  # noqa: ANN401 - a function of one event
    if arguments.json:
        return lambda event: context.say_json(event, indent=None)
    if arguments.follow:
        zone = context.client.get("status").get("timezone")
    terminal = context.terminal.at(zone)
    return lambda event: context.say(event_line(event, clock.wall(), terminal))


_SEVERITIES: Final = ("debug", "info", "warning", "critical")


def _wanted(event: dict[str, Any], arguments: Namespace) -> bool:
    """Whether a new event is one that was asked for; the stream brings them all."""
    fields = event["fields"]
    names = arguments.type.split(",") if arguments.type else None
    touched = {fields.get("gateway"), *fields.get("added", ()), *fields.get("removed", ())}
    return (
        _SEVERITIES.index(event["severity"]) >= _SEVERITIES.index(arguments.severity)
        and (names is None or event["name"] in names)
        and (arguments.gateway is None or arguments.gateway in touched)
        and (arguments.vip is None or fields.get("vip") == arguments.vip)
        and (arguments.incident is None or fields.get("incident") == arguments.incident)
    )


def _since(text: str | None) -> str | None:
    """Turn `4h` or a time into a time with its zone."""
    if text is None:
        return None
    from argparse import ArgumentTypeError

    try:
        at = clock.wall() - timedelta(milliseconds=duration_ms(text))
    except ArgumentTypeError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise UsageFault(
                f'--since takes 30m, 4h, 2d or a time such as 2026-05-01T12:00, not "{text}"'
            ) from None
    return at.astimezone().isoformat()


class UsageFault(EdgedError):
    """A word that makes no sense there."""

    exit_code = EXIT_USAGE


def probe(arguments: Namespace, context: Context) -> int:
    """Measure a gateway once; exit code 1 if it did not pass."""
    words = {"gateway": arguments.gateway, "trace": arguments.trace}
    try:
        document = context.client.post("probe", words)
    except NoDaemon:
        from edged.cli.offline import measure_gateway

        document = measure_gateway(arguments.gateway, context)
    if arguments.json:
        context.say_json(document)
    else:
        context.say(probe_screen(document, context.terminal, trace=arguments.trace))
    passed = all(one["outcome"] == "passed" for one in document["probes"])
    return EXIT_FINE if passed else EXIT_ERROR


def recheck(arguments: Namespace, context: Context) -> int:
    """Start a burst now."""
    document = context.client.post(
        "recheck", {"gateway": arguments.gateway, "owner": context.owner}
    )
    if arguments.json:
        context.say_json(document)
    else:
        name = document.get("gateway", arguments.gateway)
        context.say(
            paragraphs([f"A burst of probes runs. Its result: edged why {name}"], context.terminal)
        )
    return EXIT_FINE
