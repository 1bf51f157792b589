"""The named sets of probe numbers.

Owns the numbers that differ between profiles. A value in ``[vip.probe]`` replaces its one number
and leaves the others of the profile in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edged.config.types import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileNumbers:
    """What a profile sets."""

    burst_ms: tuple[int, int, int, int]
    timeout_ms: int
    silent_after_ms: int
    heartbeat_interval_ms: int
    heartbeat_deadline_ms: int


PROFILES: Mapping[Profile, ProfileNumbers] = MappingProxyType(
    {
        # A silent node leaves in 350 ms at worst; a lost packet costs one probe, never a removal.
        Profile.DEFAULT: ProfileNumbers(
            burst_ms=(0, 50, 100, 200),
            timeout_ms=250,
            silent_after_ms=150,
            heartbeat_interval_ms=100,
            heartbeat_deadline_ms=100,
        ),
        # For a quiet switch between edged and the nodes: 125 ms at worst, four times the beats.
        Profile.FAST: ProfileNumbers(
            burst_ms=(0, 20, 40, 100),
            timeout_ms=200,
            silent_after_ms=60,
            heartbeat_interval_ms=25,
            heartbeat_deadline_ms=40,
        ),
        # For Wi-Fi, busy nodes and long lines: rides out bursts of loss of a third of a second.
        Profile.CALM: ProfileNumbers(
            burst_ms=(0, 100, 200, 400),
            timeout_ms=500,
            silent_after_ms=400,
            heartbeat_interval_ms=250,
            heartbeat_deadline_ms=250,
        ),
    }
)
