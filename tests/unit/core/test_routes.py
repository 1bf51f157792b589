"""Routes: who changed the rows, what may be written, and when again (design 5.8, 6.3 to 6.6).

`Bench` carries steps out by itself unless `writes` is off; a person edits with `edit`.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from edged.core.errors import CommandRefused
from edged.core.plan import release_steps
from edged.core.routes import Route
from edged.core.types import (
    CreateRow,
    Drain,
    DropNextHop,
    HandOver,
    Opinion,
    Pause,
    PlannedStep,
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
    WORDS,
    Bench,
    a_config,
    a_list,
    a_read,
    a_row,
    a_step_result,
    hop,
    names,
    rows_of,
    some_facts,
)

ROWS, LIST = RouteShape.ROWS, RouteShape.LIST
YOUNG_MS = 10_000
Edit = Callable[[list[RouteRow]], list[RouteRow]]


def grown_up(**values: object) -> Bench:
    """Return a bench older than our first ten seconds, in which nothing is a person's edit."""
    bench = Bench(**values)  # type: ignore[arg-type]
    bench.advance(YOUNG_MS)
    return bench


def toggled(name: str, *, disabled: bool) -> Edit:
    return lambda rows: [
        replace(row, disabled=disabled) if row.next_hops == (hop(name),) else row for row in rows
    ]


def deleted(name: str) -> Edit:
    return lambda rows: [row for row in rows if row.next_hops != (hop(name),)]


def with_list(*members: str) -> Edit:
    return lambda rows: [replace(rows[0], next_hops=tuple(hop(name) for name in members))]


def a_dying_node(bench: Bench) -> PlannedStep:
    """Kill node1 and return the step that takes it out, not yet written."""
    bench.writes = False
    bench.kill("node1")
    bench.advance(5)
    planned = bench.wanted()
    assert planned is not None
    return planned


# --- first sight, verification, drift -----------------------------------------------------------


def test_what_is_seen_first_is_taken_over_and_nothing_written() -> None:
    bench = Bench(3, members=("node1", "node2"), settled=False)
    bench.advance(2_000)
    assert bench.steps == []
    assert bench.engine.decide(bench.now_ms).routes[0].observed == ("node1", "node2")


def test_before_the_first_read_nothing_is_written() -> None:
    bench = Bench(3, connect=False, settled=False)
    bench.advance(5_000)
    assert bench.frozen() == ["router_lost", "uncertain"]
    assert bench.route.plan == ()


@pytest.mark.parametrize("shape", [ROWS, LIST])
def test_a_step_is_believed_when_a_read_confirms_it(shape: RouteShape) -> None:
    bench = grown_up(shape=shape)
    planned = a_dying_node(bench)
    bench.step(planned)
    assert bench.frozen() == ["uncertain"], "no second step before it is read back"
    assert bench.wanted() is None
    assert bench.route.observed == names(3)
    bench.read()
    assert bench.route.observed == ("node2", "node3")
    assert bench.told("route.verified")[0].get("in_route") == ("node2", "node3")
    assert bench.told("route.changed")[0].get("removed") == ("node1",)


def test_a_read_that_left_before_the_step_was_answered_tells_nothing() -> None:
    bench = grown_up()
    old = a_read(bench.rows, bench.now_ms, sent_ms=bench.now_ms)
    planned = a_dying_node(bench)
    bench.step(planned)
    bench._take(bench.engine.observe_route(old, bench.now_ms))
    assert not bench.told("route.drifted")
    bench.read()
    assert bench.told("route.verified")


@pytest.mark.parametrize("shape", [ROWS, LIST])
def test_a_step_that_did_not_take_is_drift_with_both_sides_shown(shape: RouteShape) -> None:
    bench = grown_up(shape=shape)
    planned = a_dying_node(bench)
    bench.step(planned, applied=False)
    bench.read()
    (drift,) = bench.told("route.drifted")
    assert drift.get("expected") == ("node2", "node3")
    assert drift.get("found") == names(3)


def test_a_step_done_by_half_is_drift_and_no_persons_edit() -> None:
    bench = grown_up(config=a_config(5))
    bench.writes = False
    bench.kill("node1", "node2")
    bench.advance(5)
    planned = bench.wanted()
    assert planned is not None
    assert planned.removed == ("node1", "node2")
    bench.step(planned, applied=False)
    bench.edit(toggled("node1", disabled=True))
    assert not bench.told("route.human_edited")
    assert bench.told("route.drifted")[0].get("found") == ("node2", "node3", "node4", "node5")


def test_drift_is_not_written_over_and_over() -> None:
    """Each write may be a flash write; a router that answers done and does nothing gets time."""
    bench = grown_up()
    planned = a_dying_node(bench)
    waits_ms = []
    for _ in range(4):
        bench.step(planned, applied=False)
        bench.read()
        begun_ms = bench.now_ms
        while (again := bench.wanted()) is None:
            bench.advance(100)
        planned = again
        waits_ms.append(bench.now_ms - begun_ms)
    assert waits_ms == [pytest.approx(w, abs=400) for w in (1_000, 5_000, 30_000, 30_000)]


def test_a_v6_list_that_neither_side_wrote_is_a_persons_edit() -> None:
    bench = grown_up(shape=LIST)
    planned = a_dying_node(bench)
    bench.step(planned)
    bench.edit(with_list("node3"))
    assert bench.told("route.human_edited")[0].get("after") == ("node3",)


def test_a_member_the_router_calls_unreachable_is_drift_told_once() -> None:
    bench = grown_up()
    gone = replace(bench.rows[1], unreachable=(hop("node2"),))
    for _ in range(2):
        bench.edit(lambda rows: [rows[0], gone, rows[2]])
    (drift,) = bench.told("route.drifted")
    assert drift.get("found") == ("node1", "node3")
    assert bench.members == names(3), "and not disabled for it"


# --- uncertain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [ROWS, LIST])
@pytest.mark.parametrize("applied", [True, False])
def test_after_an_uncertain_step_only_a_read_may_follow(
    shape: RouteShape, *, applied: bool
) -> None:
    bench = grown_up(shape=shape)
    planned = a_dying_node(bench)
    bench.step(planned, StepOutcome.UNCERTAIN, applied=applied)
    assert bench.told("route.write_uncertain")
    assert bench.frozen() == ["uncertain"]
    assert bench.wanted() is None
    bench.advance(5)
    bench.read()
    assert bench.frozen() == []
    assert not bench.told("route.human_edited")
    assert len(bench.told("route.changed")) == applied
    bench.writes = True
    bench.advance(1_000)
    assert bench.members == ("node2", "node3")


def test_an_uncertain_step_done_by_half_is_nobodys_edit() -> None:
    bench = grown_up(config=a_config(5))
    bench.writes = False
    bench.kill("node1", "node2")
    bench.advance(5)
    planned = bench.wanted()
    assert planned is not None
    bench.step(planned, StepOutcome.UNCERTAIN, applied=False)
    bench.advance(1)
    bench.edit(toggled("node2", disabled=True))
    assert not bench.told("route.human_edited")
    bench.writes = True
    bench.advance(10)
    assert bench.members == ("node3", "node4", "node5")


def test_an_uncertain_step_and_a_person_at_once_is_a_persons_edit() -> None:
    bench = grown_up()
    planned = a_dying_node(bench)
    bench.step(planned, StepOutcome.UNCERTAIN, applied=False)
    bench.advance(1)
    bench.edit(toggled("node3", disabled=True))
    assert bench.told("route.human_edited")[0].get("after") == ("node1", "node2")


def test_nothing_is_written_on_rows_read_on_another_connection() -> None:
    bench = grown_up()
    bench.disconnect()
    bench.advance(10)
    bench._take(bench.engine.observe_router_up(some_facts(9_000_000), bench.now_ms))
    assert bench.frozen() == ["uncertain"]
    bench.read()
    assert bench.frozen() == []


# --- refused ------------------------------------------------------------------------------------


def test_a_refused_step_is_repeated_after_1_5_and_30_seconds() -> None:
    bench = grown_up()
    planned = a_dying_node(bench)
    waits_ms = []
    for _ in range(5):
        bench.step(planned, StepOutcome.REFUSED, refusal=Refusal.OTHER)
        bench.read()
        refused_ms = bench.now_ms
        assert bench.wanted() is None
        while (again := bench.wanted()) is None:
            bench.advance(50)
        planned = again
        waits_ms.append(bench.now_ms - refused_ms)
    told = [event.get("retry_ms") for event in bench.told("route.write_refused")]
    assert told == [1_000, 5_000, 30_000, 30_000, 30_000]
    assert waits_ms == [pytest.approx(wait, abs=400) for wait in told]


@pytest.mark.parametrize("refusal", [Refusal.PERMISSION, Refusal.UNKNOWN_PARAMETER])
def test_a_matter_of_rights_or_words_is_repeated_only_on_a_new_connection(
    refusal: Refusal,
) -> None:
    bench = grown_up()
    planned = a_dying_node(bench)
    bench.step(planned, StepOutcome.REFUSED, refusal=refusal)
    bench.read()
    assert bench.told("route.write_refused")[0].get("retry_ms") is None
    bench.advance(120_000)
    assert bench.wanted() is None
    bench.writes = True
    bench.disconnect()
    bench.advance(100)
    bench.connect()
    bench.advance(1_000)
    assert bench.members == ("node2", "node3")


def test_a_refusal_of_one_kind_does_not_hold_back_another() -> None:
    """Enabling was refused; a node that dies meanwhile leaves at once all the same."""
    bench = Bench(3, members=names(2), settled=False)
    bench.writes = False
    bench.advance(5_000)
    planned = bench.wanted()
    assert planned is not None
    assert planned.added == ("node3",)
    bench.step(planned, StepOutcome.REFUSED, refusal=Refusal.PERMISSION)
    bench.read()
    bench.writes = True
    bench.kill("node1")
    bench.advance(10)
    assert bench.members == ("node2",)
    assert bench.waits("node3") == "pace"


def test_a_floor_is_not_met_by_one_whose_entry_was_refused() -> None:
    bench = Bench(config=a_config(2, min_healthy=1), members=("node1",), settled=False)
    bench.writes = False
    bench.advance(5_000)
    planned = bench.wanted()
    assert planned is not None
    assert planned.added == ("node2",)
    bench.step(planned, StepOutcome.REFUSED, refusal=Refusal.PERMISSION)
    bench.read()
    bench.writes = True
    bench.kill("node1")
    bench.advance(20_000)
    assert bench.members == ("node1",)
    assert bench.kept("node1") == "last"


def test_a_success_forgets_the_refusals_before_it() -> None:
    bench = grown_up()
    planned = a_dying_node(bench)
    bench.step(planned, StepOutcome.REFUSED, refusal=Refusal.OTHER)
    bench.read()
    bench.advance(1_000)
    bench.writes = True
    bench.advance(2_000)
    assert bench.members == ("node2", "node3")
    bench.writes = False
    bench.command(Drain(gateway="node2", force=True))
    drain = bench.wanted()
    assert drain is not None
    bench.step(drain, StepOutcome.REFUSED, refusal=Refusal.OTHER)
    assert bench.told("route.write_refused")[-1].get("retry_ms") == 1_000


# --- pace and storms ----------------------------------------------------------------------------


def test_additions_are_batched_and_keep_a_second_between_them() -> None:
    bench = Bench(5, members=("node1", "node2", "node3"), settled=False)
    bench.refuse("node5")
    bench.advance(3_000)
    assert bench.members == names(4)
    added_ms = bench.told("route.changed")[0].at_ms
    bench.command(Drain(gateway="node1"))
    bench.advance(0)
    bench.command(Resume())
    bench.command(Undrain(gateway="node1"))
    bench.advance(500)
    assert bench.waits("node1") == "pace"
    bench.advance(600)
    assert bench.members == names(4)
    back = next(e for e in bench.told("route.changed") if e.get("added") == ("node1",))
    assert back.at_ms == added_ms + 1_000


def test_more_than_ten_writes_a_minute_stop_additions_for_a_minute() -> None:
    bench = grown_up(config=a_config(4, min_healthy=1))
    for _ in range(6):
        bench.edit(toggled("node1", disabled=False))
        bench._take(bench.engine.command(Resume(), bench.now_ms))
        bench.command(Drain(gateway="node1"))
        bench.advance(2_000)
        bench.command(Undrain(gateway="node1"))
        bench.advance(2_000)
    (storm,) = bench.told("route.write_storm")
    assert storm.get("writes") == 11
    assert bench.waits("node1") == "pace"
    bench.kill("node2")
    bench.advance(100)
    assert "node2" not in bench.members, "removals go on"
    bench.advance(60_000)
    assert "node1" in bench.members


def test_marks_and_spare_rows_are_no_storm() -> None:
    rows = [a_row(name, comment=WORDS) for name in names(16)]
    bench = Bench(config=a_config(16, adopt=True), rows=rows)
    assert len(bench.steps) == 16
    assert not bench.told("route.write_storm")


# --- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "edit"),
    [(ROWS, toggled("node1", disabled=True)), (LIST, with_list("node2", "node3"))],
    ids=["v7", "v6"],
)
def test_a_persons_edit_is_kept_for_fifteen_minutes(shape: RouteShape, edit: Edit) -> None:
    assert a_config(3).human_hold_ms == 900_000
    bench = grown_up(config=replace(a_config(3), human_hold_ms=60_000), shape=shape)
    bench.edit(edit)
    (told,) = bench.told("route.human_edited")
    assert told.get("before") == names(3)
    assert told.get("after") == ("node2", "node3")
    assert told.get("until_ms") == bench.now_ms + 60_000
    assert told.severity.value == "warning"
    assert bench.frozen() == ["human_edit"]
    bench.kill("node2")
    bench.advance(59_000)
    assert bench.members == ("node2", "node3")
    bench.advance(5_000)
    assert "node2" not in bench.members


def test_an_edit_that_leaves_nobody_who_passes_is_critical() -> None:
    bench = grown_up()
    bench.silence("node3")
    bench.miss("node3")
    bench.edit(lambda rows: toggled("node2", disabled=True)(toggled("node1", disabled=True)(rows)))
    assert bench.told("route.human_edited")[0].severity.value == "critical"


def test_resume_takes_over_at_once() -> None:
    bench = grown_up()
    bench.edit(toggled("node1", disabled=True))
    bench.command(Resume(owner="ann"))
    bench.advance(100)
    assert bench.members == names(3)


def test_a_row_that_a_person_disabled_stays_disabled() -> None:
    bench = grown_up()
    bench.edit(toggled("node1", disabled=True))
    bench.advance(2_000_000)
    assert bench.members == ("node2", "node3")
    assert bench.waits("node1") == "human_hold"
    bench.edit(toggled("node1", disabled=False))
    assert bench.route.observed == names(3)


def test_a_v6_row_that_a_person_disabled_stays_disabled_until_resume() -> None:
    bench = grown_up(shape=LIST)
    bench.edit(lambda rows: [replace(rows[0], disabled=True)])
    bench.advance(2_000_000)
    assert bench.members == ()
    bench.command(Resume())
    bench.advance(100)
    assert bench.members == names(3)


def test_what_changes_in_our_first_ten_seconds_is_nobodys_edit() -> None:
    bench = Bench(3)
    bench.edit(toggled("node1", disabled=True))
    assert not bench.told("route.human_edited")
    bench.advance(1_000)
    assert bench.members == names(3)


def test_rows_all_disabled_at_the_start_stay_so() -> None:
    bench = Bench(3, members=())
    bench.advance(60_000)
    assert bench.members == ()
    assert bench.waits("node1") == "human_hold"


def test_a_row_id_that_changed_is_no_edit() -> None:
    bench = grown_up()
    bench.edit(lambda rows: [replace(row, row_id=f"*9{row.row_id[1:]}") for row in rows])
    assert not bench.told("route.human_edited")


def test_restore_puts_an_edit_back_three_times_then_the_route_is_contested() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    for count in range(1, 4):
        bench.edit(toggled("node1", disabled=True))
        bench.advance(2_000)
        assert bench.members == names(3), f"restored {count} times"
    bench.edit(toggled("node1", disabled=True))
    bench.advance(100_000)
    assert bench.members == ("node2", "node3")
    assert bench.frozen() == ["contested"]
    assert len(bench.told("route.contested")) == 1
    bench.command(Resume())
    bench.advance(2_000)
    assert bench.members == names(3)


def test_restores_are_counted_for_each_row() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    for name in names(3) * 3:
        bench.edit(toggled(name, disabled=True))
        bench.advance(2_000)
    assert bench.members == names(3)
    assert not bench.told("route.contested")


def test_restores_are_forgotten_after_ten_minutes() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True), shape=LIST)
    for _ in range(6):
        bench.edit(with_list("node2", "node3"))
        bench.advance(250_000)
    assert bench.members == names(3)
    assert not bench.told("route.contested")


def test_in_observe_mode_nothing_is_restored() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True, enforce=False))
    bench.edit(toggled("node1", disabled=True))
    bench.advance(5_000)
    assert bench.members == ("node2", "node3")
    assert set(bench.frozen()) == {"observing", "human_edit"}


# --- reboot, missing rows, routers --------------------------------------------------------------


def test_a_reboot_is_no_persons_edit_and_what_is_missing_is_written() -> None:
    bench = grown_up()
    bench.command(Drain(gateway="node1"))
    bench.advance(100)
    bench.disconnect()
    bench.advance(20_000)
    bench.rows = rows_of(names(3))
    bench.connect(uptime_ms=30_000)
    assert bench.told("router.rebooted")[0].get("uptime_ms") == 30_000
    assert not bench.told("route.human_edited")
    bench.advance(100)
    assert bench.members == ("node2", "node3")


def test_a_route_that_vanished_is_put_back_after_two_reads_ten_seconds_apart() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    bench.edit(lambda _: [])
    gone_ms = bench.now_ms
    assert bench.told("route.missing")
    bench.advance(11_000)
    assert bench.rows == [], "time alone is no second read"
    bench.read()
    bench.advance(1_000)
    assert bench.members == names(3)
    assert all(MARK in row.comment for row in bench.rows)
    assert bench.told("route.changed")[0].at_ms >= gone_ms + 10_000


def test_a_route_that_vanished_is_not_put_back_on_a_router_just_booted() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    bench.disconnect()
    bench.advance(5_000)
    bench.rows = []
    bench.connect(uptime_ms=20_000)
    for _ in range(9):
        bench.advance(10_000)
        bench._take(
            bench.engine.observe_router_up(some_facts(20_000 + bench.now_ms - 20_000), bench.now_ms)
        )
        bench.read()
    assert bench.rows == []
    bench._take(bench.engine.observe_router_up(some_facts(121_000), bench.now_ms))
    bench.read()
    bench.advance(100)
    assert bench.rows


def test_a_route_that_vanished_is_not_put_back_beside_a_foreign_one() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    bench.edit(lambda _: [a_row("node2", comment="mine")])
    bench.advance(11_000)
    bench.read()
    bench.advance(1_000)
    assert [row.comment for row in bench.rows] == ["mine"]
    assert bench.frozen() == ["not_adopted"]


def test_one_missing_v7_row_is_put_back_disabled_after_two_reads() -> None:
    bench = grown_up(config=a_config(3, restore_human_edits=True))
    bench.edit(deleted("node1"))
    bench.advance(9_000)
    bench.read()
    bench.advance(100)
    assert len(bench.rows) == 2
    assert bench.waits("node1") == "pace"
    bench.advance(1_000)
    bench.read()
    bench.advance(100)
    (created,) = [step.step for step in bench.steps if isinstance(step.step, CreateRow)]
    assert created.disabled
    assert bench.members == names(3), "then enabled, by a step of its own"


def test_a_new_gateway_gets_its_row_at_once_and_enters_when_it_is_up() -> None:
    bench = grown_up(rows=rows_of(names(2))[:2])
    assert [type(step.step) for step in bench.steps] == [CreateRow, SetDisabled]
    assert bench.members == names(3)


def test_a_router_with_another_major_version_freezes_until_resume() -> None:
    bench = grown_up(shape=LIST)
    bench.disconnect()
    bench.shape = ROWS
    bench.rows = rows_of(names(3))
    bench.connect(major=7)
    assert bench.told("router.upgraded")[0].get("after") == "7.18"
    assert "router_upgraded" in bench.frozen()
    bench.command(Resume())
    assert "router_upgraded" not in bench.frozen()


def test_a_lost_router_is_told_once_and_its_return_with_the_time_between() -> None:
    bench = grown_up()
    bench.disconnect()
    bench.disconnect()
    bench.advance(5_000)
    assert bench.frozen() == ["router_lost"]
    bench.connect()
    assert len(bench.told("router.lost")) == 1
    assert bench.told("router.recovered")[0].get("lost_ms") == 5_000


def test_a_refused_login_is_told_as_such() -> None:
    bench = Bench(3, connect=False, settled=False)
    bench._take(bench.engine.observe_router_lost(ROUTER, "bad password", 0, login_refused=True))
    assert bench.told("router.login_refused")
    assert not bench.told("router.lost")


def test_rows_that_cannot_be_read_freeze_the_route_and_are_told_once() -> None:
    bench = grown_up()
    for _ in range(2):
        bench._take(bench.engine.observe_read_refused(ROUTER, VIP, "no such command", bench.now_ms))
    bench._take(bench.engine.observe_read_refused(ROUTER, "other", "no", bench.now_ms))
    assert len(bench.told("route.unreadable")) == 1
    assert "uncertain" in bench.frozen()
    bench.read()
    assert bench.frozen() == []


# --- ownership ----------------------------------------------------------------------------------


def test_without_a_row_of_ours_the_route_is_not_adopted() -> None:
    bench = Bench(3, rows=[a_row(name, comment=WORDS) for name in names(3)])
    bench.kill("node1")
    bench.advance(5_000)
    assert bench.frozen() == ["not_adopted"]
    assert bench.steps == []
    assert bench.told("route.foreign_found")


def test_a_foreign_row_freezes_the_route_and_is_told_once() -> None:
    bench = grown_up()
    foreign = a_row("node2", comment="mine", row_id="*F")
    for _ in range(2):
        bench.edit(lambda rows: [*rows[:3], foreign])
    assert bench.frozen() == ["foreign"]
    assert len(bench.told("route.foreign_found")) == 1
    bench.kill("node1")
    bench.advance(5_000)
    assert bench.steps == []
    bench.edit(lambda rows: rows[:3])
    bench.advance(5_000)
    assert bench.members == ("node2", "node3")


@pytest.mark.parametrize("shape", [ROWS, LIST])
def test_two_of_ours_where_one_should_be_freeze_the_route(shape: RouteShape) -> None:
    rows = rows_of(names(3), shape=shape)
    bench = Bench(3, shape=shape, rows=[*rows, replace(rows[0], row_id="*X")])
    assert bench.frozen() == ["contested"]
    bench.kill("node1")
    bench.advance(1_000)
    assert bench.steps == []


def test_an_unknown_next_hop_is_told_once_carried_along_and_dropped_by_a_person() -> None:
    bench = Bench(3, shape=LIST, rows=[a_list((*names(3), "node9"))])
    assert bench.frozen() == ["unknown_next_hop"]
    bench.read()
    assert len(bench.told("route.unknown_next_hop")) == 1
    bench.kill("node1")
    bench.advance(100)
    assert set(bench.rows[0].next_hops) == {hop("node2"), hop("node3"), hop("node9")}
    with pytest.raises(CommandRefused, match=r"those are: 10\.0\.0\.9"):
        bench.command(DropNextHop(vip=VIP, next_hop="10.0.0.8"))
    bench.command(DropNextHop(vip=VIP, next_hop=hop("node9")))
    bench.advance(100)
    assert set(bench.rows[0].next_hops) == {hop("node2"), hop("node3")}


@pytest.mark.parametrize("shape", [ROWS, LIST])
def test_adopt_true_marks_the_rows_in_enforce_mode(shape: RouteShape) -> None:
    rows = (
        [a_list(names(3), comment=WORDS)]
        if shape is LIST
        else [a_row(name, comment=WORDS) for name in names(3)]
    )
    bench = Bench(config=a_config(3, adopt=True), shape=shape, rows=rows)
    assert all(isinstance(planned.step, SetComment) for planned in bench.steps)
    assert bench.frozen() == []
    assert all(row.comment == f"{WORDS} {MARK}" for row in bench.rows)
    watching = Bench(config=a_config(3, adopt=True, enforce=False), shape=shape, rows=rows)
    assert watching.steps == []


def test_an_adoption_cut_short_goes_on() -> None:
    rows = [a_row("node1"), a_row("node2", comment=WORDS), a_row("node3", comment=WORDS)]
    bench = Bench(config=a_config(3, adopt=True), rows=rows)
    assert all(row.comment == f"{WORDS} {MARK}" for row in bench.rows)
    assert bench.members == names(3)


def test_adopt_true_leaves_what_would_be_a_second_row_of_ours() -> None:
    bench = grown_up(config=a_config(3, adopt=True))
    bench.edit(lambda rows: [*rows, a_row("node2", comment="mine", row_id="*F")])
    bench.advance(10_000)
    assert bench.frozen() == ["foreign"]
    assert bench.rows[-1].comment == "mine"


def test_adopt_true_adopts_no_second_list() -> None:
    first, second = a_list(names(2), comment=""), a_list(["node3"], comment="")
    bench = Bench(
        config=a_config(3, adopt=True), shape=LIST, rows=[first, replace(second, row_id="*2")]
    )
    assert bench.frozen() == ["not_adopted"]
    assert bench.steps == []


def test_an_unknown_next_hop_blocks_adoption() -> None:
    rows = [a_list((*names(3), "node9"), comment=WORDS)]
    bench = Bench(config=a_config(3, adopt=True), shape=LIST, rows=rows)
    assert bench.frozen() == ["not_adopted"]
    assert bench.steps == []


def released(bench: Bench, outcome: StepOutcome = StepOutcome.DONE) -> None:
    """Take every mark off, as `edged release` does."""
    own = bench.engine.own_rows(ROUTER, VIP)
    assert own is not None
    for mark in release_steps(own, bench.config.vips[0]):
        bench.step(PlannedStep(router=ROUTER, vip=VIP, step=mark), outcome, applied=True)
        bench.advance(1)
        bench.read()


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("outcome", [StepOutcome.DONE, StepOutcome.UNCERTAIN])
def test_what_a_person_released_stays_released(outcome: StepOutcome, *, adopt: bool) -> None:
    bench = grown_up(config=a_config(3, adopt=adopt))
    released(bench, outcome)
    bench.advance(60_000)
    bench.read()
    bench.advance(1_000)
    assert bench.frozen() == ["not_adopted"]
    assert all(row.comment == WORDS for row in bench.rows)
    assert len(bench.rows) == 3
    assert not bench.told("route.human_edited")


def test_a_mark_that_a_person_took_off_stays_off() -> None:
    bench = grown_up(config=a_config(3, adopt=True))
    bench.edit(lambda rows: [replace(row, comment=WORDS) for row in rows])
    bench.advance(1_000_000)
    bench.read()
    bench.advance(1_000)
    assert all(row.comment == WORDS for row in bench.rows)


def test_adopting_a_dead_gateway_does_not_forgive_it() -> None:
    rows = [a_row(name, comment=WORDS) for name in names(3)]
    bench = Bench(3, rows=rows)
    bench.writes = False
    bench.kill("node1")
    bench.advance(1_000)
    for row in rows:
        mark = SetComment(row_id=row.row_id, before=WORDS, after=f"{WORDS} {MARK}")
        bench.step(PlannedStep(router=ROUTER, vip=VIP, step=mark))
        bench.read()
    assert bench.state("node1") == "DOWN"
    bench.writes = True
    bench.advance(2_000)
    assert bench.members == ("node2", "node3")


# --- handing over -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [ROWS, LIST])
def test_a_person_may_leave_the_vip_to_bgp_and_take_it_back(shape: RouteShape) -> None:
    bench = grown_up(shape=shape)
    with pytest.raises(CommandRefused, match="shows no BGP route"):
        bench.command(HandOver(vip=VIP, to_bgp=True))
    bgp = a_row("node1", comment="", row_id="*B", bgp=True, static=False, dynamic=True)
    bench.edit(lambda rows: [*rows, bgp])
    with pytest.raises(CommandRefused, match="established session"):
        bench.command(HandOver(vip=VIP, to_bgp=True))
    bench.sessions(node1=True)
    bench.command(HandOver(vip=VIP, to_bgp=True, owner="ann"))
    bench.advance(60_000)
    assert bench.route.observed == ()
    assert bench.told("route.handed_over")[0].get("to") == "bgp"
    bench.command(HandOver(vip=VIP, to_bgp=False))
    bench.advance(5_000)
    assert bench.route.observed == names(3)


def test_handing_over_before_the_rows_are_known_is_refused() -> None:
    bench = Bench(3, connect=False, settled=False)
    with pytest.raises(CommandRefused, match="nothing was changed"):
        bench.command(HandOver(vip=VIP, to_bgp=True))


def test_a_disabled_list_is_set_right_before_it_is_enabled() -> None:
    bench = Bench(3, shape=LIST, rows=[a_list(names(3), disabled=True)])
    bench.kill("node1")
    bench.advance(10)
    bench.command(Resume())
    bench.advance(100)
    first, second = bench.steps
    assert isinstance(first.step, SetNextHops)
    assert (first.added, first.removed) == ((), ()), "nobody is a member of a disabled row"
    assert second.added == ("node2", "node3")


def test_handing_over_an_unknown_vip_is_refused() -> None:
    with pytest.raises(CommandRefused, match="known are web"):
        Bench(3).command(HandOver(vip="nope", to_bgp=True))


def test_without_a_bgp_route_any_more_nothing_is_disabled() -> None:
    bench = grown_up()
    bench.writes = False
    bgp = a_row("node1", comment="", row_id="*B", bgp=True, static=False, dynamic=True)
    bench.edit(lambda rows: [*rows, bgp])
    bench.sessions(node1=True)
    bench.command(HandOver(vip=VIP, to_bgp=True))
    bench.edit(lambda rows: rows[:3])
    bench.writes = True
    bench.advance(1_000)
    assert bench.members == names(3), "re-read right before"


# --- second opinions ----------------------------------------------------------------------------


def two_cut(bench: Bench) -> None:
    bench.silence("node1", "node2")
    bench.miss("node1")
    bench.miss("node2")


@pytest.mark.parametrize(
    ("opinion", "members"),
    [
        (Opinion.DEAD, ("node3", "node4")),
        (Opinion.ALIVE, names(4)),
        (Opinion.UNKNOWN, ("node3", "node4")),
        (None, ("node3", "node4")),
    ],
    ids=["dead", "alive", "unknown", "late"],
)
def test_a_mass_event_is_decided_by_the_router(
    opinion: Opinion | None, members: tuple[str, ...]
) -> None:
    bench = grown_up(config=a_config(4, min_healthy=2))
    bench.opinion = opinion
    two_cut(bench)
    bench.advance(2_500)
    assert bench.members == members


def test_a_confirmed_one_leaves_below_the_floor() -> None:
    bench = grown_up(config=a_config(3, min_healthy=3))
    bench.opinion = Opinion.DEAD
    bench.cut("node1")
    bench.advance(1_000)
    assert bench.members == ("node2", "node3")


def test_the_router_is_asked_once_while_it_has_not_answered_and_every_five_seconds_after() -> None:
    bench = grown_up(config=a_config(3, min_healthy=3))
    bench.opinion = Opinion.UNKNOWN
    bench.cut("node1")
    bench.advance(21_000)
    given = [event.at_ms for event in bench.told("router.opinion_given")]
    gaps = [later - earlier for earlier, later in pairwise(given)]
    assert 3 <= len(gaps) <= 6
    assert min(gaps) >= 3_500
    assert bench.kept("node1") == "floor"


def test_an_opinion_about_nobody_changes_nothing() -> None:
    bench = grown_up()
    before = bench.route
    bench.give_opinion("nobody", Opinion.DEAD)
    assert bench.route == before


# --- freezes of the whole -----------------------------------------------------------------------


def test_paused_nothing_is_written_until_the_time_is_up() -> None:
    bench = grown_up()
    bench.command(Pause(owner="ann", until_ms=bench.now_ms + 5_000))
    assert bench.engine.paused is not None
    bench.kill("node1")
    bench.advance(4_999)
    assert bench.frozen() == ["paused"]
    assert bench.members == names(3)
    bench.advance(1_100)
    assert bench.members == ("node2", "node3")
    assert bench.told("daemon.resumed")[0].get("cause") == "time is up"


def test_resume_ends_a_pause() -> None:
    bench = grown_up()
    bench.command(Pause(owner="ann"))
    bench.advance(100_000)
    assert bench.frozen() == ["paused"]
    bench.command(Resume(owner="bob"))
    assert bench.frozen() == []
    assert bench.told("daemon.resumed")[0].get("owner") == "bob"


def test_who_does_not_hold_the_lease_writes_nothing() -> None:
    bench = grown_up()
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=False))
    bench.kill("node1")
    bench.advance(1_000)
    assert bench.frozen() == ["not_writer"]
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=True))
    bench.advance(10)
    assert bench.members == names(3), "it looks before it writes"
    bench.read()
    bench.advance(2_000)
    assert bench.members == ("node2", "node3")


def test_in_observe_mode_the_plan_is_shown_and_not_written() -> None:
    bench = grown_up(config=a_config(3, enforce=False))
    bench.kill("node1")
    bench.advance(100)
    assert bench.frozen() == ["observing"]
    assert bench.steps == []
    assert bench.route.plan == ()
    (would,) = bench.route.would
    assert would.removed == ("node1",)
    assert not bench.route.in_sync


def test_observing_a_dead_gateway_is_quiet() -> None:
    bench = grown_up(config=a_config(3, enforce=False))
    bench.kill("node1")
    bench.advance(100_000)
    loud = [e for e in bench.told("gateway.kept") if e.severity.value != "debug"]
    assert loud == []


# --- configuration ------------------------------------------------------------------------------


def test_a_gateway_dropped_from_the_configuration_leaves_like_a_drained_one() -> None:
    bench = grown_up()
    bench._take(bench.engine.configure(a_config(2), bench.now_ms))
    bench.advance(100)
    assert bench.members == names(2)
    assert len(bench.rows) == 3, "its row stays, disabled and marked"
    bench.advance(60_000)
    assert len(bench.rows) == 3
    assert bench.frozen() == []


def test_a_dropped_gateway_without_a_row_gets_none() -> None:
    bench = grown_up()
    bench._take(bench.engine.configure(a_config(2), bench.now_ms))
    bench.advance(100)
    bench.edit(lambda rows: rows[:2])
    bench.command(Resume())
    bench.advance(60_000)
    bench.read()
    bench.advance(1_000)
    assert len(bench.rows) == 2


def test_a_renamed_gateway_keeps_its_place() -> None:
    bench = grown_up()
    old = a_config(3)
    renamed = replace(old.gateways[0], name="alpha")
    config = replace(
        old,
        gateways=(renamed, *old.gateways[1:]),
        checks=(replace(old.checks[0], gateway="alpha"), *old.checks[1:]),
    )
    bench._take(bench.engine.configure(config, bench.now_ms))
    bench._take(bench.engine.observe_time(bench.now_ms))
    assert bench.route.observed == ("alpha", "node2", "node3")
    assert bench.engine.decide(bench.now_ms).routes[0].plan == ()


def test_streaks_are_kept_through_a_reload() -> None:
    bench = grown_up()
    bench.kill("node1")
    bench.advance(1_000)
    verdict = bench.gateway("node1").verdict
    bench._take(bench.engine.configure(a_config(3, min_healthy=1), bench.now_ms))
    assert bench.gateway("node1").verdict == verdict
    assert bench.route.min_healthy == 1


def test_a_router_that_left_the_configuration_is_forgotten() -> None:
    bench = grown_up()
    old = a_config(3)
    bench._take(bench.engine.configure(replace(old, vips=(), routers=()), bench.now_ms))
    assert bench.engine.decide(bench.now_ms).routes == ()
    bench.read()
    bench.give_opinion("node1", Opinion.DEAD)
    step = PlannedStep(
        router=ROUTER,
        vip=VIP,
        step=SetNextHops(row_id="*1", before=(hop("node1"),), after=(hop("node2"),)),
    )
    assert bench.engine.observe_step(a_step_result(step), bench.now_ms) == ()


# --- small things -------------------------------------------------------------------------------


def test_a_route_without_a_read_has_no_news_and_no_rows() -> None:
    route = Route(ROUTER, VIP)
    assert route.news().foreign == ()
    assert not route.row_disabled("*1")
    assert not route.may_recreate(10**9)
    assert route.held_back(10**9) == frozenset()
