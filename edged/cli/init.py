"""`init`: a configuration in observe mode, and the RouterOS commands that go with it.

From flags and questions, or, with `--from-router`, from what the router shows: which addresses its
port forwards lead to, who carries their routes, what the BGP peers are called. Reads only: on the
router a person runs the commands that are printed here.
"""

import asyncio
import getpass
import ipaddress
import json
import os
import re
import secrets
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edged.cli.context import Context
from edged.cli.render import clean
from edged.cli.ways import own_address
from edged.core.errors import EdgedError, RouterRefused

EXIT_FINE: Final = 0
EXIT_USAGE: Final = 2
PASSWORD_FILE: Final = "/etc/edged/credentials/router-password"  # noqa: S105 - a path
PORT_PLAIN: Final = 8728
PORT_TLS: Final = 8729
DISTANCE: Final = 10
WEB_PORT: Final = "443"
CHANNELS: Final = (
    *("slack", "discord", "dooray", "jandi", "naverworks", "kakaowork"),
    *("teams", "mattermost", "googlechat"),
)
"""Services that need nothing but the URL of a webhook."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NO_PIN: Final = "sha256:" + "0" * 64


class Unfinished(EdgedError):
    """Something that only a person knows is missing, and nobody can be asked."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A VIP's route as the router has it."""

    address: str
    distance: int
    next_hops: tuple[str, ...]
    comment: str
    forwards: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Proposal:
    """What the configuration will say, and what was seen on the way there."""

    router: str
    port: int
    tls: str
    fingerprint: str = ""
    own_address: str = ""
    server_name: str = ""
    password_file: str = PASSWORD_FILE
    vips: list[Found] = field(default_factory=list)
    gateways: dict[str, str] = field(default_factory=dict)
    """Address to name, in the order of the route."""
    version: str = ""
    peers: dict[str, str] = field(default_factory=dict)
    other_api_users: str = ""
    """Who may use the API service today; empty means everybody."""
    channels: list[tuple[str, str]] = field(default_factory=list)
    """Which chat services hear alerts: the type, and the file that holds the webhook's URL."""
    notes: list[str] = field(default_factory=list)


def init(arguments: Namespace, context: Context) -> int:
    """Write a configuration, and print the router's commands."""
    made = _start(arguments, context)
    if arguments.from_router:
        asyncio.run(_read_router(made, arguments, context))
    _take_flags(made, arguments)
    _ask_rest(made, arguments, context)
    text = render_config(made)
    _check(text, context)
    target: Path = arguments.out
    if str(target) == "-":
        context.say(text.splitlines())
    else:
        _write(target, text)
        context.say([f"{target}: written, mode observe: edged will write nothing."])
    notes = ["", *(f"! {note}" for note in made.notes)] if made.notes else []
    say = context.warn if str(target) == "-" else context.say
    say([*notes, "", *router_commands(made, password=secrets.token_urlsafe(18))])
    say(["", "Then: edged doctor, edged run, and docs/first-hour.md."])
    return EXIT_FINE


def _start(arguments: Namespace, context: Context) -> Proposal:
    address = arguments.router or _question(context, "Address of the router", "--router", "")
    plain = arguments.tls == "off"
    port = arguments.port or (PORT_PLAIN if plain else PORT_TLS)
    made = Proposal(router=address, port=port, tls=arguments.tls)
    made.own_address = arguments.own_address or own_address(address)
    if arguments.edged_password_file:
        made.password_file = str(arguments.edged_password_file)
    if arguments.tls == "pin":
        made.fingerprint = arguments.fingerprint or _fingerprint(made)
    if plain:
        made.notes.append(
            'tls = "off": the password and every write travel as they are. The commands below '
            "make a certificate; then run edged init again without --tls off."
        )
    return made


def _fingerprint(made: Proposal) -> str:
    from edged.core.errors import RouterUnreachable
    from edged.router.session import fetch_fingerprint

    try:
        found = asyncio.run(fetch_fingerprint(made.router, made.port))
    except RouterUnreachable as error:
        made.notes.append(
            f"{error}. The fingerprint in the file is a placeholder: run the commands below, "
            "then edged init again."
        )
        return _NO_PIN
    made.notes.append(
        f"The router at {made.router} shows the certificate {found}. Compare it with the "
        "fingerprint that /certificate print detail shows on the router itself."
    )
    return found


# --- from the router ----------------------------------------------------------------------------


async def _read_router(made: Proposal, arguments: Namespace, context: Context) -> None:
    from edged.router.bgp import read_sessions
    from edged.router.reconcile import parse_facts
    from edged.router.sentences import request
    from edged.router.session import (
        CommandDeadline,
        RouterTarget,
        TlsMode,
        make_tls_context,
        open_session,
    )
    from edged.router.survey import survey
    from edged.system import clock

    if made.fingerprint == _NO_PIN:
        raise EdgedError(
            f"{made.router}:{made.port} shows no certificate to pin. Give the service api-ssl one, "
            "or look once with --tls off (the password then travels as it is)"
        )
    target = RouterTarget(
        name=made.router,
        address=made.router,
        port=made.port,
        username=arguments.user,
        tls=TlsMode(made.tls),
        fingerprint=made.fingerprint,
    )
    password = _login_password(arguments, context)
    session = await open_session(
        target,
        context=make_tls_context(target),
        password=lambda: password,
        deadline=CommandDeadline(),
        now_us=clock.monotonic_us,
    )
    try:
        facts = parse_facts(made.router, await session.ask(request("resource")))
        made.version = f"{facts.version} on {facts.board or 'an unknown board'}"
        seen = await survey(session, major=facts.major, username=arguments.user)
        wanted: dict[str, list[str]] = {_prefixed(v): [] for v in arguments.vip}
        for rule in seen.forwards or ():
            if rule.to_port == WEB_PORT and "-" not in rule.to_address:
                destination = _prefixed(rule.to_address)
                word = f"{rule.dst_address or 'any'}:{rule.dst_port} -> {rule.to_address}"
                wanted.setdefault(destination, []).append(word)
        if seen.forwards is None:
            made.notes.append("The router did not show its NAT rules: name the VIPs with --vip.")
        for destination, forwards in wanted.items():
            found = await _route(session, destination, facts.major)
            if found is None:
                made.notes.append(f"{destination}: no static route there, so it is left out.")
            else:
                made.vips.append(_with_forwards(found, forwards))
        try:
            peers = (await read_sessions(session, made.router, facts.major)).peers or ()
        except RouterRefused:
            peers = ()
        made.peers = {peer.address: peer.name for peer in peers}
        services = {one.name: one for one in seen.services or ()}
        made.other_api_users = services["api-ssl"].address if "api-ssl" in services else ""
    finally:
        session.abort()
    hops = [hop for found in made.vips for hop in found.next_hops]
    for number, hop in enumerate(dict.fromkeys(hops), start=1):
        made.gateways[hop] = _gateway_name(made, hop, number)


def _with_forwards(found: Found, forwards: Sequence[str]) -> Found:
    return Found(
        address=found.address,
        distance=found.distance,
        next_hops=found.next_hops,
        comment=found.comment,
        forwards=tuple(forwards),
    )


async def _route(session: object, destination: str, major: int) -> Found | None:
    """Read the rows of one destination; enabled static ones carry the route."""
    from edged.core.plan import address_of
    from edged.core.types import VipConfig
    from edged.router import dialect_v6, dialect_v7
    from edged.router.sentences import V7
    from edged.router.session import Session

    assert isinstance(session, Session)
    vip = VipConfig(name="init", destination=destination, checks=(), routers=())
    dialect = dialect_v7 if major >= V7 else dialect_v6
    reply = await session.ask(dialect.read_request(vip))
    rows = [
        row
        for row in dialect.parse_rows(reply.rows, vip)
        if row.static and not row.dynamic and not row.bgp and not row.disabled and row.next_hops
    ]
    if not rows:
        return None
    best = min(row.distance for row in rows)
    carrying = [row for row in rows if row.distance == best]
    hops = dict.fromkeys(address_of(hop) for row in carrying for hop in row.next_hops)
    return Found(
        address=destination,
        distance=best,
        next_hops=tuple(hops),
        comment=clean(carrying[0].comment),
    )


def _gateway_name(made: Proposal, hop: str, number: int) -> str:
    """Call it as its BGP peer is called, where that is a name; else count."""
    name = made.peers.get(hop, "")
    used = made.gateways.values()
    return name if _NAME.fullmatch(name) and name not in used else f"node{number}"


def _prefixed(address: str) -> str:
    if "/" in address:
        return address
    return f"{address}/{128 if ':' in address else 32}"


def _login_password(arguments: Namespace, context: Context) -> str:
    if arguments.password_file is not None:
        from edged.config.secret import SecretError, read_secret_file

        try:
            return read_secret_file(str(arguments.password_file), credential="router-password")
        except SecretError as error:
            raise EdgedError(str(error)) from error
    if not sys.stdin.isatty():
        raise Unfinished("nobody can be asked for the password here: give --password-file")
    return getpass.getpass(f"Password of {arguments.user} on the router: ", stream=context.err)


# --- flags and questions ------------------------------------------------------------------------


def _take_flags(made: Proposal, arguments: Namespace) -> None:
    for word in arguments.gateway:
        _take_gateway(made, word)
    known = {found.address for found in made.vips}
    for word in arguments.vip:
        if arguments.from_router:
            _check_vip(word)
        elif _prefixed(word) not in known:
            _take_vip(made, word)
    for word in arguments.channel:
        _take_channel(made, word)
    made.server_name = arguments.server_name or ""


def _take_gateway(made: Proposal, word: str) -> None:
    name, separator, address = word.partition("=")
    if not separator or not _NAME.fullmatch(name) or not _is_address(address):
        raise Unfinished(f'--gateway "{word}" is not of the form node1=172.30.1.20')
    made.gateways[address] = name


def _check_vip(word: str) -> None:
    if not _is_address(word.partition("/")[0]):
        raise Unfinished(f'--vip "{word}" is not an address such as 172.30.1.7')


def _take_vip(made: Proposal, word: str) -> None:
    _check_vip(word)
    made.vips.append(Found(address=_prefixed(word), distance=DISTANCE, next_hops=(), comment=""))


def _take_channel(made: Proposal, word: str) -> None:
    kind, separator, file = word.partition("=")
    if not separator or not file or kind not in CHANNELS:
        raise Unfinished(
            f'--channel "{word}" is not of the form slack=FILE, with the webhook\'s URL in the '
            f"file; this way go {', '.join(CHANNELS)}, the others stand in config.example.toml"
        )
    made.channels.append((kind, file))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ask_rest(made: Proposal, arguments: Namespace, context: Context) -> None:
    if not made.vips and arguments.from_router:
        raise Unfinished(
            "no forward of the router leads to :443 of an address with a static route: "
            "name the VIP with --vip"
        )
    if not made.vips:
        _ask_several(made, context, "VIP, such as 172.30.1.7", "--vip", _take_vip)
    if not made.gateways:
        text = "Gateway, such as node1=172.30.1.20"
        _ask_several(made, context, text, "--gateway", _take_gateway)
    if not made.server_name:
        made.server_name = _question(
            context,
            "A host name that the certificate covers and no HTTPRoute serves",
            "--server-name",
            "",
        )
    if not made.channels and sys.stdin.isatty():
        text = "Where alerts go, such as slack=FILE-WITH-THE-WEBHOOKS-URL; nowhere"
        _ask_several(made, context, text, "--channel", _take_channel, least=0)


def _ask_several(
    made: Proposal,
    context: Context,
    text: str,
    flag: str,
    take: Callable[[Proposal, str], None],
    *,
    least: int = 1,
) -> None:
    """Ask until an empty line; one line may hold several, and a bad one is asked for again."""
    taken = 0
    while True:
        end = " (empty line: no more)" if taken else " (empty line)" if not least else ""
        words = _question(context, f"{text}{end}", flag, "").split()
        if not words and taken >= least:
            return
        for word in words:
            try:
                take(made, word)
                taken += 1
            except Unfinished as error:
                context.warn([str(error)])


def _question(context: Context, text: str, flag: str, default: str) -> str:
    if not sys.stdin.isatty():
        raise Unfinished(f"{flag} is missing ({text.lower()}), and nobody can be asked here")
    context.out.write(f"{text}{f' [{default}]' if default else ''}: ")
    context.out.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise Unfinished(f"{flag} is missing ({text.lower()}), and the terminal was closed")
    return answer.strip() or default


# --- what comes out -----------------------------------------------------------------------------


def render_config(made: Proposal) -> str:
    """Return the configuration, with a word on each thing that was found or assumed."""
    seen = f"# Read from {made.router}, RouterOS {made.version}.\n" if made.version else ""
    router = _router_table(made)
    gateways = "\n".join(
        f'[[gateway]]\nname = "{name}"\naddress = "{address}"\n'
        for address, name in made.gateways.items()
    )
    every = set(made.gateways)
    vips = "\n".join(
        _vip_table(made, found, number, every) for number, found in enumerate(made.vips)
    )
    return (
        f"# Made by edged init. Every key and its default: config.example.toml.\n{seen}"
        "version = 1\n\n"
        "# observe writes nothing to the router, whatever happens. When edged plan and edged\n"
        '# events show for some days what you would have done yourself, write "enforce".\n'
        'mode = "observe"\n\n'
        f"{router}\n"
        "# Each is probed on its own address, which is also the next hop in the route.\n"
        f"{gateways}\n{vips}{_channel_tables(made)}"
    )


def _channel_tables(made: Proposal) -> str:
    """Return a table for each service, named after its type, with a number from the second on."""
    seen: dict[str, int] = {}
    tables = []
    for kind, file in made.channels:
        seen[kind] = seen.get(kind, 0) + 1
        name = kind if seen[kind] == 1 else f"{kind}{seen[kind]}"
        tables.append(
            f'\n[[channel]]\nname = "{name}"\ntype = "{kind}"\n'
            "# The file holds the webhook's URL, which is a secret: mode 0600, edged's user.\n"
            f"url_file = {json.dumps(file, ensure_ascii=False)}\n"
        )
    return "".join(tables)


def _router_table(made: Proposal) -> str:
    lines = [
        "[[router]]",
        'name = "router"',
        f'address = "{made.router}"',
        f"port = {made.port}",
        "# A user of edged's own: the commands that edged init printed make it.",
        'username = "edged"',
        f'tls = "{made.tls}"',
    ]
    if made.password_file == PASSWORD_FILE:
        lines.insert(-1, f"# Its password is found by its name: {PASSWORD_FILE}")
    else:
        lines.insert(-1, f'password_file = "{made.password_file}"')
    if made.tls == "pin":
        lines.append(f'fingerprint = "{made.fingerprint}"')
    if made.tls in {"off", "anonymous"}:
        lines.append("insecure = true      # for now: give api-ssl a certificate, and pin it")
    return "\n".join(lines) + "\n"


def _vip_table(made: Proposal, found: Found, number: int, every: set[str]) -> str:
    name = "web" if number == 0 else f"web{number + 1}"
    lines = [f"# Forwarded to it: {clean(forward)}" for forward in found.forwards]
    if found.comment:
        lines.append(f"# The route's comment today: {found.comment}")
    lines += ["[[vip]]", f'name = "{name}"', f'address = "{found.address}"']
    if made.version:
        lines.append("# As the route has it; BGP's must be larger, or edged would not count.")
    lines.append(f"distance = {found.distance}")
    if found.next_hops and set(found.next_hops) != every:
        names = ", ".join(f'"{made.gateways[hop]}"' for hop in found.next_hops)
        lines.append(f"gateways = [{names}]")
    lines += [
        "",
        "[vip.probe]",
        "# Asked for at each gateway as TLS name and Host. Best is a name that the certificate",
        "# covers and no HTTPRoute serves: Envoy answers 404 itself, and no back end is burdened.",
        f'server_name = "{made.server_name}"',
        "",
    ]
    return "\n".join(lines)


def _check(text: str, context: Context) -> None:
    """Hold the file against the rules before anybody has to."""
    import tempfile

    from edged.config.load import load

    with tempfile.TemporaryDirectory(prefix="edged-init-") as folder:
        path = Path(folder) / "edged.toml"
        path.write_text(text, encoding="utf-8")
        clean_environ = {k: v for k, v in context.environ.items() if not k.startswith("EDGED_")}
        load(path, clean_environ, check_secrets=False)


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise EdgedError(f"{target} is there already and stays: name another with --out") from None
    except OSError as error:
        raise EdgedError(f"{target} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def router_commands(made: Proposal, *, password: str) -> list[str]:
    """Return the RouterOS commands, each with what it does to others."""
    own = made.own_address or "ADDRESS-OF-THIS-HOST"
    sources = ",".join(filter(None, (made.other_api_users, own)))
    bound = (
        f"# The service lets in {made.other_api_users} today; this adds edged's host."
        if made.other_api_users
        else "# WARNING: today anybody may use api-ssl; from this line on only edged's host may.\n"
        "# Add the addresses of other tools that use it, separated by commas."
    )
    certificate = [
        "# A certificate for the API. Skip both lines if api-ssl has one.",
        (
            f"/certificate add name=edged-api common-name={made.router} days-valid=3650 "
            "key-usage=digital-signature,key-encipherment,tls-server"
        ),
        "/certificate sign edged-api",
        "# WARNING: other tools that use api-ssl see a new certificate from this line on.",
        "/ip service set api-ssl certificate=edged-api disabled=no",
    ]
    lines = [
        "On the router, as its administrator:",
        "",
        "# A user that can read and write, ping, and use the API, from edged's host only.",
        "# RouterOS cannot limit it to one route: edged does that itself.",
        "/user group add name=edged policy=read,write,api,test",
        f'/user add name=edged group=edged address={own} password="{password}"',
        *(certificate if made.fingerprint in {"", _NO_PIN} else ()),
        *bound.split("\n"),
        f"/ip service set api-ssl address={sources}",
        "",
        "Here, as root:",
        "",
        f"install -d -m 700 {Path(made.password_file).parent}",
        f"(umask 077; printf '%s' '{password}' > {made.password_file})",
    ]
    undo = "To take it back: /user remove edged; /user group remove edged"
    was = f'; /ip service set api-ssl address="{made.other_api_users}"' if made.version else ""
    return [*lines, "", undo + was]
