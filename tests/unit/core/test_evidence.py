"""Evidence: bursts, the three ways to die, witnesses, sensors and our own trouble (design 4).

`OneCheck` feeds one check's evidence by hand; times are milliseconds from the start of the burst.
`Bench` is used where others must answer. Strips: probes `P` passed, `F` failed, `?` inconclusive.
"""

import pytest

from edged.core.evidence import REPORT_GRACE_MS, Evidence, Finding, LossWindow, WitnessFinder
from edged.core.types import (
    CheckConfig,
    DeathClass,
    Drain,
    ProbeDepth,
    ProbeKind,
    ProbeReason,
    ProbeRequest,
    ProbeTiming,
    Recheck,
)
from tests.support.core import (
    DEFAULT,
    PROFILES,
    ROUTER,
    Bench,
    Manner,
    a_config,
    a_result,
    names,
)

REFUSED, TIMEOUT = ProbeReason.REFUSED, ProbeReason.CONNECT_TIMEOUT
FAR_MS = 10**9


class OneCheck:
    """One check's evidence; `sees` is what the witness finder says, whatever the span."""

    def __init__(self, timing: ProbeTiming = DEFAULT, *, sees: str | None = "node2") -> None:
        self.evidence = Evidence(
            CheckConfig(key="node1", gateway="node1", timing=timing),
            first_probe_ms=FAR_MS,
            ids=iter(range(1, 1_000)).__next__,
            jitter=(0,),
            jitter_at=0,
        )
        self.sees = sees
        self.now_ms = 0
        self.requests: list[ProbeRequest] = []
        self.finding: Finding | None = None
        self.spans: list[tuple[int, int]] = []

    def burst(self, cause: str = "recheck") -> None:
        self.evidence.start_burst(self.now_ms, cause)
        self.at(self.now_ms)

    def _witness(self) -> WitnessFinder:
        def find(sent_ms: int, answered_ms: int) -> str | None:
            self.spans.append((sent_ms, answered_ms))
            return self.sees

        return find

    def at(self, now_ms: int) -> None:
        """Go to an instant; probes that are due start, rules apply."""
        while self.now_ms <= now_ms:
            for request in self.evidence.take_due(self.now_ms, rising=False, down=False):
                self.requests.append(request)
                self.evidence.on_started(request.probe_id, self.now_ms)
            self._conclude()
            if self.now_ms == now_ms:
                return
            self.now_ms += 1

    def _conclude(self) -> None:
        found = self.evidence.conclude(self.now_ms, self._witness())
        self.finding = found or self.finding

    def finish(self, number: int, reason: ProbeReason | None) -> None:
        """End the probe that started as the `number`th (from 0)."""
        request = self.requests[number]
        flight = self.evidence.flights[request.probe_id]
        assert flight.started_ms is not None
        result = a_result(
            request.probe_id,
            reason=reason,
            depth=request.depth,
            started_ms=flight.started_ms,
            connected_ms=flight.connected_ms,
            finished_ms=self.now_ms,
        )
        _, found = self.evidence.on_finished(result, self.now_ms)
        self.finding = found or self.finding
        self._conclude()

    def connect(self, number: int) -> None:
        self.evidence.on_connected(self.requests[number].probe_id, self.now_ms)

    @property
    def death(self) -> DeathClass | None:
        return self.finding.death if self.finding is not None else None

    @property
    def bursting(self) -> bool:
        return self.evidence.burst is not None

    @property
    def starts(self) -> list[int]:
        return [request.start_ms for request in self.requests]


# --- strips: from probes to what a gateway is ---------------------------------------------------


def strip(bench: Bench, probes: str) -> str:
    """Let node1 behave as the strip says, a second each; return what it is after each second."""
    manners = {"P": Manner.ANSWER, "F": Manner.REFUSE, "?": Manner.LOCAL_ERROR, "H": Manner.HANG}
    letters = {"UP": "U", "DOWN": "D", "WAIT": "W", "UNKNOWN": ".", "DEGRADED": "d", "DRAIN": "-"}
    shown = ""
    for sign in probes:
        bench.behave("node1", manners[sign], 1)
        bench.advance(1_000)
        shown += letters[bench.state("node1")]
    return shown


@pytest.mark.parametrize(
    ("probes", "states"),
    [
        pytest.param("PPPP", "UUUU", id="healthy"),
        pytest.param("PPFFF", "UUDDD", id="killed"),
        pytest.param("PFPPPP", "UDDDWW", id="killed-and-back-to-hold-down"),
        pytest.param("PFPFPPPP", "UDDDDDWW", id="a-relapse-starts-the-rise-anew"),
        pytest.param("P???PP", "UUUUUU", id="our-own-trouble-is-no-failure"),
        pytest.param("PF??PPPP", "UDDDDDWW", id="our-own-trouble-is-no-pass"),
    ],
)
def test_a_strip_of_probes_makes_a_strip_of_states(probes: str, states: str) -> None:
    bench = Bench(3, heartbeat=False)
    assert strip(bench, probes) == states


def test_a_hung_gateway_leaves_without_heartbeats_too() -> None:
    bench = Bench(3, heartbeat=False)
    shown = strip(bench, "HHHPPPPP")
    assert "D" in shown[:3]
    assert shown[-1] == "W"
    assert bench.members == ("node2", "node3")


def test_a_single_lost_probe_changes_nothing_but_starts_a_burst() -> None:
    bench = Bench(3)
    bench.silence("node1")
    while not bench.in_flight("node1"):
        bench.advance(1)
    bench.answer("node1")
    bench.advance(500)
    assert bench.told("burst.ended")[0].get("result") == "passed"
    assert bench.state("node1") == "UP"
    assert bench.members == names(3)


# --- the burst ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "starts", "deadline_ms"),
    [
        ("default", [0, 50, 100, 200], 250),
        ("fast", [0, 20, 40, 100], 200),
        ("calm", [0, 100, 200, 400], 500),
    ],
)
def test_a_burst_starts_full_probes_at_the_times_of_its_profile(
    profile: str, starts: list[int], deadline_ms: int
) -> None:
    one = OneCheck(PROFILES[profile], sees=None)
    one.burst()
    one.at(500)
    assert one.starts == starts
    assert {r.depth for r in one.requests} == {ProbeDepth.FULL}
    assert {r.kind for r in one.requests} == {ProbeKind.BURST}
    assert all(r.deadline_ms - r.start_ms == deadline_ms for r in one.requests)


def test_the_first_pass_ends_the_burst() -> None:
    one = OneCheck()
    one.burst()
    one.at(60)
    one.finish(1, None)
    assert one.finding is not None
    assert one.finding.passed
    one.at(400)
    assert one.starts == [0, 50]


def test_a_sensor_that_trips_during_a_burst_starts_no_second_one() -> None:
    bench = Bench(3)
    bench.silence("node1")
    bench.command(Recheck(gateway="node1"))
    bench.advance(20)
    bench.miss("node1")
    bench.lose_held("node1")
    bench.command(Recheck(gateway="node1"))
    assert len(bench.told("burst.started")) == 1


def test_a_pass_begun_before_the_burst_does_not_end_it() -> None:
    one = OneCheck()
    one.evidence.plan_routine(-1_000)
    one.at(0)
    one.now_ms = 5
    one.burst()
    one.at(10)
    one.finish(0, None)
    assert one.finding is None
    assert one.evidence.burst is not None


def test_a_burst_always_ends_soon_after_its_last_deadline() -> None:
    """A probe that nobody reports must not hold a burst open."""
    one = OneCheck(sees=None)
    one.burst()
    one.connect(0)
    one.at(450 + REPORT_GRACE_MS - 1)
    before = one.bursting
    one.at(450 + REPORT_GRACE_MS)
    assert (before, one.bursting) == (True, False)
    assert one.finding is not None
    assert one.death is None


def test_a_burst_hears_all_probes_that_fail_at_its_last_deadline() -> None:
    """The engine's timer may fire before the probes', and the first report must not end it."""
    one = OneCheck()
    one.burst()
    one.connect(0)
    one.at(450)
    for number in range(4):
        assert one.finding is None
        one.finish(number, ProbeReason.HTTP_TIMEOUT)
    assert one.death is DeathClass.ILL


def test_a_failed_routine_probe_is_the_first_of_its_burst() -> None:
    """The others follow from the moment it failed, the times counted from when it was sent."""
    bench = Bench(3)
    bench.hang("node1")
    bench.advance(10)
    bench.behave("node1", Manner.GARBAGE)
    while not bench.told("burst.started"):
        bench.advance(1)
    begun_ms = bench.now_ms
    sent_ms = begun_ms - 1
    bench.advance(400)
    fell = bench.told("check.fell")[0]
    assert fell.get("class") == "ill"
    assert fell.at_ms == sent_ms + 200 + 1


def test_a_late_failure_of_a_passed_burst_is_no_new_failure() -> None:
    """The SYN of 0 ms was lost, the one of 50 ms passed: the first one's time-out says nothing."""
    bench = Bench(3)
    bench.silence("node1")
    bench.command(Recheck(gateway="node1"))
    bench.advance(40)
    bench.answer("node1")
    bench.advance(20)
    assert bench.told("burst.ended")[0].get("result") == "passed"
    bench.advance(200)
    assert bench.told("probe.finished")[-1].get("reason") == "connect_timeout"
    assert bench.gateway("node1").passing
    bench.miss("node2")
    bench.silence("node2")
    bench.advance(160)
    assert bench.members == ("node1", "node3"), "no mass event: node1's SYN was cleared by a pass"


# --- refused ------------------------------------------------------------------------------------


def test_two_refusals_three_milliseconds_apart_are_refused() -> None:
    one = OneCheck()
    one.burst()
    one.finish(0, REFUSED)
    one.at(2)
    before = one.death
    one.at(3)
    one.finish(1, REFUSED)
    assert (before, one.death) == (None, DeathClass.REFUSED)
    assert one.now_ms == 3


def test_two_refusals_two_milliseconds_apart_are_not_enough() -> None:
    one = OneCheck()
    one.burst()
    one.at(1)
    one.finish(0, REFUSED)
    one.at(4)
    one.now_ms = 3
    one.finish(1, REFUSED)
    assert one.finding is None


def test_a_pass_between_two_refusals_prevents_the_verdict() -> None:
    """A listener that is being swapped refuses for a millisecond or two."""
    one = OneCheck()
    one.burst()
    one.finish(0, REFUSED)
    one.at(3)
    one.finish(1, None)
    assert one.finding is not None
    assert one.finding.passed


@pytest.mark.parametrize("reason", [REFUSED, ProbeReason.TLS_RESET], ids=["refused", "tls-reset"])
def test_after_a_refusal_one_more_probe_follows_at_most_four_times(reason: ProbeReason) -> None:
    one = OneCheck(sees=None)
    one.burst()
    for number in range(8):
        one.at(one.starts[number] if number < len(one.starts) else one.now_ms + 1)
        while len(one.requests) <= number:
            one.at(one.now_ms + 1)
        one.finish(number, reason)
    assert one.starts[:5] == [0, 3, 6, 9, 12]
    one.at(400)
    assert len(one.requests) == 8, "four planned ones and four more"


def test_a_time_out_is_followed_by_no_extra_probe() -> None:
    one = OneCheck(sees=None)
    one.burst()
    one.at(20)
    one.finish(0, ProbeReason.TLS_TIMEOUT)
    one.at(49)
    assert one.starts == [0]


# --- silent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "at_ms"), [("default", 150), ("fast", 60), ("calm", 400)])
def test_three_unanswered_syns_are_silent(profile: str, at_ms: int) -> None:
    one = OneCheck(PROFILES[profile])
    one.burst()
    one.at(at_ms - 1)
    assert one.finding is None
    one.at(at_ms)
    assert one.death is DeathClass.SILENT


def test_a_syn_ack_at_149_ms_prevents_silent() -> None:
    one = OneCheck()
    one.burst()
    one.at(149)
    one.connect(2)
    one.at(300)
    assert one.finding is None


def test_a_syn_ack_of_any_probe_prevents_silent() -> None:
    one = OneCheck()
    one.burst()
    one.at(30)
    one.connect(0)
    one.at(300)
    assert one.finding is None


def test_a_refusal_prevents_silent() -> None:
    one = OneCheck()
    one.burst()
    one.finish(0, REFUSED)
    one.at(249)
    assert one.finding is None


def test_an_unreachable_host_counts_as_an_unanswered_syn() -> None:
    one = OneCheck()
    one.burst()
    one.at(1)
    one.finish(0, ProbeReason.UNREACHABLE)
    one.at(51)
    one.finish(1, ProbeReason.UNREACHABLE)
    one.at(101)
    assert one.finding is None
    one.finish(2, ProbeReason.UNREACHABLE)
    assert one.death is DeathClass.SILENT


def test_an_inconclusive_probe_is_no_unanswered_syn() -> None:
    one = OneCheck()
    one.burst()
    one.at(100)
    for _ in range(4):
        one.finish(len(one.requests) - 1, ProbeReason.LOCAL_ERROR)
        one.at(100)
    one.at(240)
    assert one.finding is None


def test_a_heartbeat_answered_in_the_burst_prevents_silent() -> None:
    one = OneCheck()
    one.evidence.on_held_opened()
    one.evidence.on_miss(0)
    one.burst()
    one.at(149)
    one.evidence.on_heard()
    one.at(300)
    assert one.finding is None


def test_a_held_connection_that_owes_nothing_prevents_silent() -> None:
    """The SYNs are filtered or the backlog is full, but heartbeats are answered: not silent."""
    one = OneCheck()
    one.evidence.on_held_opened()
    one.burst()
    one.at(449)
    assert one.finding is None
    for number in range(4):
        one.finish(number, TIMEOUT)
    assert one.death is DeathClass.ILL


def test_silent_falls_as_soon_as_the_held_connection_misses_a_heartbeat_too() -> None:
    """The router's BGP session dropped first: the SYNs are unanswered, a heartbeat not yet."""
    bench = Bench(3)
    bench.silence("node1")
    bench._take(bench.engine.observe_sensor("node1", "bgp", "down", bench.now_ms))
    bench.advance(170)
    assert not bench.told("check.fell")
    bench.miss("node1")
    assert bench.told("check.fell")[0].get("class") == "silent"
    bench.advance(5)
    assert bench.members == ("node2", "node3")


def test_a_held_connection_without_heartbeats_says_nothing() -> None:
    one = OneCheck(ProbeTiming(heartbeat=False))
    one.evidence.on_held_opened()
    one.burst()
    one.at(150)
    assert one.death is DeathClass.SILENT


def test_a_held_connection_that_was_lost_says_nothing() -> None:
    one = OneCheck()
    one.evidence.on_held_opened()
    one.evidence.on_held_closed()
    one.burst()
    one.at(150)
    assert one.death is DeathClass.SILENT


# --- ill ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "at_ms"), [("default", 450), ("fast", 300), ("calm", 900)])
def test_four_failures_with_something_back_are_ill(profile: str, at_ms: int) -> None:
    bench = Bench(config=a_config(3, timing=PROFILES[profile]))
    bench.hang("node1")
    bench.command(Recheck(gateway="node1"))
    bench.advance(at_ms - 1)
    assert not bench.told("check.fell")
    bench.advance(1)
    fell = bench.told("check.fell")[0]
    assert (fell.get("class"), fell.get("detect_ms")) == ("ill", at_ms)


def test_three_failures_are_not_ill() -> None:
    one = OneCheck()
    one.burst()
    for number, at_ms in enumerate((0, 50, 100)):
        one.at(at_ms)
        one.finish(number, ProbeReason.HTTP_INVALID)
    one.at(199)
    assert one.finding is None


def test_a_failure_of_each_kind_together_is_ill() -> None:
    one = OneCheck()
    one.burst()
    one.connect(0)
    one.at(200)
    reasons = (ProbeReason.TLS_ALERT, ProbeReason.HTTP_CLOSED, TIMEOUT, ProbeReason.HTTP_TIMEOUT)
    for number, reason in enumerate(reasons):
        one.finish(number, reason)
    assert one.death is DeathClass.ILL


# --- from the fault -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "manner", "death", "detect_ms"),
    [
        ("default", Manner.REFUSE, "refused", 3),
        ("fast", Manner.REFUSE, "refused", 3),
        ("calm", Manner.REFUSE, "refused", 3),
        ("default", Manner.SILENT, "silent", 150),
        ("fast", Manner.SILENT, "silent", 60),
        ("calm", Manner.SILENT, "silent", 400),
        ("default", Manner.HANG, "ill", 450),
        ("fast", Manner.HANG, "ill", 300),
        ("calm", Manner.HANG, "ill", 900),
    ],
)
def test_each_class_falls_when_its_profile_says(
    profile: str, manner: Manner, death: str, detect_ms: int
) -> None:
    bench = Bench(config=a_config(3, timing=PROFILES[profile]))
    bench.behave("node1", manner, 1)
    bench.miss("node1")
    bench.advance(2_000)
    changed = bench.told("route.changed")[0]
    assert changed.get("class") == death
    assert changed.get("detect_ms") == detect_ms
    assert changed.get("removed") == ("node1",)


# --- lossy and flaky paths ----------------------------------------------------------------------


def a_lossy_check(timing: ProbeTiming = DEFAULT) -> OneCheck:
    one = OneCheck(timing)
    for _ in range(100):
        one.evidence.losses.add(0, failed=False, lost=False)
    for _ in range(3):
        one.evidence.losses.add(0, failed=True, lost=True)
    return one


@pytest.mark.parametrize(("profile", "at_ms"), [("default", 250), ("fast", 120), ("calm", 600)])
def test_on_a_lossy_path_silent_needs_a_fourth_syn(profile: str, at_ms: int) -> None:
    one = a_lossy_check(PROFILES[profile])
    one.burst()
    one.at(at_ms - 1)
    assert one.finding is None
    one.at(at_ms)
    assert one.death is DeathClass.SILENT


def test_on_a_lossy_path_ill_needs_a_second_burst() -> None:
    one = a_lossy_check()
    one.burst()
    for at_ms, first in ((200, 0), (400, 4)):
        one.at(at_ms)
        for number in range(first, first + 4):
            one.finish(number, ProbeReason.HTTP_INVALID)
        if first == 0:
            assert one.finding is None
            assert one.evidence.burst is not None
    assert one.starts == [0, 50, 100, 200, 200, 250, 300, 400]
    assert one.death is DeathClass.ILL
    assert one.finding is not None
    assert one.finding.first_sign_ms == 0


@pytest.mark.parametrize(
    ("probes", "lost", "lossy"),
    [(600, 3, False), (599, 3, True), (10, 2, False), (1_000, 6, True)],
    ids=["exactly-half-a-percent", "more-than-half", "too-few-to-tell", "many"],
)
def test_a_path_is_lossy_above_half_a_percent(probes: int, lost: int, *, lossy: bool) -> None:
    window = LossWindow()
    for number in range(probes):
        window.add(0, failed=number < lost, lost=number < lost)
    assert window.lossy(0) is lossy


def test_losses_are_forgotten_after_ten_minutes() -> None:
    window = LossWindow()
    for _ in range(10):
        window.add(0, failed=True, lost=True)
    assert window.lossy(9 * 60_000)
    assert not window.lossy(10 * 60_000)


@pytest.mark.parametrize(
    ("probes", "failed", "flaky"),
    [(300, 9, False), (299, 9, True), (20, 8, False)],
    ids=["exactly-three-percent", "more", "fewer-than-nine"],
)
def test_a_gateway_is_flaky_above_three_percent(probes: int, failed: int, *, flaky: bool) -> None:
    window = LossWindow()
    for number in range(probes):
        window.add(0, failed=number < failed, lost=False)
    assert window.flaky(0) == (flaky, failed, probes)
    assert window.flaky(5 * 60_000) == (False, 0, 0)


def test_a_flaky_gateway_is_told_once_and_stays() -> None:
    bench = Bench(3)
    for _ in range(12):
        bench.behave("node1", Manner.GARBAGE)
        started = len(bench.told("burst.started"))
        while len(bench.told("burst.started")) == started:
            bench.advance(1)
        bench.answer("node1")
        bench.advance(2_000)
    assert bench.members == names(3)
    assert len(bench.told("gateway.flaky")) == 1
    bench.advance(6 * 60_000)
    assert len(bench.told("gateway.steady")) == 1


def test_a_dead_gateways_failures_do_not_make_its_path_lossy() -> None:
    bench = Bench(3)
    bench.cut("node1")
    bench.advance(20_000)
    assert bench.state("node1") == "DOWN"
    assert not bench.gateway("node1").lossy
    assert not bench.told("gateway.flaky")


# --- inconclusive -------------------------------------------------------------------------------


def test_an_inconclusive_probe_is_repeated_at_once_but_boundedly() -> None:
    bench = Bench(1)
    bench.behave("node1", Manner.LOCAL_ERROR)
    before = len(bench.told("probe.finished"))
    bench.advance(1_000)
    assert len(bench.told("probe.finished")) - before == 4, "one and three repeats"
    bench.advance(1_000)
    assert len(bench.told("probe.finished")) - before == 5, "then only the routine ones"


def test_an_inconclusive_probe_of_a_burst_is_repeated_inside_its_time() -> None:
    one = OneCheck()
    one.burst()
    one.finish(0, ProbeReason.LOCAL_ERROR)
    one.at(0)
    assert one.starts == [0, 0]
    one.connect(1)
    one.at(201)
    one.finish(4, ProbeReason.LOCAL_ERROR)
    one.at(201)
    assert len(one.requests) == 5, "a repeat of the last probe would outlast the burst"


def test_a_cancelled_probe_is_neither_counted_nor_repeated() -> None:
    one = OneCheck()
    one.burst()
    one.finish(0, ProbeReason.CANCELLED)
    one.at(10)
    assert one.starts == [0]
    assert one.evidence.inconclusive_in_row == 0


def test_ten_inconclusive_probes_in_a_row_are_told_once() -> None:
    bench = Bench(1)
    bench.behave("node1", Manner.LOCAL_ERROR)
    while not bench.told("probe.inconclusive"):
        bench.advance(10)
    bench.command(Recheck(gateway="node1"))
    (request,) = bench.engine.decide(bench.now_ms).probes
    cancelled = a_result(request.probe_id, reason=ProbeReason.CANCELLED)
    bench._take(bench.engine.observe_probe_finished(cancelled, bench.now_ms))
    bench.advance(30_000)
    told = bench.told("probe.inconclusive")
    assert [event.get("count") for event in told] == [10]
    assert bench.state("node1") == "UP"


def test_a_probe_that_is_never_reported_is_given_up() -> None:
    """A bug of ours: neither the gateway's fault nor the end of its probing."""
    bench = Bench(1)
    bench.behave("node1", Manner.NOTHING)
    bench.advance(10_000)
    assert {e.get("reason") for e in bench.told("probe.finished")} == {"cancelled"}
    assert len(bench.told("probe.finished")) > 2
    bench.answer("node1")
    bench.advance(10_000)
    assert bench.gateway("node1").passing


# --- sensors ------------------------------------------------------------------------------------


def test_a_sensor_trips_again_only_after_a_second_or_when_it_was_good() -> None:
    bench = Bench(3)

    def trips() -> int:
        return len(bench.told("sensor.tripped"))

    bench.miss("node1")
    bench.advance(900)
    bench.miss("node1")
    assert trips() == 1
    bench.advance(100)
    bench.miss("node1")
    assert trips() == 2
    bench.advance(10)
    bench.hear("node1")
    bench.miss("node1")
    assert trips() == 3


@pytest.mark.parametrize("sensor", ["bgp", "kubernetes"])
def test_other_sensors_start_a_burst_and_nothing_more(sensor: str) -> None:
    bench = Bench(3)
    bench.engine.observe_sensor("node1", sensor, "down", bench.now_ms)
    bench.engine.observe_sensor("nobody", sensor, "down", bench.now_ms)
    bench.advance(1_000)
    assert bench.told("burst.ended")[0].get("result") == "passed"
    assert bench.members == names(3)


def test_a_heartbeat_that_stays_away_while_probes_pass_removes_nobody() -> None:
    """Only a fresh probe gives a verdict; but whoever owes a heartbeat does not pass."""
    bench = Bench(3)
    bench.miss("node1")
    bench.advance(50)
    assert not bench.gateway("node1").passing
    bench.advance(60_000)
    assert bench.members == names(3)
    assert bench.gateway("node1").passing, "the next light probe's connection took over"


def test_a_gateway_that_refuses_http2_gets_full_probes_and_is_told_once() -> None:
    bench = Bench(3)
    for _ in range(2):
        bench._take(
            bench.engine.observe_heartbeat_unavailable("node1", "http/1.1 only", bench.now_ms)
        )
    assert len(bench.told("probe.no_heartbeat")) == 1
    check = bench.engine._checks["node1"]
    depths = set()
    for _ in range(3_000):
        bench.advance(1)
        depths |= {flight.request.depth for flight in check.evidence.flights.values()}
    assert depths == {ProbeDepth.FULL}
    assert not bench.gateway("node1").heartbeat


def test_a_gateway_that_refused_http2_is_asked_again_once_it_has_risen() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_heartbeat_unavailable("node1", "http/1.1 only", bench.now_ms))
    bench.kill("node1")
    bench.advance(1_000)
    bench.answer("node1")
    bench.advance(60_000)
    assert bench.gateway("node1").heartbeat
    bench._take(bench.engine.observe_heartbeat_unavailable("node1", "http/1.1 only", bench.now_ms))
    assert len(bench.told("probe.no_heartbeat")) == 2


def test_each_tenth_routine_probe_is_a_full_one() -> None:
    one = OneCheck()
    one.evidence.plan_routine(-1_000)
    for now_ms in range(0, 25_000, 1_000):
        one.at(now_ms)
        one.finish(len(one.requests) - 1, None)
    full = [r.start_ms for r in one.requests if r.depth is ProbeDepth.FULL]
    assert full == [0, 10_000, 20_000]
    assert one.starts == list(range(0, 25_000, 1_000))


def test_jitter_moves_routine_probes_by_at_most_five_percent() -> None:
    evidence = Evidence(
        CheckConfig(key="node1", gateway="node1"),
        first_probe_ms=0,
        ids=iter(range(1, 1_000)).__next__,
        jitter=(-50, 50),
        jitter_at=0,
    )
    due = set()
    for _ in range(4):
        evidence.plan_routine(0)
        due.add(evidence.next_routine_ms)
    assert due == {950, 1_050}


def test_first_probes_are_spread_evenly_over_the_interval() -> None:
    bench = Bench(4, settled=False)
    first = [check.evidence.next_routine_ms for check in bench.engine._checks.values()]
    assert first == [1_000, 250, 500, 750], "the first one is under way"


def test_a_down_gateway_is_probed_at_its_own_pace_and_faster_below_the_floor() -> None:
    timing = ProbeTiming(interval_ms=3_000, down_interval_ms=1_000)
    bench = Bench(config=a_config(3, timing=timing))
    bench.kill("node1")
    bench.advance(100)

    def probes(by_ms: int) -> int:
        before = len(bench.told("probe.finished"))
        bench.advance(by_ms)
        return len(bench.told("probe.finished")) - before

    bench.advance(1_000)
    assert probes(10_000) == 10
    bench.kill("node2")
    bench.advance(2_000)
    assert probes(10_000) >= 75, "two of three are DOWN: 40 each, less the bursts of node2"


# --- witness ------------------------------------------------------------------------------------


def witnesses(bench: Bench) -> set[str]:
    """Return the gateways that have a witness probe under way."""
    return {
        name
        for name, check in bench.engine._checks.items()
        if any(f.request.kind is ProbeKind.WITNESS for f in check.evidence.flights.values())
    }


def test_the_first_bad_evidence_asks_two_others_in_the_same_instant() -> None:
    bench = Bench(5)
    bench.kill("node1")
    bench.turn()
    assert len(witnesses(bench)) == 2
    assert "node1" not in witnesses(bench)


def test_after_20_ms_without_an_answer_two_more_are_asked() -> None:
    bench = Bench(6)
    for name in names(6):
        bench.answer(name, after_ms=80)
    bench.miss("node1")
    bench.advance(19)
    first = witnesses(bench)
    assert len(first) == 2
    bench.advance(1)
    assert len(witnesses(bench)) == 4


def test_after_an_answer_nobody_else_is_asked() -> None:
    bench = Bench(6)
    bench.kill("node1")
    bench.advance(30)
    assert witnesses(bench) == set()
    assert len(bench.told("witness.answered")) == 1


def test_those_without_bad_evidence_are_asked_first() -> None:
    bench = Bench(5)
    bench.silence(*names(5))
    for name in ("node2", "node3"):
        bench.miss(name)
    bench.advance(30)
    bench.miss("node1")
    assert {"node4", "node5"} <= witnesses(bench)


def test_who_passed_last_is_asked_before_others() -> None:
    bench = Bench(4)
    passes = {
        name: check.evidence.last_pass_ms or 0 for name, check in bench.engine._checks.items()
    }
    latest = sorted(names(4)[1:], key=lambda name: -passes[name])[:2]
    bench.kill("node1")
    bench.turn()
    assert witnesses(bench) == set(latest)


def test_a_witness_without_a_held_connection_gets_a_fresh_probe() -> None:
    bench = Bench(3, heartbeat=False)
    bench.kill("node1")
    bench.turn()
    kinds = {
        flight.request.depth
        for check in bench.engine._checks.values()
        for flight in check.evidence.flights.values()
        if flight.request.kind is ProbeKind.WITNESS
    }
    assert kinds == {ProbeDepth.FULL}


@pytest.mark.parametrize(
    ("sent_ms", "answered_ms", "counts"),
    [(0, 100, True), (-1, 100, False), (0, 101, False), (40, 60, True)],
    ids=["just-inside", "sent-before-the-first", "answered-after-the-last", "well-inside"],
)
def test_a_witness_must_be_asked_and_answer_within_the_span(
    sent_ms: int, answered_ms: int, *, counts: bool
) -> None:
    """The span: from the first counted failure's SYN to the last counted one's."""
    bench = Bench(2)
    for name in names(2):
        bench.behave(name, Manner.NOTHING)
    bench.advance(1_000)
    check, other = (bench.engine._checks[name] for name in names(2))
    other.evidence.answers.clear()
    other.evidence.answers.append((bench.now_ms + sent_ms, bench.now_ms + answered_ms))
    start_ms = bench.now_ms
    bench.miss("node1")
    bench.advance(199)
    assert (check.health.verdict is not None) is counts
    if counts:
        assert check.health.verdict is not None
        assert check.health.verdict.at_ms == start_ms + 150


def test_the_span_of_refusals_ends_with_the_last_one_sent() -> None:
    one = OneCheck()
    one.burst()
    one.finish(0, REFUSED)
    one.at(3)
    one.finish(1, REFUSED)
    assert one.spans == [(0, 3)]


def test_where_the_class_is_reached_before_an_answer_the_burst_runs_on() -> None:
    one = OneCheck(sees=None)
    one.burst()
    one.at(299)
    assert one.finding is None
    assert one.spans[-1] == (0, 200)
    one.sees = "node2"
    one.at(300)
    assert one.death is DeathClass.SILENT


def test_a_verdict_without_a_witness_removes_nobody() -> None:
    bench = Bench(3)
    bench.silence(*names(3))
    bench.miss("node1")
    bench.advance(700)
    assert bench.state("node1") == "DOWN"
    assert bench.kept("node1") == "no_witness"
    assert bench.members == names(3)


def bursts_of(bench: Bench, name: str) -> int:
    return sum(event.get("gateway") == name for event in bench.told("burst.started"))


def test_a_verdict_without_a_witness_never_gains_one_later_but_a_new_burst_starts() -> None:
    bench = Bench(3)
    bench.silence(*names(3))
    bench.kill("node1")
    bench.advance(700)
    assert bench.kept("node1") == "no_witness"
    evidence = bench.engine._checks["node1"].evidence
    while evidence.burst is not None:
        bench.advance(1)
    bench.behave("node1", Manner.NOTHING)
    evidence.next_routine_ms = bench.now_ms + 60_000
    verdict = bench.gateway("node1").verdict
    assert verdict is not None
    bench.answer("node2", "node3")
    begun = bursts_of(bench, "node1")
    while bursts_of(bench, "node1") == begun:
        bench.advance(1)
    again = [e for e in bench.told("burst.started") if e.get("gateway") == "node1"][-1]
    assert again.get("cause") == "witness", "somebody answered: ask node1 again"
    assert bench.gateway("node1").verdict == verdict


def test_an_rst_is_no_witness() -> None:
    bench = Bench(3)
    bench.refuse("node2", "node3")
    bench.kill("node1")
    bench.advance(400)
    assert {e.get("witness") for e in bench.told("check.fell")} == {None}
    assert bench.members == names(3)


def test_a_gateway_on_our_own_host_is_no_witness() -> None:
    """Where only such a one is left, the router's answer to a read within the span counts."""
    bench = Bench(config=a_config(2, own_host=["node1"]))
    bench.silence("node2")
    bench.miss("node2")
    bench.advance(10)
    assert bench.engine.decide(bench.now_ms).witness_reads == (ROUTER,)
    bench.advance(700)
    assert bench.kept("node2") == "no_witness"
    bench.advance(5_000)
    assert bench.members == names(2)
    assert not bench.told("witness.answered")
    assert "witness" not in {event.get("cause") for event in bench.told("burst.started")}


def test_a_routers_answer_within_the_span_is_a_witness_where_no_other_can_be() -> None:
    bench = Bench(config=a_config(2, own_host=["node1"], min_healthy=1))
    bench.silence("node2")
    bench.miss("node2")
    bench.advance(10)
    bench._take(
        bench.engine.observe_router_answered(ROUTER, bench.now_ms - 5, bench.now_ms, bench.now_ms)
    )
    assert bench.engine.decide(bench.now_ms).witness_reads == ()
    bench.advance(140)
    assert bench.told("check.fell")[0].get("witness") == ROUTER
    assert bench.members == ("node1",)
    bench._take(bench.engine.observe_router_answered("other", 0, 0, bench.now_ms))


@pytest.mark.parametrize("span", [(-200, 0), (20, 200)], ids=["before", "after"])
def test_a_routers_answer_outside_the_span_is_none(span: tuple[int, int]) -> None:
    bench = Bench(config=a_config(2, own_host=["node1"], min_healthy=1))
    bench.silence("node2")
    bench.miss("node2")
    start_ms = bench.now_ms
    bench.advance(200)
    bench._take(
        bench.engine.observe_router_answered(
            ROUTER, start_ms + span[0], start_ms + span[1] + 5, bench.now_ms
        )
    )
    bench.advance(60)
    assert not bench.told("check.fell")


def test_gateways_on_our_own_host_may_witness_for_each_other() -> None:
    bench = Bench(config=a_config(3, own_host=names(3)))
    bench.kill("node1")
    bench.advance(10)
    assert bench.members == ("node2", "node3")


# --- staleness ----------------------------------------------------------------------------------


def test_an_old_verdict_removes_only_by_a_new_burst() -> None:
    """node1 is kept as the last one; when node2 answers again, a fresh burst decides."""
    bench = Bench(config=a_config(2, min_healthy=1))
    bench.kill("node1")
    bench.silence("node2")
    bench.miss("node2")
    bench.advance(20_000)
    assert bench.members == names(2)
    bench.answer("node2")
    bench.advance(8_000)
    assert bench.members == ("node2",)
    verdict = bench.gateway("node1").verdict
    assert verdict is not None
    change = next(e for e in bench.told("route.changed") if e.get("removed") == ("node1",))
    assert change.at_ms - verdict.at_ms <= 1_000


def test_a_pass_in_the_new_burst_makes_the_verdict_void() -> None:
    bench = Bench(3)
    bench.writes = False
    bench.kill("node1")
    bench.advance(100)
    assert bench.route.plan
    bench.answer("node1")
    bench.advance(1_400)
    assert not bench.route.plan, "it has passed since its verdict"
    bench.writes = True
    bench.advance(5_000)
    assert bench.state("node1") == "UP"
    assert bench.gateway("node1").removals == 0, "a verdict found void does not count"
    assert bench.members == names(3)


def test_a_verdict_from_before_the_router_was_away_is_stale() -> None:
    bench = Bench(3)
    bench.disconnect()
    bench.kill("node1")
    bench.advance(10)
    bench.writes = False
    bench.connect()
    bench.turn()
    assert bench.kept("node1") == "stale"
    assert not bench.route.plan
    bench.writes = True
    bench.advance(10)
    assert bench.members == ("node2", "node3")
    assert bench.told("burst.started")[-1].get("cause") == "stale"


def test_since_stays_while_newer_bursts_set_class_and_witness() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    bench.hang("node1")
    bench.miss("node1")
    bench.advance(600)
    first = bench.gateway("node1").verdict
    assert first is not None
    bench.refuse("node1")
    bench.writes = False
    bench.advance(3_000)
    second = bench.gateway("node1").verdict
    assert second is not None
    assert (first.death, second.death) == (DeathClass.ILL, DeathClass.REFUSED)
    assert second.since_ms == first.since_ms
    assert second.at_ms > first.at_ms


# --- blindness ----------------------------------------------------------------------------------


def test_when_nobody_answers_edged_is_blind_and_nobody_leaves() -> None:
    bench = Bench(3)
    bench.silence(*names(3))
    for name in names(3):
        bench.miss(name)
    bench.advance(10_000)
    assert bench.members == names(3)
    bench.answer("node2", "node3")
    bench.advance(1_500)
    assert bench.kept("node1") == "blind", "the end of our own outage removes nobody"
    assert bench.members == names(3)
    bench.advance(5_000)
    assert bench.members == ("node2", "node3"), "new bursts decide"


def test_refused_need_not_wait_for_the_end_of_blindness() -> None:
    bench = Bench(3)
    bench.silence(*names(3))
    for name in names(3):
        bench.miss(name)
    bench.advance(5_000)
    bench.refuse("node1")
    bench.answer("node2", "node3")
    bench.advance(2_000)
    assert bench.members == ("node2", "node3")


def test_the_end_of_blindness_is_acted_on_at_once() -> None:
    bench = Bench(3)
    bench.silence(*names(3))
    for name in names(3):
        bench.miss(name)
    bench.advance(5_000)
    bench.answer("node2", "node3")
    vip = bench.engine._vips["web"]
    while vip.blind_ends_ms <= bench.now_ms:
        bench.advance(1)
    bench.advance(vip.blind_ends_ms - bench.now_ms - 1)
    assert bench.kept("node1") == "blind"
    bench.advance(1)
    assert bench.kept("node1") != "blind"


def test_a_gateway_on_our_own_host_does_not_make_us_see() -> None:
    bench = Bench(config=a_config(3, own_host=["node3"]))
    bench.silence("node1", "node2")
    bench.miss("node1")
    bench.miss("node2")
    bench.advance(3_000)
    assert bench.engine._vips["web"].blind
    assert bench.members == names(3)


# --- our own trouble ----------------------------------------------------------------------------


def test_a_stall_extends_the_burst() -> None:
    bench = Bench(3)
    bench.silence("node1")
    bench.miss("node1")
    bench.advance(100)
    bench._take(bench.engine.observe_stall(40, bench.now_ms))
    bench.advance(80)
    assert not bench.told("check.fell")
    bench.advance(10)
    assert bench.told("check.fell")[0].get("detect_ms") == 190


def test_a_stall_outside_a_burst_changes_nothing() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_stall(40, bench.now_ms))
    bench.advance(100)
    assert bench.frozen() == []


@pytest.mark.parametrize("trouble", ["stall", "suspend"])
def test_a_long_stall_or_a_suspend_means_warm_up_again(trouble: str) -> None:
    bench = Bench(3)
    bench.silence("node1")
    bench.miss("node1")
    bench.advance(100)
    if trouble == "stall":
        bench._take(bench.engine.observe_stall(1_001, bench.now_ms))
    else:
        bench._take(bench.engine.observe_suspend(60_000, bench.now_ms))
    assert bench.told("daemon.stalled")[0].get("cause") == trouble
    bench.advance(2_999)
    assert bench.frozen() == ["warm_up"]
    assert bench.members == names(3)
    bench.advance(1_500)
    assert bench.members == ("node2", "node3")


def test_a_stall_of_a_second_is_no_warm_up() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_stall(1_000, bench.now_ms))
    bench.advance(1)
    assert bench.frozen() == []


def test_a_probe_from_before_the_stall_removes_nobody_by_itself() -> None:
    """Rules are met by probes of this period: an older one's burst is asked again."""
    bench = Bench(3, heartbeat=False)
    bench.silence("node1")
    while not bench.in_flight("node1"):
        bench.advance(1)
    bench._take(bench.engine.observe_suspend(60_000, bench.now_ms))
    warm_ms = bench.now_ms
    bench.advance(10_000)
    verdict = bench.gateway("node1").verdict
    assert verdict is not None
    assert bench.members == ("node2", "node3")
    removal = bench.told("route.changed")[0]
    assert removal.at_ms >= warm_ms + 3_000
    assert verdict.burst_start_ms > warm_ms


def test_three_warm_ups_in_five_minutes_are_told_as_a_warning_once() -> None:
    bench = Bench(3)
    for _ in range(4):
        bench._take(bench.engine.observe_suspend(60_000, bench.now_ms))
        bench.advance(10_000)
    severities = [e.severity.value for e in bench.told("daemon.warming_up")]
    assert severities == ["info", "info", "warning", "info", "info"]
    bench.advance(600_000)
    for _ in range(3):
        bench._take(bench.engine.observe_suspend(60_000, bench.now_ms))
        bench.advance(10_000)
    assert bench.told("daemon.warming_up")[-1].severity.value == "warning"


def test_stalls_are_counted_for_a_minute() -> None:
    bench = Bench(3)
    for _ in range(3):
        bench.advance(20_000)
        bench._take(bench.engine.observe_stall(30, bench.now_ms))
    assert bench.engine._trouble.stalls_per_minute(bench.now_ms) == 3
    assert bench.engine._trouble.stalls_per_minute(bench.now_ms + 20_000) == 2


# --- 5xx ----------------------------------------------------------------------------------------


def test_one_gateway_alone_with_5xx_for_ten_seconds_is_degraded() -> None:
    bench = Bench(3, heartbeat=True)
    bench.gateways["node1"].http_status = 503
    bench.advance(9_000)
    assert bench.state("node1") == "UP"
    bench.advance(22_000)
    assert bench.state("node1") == "DEGRADED"
    assert bench.gateway("node1").reason == "backend_error"
    assert bench.told("probe.backend_error")[0].get("alone") is True
    bench.gateways["node1"].http_status = 404
    bench.advance(22_000)
    assert bench.state("node1") in {"UP", "WAIT"}


def test_5xx_of_several_gateways_is_reported_only() -> None:
    bench = Bench(3)
    for name in ("node1", "node2"):
        bench.gateways[name].http_status = 503
    bench.advance(60_000)
    assert [bench.state(name) for name in names(3)] == ["UP", "UP", "UP"]
    assert {e.get("alone") for e in bench.told("probe.backend_error")} == {True, False}


def test_a_second_gateway_with_5xx_ends_the_degradation_of_the_first() -> None:
    bench = Bench(3)
    bench.gateways["node1"].http_status = 503
    bench.advance(40_000)
    assert bench.state("node1") == "DEGRADED"
    bench.gateways["node2"].http_status = 503
    bench.advance(20_000)
    assert bench.state("node1") in {"UP", "WAIT"}
    assert bench.state("node2") == "UP"


def test_a_gateway_must_be_alone_with_5xx_for_all_of_ten_seconds() -> None:
    bench = Bench(3)
    for name in ("node1", "node2"):
        bench.gateways[name].http_status = 503
    bench.advance(30_000)
    bench.gateways["node2"].http_status = 404
    while len(bench.told("probe.backend_error")) < 2:
        bench.advance(100)
    until = bench.engine._checks["node2"]
    while not until.backend_until_ms:
        bench.advance(100)
    bench.advance(9_000)
    assert bench.state("node1") == "UP"
    bench.advance(3_000)
    assert bench.state("node1") == "DEGRADED"


def test_a_drained_gateway_is_still_probed() -> None:
    bench = Bench(3)
    bench.command(Drain(gateway="node1"))
    bench.kill("node1")
    bench.advance(100)
    assert bench.state("node1") == "DOWN"


def test_a_slow_witness_is_followed_by_one_more_probe_at_once() -> None:
    """Five refusals in 12 ms, the witness after 21: the verdict does not wait for the next slot."""
    bench = Bench(3)
    for name in ("node2", "node3"):
        bench.answer(name, after_ms=21)
    bench.kill("node1")
    bench.advance(28)
    (fell,) = bench.told("check.fell")
    assert fell.get("witness") in {"node2", "node3"}
    detect_ms = fell.get("detect_ms")
    assert isinstance(detect_ms, int)
    assert detect_ms < 28


def test_a_slow_witness_starts_no_second_extra_probe() -> None:
    bench = Bench(3)
    for name in ("node2", "node3"):
        bench.answer(name, after_ms=21)
    bench.kill("node1")
    bench.advance(400)
    refused = [e for e in bench.told("probe.finished") if e.get("kind") == "burst"]
    assert len(refused) <= 4 + 1 + 1 + 4
