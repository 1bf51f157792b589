"""`doctor`: every assumption that edged rests on, checked once, with a fix for each that fails.

It looks with its own short router session and its own probes, so it works with and without a
daemon, and it changes nothing. `--bundle` packs what a bug report needs, without secrets.
"""

import asyncio
import io
import ipaddress
import json
import os
import platform
import random
import socket
import tarfile
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from edged.cli.client import NoDaemon
from edged.cli.context import Context
from edged.cli.render import wrap
from edged.config.errors import ConfigErrors
from edged.config.load import load
from edged.config.loaded import Loaded
from edged.config.secret import SecretError
from edged.config.types import Config, GatewayConfig, RouterConfig, RouterTls, VipConfig
from edged.core.errors import ConfigError, EdgedError, RouterError
from edged.core.plan import OwnRows, sort_rows
from edged.core.types import CoreConfig
from edged.daemon.conversion import core_config, probe_targets, router_target
from edged.probes.certificate import client_context
from edged.probes.target import Target
from edged.probes.trace import Trace, trace
from edged.router import dialect_v6, dialect_v7
from edged.router.bgp import read_sessions
from edged.router.reconcile import RouteDialect, parse_facts
from edged.router.sentences import V7, request
from edged.router.session import CommandDeadline, Session, make_tls_context, open_session
from edged.router.survey import Survey, survey
from edged.system import clock
from edged.system.redaction import Redactor

EXIT_FINE: Final = 0
EXIT_FAILED: Final = 1
UNIT: Final = Path("/etc/systemd/system/edged.service")
YEAR_LEAST: Final = 2025
CERTIFICATE_DAYS: Final = 21
CONNECT_S: Final = 2.0
HTTP_PORT: Final = 80
BUNDLE_EVENTS: Final = 1_000
KUBE_EVENTS: Final = 50


class Level(StrEnum):
    """How a check ended; `warn` is also what could not be looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


SIGNS: Final = {Level.OK: "✓", Level.WARN: "!", Level.FAIL: "✗"}
PLAIN_SIGNS: Final = {Level.OK: "ok", Level.WARN: "!", Level.FAIL: "x"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One assumption: what was found, and what to do about it."""

    area: str
    level: Level
    text: str
    fix: str = ""


def ok(area: str, text: str) -> Check:
    """Return a check that found what it should."""
    return Check(area=area, level=Level.OK, text=text)


def warn(area: str, text: str, fix: str = "") -> Check:
    """Return a check that found something to know, or could not look."""
    return Check(area=area, level=Level.WARN, text=text, fix=fix)


def fail(area: str, text: str, fix: str) -> Check:
    """Return a check that found what keeps edged from its work."""
    return Check(area=area, level=Level.FAIL, text=text, fix=fix)


def doctor(arguments: Namespace, context: Context) -> int:
    """Check everything; exit code 1 if something keeps edged from its work."""
    loaded: Loaded | None = None
    try:
        loaded = load(context.config, context.config_environ)
        checks = [*_configuration(loaded), *_host(loaded.config, context)]
        checks += asyncio.run(_network(loaded.config))
    except ConfigErrors as errors:
        checks = [fail("configuration", errors.render(), "edged check-config")]
    failed = any(check.level is Level.FAIL for check in checks)
    document = _document(checks)
    if arguments.bundle is not None:
        _write_bundle(arguments.bundle, document, loaded, context)
    if arguments.json:
        context.say_json(document)
    else:
        _show(checks, context)
    if arguments.bundle is not None and not arguments.json:
        context.say(["", f"{arguments.bundle}: written. Secrets are out; look before you send it."])
    return EXIT_FAILED if failed else EXIT_FINE


def _document(checks: list[Check]) -> dict[str, Any]:
    return {
        "schema": "edged.doctor/v1",
        "checks": [
            {"area": one.area, "level": one.level.value, "text": one.text, "fix": one.fix or None}
            for one in checks
        ],
    }


def _show(checks: list[Check], context: Context) -> None:
    terminal = context.terminal
    signs = SIGNS if terminal.unicode else PLAIN_SIGNS
    area = ""
    for check in checks:
        if check.area != area:
            context.say([*([""] if area else []), check.area])
            area = check.area
        first, *rest = wrap(terminal.sign(check.text), terminal.width - 5)
        context.say([f"  {signs[check.level]:<2} {first}", *(f"     {line}" for line in rest)])
        if check.fix:
            context.say(f"     {line}" for line in wrap(f"do: {check.fix}", terminal.width - 5))
    counted = {level: sum(one.level is level for one in checks) for level in Level}
    context.say(
        [
            "",
            f"{counted[Level.OK]} fine, {counted[Level.WARN]} to know, {counted[Level.FAIL]} wrong",
        ]
    )


# --- this host ----------------------------------------------------------------------------------


def _configuration(loaded: Loaded) -> Iterator[Check]:
    config = loaded.config
    yield ok("configuration", f"{loaded.source}: valid, mode {config.mode.value}")
    for warning in loaded.warnings:
        yield warn("configuration", warning.render(severity="warning"), "edged check-config")
    if not config.channels:
        yield warn(
            "configuration",
            "no [[channel]]: nobody is told when a gateway dies",
            "add one (config.example.toml), then edged alerts test",
        )
    else:
        names = ", ".join(channel.name for channel in config.channels)
        yield ok(
            "configuration", f"channels {names}: secrets can be read (edged alerts test sends)"
        )
    if config.dead_mans_switch is None:
        yield warn(
            "configuration",
            "no [dead_mans_switch]: nobody notices when edged or its line dies",
            "add one, from a service outside this network",
        )


def _host(config: Config, context: Context) -> Iterator[Check]:
    now = clock.wall()
    if now.year < YEAR_LEAST:
        yield fail(
            "this host", f"the clock says {now:%Y-%m-%d}", "set it (NTP); history depends on it"
        )
    else:
        yield ok("this host", f"the clock says {now:%Y-%m-%d %H:%M} UTC")
    yield _state(config)
    yield _daemon(config, context)
    yield from _kubernetes(config, context)
    yield from _names(config)
    if UNIT.exists():
        yield ok("this host", f"systemd unit {UNIT} is there")
    else:
        yield warn(
            "this host",
            f"no {UNIT}: edged does not return after a reboot",
            "edged install-files --write, or run it as a container",
        )


def _state(config: Config) -> Check:
    folder = config.state_dir
    if folder is None:
        return warn(
            "this host",
            'state_dir = "": a restart forgets drains and unsent alerts',
            "leave the key out, if this host has a disk",
        )
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return ok("this host", f"state directory {folder} can be written")
    if (folder / "edged.sqlite3").exists() or not os.access(existing, os.X_OK):
        return warn("this host", f"{folder} belongs to another user, as under systemd")
    return fail(
        "this host",
        f"state directory {folder} cannot be written by this user",
        f"mkdir -p {folder} and give it to edged's user, or use the systemd unit",
    )


def _daemon(config: Config, context: Context) -> Check:
    try:
        document = context.client.get("status")
    except NoDaemon as error:
        return warn(
            "this host", f"no daemon answers: {error}", "edged run, or systemctl start edged"
        )
    except EdgedError as error:
        return warn("this host", f"the daemon answered with a refusal: {error}")
    del config
    return ok("this host", f"the daemon runs: {document['mode']}, {document['level']}")


def _kubernetes(config: Config, context: Context) -> Iterator[Check]:
    """Repeat what the daemon found out about the cluster; it alone has a watch."""
    area = "kubernetes"
    if not config.kubernetes.enabled:
        return
    try:
        summary = str(context.client.get("status").get("kubernetes", ""))
        names = "kube.forbidden,kube.warning_found,kube.watch_lost"
        events = context.client.get("events", {"names": names, "limit": KUBE_EVENTS})["events"]
    except EdgedError:
        yield warn(area, "not checked: no daemon answers", "edged run, then edged doctor again")
        return
    yield ok(area, summary)
    told = {json.dumps(event["fields"], sort_keys=True): event for event in events}
    for event in told.values():
        fields = event["fields"]
        words = [str(fields[key]) for key in ("kind", "verb", "object", "detail") if key in fields]
        fix = str(fields.get("fix") or "deploy/kubernetes/rbac.yaml has every right, one by one")
        yield warn(area, f"{event['name']}: {' '.join(words)}", fix)


def _names(config: Config) -> Iterator[Check]:
    """Look up every host that edged talks to by name."""
    hosts = {router.address for router in config.routers} | set(_channel_hosts(config))
    for host in sorted(hosts):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield _resolved(host)


def _channel_hosts(config: Config) -> Iterator[str]:
    sources = [channel.url for channel in config.channels]
    if config.dead_mans_switch is not None:
        sources.append(config.dead_mans_switch.url)
    for source in filter(None, sources):
        try:
            host = urlsplit(source.read().reveal()).hostname
        except (SecretError, ValueError):
            continue
        if host:
            yield host


def _resolved(host: str) -> Check:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        fix = "correct the name, or this host's name servers (resolvectl status)"
        return warn("this host", f"DNS does not know {host}: {error.strerror or error}", fix)
    return ok("this host", f"DNS knows {host}")


# --- the network --------------------------------------------------------------------------------


async def _network(config: Config) -> list[Check]:
    wanted = core_config(config, random.Random())  # noqa: S311 - jitter, and unused here
    checks: list[Check] = []
    for router in config.routers:
        checks += [check async for check in _router(router, config, wanted)]
    targets = probe_targets(config, wanted)
    for one in wanted.checks:
        checks += [check async for check in _gateway(one.gateway, targets[one.key])]
    for vip in config.vips:
        checks += [check async for check in _vip(vip)]
    return checks


async def _router(router: RouterConfig, config: Config, wanted: CoreConfig) -> AsyncIterator[Check]:
    area = f"router {router.name}"
    try:
        target = router_target(router)
        session = await open_session(
            target,
            context=make_tls_context(target),
            password=lambda: router.password.read().reveal(),
            deadline=CommandDeadline(router.command_timeout_ms),
            now_us=clock.monotonic_us,
        )
    except EdgedError as error:
        yield fail(area, str(error), "edged init prints the RouterOS commands for user and service")
        return
    try:
        async for check in _session(session, router, config, wanted, area):
            yield check
    except RouterError as error:
        yield fail(area, f"the session broke: {error}", "run edged doctor again")
    finally:
        session.abort()


async def _session(
    session: Session, router: RouterConfig, config: Config, wanted: CoreConfig, area: str
) -> AsyncIterator[Check]:
    facts = parse_facts(router.name, await session.ask(request("resource")))
    yield ok(
        area,
        f"login as {router.username}: RouterOS {facts.version} on {facts.board or 'unknown'}, "
        f"answers in {facts.rtt_us / 1_000:.1f} ms",
    )
    if router.tls in {RouterTls.OFF, RouterTls.ANONYMOUS}:
        yield warn(
            area,
            f'tls = "{router.tls.value}": whoever sits in between can read or forge the session',
            "give api-ssl a certificate and pin it: edged init prints how",
        )
    else:
        yield ok(area, f"TLS: {router.tls.value}")
    seen = await survey(session, major=facts.major, username=router.username)
    for check in _account(seen, router, area):
        yield check
    dialect: RouteDialect = dialect_v7 if facts.major >= V7 else dialect_v6
    peers = (await read_sessions(session, router.name, facts.major)).peers or ()
    for vip, core_vip in zip(config.vips, wanted.vips, strict=True):
        if router.name not in core_vip.routers:
            continue
        try:
            dialect.check_vip(core_vip)
        except ConfigError as error:
            yield fail(area, str(error), "change the configuration, or the router's version")
            continue
        reply = await session.ask(dialect.read_request(core_vip))
        gateways = {one.next_hop: one for one in wanted.gateways if one.name in vip.gateways}
        rows = dialect.parse_rows(reply.rows, core_vip)
        for check in _rows(sort_rows(rows, dialect.SHAPE, core_vip, gateways), vip, area):
            yield check
        for check in _forwards(seen, vip, config, area):
            yield check
    established = {peer.address for peer in peers if peer.established}
    for gateway in config.gateways:
        yield _bgp(gateway, {peer.address for peer in peers}, established, area)
    yield _hash_policy(seen, facts.major, area)
    yield warn(
        area,
        "firewall rules that ban after many new connections: edged does not read them",
        "/ip firewall filter print where connection-limit or dst-limit or "
        "action=add-src-to-address-list; let this host's address pass",
    )


def _account(seen: Survey, router: RouterConfig, area: str) -> Iterator[Check]:
    account = seen.account
    if account is None:
        yield warn(area, "the router does not show the user's group: rights not checked")
    else:
        if account.missing:
            yield fail(
                area,
                f"group {account.group} lacks {', '.join(account.missing)}",
                f"/user group set {account.group} policy=read,write,api,test",
            )
        else:
            yield ok(area, f"group {account.group} has read, write, api and test")
        if account.superfluous:
            takes = ",".join(f"!{policy}" for policy in account.superfluous)
            yield warn(
                area,
                f"group {account.group} may do more than edged needs: "
                f"{', '.join(account.superfluous)}",
                f"/user group set {account.group} policy={takes}",
            )
        if not account.address:
            yield warn(
                area,
                f"{router.username} may log in from anywhere",
                f"/user set {router.username} address=ADDRESS-OF-THIS-HOST",
            )
    wanted = "api" if router.tls is RouterTls.OFF else "api-ssl"
    for service in seen.services or ():
        if service.name == wanted and not service.address:
            yield warn(
                area,
                f"the service {wanted} is open to everybody",
                f"/ip service set {wanted} address=ADDRESS-OF-THIS-HOST (others need theirs, too)",
            )
        elif service.name == wanted:
            yield ok(area, f"the service {wanted} is bound to {service.address}")


def _rows(own: OwnRows, vip: VipConfig, area: str) -> Iterator[Check]:
    if own.ours:
        ids = ", ".join(row.row_id for row in own.ours)
        yield ok(area, f"{vip.name}: rows {ids} are edged's, next hops {', '.join(own.members)}")
    elif own.foreign:
        yield warn(
            area,
            f"{vip.name}: a route for {vip.address} is there, without edged's mark",
            f"edged adopt {vip.name}, when edged plan shows what you expect",
        )
    else:
        yield fail(
            area,
            f"{vip.name}: no static route for {vip.address}",
            f"edged adopt {vip.name} --create",
        )
    for row in own.blocking_foreign if own.ours else ():
        yield fail(
            area,
            f"{vip.name}: row {row.row_id} is not edged's and would win or share the route",
            "remove it, disable it, or give it a larger distance",
        )
    if own.unknown:
        yield fail(
            area,
            f"{vip.name}: next hop {', '.join(own.unknown)} is no configured gateway",
            f"add it as [[gateway]], or edged adopt {vip.name} --drop {own.unknown[0]}",
        )
    nearer = [row for row in own.bgp if row.distance <= vip.distance]
    if nearer:
        yield fail(
            area,
            f"{vip.name}: BGP's distance {nearer[0].distance} is not above edged's {vip.distance}",
            "make edged's distance smaller than BGP's (10 and 20 are usual)",
        )
    elif own.bgp:
        yield ok(area, f"{vip.name}: {len(own.bgp)} BGP routes stand by, distance larger than ours")
    else:
        yield warn(area, f"{vip.name}: no BGP route stands by for the day when edged hands over")


def _forwards(seen: Survey, vip: VipConfig, config: Config, area: str) -> Iterator[Check]:
    if seen.forwards is None:
        yield warn(area, "the router does not show its NAT rules: not checked")
        return
    address = vip.address.partition("/")[0]
    nodes = {gateway.address: gateway.name for gateway in config.gateways}
    port = str(vip.probe.port)
    to_vip = [rule for rule in seen.forwards if rule.to_address == address]
    if any(rule.to_port == port for rule in to_vip):
        yield ok(area, f"{vip.name}: a port forward leads to {address}:{port}")
    else:
        yield warn(
            area,
            f"{vip.name}: no port forward leads to {address}:{port}",
            "fine, if clients reach the VIP without NAT",
        )
    for rule in seen.forwards:
        if rule.to_address in nodes and rule.to_port == port:
            yield fail(
                area,
                f"the port forward {rule.dst_port} goes straight to {nodes[rule.to_address]}: "
                "edged's route cannot help those connections",
                f'/ip firewall nat set [find comment="{rule.comment}"] to-addresses={address}',
            )


def _bgp(gateway: GatewayConfig, known: set[str], up: set[str], area: str) -> Check:
    addresses = {gateway.address, gateway.next_hop}
    if addresses & up:
        return ok(area, f"BGP with {gateway.name} is established")
    if addresses & known:
        return warn(area, f"BGP with {gateway.name} is down", f"edged why {gateway.name}")
    return warn(area, f"BGP has no peer for {gateway.name}", 'without BGP: [bgp] policy = "off"')


def _hash_policy(seen: Survey, major: int, area: str) -> Check:
    if major < V7:
        return ok(area, "ECMP on RouterOS 6 spreads by address pair: one client stays on one node")
    if seen.hash_policy is None:
        return warn(area, "ECMP hash policy not shown (settable from 7.16): by address pair")
    return ok(area, f"ECMP hash policy {seen.hash_policy}")


async def _gateway(name: str, target: Target) -> AsyncIterator[Check]:
    area = f"gateway {name}"
    found = await trace(target, verifying=client_context(None))
    where = f"{target.address}:{target.port}"
    if not found.light.passed:
        reason = found.light.reason.value if found.light.reason else "failed"
        yield fail(
            area, f"{where}: {reason} {found.light.detail}".rstrip(), f"edged probe {name} --trace"
        )
        return
    if not found.full.passed:
        reason = found.full.reason.value if found.full.reason else "failed"
        yield fail(
            area,
            f"{where}: TLS and HTTP as {target.server_name}: {reason} {found.full.detail}".rstrip(),
            f"edged probe {name} --trace; is server_name covered by a listener?",
        )
    else:
        yield ok(
            area,
            f"{where}: TCP, TLS as {target.server_name}, HTTP {found.full.http_status} in "
            f"{found.full.total_us / 1_000:.1f} ms",
        )
    for check in _traced(found, target, area):
        yield check
    if await _connects(target.address, HTTP_PORT):
        yield ok(area, f"{target.address}:{HTTP_PORT} answers, too")
    else:
        yield warn(area, f"{target.address}:{HTTP_PORT} does not answer (edged does not judge it)")


def _traced(found: Trace, target: Target, area: str) -> Iterator[Check]:
    if found.full.reaches_backend:
        yield warn(
            area,
            f"{target.server_name} is served by a back end: a sick back end looks like a sick node",
            "use a server_name that the certificate covers and no HTTPRoute serves",
        )
    certificate = found.certificate
    if certificate is None:
        return
    days = certificate.days_left(clock.wall())
    if certificate.fault is not None:
        yield warn(area, f"certificate: {certificate.fault.value} {certificate.detail}".rstrip())
    elif days < CERTIFICATE_DAYS:
        yield warn(area, f"the certificate ends in {days} days", "renew it")
    else:
        yield ok(area, f"certificate for {', '.join(certificate.names[:3])}, {days} days left")


async def _vip(vip: VipConfig) -> AsyncIterator[Check]:
    area = f"VIP {vip.name}"
    address = vip.address.partition("/")[0]
    if await _connects(address, vip.probe.port):
        yield ok(area, f"this host reaches {address}:{vip.probe.port} through the route")
    else:
        yield warn(
            area,
            f"this host does not reach {address}:{vip.probe.port}",
            "only a canary needs that; clients may come another way",
        )
    service = vip.kube_service or "kube-system/gateway-lb"
    namespace, _, name = service.partition("/")
    yield warn(
        area,
        "with externalTrafficPolicy Cluster a node may pass connections on to another node's "
        "Envoy, dead or not: ask for Local",
        f"kubectl -n {namespace} get service {name} -o jsonpath={{.spec.externalTrafficPolicy}}",
    )


async def _connects(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


# --- the bundle ---------------------------------------------------------------------------------


def _write_bundle(
    target: Path, document: dict[str, Any], loaded: Loaded | None, context: Context
) -> None:
    """Pack what a report needs; every text goes through the same redaction."""
    redactor = _redactor(loaded)
    parts = {"doctor.json": document, "host.json": _about()}
    for name in ("status", "plan", "events"):
        try:
            query = {"limit": BUNDLE_EVENTS} if name == "events" else {}
            parts[f"{name}.json"] = context.client.get(name, query)
        except EdgedError as error:
            parts[f"{name}.json"] = {"missing": str(error)}
    texts = {
        name: json.dumps(redactor.value(part), indent=2) + "\n" for name, part in parts.items()
    }
    if loaded is not None and Path(loaded.source).is_file():
        texts["config.toml"] = redactor.text(_without_secrets(Path(loaded.source)))
    try:
        with tarfile.open(target, "w:gz") as archive:
            for name, text in texts.items():
                data = text.encode()
                entry = tarfile.TarInfo(f"edged-bundle/{name}")
                entry.size, entry.mtime = len(data), int(clock.wall().timestamp())
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise EdgedError(f"{target} cannot be written: {error.strerror}") from error


def _redactor(loaded: Loaded | None) -> Redactor:
    redactor = Redactor()
    if loaded is None:
        return redactor
    config = loaded.config
    sources = [router.password for router in config.routers]
    for channel in config.channels:
        sources += filter(None, (channel.url, channel.token, channel.routing_key, channel.secret))
    if config.dead_mans_switch is not None:
        sources.append(config.dead_mans_switch.url)
    for source in sources:
        try:
            redactor.hide(source.read().reveal())
        except SecretError:
            continue
    return redactor


def _without_secrets(file: Path) -> str:
    """Cut each line behind a key that looks like a secret's."""
    from edged.config.load import hide_secrets

    return "".join(f"{hide_secrets(line)}\n" for line in file.read_text("utf-8").splitlines())


def _about() -> dict[str, Any]:
    import edged

    return {
        "edged": edged.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "in_container": Path("/.dockerenv").exists() or bool(os.environ.get("container")),  # noqa: SIM112 - so spelt
    }
