"""What the page shows beside the present: the last probes, the last day, the last events.

Owns a bounded memory, filled as things happen and, after a start, from what the store kept. Must
not decide anything, and must not cost anything: one probe is a few additions.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from edged.core.types import ProbeDepth, ProbeOutcome, ProbeResult, RouteRead

CELLS: Final = 40
CELL_MS: Final = 15_000
"""Forty cells of 15 s: ten minutes, in which whoever was called sees what happened."""

LATENCIES: Final = 240
DAY_MS: Final = 86_400_000
CHANGES_MAX: Final = 2_000
"""Changes kept of one lane; a gateway that flaps more often is drawn for a shorter time."""

EVENTS_SHOWN: Final = 20
EVENTS_KEPT: Final = 60

Fields = Mapping[str, object]
Document = dict[str, object]


@dataclass(slots=True)
class Cell:
    """The probes of one gateway in one stretch of time."""

    at: int
    passed: int = 0
    failed: int = 0
    unclear: int = 0
    latency_us_max: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A lane's state for a while; wall milliseconds since 1970."""

    state: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of the route on one router."""

    at_ms: int
    router: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """How a gateway left a VIP's route on one router."""

    at_ms: int
    total_ms: int | None
    verified: bool


@dataclass(slots=True)
class _Gateway:
    """What is known about a gateway from events: its state, and since when it had which."""

    down: bool = False
    waiting: bool = False
    causes: set[str] = field(default_factory=set)
    drains: set[str] = field(default_factory=set)
    changes: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))

    def state(self) -> str:
        """Return the word of `GatewayState` that these facts make."""
        if self.drains:
            return "DRAIN"
        if self.down:
            return "DOWN"
        if self.waiting:
            return "WAIT"
        return "DEGRADED" if self.causes else "UP"

    def forget(self) -> None:
        """Begin anew, as a new process does."""
        self.down = self.waiting = False
        self.causes.clear()
        self.drains.clear()


@dataclass(slots=True)
class _Vip:
    frozen: set[tuple[str, str]] = field(default_factory=set)
    changes: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))


@dataclass(slots=True)
class _Probes:
    cells: deque[Cell] = field(default_factory=lambda: deque(maxlen=CELLS))
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything one page is made of, taken at one instant; nothing in it changes any more."""

    document: Document
    wall_ms: int
    cells: Mapping[str, tuple[Cell | None, ...]]
    latencies: Mapping[str, tuple[int, int]]
    """Gateway: the median and the 99th percentile, in microseconds."""
    lanes: Mapping[str, tuple[Stretch, ...]]
    route_lanes: Mapping[str, tuple[Stretch, ...]]
    marks: Mapping[str, tuple[Mark, ...]]
    events: tuple[Document, ...]
    reads: Mapping[tuple[str, str], int]
    """Router and VIP: when its rows were read last, in wall milliseconds."""
    router_since: Mapping[str, int]
    went_down: Mapping[str, Fields]
    removals: Mapping[tuple[str, str], Mapping[str, Removal]]
    """VIP and gateway: on each router, how it left."""


class Watch:
    """The bounded memory behind the page."""

    def __init__(self) -> None:
        self._probes: dict[str, _Probes] = {}
        self._reads: dict[tuple[str, str], int] = {}
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the past."""
        self._gateways: dict[str, _Gateway] = {}
        self._vips: dict[str, _Vip] = {}
        self._runs: deque[tuple[int, str]] = deque(maxlen=CHANGES_MAX)
        self._last_ms = 0
        self._events: deque[Document] = deque(maxlen=EVENTS_KEPT)
        self._router_since: dict[str, int] = {}
        self._went_down: dict[str, Fields] = {}
        self._removals: dict[tuple[str, str], dict[str, Removal]] = {}

    # --- taking

    def probe(self, gateway: str, result: ProbeResult, wall_ms: int) -> None:
        """Count one finished probe."""
        probes = self._probes.get(gateway)
        if probes is None:
            probes = self._probes[gateway] = _Probes()
        at = wall_ms // CELL_MS
        if not probes.cells or probes.cells[-1].at != at:
            probes.cells.append(Cell(at))
        cell = probes.cells[-1]
        if result.outcome is ProbeOutcome.PASSED:
            cell.passed += 1
            if result.depth is not ProbeDepth.PING and result.latency_us:
                cell.latency_us_max = max(cell.latency_us_max, result.latency_us)
                probes.latencies.append(result.latency_us)
        elif result.outcome is ProbeOutcome.FAILED:
            cell.failed += 1
            cell.reason = str(result.reason)
        else:
            cell.unclear += 1

    def read(self, read: RouteRead, wall_ms: int) -> None:
        """Note when a route was read."""
        self._reads[read.router, read.vip] = wall_ms

    def event(self, document: Document) -> None:
        """Take one event in its JSON form; of the past first, in order."""
        self._events.append(document)
        at_ms = wall_ms_of(str(document["time"]))
        fields = document["fields"]
        assert isinstance(fields, Mapping)
        name = str(document["name"])
        family = name.partition(".")[0]
        if family == "daemon":
            self._run(name, at_ms)
        elif family == "gateway":
            self._gateway(name, fields, at_ms)
        elif family == "route":
            self._route(name, fields, at_ms)
        elif family == "router":
            self._router(name, str(fields.get("router")), at_ms)
        self._last_ms = max(at_ms, self._last_ms)

    def past(self, documents: Iterable[Document]) -> None:
        """Take what the store kept of the last day, before or after the first live events."""
        live = list(self._events)
        self._begin()
        seen = set()
        for document in [*documents, *live]:
            if document["seq"] not in seen:
                seen.add(document["seq"])
                self.event(document)

    def _run(self, name: str, at_ms: int) -> None:
        if name == "daemon.stopped":
            self._runs.append((at_ms, "off"))
        elif name == "daemon.started":
            if self._runs and self._runs[-1][1] == "on":
                # It was killed some time after it was heard last; nobody knows when.
                self._runs.append((self._last_ms, "off"))
            self._runs.append((at_ms, "on"))
            for gateway in self._gateways.values():
                gateway.forget()
            for vip in self._vips.values():
                vip.frozen.clear()

    def _gateway(self, name: str, fields: Fields, at_ms: int) -> None:
        who = str(fields.get("gateway"))
        known = self._gateways.setdefault(who, _Gateway())
        match name:
            case "gateway.went_down":
                known.down, known.waiting = True, False
                self._went_down[who] = {**fields, "at_ms": at_ms}
            case "gateway.waiting":
                known.down, known.waiting = False, True
            case "gateway.came_up":
                known.down = known.waiting = False
            case "gateway.degraded":
                known.causes.add(str(fields.get("cause")))
            case "gateway.undegraded":
                known.causes.discard(str(fields.get("cause")))
            case "gateway.drained":
                known.drains.add(str(fields.get("source")))
            case "gateway.undrained":
                known.drains.discard(str(fields.get("source")))
            case _:
                return
        known.changes.append((at_ms, known.state()))

    def _route(self, name: str, fields: Fields, at_ms: int) -> None:
        vip, router = str(fields.get("vip")), str(fields.get("router"))
        known = self._vips.setdefault(vip, _Vip())
        match name:
            case "route.frozen":
                known.frozen.add((router, str(fields.get("reason"))))
                known.changes.append((at_ms, "frozen"))
            case "route.thawed":
                known.frozen.discard((router, str(fields.get("reason"))))
                known.changes.append((at_ms, "frozen" if known.frozen else "free"))
            case "route.changed":
                added, removed = _names(fields.get("added")), _names(fields.get("removed"))
                known.marks.append(Mark(at_ms, router, added, removed))
                for gateway in removed:
                    self._left(vip, gateway, router, fields, at_ms, verified=False)
            case "route.verified":
                for gateway in _names(fields.get("removed")):
                    self._left(vip, gateway, router, fields, at_ms, verified=True)
            case _:
                return

    def _left(
        self, vip: str, gateway: str, router: str, fields: Fields, at_ms: int, *, verified: bool
    ) -> None:
        total = fields.get("total_ms")
        self._removals.setdefault((vip, gateway), {})[router] = Removal(
            at_ms=at_ms, total_ms=total if isinstance(total, int) else None, verified=verified
        )

    def _router(self, name: str, router: str, at_ms: int) -> None:
        if name in {"router.connected", "router.recovered", "router.lost"}:
            self._router_since[router] = at_ms

    # --- showing

    def picture(self, document: Document, wall_ms: int) -> Picture:
        """Return what a page needs, as it is now."""
        gateways: dict[str, tuple[str, int]] = {}
        vips: dict[str, str] = {}
        for vip in _dicts(document.get("vips")):
            blocked = any(one.get("blocking") for one in _dicts(vip.get("frozen")))
            vips[str(vip["name"])] = "frozen" if blocked else "free"
            for one in _dicts(vip.get("gateways")):
                since = one.get("since")
                since_ms = wall_ms_of(since) if isinstance(since, str) else wall_ms
                gateways[str(one["name"])] = (str(one["state"]), since_ms)
        first = wall_ms // CELL_MS - CELLS + 1
        cells: dict[str, tuple[Cell | None, ...]] = {}
        latencies: dict[str, tuple[int, int]] = {}
        for name in gateways:
            probes = self._probes.get(name)
            if probes is not None:
                by_time = {cell.at: cell for cell in probes.cells}
                cells[name] = tuple(_copy(by_time.get(first + i)) for i in range(CELLS))
                if probes.latencies:
                    latencies[name] = _percentiles(probes.latencies)
        return Picture(
            document=document,
            wall_ms=wall_ms,
            cells=cells,
            latencies=latencies,
            lanes={
                name: tuple(self._lane(name, state, since_ms, wall_ms))
                for name, (state, since_ms) in gateways.items()
            },
            route_lanes={
                name: tuple(self._route_lane(name, state, wall_ms)) for name, state in vips.items()
            },
            marks={
                name: tuple(mark for mark in known.marks if mark.at_ms > wall_ms - DAY_MS)
                for name, known in self._vips.items()
            },
            events=tuple(self._events)[-EVENTS_SHOWN:],
            reads=dict(self._reads),
            router_since=dict(self._router_since),
            went_down=dict(self._went_down),
            removals={key: dict(value) for key, value in self._removals.items()},
        )

    def _lane(self, name: str, state: str, since_ms: int, now_ms: int) -> Iterator[Stretch]:
        """Yield a gateway's last day; the present is what the engine says it is."""
        known = self._gateways.get(name)
        changes = list(known.changes) if known is not None else []
        stretches = list(self._stretches(changes, "UP", now_ms))
        if stretches and stretches[-1].state == state:
            yield from stretches
            return
        for one in stretches:
            if one.from_ms < since_ms:
                yield Stretch(one.state, one.from_ms, min(one.to_ms, since_ms))
        yield Stretch(state, min(max(since_ms, now_ms - DAY_MS), now_ms), now_ms)

    def _route_lane(self, name: str, state: str, now_ms: int) -> Iterator[Stretch]:
        known = self._vips.get(name)
        changes = list(known.changes) if known is not None else []
        stretches = list(self._stretches(changes, "free", now_ms))
        if stretches and stretches[-1].state != state:
            last = stretches.pop()
            stretches.append(Stretch(state, last.from_ms, last.to_ms))
        yield from stretches

    def _stretches(
        self, changes: list[tuple[int, str]], usual: str, now_ms: int
    ) -> Iterator[Stretch]:
        """Merge a lane's changes with the runs of edged, cut to the last day."""
        begin_ms = now_ms - DAY_MS
        runs = [(at_ms, usual if run == "on" else "off") for at_ms, run in self._runs]
        state, from_ms = "off", begin_ms
        for at_ms, after in sorted([*runs, *changes], key=lambda change: change[0]):
            if at_ms > begin_ms and after != state:
                if at_ms > from_ms:
                    yield Stretch(state, from_ms, min(at_ms, now_ms))
                from_ms = at_ms
            state = after
        if now_ms > from_ms:
            yield Stretch(state, from_ms, now_ms)


def wall_ms_of(time: str) -> int:
    """Return an RFC 3339 time as milliseconds since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1_000)


def wall_at(wall_ms: int) -> datetime:
    """Return milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(wall_ms / 1_000, UTC)


def _copy(cell: Cell | None) -> Cell | None:
    if cell is None:
        return None
    return Cell(cell.at, cell.passed, cell.failed, cell.unclear, cell.latency_us_max, cell.reason)


def _percentiles(latencies: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(latencies)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)]


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list | tuple) else ()


def _dicts(value: object) -> Iterator[Mapping[str, object]]:
    assert isinstance(value, list)
    for one in value:
        assert isinstance(one, Mapping)
        yield one
