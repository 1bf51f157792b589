"""What the numbers in force mean: how late a death is seen, how often a live gateway is taken out.

Owns the arithmetic that ``check-config`` prints. Pure; the simulation of the real core is the
judge, this is the estimate that anybody can check by hand.

**Detection**, at worst, from the fault to the verdict. With heartbeats: a killed Envoy's kernel
closes the held connection (22 ms was the worst of 60 tries, 7 ms the median) and two refusals
follow within 5 ms; a silent node is noticed by the next heartbeat, at its deadline, and is judged
``silent_after`` later; a hung one is judged when the burst's last probe has timed out. Without
heartbeats the next routine probe, at most 5 % late by its jitter, has to find out, and its own
time-out comes first. A gateway that the floor would keep waits for one ping of the router, and
several that fail at once do, too: up to 2 s more.

**False removals**, per gateway and year, for independent loss of a share ``p`` of packets each
way. A SYN exchange fails with ``q = 1 - (1 - p)²``, about ``2 p``; so does a heartbeat, since a
lost one is repeated only after TCP's 200 ms. A live gateway leaves as *silent* when three SYNs in
a row get no answer while the held connection is silent::

    with heartbeats     year / heartbeat_interval · q · q³  +  year / interval · q · q³
    without             year / interval · q³

(a heartbeat missed, then the burst; or a routine probe's SYN, two more, and a heartbeat missed).
It leaves as *ill* when all four probes of a burst fail. A probe has three exchanges: SYN, TLS
hello, request. One lost in the last two costs 200 ms, which a deadline below 220 ms does not
survive; two do not fit into any deadline near that::

    r = q + 1 - (1 - q)²  with a short deadline,   r = q + q²  with a longer one
    triggers · r⁴,   triggers as above without their last three SYNs

Where more than 0.5 % of a gateway's fresh probes fail by loss (``r > 0.005``), *silent* needs a
fourth SYN and *ill* a second burst: one more ``q``, four more ``r``.

Loss in the real world comes in bursts, which no formula of independent loss knows: half a second
without a packet is an outage, and edged treats it as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edged.config.durations import format_duration
from edged.config.types import Config, Heartbeat, ProbeConfig

HELD_LOSS_MS_MAX = 22
REFUSED_VERDICT_MS = 5
JITTER_PER_CENT = 5
RETRANSMIT_MS = 200
"""Linux repeats a lost data packet no sooner (TCP_RTO_MIN)."""
RETRANSMIT_MARGIN_MS = 20
WARY_LOSS = 0.005
"""Above this share of fresh probes lost, a verdict needs one more sign."""
YEAR_MS = 31_556_952_000
"""The mean Gregorian year."""
LOSSES = (0.0001, 0.001, 0.01)
"""One-way packet loss: a good LAN, a poor one, a broken one."""

_RARELY = 0.01
_OFTEN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Worst time from the fault to the verdict, per class."""

    refused_ms: int
    silent_ms: int
    ill_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseRemovals:
    """Live gateways taken out, per gateway and year, at one loss."""

    loss: float
    silent_per_year: float
    ill_per_year: float

    @property
    def per_year(self) -> float:
        """Return the sum over the classes; loss alone never makes *refused*."""
        return self.silent_per_year + self.ill_per_year


@dataclass(frozen=True, slots=True, kw_only=True)
class VipSummary:
    """What one VIP's numbers mean."""

    vip: str
    profile: str
    detection: Detection
    false_removals: tuple[FalseRemovals, ...]


def summarize(config: Config) -> tuple[VipSummary, ...]:
    """Work out every VIP's numbers."""
    return tuple(
        VipSummary(
            vip=vip.name,
            profile=vip.probe.profile.value,
            detection=worst_detection(vip.probe),
            false_removals=tuple(expect_false_removals(vip.probe, loss=loss) for loss in LOSSES),
        )
        for vip in config.vips
    )


def worst_detection(probe: ProbeConfig) -> Detection:
    """Return the worst detection times; the module's docstring has the sums."""
    ill_after_ms = probe.burst_ms[-1] + probe.timeout_ms
    if probe.heartbeat is Heartbeat.OFF:
        routine_ms = probe.interval_ms + -(-probe.interval_ms * JITTER_PER_CENT // 100)
        noticed_ms = routine_ms + probe.timeout_ms
        refused_ms = routine_ms + REFUSED_VERDICT_MS
    else:
        noticed_ms = probe.heartbeat_interval_ms + probe.heartbeat_deadline_ms
        refused_ms = HELD_LOSS_MS_MAX + REFUSED_VERDICT_MS
    return Detection(
        refused_ms=refused_ms,
        silent_ms=noticed_ms + probe.silent_after_ms,
        ill_ms=noticed_ms + ill_after_ms,
    )


def expect_false_removals(probe: ProbeConfig, *, loss: float) -> FalseRemovals:
    """Return the false removals per gateway and year at an independent one-way loss."""
    assert 0 <= loss <= 1, loss
    exchange = 1 - (1 - loss) ** 2
    failure = _probe_failure(probe, exchange)
    routine_per_year = YEAR_MS / probe.interval_ms
    if probe.heartbeat is Heartbeat.OFF:
        # The routine probe itself is the first of the burst.
        silent = routine_per_year * exchange**3
        ill = routine_per_year * failure**4
    else:
        beats_per_year = YEAR_MS / probe.heartbeat_interval_ms
        silent = (beats_per_year + routine_per_year) * exchange * exchange**3
        ill = beats_per_year * exchange * failure**4 + routine_per_year * failure**4
    if failure > WARY_LOSS:
        silent *= exchange
        ill *= failure**4
    return FalseRemovals(loss=loss, silent_per_year=silent, ill_per_year=ill)


def _probe_failure(probe: ProbeConfig, exchange: float) -> float:
    """Return how often loss alone fails a full probe."""
    if probe.timeout_ms < RETRANSMIT_MS + RETRANSMIT_MARGIN_MS:
        later = 1 - (1 - exchange) ** 2
    else:
        later = exchange**2
    return min(1.0, exchange + later)


def render_summary(summaries: Iterable[VipSummary]) -> str:
    """Write the summaries as ``check-config`` prints them."""
    lines: list[str] = []
    for summary in summaries:
        found = summary.detection
        lines += [
            f"VIP {summary.vip} (profile {summary.profile})",
            "  a gateway that dies is noticed within",
            f"    {format_duration(found.refused_ms):>8}  refused: Envoy is gone, the node answers",
            f"    {format_duration(found.silent_ms):>8}  silent: no packet comes back",
            f"    {format_duration(found.ill_ms):>8}  ill: it accepts and does not serve",
            "  a live gateway is taken out by mistake, with packets lost at random each way",
        ]
        lines += [
            f"    {format_rate(one.per_year):>24}  at {one.loss:.2%} loss"
            for one in summary.false_removals
        ]
    lines.append(
        "Kept by the floor, or several at once: one ping of the router more, up to 2s. "
        "Loss in bursts is not in these sums."
    )
    return "\n".join(lines)


def format_rate(per_year: float) -> str:
    """Say how often something happens, in words a person can weigh."""
    if per_year >= _OFTEN:
        return f"{per_year:,.0f} times a year"
    if per_year >= 1:
        return f"{per_year:.1f} times a year"
    if per_year >= _RARELY:
        return f"once in {1 / per_year:,.0f} years"
    return "less than once a century"
