"""Plans: from rows to steps that are safe to interrupt (design 6.3, 6.4); tables.

The laws that hold for any rows are in `tests/properties/test_plan_laws.py`.
"""

from dataclasses import replace

import pytest

from edged.core.plan import (
    MAX_STEPS,
    OwnRows,
    address_of,
    adoption_steps,
    after_step,
    carries_mark,
    creation_steps,
    diff,
    hand_over,
    marked,
    release_steps,
    shape_of,
    sort_rows,
    undo_lines,
    unmarked,
)
from edged.core.types import (
    CreateRow,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
)
from tests.support.core import (
    MARK,
    VIP,
    WORDS,
    a_gateway,
    a_list,
    a_row,
    a_vip,
    apply_step,
    gateway_map,
    hop,
    names,
    rows_of,
)

ROWS, LIST = RouteShape.ROWS, RouteShape.LIST


def own(*rows: RouteRow, shape: RouteShape = ROWS, count: int = 3) -> OwnRows:
    return sort_rows(rows, shape, a_vip(count), gateway_map(count))


def steps(
    desired: tuple[str, ...], *rows: RouteRow, shape: RouteShape = ROWS, **more: frozenset[str]
) -> tuple[Step, ...]:
    return diff(own(*rows, shape=shape), desired, a_vip(), gateway_map(), **more)


# --- marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "ours"),
    [
        (MARK, True),
        (f"ECMP to Gateway VIP {MARK}", True),
        (f"{MARK} 게이트웨이", True),
        ("", False),
        (f"{MARK}site", False),
        (f"x{MARK}", False),
        (f"see ({MARK})", False),
        ("edged:web2", False),
        ("EDGED:WEB", False),
    ],
)
def test_a_row_is_ours_if_the_mark_is_a_whole_word_of_its_comment(
    comment: str, *, ours: bool
) -> None:
    assert carries_mark(comment, VIP) is ours


def test_a_mark_keeps_a_persons_words() -> None:
    assert marked("ECMP to Gateway VIP", VIP) == f"ECMP to Gateway VIP {MARK}"
    assert marked("", VIP) == MARK
    assert marked(f"{MARK} mine", VIP) == f"{MARK} mine"


@pytest.mark.parametrize(
    ("comment", "bare"),
    [
        (f"{MARK}", ""),
        (f"words {MARK}", "words"),
        (f"{MARK} words", "words"),
        (f"some {MARK} words", "some words"),
        (f"see {MARK}site {MARK}", f"see {MARK}site"),
        (f"{MARK} see {MARK}site", f"see {MARK}site"),
        (f"  padded  {MARK}", "  padded "),
        ("no mark", "no mark"),
    ],
)
def test_taking_the_mark_off_leaves_the_rest_as_it_is(comment: str, bare: str) -> None:
    assert unmarked(comment, VIP) == bare


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("172.30.1.20", "172.30.1.20"),
        ("172.30.1.20%bridge", "172.30.1.20"),
        ("172.30.1.20@main", "172.30.1.20"),
        ("fe80::1%ether1", "fe80::1"),
    ],
)
def test_interface_and_table_are_cut_from_a_next_hop(word: str, address: str) -> None:
    assert address_of(word) == address


# --- whose rows ---------------------------------------------------------------------------------


def test_rows_are_sorted_by_whose_they_are() -> None:
    foreign = a_row("node2", comment=WORDS, row_id="*F")
    bgp = a_row("node1", comment="", row_id="*B", bgp=True, static=False, dynamic=True)
    dynamic = a_row("node1", comment=MARK, row_id="*D", dynamic=True)
    found = own(a_row("node1"), foreign, bgp, dynamic, a_row("node3", disabled=True))
    assert found.members == ("node1",)
    assert found.foreign == (foreign,)
    assert found.bgp == (bgp,)
    assert found.disabled == {"node3"}
    assert found.rows == {"node1", "node3"}
    assert found.duplicates == ()


def test_members_keep_the_configured_order() -> None:
    assert own(a_row("node3"), a_row("node1")).members == ("node1", "node3")


def test_unreachable_members_are_inactive() -> None:
    row = a_row("node1", unreachable=(hop("node1"),))
    assert own(row).inactive == {"node1"}
    assert own(replace(row, disabled=True)).inactive == frozenset()


def test_an_unknown_next_hop_is_named_where_it_carries_traffic() -> None:
    """A v7 row of a gateway that left the configuration stays, disabled, and is no news."""
    strange = a_row("node9")
    assert own(a_row("node1"), strange).unknown == (hop("node9"),)
    assert own(a_row("node1"), replace(strange, disabled=True)).unknown == ()
    assert own(a_list(("node1", "node9"), disabled=True), shape=LIST).unknown == (hop("node9"),)


def test_two_rows_of_ours_for_one_gateway_are_duplicates() -> None:
    assert own(a_row("node1"), a_row("node1", row_id="*X")).duplicates == ("node1",)
    twice = own(a_list(["node1"]), replace(a_list(["node2"]), row_id="*2"), shape=LIST)
    assert twice.duplicates == ("*1", "*2")


@pytest.mark.parametrize(
    ("distance", "disabled", "blocks"),
    [(1, False, True), (2, False, False), (1, True, False)],
    ids=["same-distance", "higher", "disabled"],
)
def test_an_enabled_foreign_row_of_the_same_or_a_lower_distance_blocks(
    distance: int, *, disabled: bool, blocks: bool
) -> None:
    foreign = a_row("node2", comment="", row_id="*F", distance=distance, disabled=disabled)
    assert bool(own(a_row("node1"), foreign).blocking_foreign) is blocks
    assert bool(own(foreign).blocking_foreign) is not disabled


# --- diff ---------------------------------------------------------------------------------------


def test_v7_enables_before_it_disables() -> None:
    grow, shrink = steps(("node2", "node3"), *rows_of(("node1", "node2")))
    assert grow == SetDisabled(row_ids=("*3",), next_hops=(hop("node3"),), disabled=False)
    assert shrink == SetDisabled(row_ids=("*1",), next_hops=(hop("node1"),), disabled=True)


def test_v7_toggles_several_rows_at_once() -> None:
    (step,) = steps(("node1",), *rows_of(names(3)))
    assert step == SetDisabled(
        row_ids=("*2", "*3"), next_hops=(hop("node2"), hop("node3")), disabled=True
    )


def test_v7_keeps_a_row_for_every_gateway_and_creates_it_disabled() -> None:
    (step,) = steps(("node1", "node2"), *rows_of(("node1", "node2"))[:2])
    assert step == CreateRow(
        next_hops=(hop("node3"),), comment=f"{WORDS} {MARK}", disabled=True, check_gateway="none"
    )


def test_the_configured_comment_goes_before_the_mark_of_a_created_row() -> None:
    vip = a_vip(comment="게이트웨이", check_gateway="ping")
    (step,) = diff(own(a_row("node1"), a_row("node2")), names(2), vip, gateway_map())
    assert isinstance(step, CreateRow)
    assert (step.comment, step.check_gateway) == (f"게이트웨이 {MARK}", "ping")


def test_nothing_is_disabled_before_the_row_of_who_should_replace_it_exists() -> None:
    only = steps(("node2",), a_row("node1"), rowless=frozenset({"node3"}))
    assert [type(step) for step in only] == [CreateRow]


def test_a_rowless_gateway_gets_no_row() -> None:
    assert steps(("node1",), a_row("node1"), rowless=frozenset({"node2", "node3"})) == ()


def test_v6_writes_the_whole_list_in_one_step() -> None:
    (step,) = steps(("node2", "node3"), a_list(("node1", "node2")), shape=LIST)
    assert step == SetNextHops(
        row_id="*1",
        before=(hop("node1"), hop("node2")),
        after=(hop("node2"), hop("node3")),
    )


def test_v6_compares_as_a_set_and_keeps_the_routers_spelling() -> None:
    spelled = replace(a_list(()), next_hops=(f"{hop('node3')}%bridge", hop("node1")))
    assert steps(("node1", "node3"), spelled, shape=LIST) == ()
    (step,) = steps(("node3",), spelled, shape=LIST)
    assert isinstance(step, SetNextHops)
    assert step.after == (f"{hop('node3')}%bridge",)


def test_v6_takes_a_disabled_row_back_after_its_list_is_right() -> None:
    first, second = steps(("node1",), a_list(names(2), disabled=True), shape=LIST)
    assert isinstance(first, SetNextHops)
    assert second == SetDisabled(row_ids=("*1",), next_hops=(hop("node1"),), disabled=False)


@pytest.mark.parametrize("shape", [LIST, ROWS])
def test_an_unknown_next_hop_is_carried_along_until_a_person_drops_it(shape: RouteShape) -> None:
    strange = hop("node9")
    rows = [a_list((*names(3), "node9"))] if shape is LIST else [*rows_of(names(3)), a_row("node9")]
    kept = steps(names(2), *rows, shape=shape)
    dropped = steps(names(2), *rows, shape=shape, drop=frozenset({strange}))
    for plan, stays in ((kept, True), (dropped, False)):
        after = list(rows)
        for step in plan:
            after = apply_step(after, step)
        inside = {h for row in after if not row.disabled for h in row.next_hops}
        assert (strange in inside) is stays


@pytest.mark.parametrize("shape", [LIST, ROWS])
def test_no_plan_empties_a_route_or_touches_one_without_our_rows(shape: RouteShape) -> None:
    assert steps((), *rows_of(names(3), shape=shape), shape=shape) == ()
    assert steps(names(3), a_row("node1", comment=WORDS), shape=shape) == ()


def test_a_plan_is_bounded() -> None:
    plan = diff(own(a_row("node1"), count=100), ("node1",), a_vip(100), gateway_map(100))
    assert len(plan) == MAX_STEPS


# --- what a step does ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "step"),
    [
        (
            [a_list(names(2))],
            SetNextHops(row_id="*1", before=(hop("node1"), hop("node2")), after=(hop("node1"),)),
        ),
        (
            [a_list(names(2), disabled=True)],
            SetNextHops(row_id="*1", before=(hop("node1"), hop("node2")), after=(hop("node3"),)),
        ),
        (rows_of(names(3)), SetDisabled(row_ids=("*1",), next_hops=(hop("node1"),), disabled=True)),
        (
            rows_of(names(2)),
            SetDisabled(row_ids=("*3",), next_hops=(hop("node3"),), disabled=False),
        ),
        (rows_of(names(2)), CreateRow(next_hops=("10.0.0.9",), comment=MARK, disabled=True)),
        (rows_of(names(2)), SetComment(row_id="*1", before="", after=MARK)),
    ],
    ids=["v6-set", "v6-set-disabled", "disable", "enable", "create", "comment"],
)
def test_what_is_expected_of_a_step_is_what_a_router_makes_of_it(
    rows: list[RouteRow], step: Step
) -> None:
    assert after_step(tuple(rows), step) == shape_of(apply_step(rows, step))


# --- what people ask for ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [LIST, ROWS])
def test_handing_over_disables_every_row_of_ours_and_keeps_the_list(shape: RouteShape) -> None:
    rows = rows_of(names(2), shape=shape)
    (step,) = hand_over(own(*rows, shape=shape))
    assert isinstance(step, SetDisabled)
    after = apply_step(rows, step)
    assert all(row.disabled for row in after)
    assert hand_over(own(*after, shape=shape)) == ()


def test_adoption_marks_the_static_rows_of_the_same_distance() -> None:
    found = own(
        a_row("node1", comment=WORDS),
        a_row("node2", comment=WORDS, distance=5),
        a_row("node3"),
    )
    assert adoption_steps(found, a_vip()) == (
        SetComment(row_id="*1", before=WORDS, after=f"{WORDS} {MARK}"),
    )


def test_release_takes_the_marks_off_again() -> None:
    found = own(a_row("node1"), a_row("node2", comment="theirs"))
    assert release_steps(found, a_vip()) == (
        SetComment(row_id="*1", before=f"{WORDS} {MARK}", after=WORDS),
    )


def test_creation_makes_one_row_on_v6_and_one_each_on_v7() -> None:
    vip = a_vip(comment="ECMP", check_gateway="ping")
    members = tuple(a_gateway(name) for name in names(2))
    (row,) = creation_steps(LIST, vip, members, (a_gateway("node3"),))
    assert row == CreateRow(
        next_hops=(hop("node1"), hop("node2")), comment=f"ECMP {MARK}", disabled=False
    )
    made = creation_steps(ROWS, vip, members, (a_gateway("node3"),))
    assert [step.disabled for step in made] == [False, False, True]
    assert {step.check_gateway for step in made} == {"ping"}


def test_undo_lines_put_each_row_back_as_it_was() -> None:
    row = a_row("node1", comment='say "hi" for $5 \\ 게이트', disabled=True)
    (line,) = undo_lines((row,), a_vip(), ROWS)
    assert line == (
        '/ip route set [find dst-address="192.0.2.80/32" '
        'comment="say \\"hi\\" for \\$5 \\\\ 게이트 edged:web" gateway="10.0.0.1"] '
        'comment="say \\"hi\\" for \\$5 \\\\ 게이트" disabled=yes'
    )


def test_undo_lines_of_a_list_restore_the_list() -> None:
    row = a_list(names(2), comment="")
    (line,) = undo_lines((row,), a_vip(destination="2001:db8::80/128"), LIST)
    assert line == (
        '/ipv6 route set [find dst-address="2001:db8::80/128" comment="edged:web"] '
        'comment="" disabled=no gateway="10.0.0.1,10.0.0.2"'
    )
