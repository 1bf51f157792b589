"""Laws of the engine, for any facts in any order (design 2: P5, P6, P7; style 40).

`EngineUnderFacts` throws facts at an engine: timely and late, true and absurd, from gateways and
routers that do not exist. A router obeys the plan now and then, refuses it, or leaves it open.
"""

import dataclasses
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edged.core.engine import Engine
from edged.core.errors import CommandRefused
from edged.core.events import EVENTS, Event, event
from edged.core.plan import carries_mark
from edged.core.types import (
    Command,
    CreateRow,
    Drain,
    DropNextHop,
    FrozenReason,
    HandOver,
    Opinion,
    OpinionResult,
    Pause,
    PlannedStep,
    ProbeDepth,
    ProbeReason,
    ProbeRequest,
    Recheck,
    Refusal,
    Resume,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    StepOutcome,
    Undrain,
)
from tests.support.core import (
    MARK,
    ROUTER,
    VIP,
    Bench,
    Manner,
    a_config,
    a_read,
    a_result,
    a_row,
    apply_step,
    hop,
    names,
    rows_of,
    some_facts,
)

COUNT = 4
STRANGE = "10.9.9.9"
rarely = st.integers(min_value=0, max_value=5).map(lambda number: number == 5)
gateways = st.sampled_from([*names(COUNT), "nobody"])
moments = st.integers(min_value=0, max_value=4_000)
reasons = st.one_of(st.none(), st.sampled_from(ProbeReason))
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Drain,
        gateway=gateways,
        source=st.sampled_from(["person", "kubernetes"]),
        force=st.booleans(),
        until_ms=st.one_of(st.none(), st.integers(min_value=0, max_value=200_000)),
    ),
    st.builds(Undrain, gateway=gateways, source=st.sampled_from(["person", "kubernetes"])),
    st.builds(Pause),
    st.builds(Resume),
    st.builds(Resume),
    st.builds(Recheck, gateway=gateways),
    st.builds(DropNextHop, vip=st.sampled_from([VIP, "other"]), next_hop=st.just(STRANGE)),
)


def only_integers(value: object) -> bool:
    """Whether no float hides anywhere in a value of the core."""
    if isinstance(value, float):
        return False
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(only_integers(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, (tuple, list, frozenset)):
        return all(only_integers(item) for item in value)
    return True


def in_table(events: Iterable[Event]) -> bool:
    return all(made.fields.keys() <= EVENTS[made.name][1] for made in events)


class WatchedBench(Bench):
    """A bench whose router is in a mood, and which holds each step against P6 and P7."""

    mood: tuple[StepOutcome, bool, Refusal] = (StepOutcome.DONE, True, Refusal.OTHER)
    handed_over = False

    def step(
        self,
        planned: PlannedStep,
        outcome: StepOutcome = StepOutcome.DONE,
        *,
        applied: bool | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        """Watch the step, then treat it as the mood says."""
        self.watch(planned)
        outcome, applied, refusal = self.mood
        super().step(
            planned,
            outcome,
            applied=(applied and outcome is StepOutcome.UNCERTAIN) or outcome is StepOutcome.DONE,
            refusal=refusal if outcome is StepOutcome.REFUSED else None,
        )
        if outcome is StepOutcome.UNCERTAIN:
            self.disconnect()
            self._later(1_000, self.connect)

    def watch(self, planned: PlannedStep) -> None:
        """Hold a step against the very rows that it is for."""
        ours = {row.row_id for row in self.rows if carries_mark(row.comment, VIP)}
        match planned.step:
            case SetNextHops(row_id=row_id):
                assert row_id in ours
            case SetDisabled(row_ids=row_ids):
                assert set(row_ids) <= ours
            case CreateRow(comment=comment):
                assert carries_mark(comment, VIP)
            case SetComment():
                raise AssertionError("nobody asked for an adoption")
        after = {
            next_hop
            for row in apply_step(self.rows, planned.step)
            if not row.disabled and carries_mark(row.comment, VIP)
            for next_hop in row.next_hops
        }
        known = {hop(name) for name in names(COUNT)} | {STRANGE}
        assert after <= known, "never a next hop outside the inventory"
        if planned.removed and not self.handed_over:
            passing = {hop(g.name) for g in self.engine.gateways(self.now_ms) if g.passing}
            assert after & passing, f"{planned} leaves nobody who passes"

    def _take(self, events: tuple[Event, ...]) -> None:
        assert in_table(events)
        super()._take(events)


class EngineUnderFacts(RuleBasedStateMachine):
    """Facts in, decisions out; invariants are the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = WatchedBench(COUNT)
        self.foreign: tuple[RouteRow, ...] = ()
        self.uptime_ms = 3_600_000

    @initialize(
        shape=st.sampled_from(RouteShape),
        members=st.lists(st.sampled_from(names(COUNT)), unique=True, min_size=1),
        heartbeat=st.booleans(),
        settled=st.booleans(),
        own_host=st.one_of(st.just(set()), st.sets(st.sampled_from(names(COUNT)))),
        restore=st.booleans(),
        foreign=st.booleans(),
        min_healthy=st.one_of(st.none(), st.integers(min_value=0, max_value=COUNT)),
    )
    def begin(
        self,
        *,
        shape: RouteShape,
        members: list[str],
        heartbeat: bool,
        settled: bool,
        own_host: set[str],
        restore: bool,
        foreign: bool,
        min_healthy: int | None,
    ) -> None:
        config = a_config(
            COUNT, own_host=own_host, restore_human_edits=restore, min_healthy=min_healthy
        )
        rows = rows_of(members, COUNT, shape)
        if foreign:
            rows = [*rows, a_row("node1", comment="theirs", row_id="*F", distance=5)]
        self.foreign = tuple(row for row in rows if not carries_mark(row.comment, VIP))
        self.bench = WatchedBench(
            config=config, shape=shape, rows=rows, heartbeat=heartbeat, settled=settled
        )

    @property
    def engine(self) -> Engine:
        return self.bench.engine

    @property
    def now_ms(self) -> int:
        return self.bench.now_ms

    @property
    def major(self) -> int:
        return 7 if self.bench.shape is RouteShape.ROWS else 6

    def take(self, events: tuple[Event, ...]) -> None:
        assert in_table(events)

    # --- time and probes

    @rule(by_ms=st.one_of(st.integers(0, 60), st.integers(0, 4_000), st.just(40_000)))
    def time_passes(self, by_ms: int) -> None:
        self.bench.advance(by_ms)

    @rule(
        who=st.sampled_from(names(COUNT)),
        manner=st.sampled_from(Manner),
        sensor=st.booleans(),
        for_ms=st.sampled_from([0, 5, 60, 500, 2_000, 5_000]),
    )
    def a_gateway_changes(self, who: str, manner: Manner, for_ms: int, *, sensor: bool) -> None:
        self.bench.behave(who, manner, 1)
        if sensor and manner is Manner.REFUSE:
            self.bench.lose_held(who)
        elif sensor and manner is not Manner.ANSWER:
            self.bench.miss(who)
        elif sensor:
            self.bench.hear(who)
        self.bench.advance(for_ms)

    @rule(for_ms=st.sampled_from([0, 3_000, 40_000]))
    def everybody_answers(self, for_ms: int) -> None:
        """The quiet after the storm: nothing is frozen for longer than a rise takes."""
        self.take(self.engine.command(Resume(), self.now_ms))
        self.take(self.engine.observe_writer(self.now_ms, writer=True))
        self.bench.handed_over = False
        self.bench.answer(*names(COUNT))
        self.bench.advance(for_ms)

    @rule(
        probe_id=st.integers(min_value=-5, max_value=300),
        check=gateways,
        reason=reasons,
        depth=st.sampled_from(ProbeDepth),
        ago_ms=moments,
    )
    def a_strange_result_arrives(
        self,
        probe_id: int,
        check: str,
        reason: ProbeReason | None,
        depth: ProbeDepth,
        ago_ms: int,
    ) -> None:
        """Late, unknown, of another check, or never started."""
        self.take(self.engine.observe_probe_started(probe_id + 7, self.now_ms))
        self.take(self.engine.observe_probe_connected(check, probe_id + 3, self.now_ms))
        result = a_result(
            probe_id,
            check=check,
            depth=depth,
            reason=reason,
            started_ms=max(0, self.now_ms - ago_ms),
            finished_ms=self.now_ms,
            http_status=503 if reason is None else None,
        )
        self.take(self.engine.observe_probe_finished(result, self.now_ms))

    @rule(
        check=gateways,
        what=st.sampled_from(["open", "close", "lose", "miss", "hear", "refuse", "sense"]),
    )
    def a_sensor_speaks(self, check: str, what: str) -> None:
        engine, now_ms = self.engine, self.now_ms
        match what:
            case "open":
                self.take(engine.observe_held_opened(check, now_ms))
            case "close":
                self.take(engine.observe_held_closed(check, now_ms))
            case "lose":
                self.take(engine.observe_held_lost(check, "reset", now_ms))
            case "miss":
                self.take(engine.observe_heartbeat_missed(check, now_ms - 100, now_ms))
            case "hear":
                self.take(engine.observe_heartbeat_heard(check, now_ms))
            case "refuse":
                self.take(engine.observe_heartbeat_unavailable(check, "no h2", now_ms))
            case _:
                self.take(engine.observe_sensor(check, "bgp", "down", now_ms))

    @rule(gateway=gateways, present=st.booleans())
    def a_degradation_comes_or_goes(self, gateway: str, *, present: bool) -> None:
        self.take(self.engine.observe_degradation(gateway, "bgp", self.now_ms, present=present))

    # --- routers

    @rule()
    def rows_are_read(self) -> None:
        self.bench.read()

    @rule(ago_ms=moments)
    def an_old_read_arrives(self, ago_ms: int) -> None:
        bench = self.bench
        sent_ms = max(0, self.now_ms - ago_ms)
        read = a_read(bench.rows, self.now_ms, shape=bench.shape, sent_ms=sent_ms)
        self.take(self.engine.observe_route(read, self.now_ms))
        self.take(self.engine.observe_route(dataclasses.replace(read, vip="other"), self.now_ms))

    @rule(
        outcome=st.sampled_from(StepOutcome),
        applied=st.booleans(),
        refusal=st.sampled_from(Refusal),
    )
    def the_routers_mood_changes(
        self, outcome: StepOutcome, refusal: Refusal, *, applied: bool
    ) -> None:
        self.bench.mood = (outcome, applied, refusal)

    @rule(for_ms=st.sampled_from([0, 200, 5_000]))
    def the_session_breaks(self, for_ms: int) -> None:
        """It comes back by itself after a while."""
        self.bench.disconnect()
        self.bench.advance(for_ms)
        self.uptime_ms += 1
        self.bench.connect(self.uptime_ms)
        self.take(self.engine.observe_router_lost("other", "reset", self.now_ms))

    @rule(reboot=st.booleans(), upgrade=rarely, read=st.booleans())
    def a_session_opens_anew(self, *, reboot: bool, upgrade: bool, read: bool) -> None:
        self.bench.disconnect()
        self.uptime_ms = 1_000 if reboot else self.uptime_ms + 1
        facts = some_facts(self.uptime_ms, major=self.major + upgrade)
        self.take(self.engine.observe_router_up(facts, self.now_ms))
        if read:
            self.bench.read()

    @rule(which=st.integers(min_value=0, max_value=5), strange=st.booleans(), really=rarely)
    def a_person_edits_a_row(self, which: int, *, strange: bool, really: bool) -> None:
        """Toggle a v7 row or the v6 one, or add a next hop that nobody knows."""
        rows = self.bench.rows
        index = which % len(rows)
        if not really or not carries_mark(rows[index].comment, VIP):
            return
        row = rows[index]
        if strange and not any(STRANGE in other.next_hops for other in rows):
            hops = (STRANGE,) if self.bench.shape is RouteShape.ROWS else (*row.next_hops, STRANGE)
            changed = dataclasses.replace(row, next_hops=hops)
        else:
            changed = dataclasses.replace(row, disabled=not row.disabled)
        self.bench.edit(lambda rows: [*rows[:index], changed, *rows[index + 1 :]])

    @rule(really=rarely)
    def a_person_deletes_a_row(self, *, really: bool) -> None:
        rows = self.bench.rows
        if really and len(rows) > 1 and carries_mark(rows[0].comment, VIP):
            self.bench.edit(lambda rows: rows[1:])

    @rule(opinion=st.one_of(st.none(), st.sampled_from(Opinion)))
    def the_routers_ping_answers(self, opinion: Opinion | None) -> None:
        self.bench.opinion = opinion

    @rule(gateway=gateways, opinion=st.sampled_from(Opinion), took_ms=st.integers(0, 2_000))
    def an_opinion_arrives(self, gateway: str, opinion: Opinion, took_ms: int) -> None:
        result = OpinionResult(
            router=ROUTER,
            gateway=gateway,
            opinion=opinion,
            asked_ms=max(0, self.now_ms - took_ms),
            answered_ms=self.now_ms,
        )
        self.take(self.engine.observe_opinion(result, self.now_ms))

    @rule(ago_ms=st.integers(0, 300))
    def a_router_answers_a_read(self, ago_ms: int) -> None:
        sent_ms = max(0, self.now_ms - ago_ms)
        for router in (ROUTER, "other"):
            self.take(
                self.engine.observe_router_answered(router, sent_ms, self.now_ms, self.now_ms)
            )

    @rule(really=rarely)
    def the_rows_cannot_be_read(self, *, really: bool) -> None:
        if really:
            for vip in (VIP, "other"):
                self.take(self.engine.observe_read_refused(ROUTER, vip, "no", self.now_ms))

    # --- everything else

    @rule(writer=st.booleans(), really=rarely)
    def the_lease_moves(self, *, writer: bool, really: bool) -> None:
        self.take(self.engine.observe_writer(self.now_ms, writer=writer or not really))

    @rule(stall_ms=st.integers(1, 300), long=rarely)
    def we_stall(self, stall_ms: int, *, long: bool) -> None:
        long = long and stall_ms > 200
        self.take(self.engine.observe_stall(stall_ms + 1_000 * long, self.now_ms))

    @rule(really=rarely)
    def the_machine_slept(self, *, really: bool) -> None:
        if really:
            self.take(self.engine.observe_suspend(60_000, self.now_ms))

    @rule(command=commands, really=rarely)
    def a_person_commands(self, command: Command, *, really: bool) -> None:
        if isinstance(command, Pause):
            if not really:
                return
            command = Pause(until_ms=self.now_ms + 20_000)
        try:
            self.take(self.engine.command(command, self.now_ms))
        except CommandRefused:
            return
        if isinstance(command, Resume):
            self.bench.handed_over = False

    @rule(to_bgp=rarely, backup=st.booleans())
    def a_person_hands_over(self, *, to_bgp: bool, backup: bool) -> None:
        bench = self.bench
        if backup and all(not row.bgp for row in bench.rows):
            bgp = a_row("node1", comment="", row_id="*B", bgp=True, static=False, dynamic=True)
            bench.edit(lambda rows: [*rows, bgp])
            bench.sessions(node1=True, node2=to_bgp)
        try:
            self.take(self.engine.command(HandOver(vip=VIP, to_bgp=to_bgp), self.now_ms))
        except CommandRefused:
            return
        bench.handed_over = to_bgp

    @rule(count=st.integers(min_value=1, max_value=COUNT), enforce=st.booleans(), really=rarely)
    def the_configuration_changes(self, count: int, *, enforce: bool, really: bool) -> None:
        if really:
            config = a_config(count, enforce=enforce)
            self.take(self.engine.configure(config, self.now_ms))
        elif len(self.engine.gateways(self.now_ms)) < COUNT:
            self.take(self.engine.configure(a_config(COUNT), self.now_ms))

    # --- promises

    @invariant()
    def foreign_rows_are_as_they_were(self) -> None:
        assert all(row in self.bench.rows for row in self.foreign)

    @invariant()
    def deciding_twice_is_deciding_once(self) -> None:
        self.take(self.engine.observe_time(self.now_ms))
        first = self.engine.decide(self.now_ms)
        assert self.engine.decide(self.now_ms) == first
        assert self.engine.observe_time(self.now_ms) == ()
        assert self.engine.decide(self.now_ms) == first
        assert first.next_deadline_ms is None or first.next_deadline_ms > self.now_ms

    @invariant()
    def what_is_remembered_is_what_would_be_decided_anew(self) -> None:
        """Views and decisions are kept until a fact changes; no fact may be overlooked."""
        engine = self.engine
        self.take(engine.observe_time(self.now_ms))
        remembered = engine.decide(self.now_ms).routes
        engine._dirty.update(engine._routes)
        assert engine.decide(self.now_ms).routes == remembered

    @invariant()
    def a_frozen_route_has_no_plan_and_an_empty_plan_has_a_reason(self) -> None:
        for route in self.engine.decide(self.now_ms).routes:
            blocking = {frozen.reason for frozen in route.frozen} - {FrozenReason.UNKNOWN_NEXT_HOP}
            assert not (blocking and route.plan)
            assert route.reason

    @invariant()
    def everybody_is_explained(self) -> None:
        decision = self.engine.decide(self.now_ms)
        for route in decision.routes:
            kept = {entry.gateway for entry in route.kept}
            leaving = {entry.gateway for entry in route.leaving}
            waiting = {entry.gateway for entry in route.waiting}
            assert kept.isdisjoint(leaving)
            assert kept | leaving <= set(route.observed)
            assert waiting.isdisjoint(route.observed)
            assert len(kept) == len(route.kept)
        assert only_integers(decision)
        assert only_integers(self.engine.gateways(self.now_ms))

    @invariant()
    def nothing_grows_without_bound(self) -> None:
        for check in self.engine._checks.values():
            assert len(check.evidence.flights) <= 60
            assert set(check.evidence.waits) <= set(check.evidence.flights)
        assert len(self.engine._due) <= 60 * COUNT


EngineUnderFacts.TestCase.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=50
)
TestEngineUnderFacts = EngineUnderFacts.TestCase


# --- smaller laws -------------------------------------------------------------------------------

facts = st.sampled_from(["pass", "refuse", "miss", "hear", "lose", "degrade"])


def tell(bench: Bench, request: ProbeRequest, fact: str) -> None:
    """Report one fact about one gateway, whose probe is under way, at this instant."""
    engine, now_ms, name = bench.engine, bench.now_ms, request.gateway
    match fact:
        case "pass" | "refuse":
            result = a_result(
                request.probe_id,
                check=name,
                depth=request.depth,
                reason=None if fact == "pass" else ProbeReason.REFUSED,
                started_ms=now_ms - 1,
                finished_ms=now_ms,
            )
            engine.observe_probe_finished(result, now_ms)
        case "miss":
            engine.observe_heartbeat_missed(name, now_ms - 100, now_ms)
        case "hear":
            engine.observe_heartbeat_heard(name, now_ms)
        case "lose":
            engine.observe_held_lost(name, "reset", now_ms)
        case _:
            engine.observe_degradation(name, "bgp", now_ms, present=True)


def under_way() -> tuple[Bench, dict[str, ProbeRequest]]:
    """Return a bench with one routine probe of each gateway sent a millisecond ago."""
    bench = Bench(4)
    bench.writes = False
    bench.now_ms += 1_000
    for check in bench.engine._checks.values():
        check.evidence.next_routine_ms = bench.now_ms
        bench.engine.observe_held_opened(check.key, bench.now_ms)
    requests = {}
    for _ in range(2):
        bench.engine.observe_time(bench.now_ms)
        for request in bench.engine.decide(bench.now_ms).probes:
            bench.engine.observe_probe_started(request.probe_id, bench.now_ms)
            requests[request.gateway] = request
    bench.now_ms += 1
    return bench, requests


@given(st.permutations(names(4)), st.lists(facts, min_size=4, max_size=4))
@settings(max_examples=60)
def test_the_order_of_facts_of_different_checks_within_an_instant_does_not_matter(
    order: list[str], happened: list[str]
) -> None:
    """Which witnesses are asked may differ; what is judged and decided may not."""
    by_name = dict(zip(names(4), happened, strict=True))
    seen = []
    for sequence in (names(4), order):
        bench, requests = under_way()
        assert set(requests) == set(names(4))
        for name in sequence:
            tell(bench, requests[name], by_name[name])
        bench.engine.observe_time(bench.now_ms)
        decision = bench.engine.decide(bench.now_ms)
        seen.append((decision.routes, bench.engine.gateways(bench.now_ms)))
    assert seen[0] == seen[1]


@given(st.sampled_from(RouteShape), st.integers(min_value=1, max_value=5))
def test_a_settled_engine_ignores_repeats(shape: RouteShape, times: int) -> None:
    """This licenses fast-forward across settled stretches."""
    bench = Bench(3, shape=shape)
    bench.advance(3_000)
    assert bench.engine.settled
    before = bench.engine.decide(bench.now_ms)
    for _ in range(times):
        events = (
            *bench.engine.observe_router_up(
                some_facts(9_000_000, major=7 if shape is RouteShape.ROWS else 6), bench.now_ms
            ),
            *bench.engine.observe_route(
                a_read(bench.rows, bench.now_ms, shape=shape), bench.now_ms
            ),
            *bench.engine.observe_held_opened("node1", bench.now_ms),
            *bench.engine.observe_writer(bench.now_ms, writer=True),
            *bench.engine.observe_time(bench.now_ms),
        )
        assert events == ()
    assert bench.engine.decide(bench.now_ms) == before


def test_an_engine_with_work_under_way_is_not_settled() -> None:
    bench = Bench(3)
    bench.kill("node1")
    assert not bench.engine.settled
    bench.advance(10)
    assert not bench.engine.settled
    bench.answer("node1")
    bench.advance(60_000)
    assert bench.engine.settled


@given(st.sampled_from(sorted(EVENTS)), st.text(min_size=1, max_size=12))
def test_the_table_of_events_refuses_unknown_fields(name: str, field: str) -> None:
    _, allowed = EVENTS[name]
    if field.rstrip("_") in allowed:
        made = event(name, 0, **{field: "x"})
        assert dict(made.fields) == {field.rstrip("_"): "x"}
    else:
        with pytest.raises(AssertionError):
            event(name, 0, **{field: "x"})


@given(st.sampled_from(sorted(EVENTS)))
def test_fields_that_say_nothing_are_left_out(name: str) -> None:
    _, allowed = EVENTS[name]
    assert event(name, 5, **dict.fromkeys(allowed)).fields == {}


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(KeyError):
        event("gateway.exploded", 0)


def test_the_mark_of_the_tests_is_the_mark_of_the_core() -> None:
    assert carries_mark(MARK, VIP)
