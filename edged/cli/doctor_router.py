"""`doctor` on a router: login and rights, rows and distances, forwards, BGP, timers, firewall."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from edged.cli.doctor_checks import Check, fail, ok, warn
from edged.cli.ways import own_address, passes_a_router
from edged.config.types import (
    CheckGateway,
    Config,
    GatewayConfig,
    RouterConfig,
    RouterTls,
    VipConfig,
)
from edged.core.errors import ConfigError, EdgedError, RouterError
from edged.core.plan import OwnRows, sort_rows
from edged.core.types import CoreConfig
from edged.daemon.conversion import router_target
from edged.router import dialect_v6, dialect_v7
from edged.router.bgp import read_sessions
from edged.router.firewall import Firewall, Way, read_firewall
from edged.router.reconcile import RouteDialect, parse_facts
from edged.router.sentences import V7, request
from edged.router.session import CommandDeadline, Session, make_tls_context, open_session
from edged.router.survey import Survey, Timers, read_timers, survey
from edged.system import clock

API_SESSIONS: Final = 4
"""Two that the daemon holds, one of `doctor`, and one that is being replaced."""
PROBES_AT_ONCE: Final = 8
"""One connection held open, a burst, and a probe that waits out its deadline."""
FIXED_TIMERS: Final = "every 10 s, two misses (11 to 21 s)"


async def router_checks(
    router: RouterConfig, config: Config, wanted: CoreConfig
) -> AsyncIterator[Check]:
    """Log in once and look at everything that edged rests on there."""
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
    yield _logins(seen, router, area)
    dialect: RouteDialect = dialect_v7 if facts.major >= V7 else dialect_v6
    peers = (await read_sessions(session, router.name, facts.major)).peers or ()
    owned: dict[str, OwnRows] = {}
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
        owned[vip.name] = sort_rows(rows, dialect.SHAPE, core_vip, gateways)
        for check in _rows(owned[vip.name], vip, area):
            yield check
        for check in _forwards(seen, vip, config, area):
            yield check
    established = {peer.address for peer in peers if peer.established}
    for gateway in config.gateways:
        yield _bgp(gateway, {peer.address for peer in peers}, established, area)
    yield _hash_policy(seen, facts.major, area)
    for check in _check_gateway(config, owned, await read_timers(session, facts), area):
        yield check
    for check in await _firewall(session, router, config, area):
        yield check


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


def _logins(seen: Survey, router: RouterConfig, area: str) -> Check:
    """Tell whether another edged is logged in with the same account."""
    if seen.logins is None:
        return warn(area, "the router does not show who is logged in: another edged not looked for")
    own = own_address(router.address)
    others = sorted(set(seen.logins) - {own})
    here = seen.logins.count(own)
    if others:
        return warn(
            area,
            f"{router.username} is logged in from {', '.join(others)}, too: another edged there "
            "writes the same route, unless a lease says which one may",
            "stop one of them, or give both a lease: docs/kubernetes.md",
        )
    if here > API_SESSIONS:
        return warn(
            area,
            f"{router.username} has {here} API sessions from this host; one edged needs two",
            "look for a second edged: ps -C edged",
        )
    return ok(area, f"nobody else is logged in as {router.username}")


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
        return ok(
            area,
            "ECMP hash policy is not settable here (it is from 7.16): l3, one client stays on one "
            "node",
        )
    stays = (
        "each connection goes its own way"
        if seen.hash_policy == "l4"
        else ("one client stays on one node")
    )
    return ok(area, f"ECMP hash policy {seen.hash_policy}: {stays}")


def _check_gateway(
    config: Config, owned: dict[str, OwnRows], timers: Timers, area: str
) -> Iterator[Check]:
    """Tell what the router itself does about a dead next hop, and how fast."""
    for vip in config.vips:
        rows = owned[vip.name].ours if vip.name in owned else ()
        checked = [row for row in rows if row.check_gateway in {"ping", "arp"}]
        speed = str(timers) if timers.settable else FIXED_TIMERS
        if checked:
            yield ok(
                area,
                f"{vip.name}: check-gateway={checked[0].check_gateway} on {len(checked)} of "
                f"{len(rows)} rows; the router itself looks {speed}",
            )
            if timers.hasty:
                yield warn(
                    area,
                    f"check-gateway gives a node {timers.timeout} to answer a ping: a busy node "
                    "leaves the route for nothing",
                    "/routing settings set check-gateway-ping-timeout=100ms",
                )
        elif vip.check_gateway is not CheckGateway.NONE and rows:
            yield warn(
                area,
                f"{vip.name}: check_gateway is configured, and no row has it: edged sets it on "
                "rows that it creates only",
                f'/ip route set [find comment~"edged:{vip.name}"] '
                f"check-gateway={vip.check_gateway.value}",
            )
        elif rows:
            yield ok(
                area,
                f"{vip.name}: no check-gateway, so nobody but edged takes a dead node out "
                f"(with it the router looks {speed})",
            )


async def _firewall(
    session: Session, router: RouterConfig, config: Config, area: str
) -> list[Check]:
    """Look for rules that could shut this host out for connecting again and again."""
    own = own_address(router.address)
    found = None if not own or ":" in own else await read_firewall(session, own)
    if found is None:
        return [
            warn(
                area,
                "firewall rules not checked: the router does not show them, or is reached by IPv6",
                "/ip firewall filter print where connection-limit or dst-limit or "
                "action=add-src-to-address-list; let this host's address pass",
            )
        ]
    checks = [
        fail(
            area,
            f"this host ({own}) is on the router's list {ban.list_name}"
            f"{f' for {ban.left}' if ban.left else ''}, and rule {ban.rule} turns it away",
            f'/ip firewall address-list remove [find list="{ban.list_name}" address={own}]',
        )
        for ban in found.bans()
    ]
    port = router_target(router).endpoint_port
    api = Way(chain="input", source=own, target=router.address, port=port, at_once=API_SESSIONS)
    checks += _threats(found, api, f"edged's own sessions to :{port}", area)
    for vip in config.vips:
        port = vip.probe.port
        for gateway in config.gateways:
            if gateway.name in vip.gateways and passes_a_router(gateway.address):
                way = Way(
                    chain="forward",
                    source=own_address(gateway.address) or own,
                    target=gateway.address,
                    port=port,
                    at_once=PROBES_AT_ONCE,
                )
                checks += _threats(found, way, f"probes of {gateway.name}:{port}", area)
    return checks


def _threats(found: Firewall, way: Way, what: str, area: str) -> list[Check]:
    threats = found.threats(way)
    if not threats:
        return [ok(area, f"no firewall rule counts {what} (chain {way.chain})")]
    return [
        warn(
            area,
            f"a firewall rule may turn away {what}, for they come again and again: "
            f"{'; '.join(str(rule) for rule in threats)}",
            f"/ip firewall filter add chain={way.chain} action=accept protocol=tcp "
            f"src-address={way.source} dst-port={way.port} comment=edged "
            f"place-before={threats[0].row_id}",
        )
    ]
