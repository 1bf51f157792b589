"""`/ping` and `/tool/ping`: one row per probe, counters on every row.

Sources: recorded rows of 6.x (whole milliseconds), 7.x and 7.24.3 (microseconds, lost probes).
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edged.simulator.replies import Done, Pause, Row, Step, Trap, Words
from edged.simulator.values import invalid, read_duration_us, write_duration

DEFAULT_INTERVAL_US = 1_000_000
"""One probe a second, unless `interval` says otherwise."""

PingAnswer = Callable[[str], float | None]
"""Gives the round trip in seconds for an address, or None for no answer; asked once per probe."""


@dataclass(slots=True)
class _Tally:
    sent: int = 0
    round_trips_us: list[int] | None = None

    def words(self, *, whole_ms: bool) -> Words:
        heard = self.round_trips_us or []
        loss = 100 * (self.sent - len(heard)) // self.sent
        words = {"sent": str(self.sent), "received": str(len(heard)), "packet-loss": str(loss)}
        if heard:
            words |= {
                "min-rtt": _rtt(min(heard), whole_ms=whole_ms),
                "avg-rtt": _rtt(sum(heard) // len(heard), whole_ms=whole_ms),
                "max-rtt": _rtt(max(heard), whole_ms=whole_ms),
            }
        return words


def _rtt(microseconds: int, *, whole_ms: bool) -> str:
    return write_duration(microseconds, smallest="ms" if whole_ms else "us")


def run_ping(
    arguments: Words, *, is_v6: bool, answer: PingAnswer, lost_after_s: float | None
) -> Iterator[Step]:
    """Ping as the arguments say.

    Args:
        arguments: Words of the sentence, already held against the grammar.
        is_v6: Whether times are whole milliseconds.
        answer: The world.
        lost_after_s: How long an unanswered probe takes to be reported; None means one interval.

    Raises:
        Trap: No address was given, or it is a name.
    """
    address = arguments.get("address")
    if not address:
        raise Trap("missing =address=")
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise Trap("resolve failed") from None
    interval_s = _interval_us(arguments) / 1_000_000
    count = _count(arguments)
    tally = _Tally(round_trips_us=[])
    sequence = 0
    while count is None or sequence < count:
        round_trip_s = answer(address)
        tally.sent += 1
        waited_s = lost_after_s if lost_after_s is not None else interval_s
        row = {"seq": str(sequence), "host": address}
        if round_trip_s is None:
            row["status"] = "timeout"
        else:
            waited_s = round_trip_s
            assert tally.round_trips_us is not None
            tally.round_trips_us.append(int(round_trip_s * 1_000_000))
            row |= {
                "size": arguments.get("size", "56"),
                "ttl": "64",
                "time": _rtt(tally.round_trips_us[-1], whole_ms=is_v6),
            }
        yield Pause(waited_s)
        yield Row(row | tally.words(whole_ms=is_v6))
        sequence += 1
        if count is None or sequence < count:
            yield Pause(max(0.0, interval_s - waited_s))
    yield Done()


def _interval_us(arguments: Words) -> int:
    if "interval" not in arguments:
        return DEFAULT_INTERVAL_US
    return read_duration_us("interval", arguments["interval"])


def _count(arguments: Words) -> int | None:
    """Return how many probes to send; none given, or zero, means until cancelled."""
    written = arguments.get("count", "0")
    if not written.isdecimal():
        raise invalid("count")
    return int(written) or None
