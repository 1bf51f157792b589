"""Commands of people, and configuration."""

from typing import assert_never

from edged.core.bgp import BgpWatch
from edged.core.checks import Check
from edged.core.errors import CommandRefused
from edged.core.events import Event
from edged.core.ledger import RouterState, VipState
from edged.core.plan import address_of
from edged.core.routes import Route
from edged.core.routing import Routing
from edged.core.types import (
    Command,
    CoreConfig,
    Drain,
    DropNextHop,
    GatewayConfig,
    HandOver,
    Pause,
    Recheck,
    Resume,
    Undrain,
)


class Commands(Routing):
    """Carries out what people ask for."""

    __slots__ = ()

    def command(self, command: Command, now_ms: int) -> tuple[Event, ...]:
        """Carry out a person's (or the cluster's) wish.

        Raises:
            CommandRefused: with one sentence that says why and what to do.
        """
        self._clock(now_ms)
        match command:
            case Drain():
                self._drain(command)
            case Undrain():
                asked = command.source == "person"
                self._undrain(command, "asked" if asked else "no longer asked for")
            case Pause():
                self._paused = command
                self._emit("daemon.paused", owner=command.owner, until_ms=command.until_ms)
            case Resume():
                self._resume(command)
            case Recheck():
                for check in self._known(command.gateway):
                    self._start_burst(check, "recheck", now_ms)
                    self._collect(check, now_ms)
                    self._touch(check, now_ms)
            case HandOver():
                self._hand_over(command)
            case DropNextHop():
                self._drop(command)
            case _:
                assert_never(command)
        self._dirty.update(self._routes)
        return self._flush()

    def _resume(self, command: Resume) -> None:
        if self._paused is not None:
            self._paused = None
            self._emit("daemon.resumed", owner=command.owner, cause="asked")
        for route in self._routes.values():
            route.resume()
        for router in self._routers.values():
            router.upgraded_to = ""

    def _hand_over(self, command: HandOver) -> None:
        vip = self._vips.get(command.vip)
        if vip is None:
            known = ", ".join(self._vips)
            text = f'there is no VIP "{command.vip}"; known are {known}'
            raise CommandRefused(text)
        routes = [route for route in self._routes.values() if route.vip == command.vip]
        for route in routes if command.to_bgp else ():
            if not self._live_bgp(route):
                text = (
                    f"{route.router} shows no BGP route for {vip.config.destination} from an "
                    "established session, so handing over would leave the VIP without any route; "
                    "nothing was changed"
                )
                raise CommandRefused(text)
        for route in routes:
            route.handed_over = command.to_bgp
            route.human_hold.clear()
            self._emit(
                "route.handed_over",
                vip=route.vip,
                router=route.router,
                to="bgp" if command.to_bgp else "edged",
                owner=command.owner or None,
            )

    def _drop(self, command: DropNextHop) -> None:
        routes = [route for route in self._routes.values() if route.vip == command.vip]
        known = {hop for route in routes if route.own is not None for hop in route.own.unknown}
        wanted = {hop for hop in known if command.next_hop in {hop, address_of(hop)}}
        if not wanted:
            text = (
                f'"{command.next_hop}" is not an unknown next hop of {command.vip}; '
                f"those are: {', '.join(sorted(known)) or 'none'}"
            )
            raise CommandRefused(text)
        for route in routes:
            route.drops |= wanted

    def _end_timed_commands(self, now_ms: int) -> None:
        if (
            self._paused is not None
            and self._paused.until_ms is not None
            and now_ms >= self._paused.until_ms
        ):
            owner = self._paused.owner
            self._paused = None
            self._emit("daemon.resumed", owner=owner, cause="time is up")
            self._dirty.update(self._routes)
        over = [
            drain
            for drains in self._drains.values()
            for drain in drains.values()
            if drain.until_ms is not None and now_ms >= drain.until_ms
        ]
        for drain in over:
            self._undrain(Undrain(gateway=drain.gateway, source=drain.source), "time is up")
            self._dirty.update(self._routes)
        if not self._trouble.warming_up(now_ms) and self._trouble.cause:
            self._trouble.cause = ""
            self._dirty.update(self._routes)
        for route in self._routes.values():
            if route.human_until_ms is not None and now_ms >= route.human_until_ms:
                route.human_until_ms = None
                self._dirty.add(route.key)

    def configure(self, config: CoreConfig, now_ms: int) -> tuple[Event, ...]:
        """Take a new configuration; streaks of checks that stay are kept."""
        self._clock(now_ms)
        self._config = config
        self._configure(config, now_ms)
        return self._flush()

    def _configure(self, config: CoreConfig, now_ms: int) -> None:
        gateways = {gateway.name: gateway for gateway in config.gateways}
        self._configure_checks(config, gateways, now_ms)
        before = self._vips
        self._vips = {}
        for vip in config.vips:
            fresh = VipState(config=vip, checks=vip.checks)
            for key in vip.checks:
                gateway = self._checks[key].gateway
                fresh.gateways[gateway.next_hop] = gateway
            old = before.get(vip.name)
            if old is not None:
                fresh.blind, fresh.blind_ends_ms = old.blind, old.blind_ends_ms
                for hop, gateway in (*old.gateways.items(), *old.departed.items()):
                    if hop not in fresh.gateways:
                        fresh.departed[hop] = gateway
                        fresh.gateways[hop] = gateway
            self._vips[vip.name] = fresh
        for check in self._checks.values():
            check.vips = tuple(v.name for v in config.vips if check.key in v.checks)
            check.hurried_by.clear()
            self._find_neighbours(check)
        for router in config.routers:
            self._routers.setdefault(router, RouterState(bgp=BgpWatch(router)))
        wanted = {(router, vip.name) for vip in config.vips for router in vip.routers}
        self._routes = {
            key: self._routes.get(key) or Route(*key)
            for vip in config.vips
            for key in ((router, vip.name) for router in vip.routers)
        }
        self._views_of.clear()
        for check in self._checks.values():
            check.routes = tuple(key for key in self._routes if key[1] in check.vips)
        self._decisions = {k: d for k, d in self._decisions.items() if k in wanted}
        self._dirty = set(self._routes)
        for route in self._routes.values():
            held = self._vips[route.vip]
            route.resort(held.config, held.gateways)
            for name in route.members:
                for check in self._checks_in(route, name):
                    check.health.presume_up(now_ms)
        for check in self._checks.values():
            self._touch(check, now_ms)

    def _configure_checks(
        self,
        config: CoreConfig,
        gateways: dict[str, GatewayConfig],
        now_ms: int,
    ) -> None:
        kept = self._checks
        self._checks = {}
        count = len(config.checks)
        for index, wanted in enumerate(config.checks):
            old = kept.get(wanted.key)
            if old is not None and old.gateway == gateways[wanted.gateway]:
                old.evidence.reconfigure(wanted)
                old.health.hold_down = config.hold_down
                self._checks[wanted.key] = old
                continue
            spread_ms = index * wanted.timing.interval_ms // count
            self._checks[wanted.key] = Check(
                wanted,
                gateways[wanted.gateway],
                hold_down=config.hold_down,
                now_ms=now_ms,
                first_probe_ms=now_ms + spread_ms,
                ids=self._new_id,
                jitter=config.jitter_permille,
                jitter_at=index * 7,
            )
        self._by_gateway = {}
        for check in self._checks.values():
            self._by_gateway.setdefault(check.name, []).append(check)
        self._due = {
            probe_id: request
            for probe_id, request in self._due.items()
            if request.check in self._checks
        }
