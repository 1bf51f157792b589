"""The ledger: the engine's state, the events it makes, and plain look-ups. No rule lives here."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from edged.core.bgp import BgpWatch
from edged.core.checks import Check
from edged.core.cluster import ClusterWatch
from edged.core.errors import CommandRefused
from edged.core.events import Event, Scalar, Severity, event
from edged.core.own_trouble import OwnTrouble
from edged.core.routes import Route
from edged.core.selection import (
    GatewayView,
)
from edged.core.types import (
    CoreConfig,
    Drain,
    GatewayConfig,
    Pause,
    PlannedStep,
    ProbeRequest,
    RouteDecision,
    RouterFacts,
    Undrain,
    VipConfig,
)

TRAIL_LENGTH: Final = 64
"""Events kept per gateway for `edged why`."""

POD: Final = "pod"


@dataclass(slots=True)
class VipState:
    """What holds for one VIP on every router."""

    config: VipConfig
    checks: tuple[str, ...]
    gateways: dict[str, GatewayConfig] = field(default_factory=dict)
    departed: dict[str, GatewayConfig] = field(default_factory=dict)
    blind: bool = False
    blind_ends_ms: int = 0

    @property
    def min_healthy(self) -> int:
        """The floor: configured, or half of the gateways that were ever UP, rounded up."""
        if self.config.min_healthy is not None:
            return self.config.min_healthy
        return -(-(len(self.checks) - len(self.config.uncounted)) // 2)


@dataclass(slots=True)
class RouterState:
    """What is known of one router."""

    up: bool = False
    back_ms: int = 0
    lost_ms: int | None = None
    refusal_told: bool = False
    facts: RouterFacts | None = None
    upgraded_to: str = ""
    upgraded_detail: str = ""
    answers: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=8))
    bgp: BgpWatch = field(default_factory=lambda: BgpWatch(""))


class Ledger:
    """Everything the engine knows; the chapters above it add the rules."""

    __slots__ = (
        "_by_gateway",
        "_checks",
        "_cluster",
        "_cluster_judged",
        "_config",
        "_decisions",
        "_dirty",
        "_drains",
        "_due",
        "_heap",
        "_moved",
        "_next_id",
        "_not_writer",
        "_now_ms",
        "_out",
        "_paused",
        "_routers",
        "_routes",
        "_started_ms",
        "_trails",
        "_trouble",
        "_unsure_writer",
        "_views_of",
        "_vips",
        "_witness_reads",
    )

    def __init__(self, config: CoreConfig, now_ms: int) -> None:
        self._config = config
        self._next_id = 0
        self._checks: dict[str, Check] = {}
        self._by_gateway: dict[str, list[Check]] = {}
        self._vips: dict[str, VipState] = {}
        self._routers: dict[str, RouterState] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._drains: dict[str, dict[str, Drain]] = {}
        self._heap: list[tuple[int, str]] = []
        self._due: dict[int, ProbeRequest] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._moved: set[tuple[str, str]] = set()
        self._views_of: dict[str, dict[tuple[str, str], GatewayView]] = {}
        self._decisions: dict[tuple[str, str], RouteDecision] = {}
        self._witness_reads: dict[str, str] = {}
        self._paused: Pause | None = None
        self._not_writer = False
        self._unsure_writer = False
        self._cluster = ClusterWatch()
        self._cluster_judged = False
        self._trouble = OwnTrouble()
        self._trails: dict[str, deque[Event]] = {}
        self._out: list[Event] = []
        self._now_ms = now_ms
        self._started_ms = now_ms

    def _clock(self, now_ms: int) -> None:
        assert now_ms >= self._now_ms, "the core's clock never goes back"
        self._now_ms = now_ms

    def _flush(self) -> tuple[Event, ...]:
        out = tuple(self._out)
        self._out.clear()
        return out

    def _emit(self, name: str, severity: Severity | None = None, /, **fields: Scalar) -> None:
        made = event(name, self._now_ms, severity, **fields)
        self._out.append(made)
        gateway = made.get("gateway")
        if isinstance(gateway, str) and not self._repeats(made):
            self._trail(gateway).append(made)
        for key in ("added", "removed"):
            names = made.get(key)
            if isinstance(names, tuple):
                for name_of in names:
                    self._trail(name_of).append(made)

    def _repeats(self, made: Event) -> bool:
        """Whether this only says again that a check is DOWN: a trail keeps how it came to that."""
        check = self._checks.get(str(made.get("check")))
        down = check is not None and check.health.verdict is not None
        return down and made.severity is Severity.DEBUG

    def _trail(self, gateway: str) -> deque[Event]:
        return self._trails.setdefault(gateway, deque(maxlen=TRAIL_LENGTH))

    def _is_member(self, check: Check) -> bool:
        return any(
            check.name in route.members
            for route in self._routes.values()
            if route.vip in check.vips
        )

    def _routers_of(self, check: Check) -> list[str]:
        routers = [router for vip in check.vips for router in self._vips[vip].config.routers]
        return list(dict.fromkeys(routers))

    def _checks_in(self, route: Route, name: str) -> Iterator[Check]:
        for check in self._by_gateway.get(name, ()):
            if route.vip in check.vips:
                yield check

    def _first_sign(self, planned: PlannedStep) -> int | None:
        signs = [
            check.health.verdict.first_sign_ms
            for name in planned.removed
            for check in self._by_gateway.get(name, ())
            if check.health.verdict is not None
        ]
        return min(signs, default=None)

    def _lead_ms(self, gateway: str, first_sign_ms: int) -> int | None:
        """Return how long before the first sign of its end a gateway had left the route."""
        going = self._cluster.pods.get(gateway)
        if going is None or going.left_ms is None:
            return None
        return first_sign_ms - going.left_ms

    def _known(self, gateway: str) -> list[Check]:
        checks = self._by_gateway.get(gateway)
        if not checks:
            known = ", ".join(sorted(self._by_gateway))
            text = f'there is no gateway "{gateway}"; known are {known}'
            raise CommandRefused(text)
        return checks

    def _drain(self, command: Drain) -> None:
        self._known(command.gateway)
        drains = self._drains.setdefault(command.gateway, {})
        drains[command.source] = command
        self._emit(
            "gateway.drained",
            gateway=command.gateway,
            source=command.source,
            owner=command.owner or None,
            reason=command.reason or None,
            until_ms=command.until_ms,
            force=command.force,
        )

    def _undrain(self, command: Undrain, cause: str) -> None:
        drains = self._drains.get(command.gateway, {})
        drain = drains.pop(command.source, None)
        if drain is None:
            if command.source == "person":
                text = f'"{command.gateway}" is not drained by a person; nothing to undo'
                raise CommandRefused(text)
            return
        if not drains:
            del self._drains[command.gateway]
        self._emit(
            "gateway.undrained",
            gateway=command.gateway,
            source=command.source,
            owner=drain.owner or None,
            cause=cause,
        )

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _order(self, vip: str) -> tuple[str, ...]:
        return tuple(gateway.name for gateway in self._vips[vip].gateways.values())

    def _gateway(self, vip: str, name: str) -> GatewayConfig:
        return next(g for g in self._vips[vip].gateways.values() if g.name == name)

    def _uptime_ms(self, route: Route) -> int:
        facts = self._routers[route.router].facts
        return facts.uptime_ms if facts is not None else 0

    def _routes_on(self, router: str) -> list[Route]:
        return [route for route in self._routes.values() if route.router == router]

    def _routes_of(self, check: Check) -> list[Route]:
        return [route for route in self._routes.values() if route.vip in check.vips]

    def _dirty_router(self, router: str) -> None:
        self._dirty.update(key for key in self._routes if key[0] == router)
