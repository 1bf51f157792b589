"""BGP: what a router's sessions to the gateways may say, and what not (design 7).

Owns when a session drop is a sign, when a missing session delays an entry, and when it makes a
gateway DEGRADED. Must not remove anybody: a cilium-agent that restarts takes its session along
while its Envoy serves on, so BGP alone is never evidence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

GATE_MS: Final = 180_000
"""A gateway outside waits this long at most for a session it once had."""
COMMON_CAUSE_MS: Final = 300_000
"""Half of a VIP's sessions lost within this long is the router's or a roll-out's doing."""
DOWN_WITH_NODE_MS: Final = 5_000
"""So long, instead of `down_for`, if the router's ping to the node fails, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpSessions:
    """One readable poll: gateway -> established; gateways that are missing have no peer."""

    router: str
    established: Mapping[str, bool]


@dataclass(slots=True)
class _Session:
    established: bool
    ever: bool = False
    down_since_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """One session as people should see it."""

    router: str
    gateway: str
    established: bool
    ever: bool
    down_since_ms: int | None


class BgpWatch:
    """The sessions of one router, as far as they have been seen since its boot and our start."""

    __slots__ = ("_known", "_missing_told", "readable", "router", "seen_ms")

    def __init__(self, router: str) -> None:
        self.router = router
        self.readable = False
        self.seen_ms: int | None = None
        self._known: dict[str, _Session] = {}
        self._missing_told: set[str] = set()

    def forget(self) -> None:
        """The router has booted: what was established before says nothing now."""
        self._known.clear()
        self.readable = False

    def unreadable(self) -> None:
        """The list cannot be read: unknown, which neither degrades nor delays anything."""
        self.readable = False

    def observe(
        self, sessions: BgpSessions, now_ms: int
    ) -> tuple[list[str], list[tuple[str, int]]]:
        """Take a poll; returns the gateways that lost a session, and those that have it again.

        The latter come with how long it was away in milliseconds.
        """
        self.readable = True
        self.seen_ms = now_ms
        lost: list[str] = []
        back: list[tuple[str, int]] = []
        for gateway, established in sessions.established.items():
            known = self._known.setdefault(gateway, _Session(established=False))
            if established:
                if known.down_since_ms is not None:
                    back.append((gateway, now_ms - known.down_since_ms))
                known.established = known.ever = True
                known.down_since_ms = None
            elif known.ever and known.established:
                known.established = False
                known.down_since_ms = now_ms
                lost.append(gateway)
        for gateway in self._known.keys() - sessions.established.keys():
            del self._known[gateway]  # a person took the peer away: nothing is missing
        return lost, back

    def not_configured(self, gateways: Iterable[str]) -> list[str]:
        """Return gateways without a peer that nobody was told about yet."""
        fresh = [g for g in gateways if g not in self._known and g not in self._missing_told]
        self._missing_told.update(fresh)
        return fresh

    def down_since_ms(self, gateway: str) -> int | None:
        """Return since when a session that was established once is down; None: it is not."""
        known = self._known.get(gateway)
        if not self.readable or known is None or not known.ever:
            return None
        return known.down_since_ms

    @property
    def any_down(self) -> bool:
        """Whether any session that was established once is down, as far as can be read."""
        return self.readable and any(k.down_since_ms is not None for k in self._known.values())

    def established(self, gateway: str) -> bool:
        """Whether the session is up, as far as can be read."""
        known = self._known.get(gateway)
        return self.readable and known is not None and known.established

    def common_cause(self, gateway: str, gateways: Iterable[str]) -> bool:
        """Whether half or more of these gateways' sessions went down around the same time."""
        since_ms = self.down_since_ms(gateway)
        if since_ms is None:
            return False
        names = set(gateways)
        ever = [name for name, known in self._known.items() if known.ever and name in names]
        together = [
            name
            for name in ever
            if (other_ms := self._known[name].down_since_ms) is not None
            and abs(other_ms - since_ms) <= COMMON_CAUSE_MS
        ]
        return 2 * len(together) >= len(ever)

    def views(self) -> Iterator[SessionView]:
        """Yield every session seen."""
        for gateway, known in self._known.items():
            yield SessionView(
                router=self.router,
                gateway=gateway,
                established=known.established,
                ever=known.ever,
                down_since_ms=known.down_since_ms,
            )
