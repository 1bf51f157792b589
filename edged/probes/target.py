"""Where a check's probes go, and who is told what they found. Values and one protocol only."""

from dataclasses import dataclass, field
from typing import Protocol

from edged.core.types import ProbeResult, ProbeTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One gateway's listener as a check sees it; `address` is an IPv4 or IPv6 literal."""

    address: str
    server_name: str
    port: int = 443
    path: str = "/.well-known/edged"
    timing: ProbeTiming = field(default_factory=ProbeTiming)

    def same_place(self, other: "Target") -> bool:
        """Whether a probe of `other` says anything about this one: all but the timing is equal."""
        return (self.address, self.port, self.server_name, self.path) == (
            other.address,
            other.port,
            other.server_name,
            other.path,
        )


class ProbeSink(Protocol):
    """Who learns what probes and held connections saw.

    Every method is called on the event loop, must not block, and may call the runner again.
    Only `probe_started` is called from inside `ProbeRunner.start`; all else comes from the loop.
    """

    def probe_started(self, probe_id: int, now_ms: int) -> None:
        """The SYN (or PING) has left."""

    def probe_connected(self, probe_id: int, now_ms: int) -> None:
        """The SYN-ACK has come."""

    def probe_finished(self, result: ProbeResult, now_ms: int) -> None:
        """The probe is over; it is reported exactly once."""

    def held_opened(self, check: str, now_ms: int) -> None:
        """A light probe's connection is held from now on; what the one before owed is void."""

    def held_lost(self, check: str, reason: str, now_ms: int) -> None:
        """The held connection broke without a GOAWAY: a sensor trips."""

    def held_goaway(self, check: str, now_ms: int) -> None:
        """The held connection is gone in good order, or was given up by us: no evidence."""

    def heartbeat_missed(self, check: str, sent_ms: int, now_ms: int) -> None:
        """The heartbeat sent at `sent_ms` is not answered in time; told once until one is heard."""

    def heartbeat_heard(self, check: str, now_ms: int) -> None:
        """The first answer after a miss."""

    def heartbeat_unavailable(self, check: str, detail: str, now_ms: int) -> None:
        """The gateway refuses HTTP/2: only full probes from now on; told once."""

    def stalled(self, stall_ms: int, now_ms: int) -> None:
        """We were late ourselves by `stall_ms`."""

    def certificate_seen(self, check: str, digest: str, der: bytes) -> None:
        """The gateway serves a leaf (SHA-256 in hexadecimal) that this check has not seen last."""
