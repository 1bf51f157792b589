"""Heartbeats in virtual time, on a socket that exists only here."""

import asyncio
import ssl
from typing import cast

from edged.core.types import ProbeTiming
from edged.probes.frames import ACK, GOAWAY, PING, PREFACE, SETTINGS, SETTINGS_ACK, Pinging, frame
from edged.probes.held import MAX_UNANSWERED, Held
from edged.probes.timers import Timers
from tests.support.virtual_loop import FakeLoop

FD = 7
DEFAULTS = ProbeTiming()


class FakeTls:
    """What a held connection needs of a secured socket; the test is the other side."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.inbox: list[bytes] = []
        self.full = False
        self.broken = False
        self.closed = False

    def fileno(self) -> int:
        return FD

    def send(self, data: bytes) -> int:
        if self.broken:
            raise BrokenPipeError
        if self.full:
            raise ssl.SSLWantWriteError
        self.sent.append(bytes(data))
        return len(data)

    def recv_into(self, buffer: memoryview) -> int:
        if not self.inbox:
            raise ssl.SSLWantReadError
        data = self.inbox.pop(0)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.closed = True


class World:
    """One held connection; plays its owner and writes down what it is told, and when."""

    def __init__(self, timing: ProbeTiming = DEFAULTS) -> None:
        self.loop = FakeLoop()
        self.tls = FakeTls()
        self.told: list[tuple[str, int]] = []
        self.stalls: list[int] = []
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        timers = Timers(
            loop=loop,
            clock_ms=lambda: self.loop.now_ms,
            on_stall=lambda stall_ms, _now_ms: self.stalls.append(stall_ms),
        )
        pinging = Pinging()
        assert pinging.opening().startswith(PREFACE)
        pinging.receive(frame(SETTINGS) + pong(1))
        self.held = Held(
            self,
            check="node1",
            timing=timing,
            loop=loop,
            timers=timers,
            tls=cast("ssl.SSLSocket", self.tls),
            pinging=pinging,
            now_ms=self.loop.now_ms,
        )

    def on_lost(self, held: Held, reason: str) -> None:
        assert reason
        held.close()
        self.told.append(("lost", self.loop.now_ms))

    def on_left(self, held: Held) -> None:
        held.close()
        self.told.append(("left", self.loop.now_ms))

    def on_missed(self, _held: Held, sent_ms: int, now_ms: int) -> None:
        assert now_ms == self.loop.now_ms
        self.told.append((f"missed that of {sent_ms}", now_ms))

    def on_heard(self, _held: Held) -> None:
        self.told.append(("heard", self.loop.now_ms))

    def on_ponged(self, token: int) -> None:
        self.told.append((f"ponged {token}", self.loop.now_ms))

    def arrive(self, data: bytes) -> None:
        """Let bytes arrive, and the selector see them."""
        self.tls.inbox.append(data)
        self.loop.readers[FD]()

    def beats(self) -> int:
        """Count the PINGs sent."""
        return sum(part.startswith(b"\0\0\x08\x06\0") for part in self.tls.sent)


def pong(number: int) -> bytes:
    return frame(PING, ACK, number.to_bytes(8, "big"))


def test_a_heartbeat_leaves_every_interval_on_the_grid() -> None:
    world = World()
    for number in range(2, 12):
        world.loop.run_until(900 + 100 * number)
        assert world.beats() == number - 1
        world.arrive(pong(number))

    assert world.told == []


def test_a_miss_is_told_at_the_deadline_and_once() -> None:
    world = World()

    world.loop.run_until(1_900)

    assert world.told == [("missed that of 1100", 1_200)]
    assert world.beats() == 9, "the PINGs go on"


def test_a_deadline_shorter_than_the_interval_is_kept_to_the_millisecond() -> None:
    world = World(ProbeTiming(heartbeat_interval_ms=100, heartbeat_deadline_ms=33))

    world.loop.run_until(1_200)

    assert world.told == [("missed that of 1100", 1_133)]


def test_a_deadline_longer_than_the_interval_waits_for_the_oldest() -> None:
    world = World(ProbeTiming(heartbeat_interval_ms=25, heartbeat_deadline_ms=40))
    world.loop.run_until(1_060)
    world.arrive(pong(2))

    world.loop.run_until(1_100)

    assert world.told == [("missed that of 1050", 1_090)]


def test_a_late_answer_is_heard_and_what_trickles_in_after_it_is_no_new_miss() -> None:
    world = World()
    world.loop.run_until(1_450)
    world.arrive(pong(2))
    world.loop.run_until(1_499)
    world.arrive(pong(4))

    assert world.told == [("missed that of 1100", 1_200), ("heard", 1_450)]

    world.loop.run_until(1_600)
    assert world.told[2:] == [("missed that of 1500", 1_600)]


def test_an_answer_that_has_arrived_unseen_counts() -> None:
    world = World()
    world.loop.run_until(1_150)
    world.tls.inbox.append(pong(2))

    world.loop.run_until(1_250)

    assert world.told == []


def test_a_stall_of_ours_is_not_the_gateways_miss() -> None:
    world = World()
    world.loop.run_until(1_150)
    world.loop.stall(500)
    world.loop.run_until(1_660)

    assert world.stalls == [450]
    assert world.told == []


def test_unanswered_heartbeats_are_bounded() -> None:
    world = World()

    world.loop.run_until(60_000)

    assert world.beats() == MAX_UNANSWERED


def test_a_peer_that_takes_nothing_more_is_sent_nothing_more() -> None:
    world = World()
    world.tls.full = True
    world.loop.run_until(1_300)
    world.tls.full = False
    world.loop.run_until(1_400)

    assert world.beats() == 2, "the one that was held back, and the one due"
    assert world.told[0][0].startswith("missed")


def test_a_peer_that_sends_and_never_reads_is_left() -> None:
    world = World(ProbeTiming(heartbeat=False))
    world.tls.full = True
    for _ in range(8):
        if FD in world.loop.readers:
            world.arrive(frame(PING, payload=bytes(8)))

    assert [name for name, _ in world.told] == ["left"]


def test_what_the_peer_asks_is_answered() -> None:
    world = World()

    world.arrive(frame(SETTINGS) + frame(PING, payload=b"12345678"))

    assert world.tls.sent == [SETTINGS_ACK + frame(PING, ACK, b"12345678")]


def test_a_broken_connection_is_told_a_moment_later() -> None:
    """A witness may be asked from inside a call of the sink."""
    world = World()
    world.tls.broken = True

    world.held.ask(42)
    assert world.told == []

    world.loop.run_until(1_000)
    assert world.told == [("lost", 1_000)]
    assert world.tls.closed
    assert not world.held.ask(43)


def test_an_answer_and_a_goodbye_at_once_are_both_taken() -> None:
    world = World()
    world.held.ask(42)

    world.arrive(pong(2) + frame(GOAWAY, payload=bytes(8)))

    assert world.told == [("ponged 42", 1_000), ("left", 1_000)]
    assert world.loop.readers == {}


def test_new_numbers_hold_from_the_next_heartbeat_on() -> None:
    world = World()
    world.held.retime(ProbeTiming(heartbeat_interval_ms=250, heartbeat_deadline_ms=250))

    world.loop.run_until(1_600)

    assert world.beats() == 3, "at 1100, 1350 and 1600"
    assert world.told == [("missed that of 1100", 1_350)]


def test_heartbeats_can_be_switched_off_and_on() -> None:
    world = World()
    off = ProbeTiming(heartbeat=False)
    world.held.retime(off)
    world.loop.run_until(1_500)
    assert world.beats() == 0

    world.held.retime(DEFAULTS)
    world.held.retime(DEFAULTS)
    world.loop.run_until(1_600)
    assert world.beats() == 1
    world.held.retime(off)
    world.held.retime(DEFAULTS)
    world.loop.run_until(1_690)
    assert world.beats() == 1

    assert world.told == []


def test_a_closed_connection_does_nothing_more() -> None:
    world = World()
    world.held.ask(42)

    assert world.held.close() == [42]
    world.loop.run_until(5_000)

    assert world.beats() == 1
    assert world.told == []
