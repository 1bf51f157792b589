"""Verbs that act. Each says what will move before it asks the daemon, and afterwards what it got.

Nothing is decided here: the daemon may refuse, and its sentence is what the reader sees.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edged.cli.client import Client
from edged.cli.context import Context
from edged.cli.render import clock_time, labelled, read_time, zone_name
from edged.cli.screens import adoption_screen, paragraphs, undo_screen
from edged.core.errors import EdgedError
from edged.system import clock

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
SETTLE_MS: Final = 1_500
"""So long a drain is watched without `--wait`: a write takes a few milliseconds."""
LOOK_S: Final = 0.1

Document = Mapping[str, Any]


class NotAsked(EdgedError):
    """Nobody is there to say yes."""

    exit_code = EXIT_USAGE


# --- drain and undrain --------------------------------------------------------------------------


def drain(arguments: Namespace, context: Context) -> int:
    """Ask a gateway out; say before acting which connections move."""
    client = context.client
    before = client.get("status")
    name = _name_in(before, arguments.gateway)
    if not arguments.json:
        context.say(paragraphs(_what_moves(before, name, force=arguments.force), context.terminal))
    answer = client.post(
        "drain",
        {
            "gateway": arguments.gateway,
            "owner": context.owner,
            "reason": arguments.reason,
            "for_ms": arguments.for_ms,
            "force": arguments.force,
        },
    )
    limit_ms = arguments.timeout if arguments.wait else 0 if arguments.json else SETTLE_MS
    after = _settled(client, name, limit_ms)
    out = not _places_of(after, name)
    if arguments.json:
        context.say_json({**answer, "out": out} if arguments.wait else answer)
    else:
        context.say(paragraphs(_drained(after, name, answer), context.terminal))
        if not answer.get("until"):
            text = f"It stays out until somebody types: edged undrain {name}"
            context.say(paragraphs([text], context.terminal))
    return EXIT_ERROR if arguments.wait and not out else EXIT_FINE


def _name_in(document: Document, name: str) -> str:
    """Return the name of a gateway that was called by its address."""
    for vip in document["vips"]:
        for gateway in vip["gateways"]:
            if name in {gateway["name"], gateway["address"]}:
                return str(gateway["name"])
    return name


def _gateway_in(vip: Document, name: str) -> Document | None:
    return next((gateway for gateway in vip["gateways"] if gateway["name"] == name), None)


def _places_of(document: Document, name: str) -> list[str]:
    """Return where a gateway is in the route."""
    return [
        f"{vip['name']} on {router}"
        for vip in document["vips"]
        for router, names in vip["observed"].items()
        if name in names
    ]


def _what_moves(document: Document, name: str, *, force: bool) -> Iterator[str]:
    for vip in document["vips"]:
        gateway = _gateway_in(vip, name)
        if gateway is None:
            continue
        routers = [router for router, names in vip["observed"].items() if name in names]
        if not routers:
            yield f"{vip['name']}: {name} is not in the route, so nothing moves."
            continue
        rest = [g for g in vip["gateways"] if g["in_route_on"] and g["name"] != name]
        passing = sum(bool(g["passing"]) for g in rest)
        floor = vip["min_healthy"]
        when = ""
        if passing < 1:
            when = "once another one passes, "
            yield f"{vip['name']}: none of the others passes, so {name} stays in until one does."
        elif passing < floor and not force:
            when = "once it leaves, "
            yield (
                f"{vip['name']}: without {name} only {passing} would pass, and the floor is "
                f"{floor}: it stays in until there are enough. --force takes it out now."
            )
        names = ", ".join(g["name"] for g in rest) or "nobody"
        yield (
            f"{vip['name']}: {when}new connections go to {names}; open connections through "
            f"{name} are moved, and their clients reconnect."
        )
        blocked = [item["sentence"] for item in vip["frozen"] if item["blocking"]]
        if blocked:
            yield f"{vip['name']}: nothing is written now: {blocked[0]}."


def _settled(client: Client, name: str, limit_ms: int) -> Document:
    """Return the status once the gateway is out, or when the time is up."""
    until_ms = clock.monotonic_ms() + limit_ms
    while True:
        document = client.get("status")
        if not _places_of(document, name) or clock.monotonic_ms() >= until_ms:
            return document
        time.sleep(LOOK_S)


def _drained(document: Document, name: str, answer: Document) -> Iterator[str]:
    places = _places_of(document, name)
    if not places:
        count = min(
            (
                sum(bool(g["in_route"]) for g in vip["gateways"])
                for vip in document["vips"]
                if _gateway_in(vip, name) is not None
            ),
            default=0,
        )
        yield f"{name} is out of the route, {count} left: safe to reboot."
    else:
        reason = _held_by(document, name)
        yield f"{name} is drained, but still in {', '.join(places)}{reason}."
    if answer.get("kept") == "in_memory":
        yield "The drain is kept in memory only: a restart of edged forgets it."


def _held_by(document: Document, name: str) -> str:
    for vip in document["vips"]:
        gateway = _gateway_in(vip, name)
        if gateway is None:
            continue
        if gateway["kept"]:
            return f": {gateway['kept']['sentence']}"
        blocked = [item["sentence"] for item in vip["frozen"] if item["blocking"]]
        if blocked:
            return f": {blocked[0]}"
    return ", until enough others pass"


def undrain(arguments: Namespace, context: Context) -> int:
    """Let a gateway return."""
    client = context.client
    answer = client.post("undrain", {"gateway": arguments.gateway, "owner": context.owner})
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    document = client.get("status")
    name = str(answer.get("gateway", arguments.gateway))
    context.say(paragraphs(_undrained(document, name), context.terminal))
    return EXIT_FINE


def _undrained(document: Document, name: str) -> Iterator[str]:
    for vip in document["vips"]:
        gateway = _gateway_in(vip, name)
        if gateway is None:
            continue
        if gateway["drains"]:
            source = gateway["drains"][0]["source"]
            yield f"{name} is still drained by {source}; that one has to end there."
        elif gateway["in_route"]:
            yield f"{vip['name']}: {name} is in the route."
        elif gateway["waits"]:
            yield f"{vip['name']}: {name} returns by itself; {gateway['waits']['sentence']}."
        else:
            yield f"{vip['name']}: {name} returns by itself."


# --- pause, resume, handover, reload ------------------------------------------------------------


def pause(arguments: Namespace, context: Context) -> int:
    """Write nothing for a time."""
    client = context.client
    words = {"owner": context.owner, "for_ms": arguments.for_ms, "restore": arguments.restore}
    answer = client.post("pause", words)
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    until = _until(answer, client, context)
    lines = [
        f"Paused {until}. edged goes on watching and writes nothing; a node that dies stays in."
    ]
    if arguments.restore:
        restored = answer.get("restored") or ["nothing had to be put back"]
        lines.extend(str(step) for step in restored)
    lines.append("To go on: edged resume")
    context.say(paragraphs(lines, context.terminal))
    return EXIT_FINE


def _until(answer: Document, client: Client, context: Context) -> str:
    if not answer.get("until"):
        return "until resumed"
    at = read_time(str(answer["until"]))
    terminal = context.terminal.at(client.get("status").get("timezone"))
    return f"until {clock_time(at, terminal, now=clock.wall())} {zone_name(at, terminal)}"


def resume(arguments: Namespace, context: Context) -> int:
    """End a pause, and every hold that waits for a person."""
    client = context.client
    answer = client.post("resume", {"owner": context.owner})
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    document = client.get("status")
    still = {item["sentence"] for vip in document["vips"] for item in vip["frozen"]}
    lines = ["edged goes on."]
    lines.extend(f"Still held: {sentence}." for sentence in sorted(still))
    context.say(paragraphs(lines, context.terminal))
    return EXIT_FINE


def handover(arguments: Namespace, context: Context) -> int:
    """Leave a VIP to BGP, or take it back."""
    to_bgp = arguments.to == "bgp"
    if to_bgp and not arguments.json:
        text = (
            "edged's rows are disabled, and the router follows its BGP route alone. edged removes "
            "no dead node from there. Back: edged handover back"
        )
        context.say(paragraphs([text], context.terminal))
    if to_bgp and not _agreed(arguments, context, "Hand the VIP over to BGP?"):
        return EXIT_ERROR
    answer = context.client.post(
        "handover", {"owner": context.owner, "vip": arguments.vip, "to": arguments.to}
    )
    if arguments.json:
        context.say_json(answer)
    else:
        what = "is left to BGP" if to_bgp else "is edged's again"
        context.say(paragraphs([f"{answer.get('vip', 'The VIP')} {what}."], context.terminal))
    return EXIT_FINE


def reload(arguments: Namespace, context: Context) -> int:
    """Read the configuration again."""
    answer = context.client.post("reload", {"owner": context.owner})
    if arguments.json:
        context.say_json(answer)
        return EXIT_FINE
    changed, later = answer.get("changed", []), answer.get("needs_restart", [])
    lines: list[str] = []
    if changed:
        lines.extend(labelled("In force", ", ".join(changed), context.terminal, column=16))
    if later:
        lines.extend(labelled("Needs a restart", ", ".join(later), context.terminal, column=17))
    context.say(lines or paragraphs(["Nothing has changed."], context.terminal))
    return EXIT_FINE


# --- adopt and release --------------------------------------------------------------------------

ADOPTION_MEANS: Final = (
    "The comment changes: a script that searches for the whole old comment stops matching.",
    (
        "From then on edged changes these rows, so an export of the router's configuration "
        "differs after each fail-over."
    ),
)
RELEASE_MEANS: Final = (
    "edged takes its mark off and leaves the rows alone from then on: a node that dies stays in.",
)


def adopt(arguments: Namespace, context: Context) -> int:
    """Show what adoption would change, ask, and do it."""
    words = {
        "owner": context.owner,
        "vip": arguments.vip,
        "router": arguments.router,
        "create": arguments.create,
        "drop": arguments.drop,
    }
    if arguments.drop:
        return _drop(arguments, context, words)
    means = () if arguments.create else ADOPTION_MEANS
    question = "Create this route?" if arguments.create else "Adopt these rows?"
    return _with_consent(arguments, context, "adopt", words, means, question)


def release(arguments: Namespace, context: Context) -> int:
    """Show what giving the rows back would change, ask, and do it."""
    words = {"owner": context.owner, "vip": arguments.vip, "router": arguments.router}
    return _with_consent(arguments, context, "release", words, RELEASE_MEANS, "Release these rows?")


def _with_consent(
    arguments: Namespace,
    context: Context,
    verb: str,
    words: Mapping[str, str | bool | None],
    means: tuple[str, ...],
    question: str,
) -> int:
    client = context.client
    preview = client.post(verb, words)
    possible = any(route["steps"] for route in preview["routes"])
    if arguments.json and (not arguments.yes or not possible):
        context.say_json(preview)
        return EXIT_FINE if possible else EXIT_ERROR
    if not arguments.json:
        context.say(adoption_screen(preview, context.terminal))
    if not possible:
        return EXIT_ERROR
    if not arguments.json:
        if means:
            context.say(["", *paragraphs(means, context.terminal)])
        undo = undo_screen(preview, context.terminal)
        context.say(["", *undo] if undo else [])
    if not _agreed(arguments, context, question):
        context.say(paragraphs(["Nothing was changed."], context.terminal))
        return EXIT_ERROR
    answer = client.post(verb, {**words, "confirmed": True})
    done = all(route["done"] for route in answer["routes"] if route["steps"])
    if arguments.json:
        context.say_json(answer)
    else:
        context.say(["", *paragraphs(_outcomes(answer, verb), context.terminal)])
    return EXIT_FINE if done else EXIT_ERROR


def _outcomes(answer: Document, verb: str) -> Iterator[str]:
    past = {"adopt": "adopted", "release": "released"}[verb]
    for route in answer["routes"]:
        where = f"{route['vip']} on {route['router']}"
        if route["objection"]:
            yield f"{where}: not {past}: {route['objection']}"
        elif route["done"]:
            undo = " Back: edged release" if verb == "adopt" else ""
            yield f"{where}: {past}, and read back.{undo}"
        else:
            failed = [r for r in route["results"] if r["outcome"] != "done"]
            what = (
                f"{failed[0]['outcome']}: {failed[0]['message']}" if failed else "nothing was sent"
            )
            yield f"{where}: NOT {past} as a whole; {what}. See: edged plan"


def _drop(arguments: Namespace, context: Context, words: Mapping[str, str | bool | None]) -> int:
    preview = context.client.post("adopt", words)
    if arguments.json and not arguments.yes:
        context.say_json(preview)
        return EXIT_FINE
    vip = preview.get("vip") or arguments.vip
    if not arguments.json:
        text = f"Next hop {arguments.drop} leaves the rows of {vip}: connections over it are moved."
        context.say(paragraphs([text], context.terminal))
    if not _agreed(arguments, context, f"Take {arguments.drop} out?"):
        context.say(paragraphs(["Nothing was changed."], context.terminal))
        return EXIT_ERROR
    answer = context.client.post("adopt", {**words, "confirmed": True})
    if arguments.json:
        context.say_json(answer)
    else:
        text = f"{arguments.drop} leaves with the next write. See: edged plan"
        context.say(paragraphs([text], context.terminal))
    return EXIT_FINE


def _agreed(arguments: Namespace, context: Context, question: str) -> bool:
    """Ask for a yes, unless it was given on the command line.

    Raises:
        NotAsked: There is no terminal to ask on.
    """
    if arguments.yes:
        return True
    said = context.ask(question)
    if said is None:
        raise NotAsked("this needs a yes, and there is no terminal to ask on: add --yes")
    return said
