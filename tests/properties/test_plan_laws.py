"""Laws of plans, for any rows and any desired set (design 6.3, 6.4)."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from edged.core.plan import (
    OwnRows,
    adoption_steps,
    after_step,
    carries_mark,
    diff,
    hand_over,
    marked,
    release_steps,
    shape_of,
    sort_rows,
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
from tests.support.core import MARK, VIP, a_vip, apply_step, gateway_map, names

COUNT = 5
GATEWAYS = gateway_map(COUNT)
VIP_CONFIG = a_vip(COUNT)

comments = st.one_of(
    st.sampled_from(
        ["", " ", "ECMP", "게이트웨이 VIP", "  padded ", "edged:website", "x\tedged:we"]
    ),
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
)
spellings = st.sampled_from(["", "%bridge", "@main"])


@st.composite
def our_rows(draw: st.DrawFn, shape: RouteShape) -> list[RouteRow]:
    """Rows of ours, a missing one here and there, some with an unknown next hop."""
    if shape is RouteShape.LIST:
        inside = draw(st.lists(st.sampled_from(list(GATEWAYS)), min_size=1, unique=True))
        strange = draw(st.sampled_from([[], ["10.9.9.9"]]))
        hops = tuple(hop + draw(spellings) for hop in inside + strange)
        row = RouteRow(row_id="*1", next_hops=hops, comment=MARK, disabled=draw(st.booleans()))
        return [row]
    present = draw(st.lists(st.sampled_from([*GATEWAYS, "10.9.9.9"]), min_size=1, unique=True))
    return [
        RouteRow(
            row_id=f"*{number}",
            next_hops=(hop + draw(spellings),),
            comment=MARK,
            disabled=draw(st.booleans()),
        )
        for number, hop in enumerate(present)
    ]


@st.composite
def others_rows(draw: st.DrawFn) -> list[RouteRow]:
    """Foreign, dynamic and BGP rows for the same destination."""
    kinds = draw(st.lists(st.sampled_from(["foreign", "dynamic", "bgp", "near-miss"]), max_size=3))
    return [
        RouteRow(
            row_id=f"*F{number}",
            next_hops=(draw(st.sampled_from(list(GATEWAYS))),),
            comment={"near-miss": "edged:website", "dynamic": MARK}.get(kind, ""),
            dynamic=kind in {"dynamic", "bgp"},
            static=kind in {"foreign", "near-miss"},
            bgp=kind == "bgp",
        )
        for number, kind in enumerate(kinds)
    ]


@st.composite
def tables(draw: st.DrawFn) -> tuple[RouteShape, list[RouteRow]]:
    shape = draw(st.sampled_from(RouteShape))
    return shape, draw(our_rows(shape)) + draw(others_rows())


desired_sets = st.lists(st.sampled_from(names(COUNT)), min_size=1, unique=True).map(
    lambda chosen: tuple(name for name in names(COUNT) if name in chosen)
)


def sorted_own(rows: list[RouteRow], shape: RouteShape) -> OwnRows:
    return sort_rows(rows, shape, VIP_CONFIG, GATEWAYS)


def plan(rows: list[RouteRow], shape: RouteShape, desired: tuple[str, ...]) -> tuple[Step, ...]:
    return diff(sorted_own(rows, shape), desired, VIP_CONFIG, GATEWAYS)


def inside(rows: list[RouteRow], shape: RouteShape) -> frozenset[str]:
    return frozenset(sorted_own(rows, shape).members)


def carry_out(
    rows: list[RouteRow], shape: RouteShape, desired: tuple[str, ...]
) -> tuple[list[RouteRow], list[frozenset[str]]]:
    """Write one step at a time and plan again, as edged does; return the sets on the way."""
    seen = [inside(rows, shape)]
    for _ in range(4 * COUNT):
        steps = plan(rows, shape, desired)
        if not steps:
            return rows, seen
        rows = apply_step(rows, steps[0])
        seen.append(inside(rows, shape))
    raise AssertionError("the plan never ends")


@given(tables(), desired_sets)
def test_carrying_a_plan_out_ends_at_the_desired_set(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    after, _ = carry_out(rows, shape, desired)
    assert inside(after, shape) == set(desired)


@given(tables(), desired_sets)
def test_the_difference_of_equals_is_empty(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    after, _ = carry_out(rows, shape, desired)
    assert plan(after, shape, desired) == ()


@given(tables(), desired_sets, st.integers(min_value=0, max_value=8))
def test_any_prefix_of_a_plan_planned_again_ends_the_same(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...], length: int
) -> None:
    shape, rows = table
    cut = rows
    for step in plan(rows, shape, desired)[:length]:
        cut = apply_step(cut, step)
    after, _ = carry_out(cut, shape, desired)
    assert inside(after, shape) == set(desired)


@given(tables(), desired_sets)
def test_no_set_in_between_is_smaller_than_both_ends(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    """And nothing that stays is ever taken out on the way."""
    shape, rows = table
    before = inside(rows, shape)
    _, seen = carry_out(rows, shape, desired)
    for between in seen:
        assert between >= before & set(desired)
        assert len(between) >= min(len(before), len(desired))


@given(tables(), desired_sets)
def test_growing_comes_before_shrinking(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    _, seen = carry_out(rows, shape, desired)
    sizes = [len(between) for between in seen]
    top = sizes.index(max(sizes))
    assert sizes[: top + 1] == sorted(sizes[: top + 1])
    assert sizes[top:] == sorted(sizes[top:], reverse=True)


def named(step: Step) -> set[str]:
    match step:
        case SetNextHops(row_id=row_id) | SetComment(row_id=row_id):
            return {row_id}
        case SetDisabled(row_ids=row_ids):
            return set(row_ids)
        case CreateRow():
            return set()


@given(tables(), desired_sets)
def test_only_static_rows_with_our_mark_are_ever_named(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    ours = {r.row_id for r in rows if r.static and not r.dynamic and carries_mark(r.comment, VIP)}
    own = sorted_own(rows, shape)
    for step in (*plan(rows, shape, desired), *hand_over(own), *release_steps(own, VIP_CONFIG)):
        assert named(step) <= ours


@given(tables(), desired_sets)
def test_an_unknown_next_hop_is_never_lost(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    after, _ = carry_out(rows, shape, desired)
    assert sorted_own(after, shape).unknown == sorted_own(rows, shape).unknown


@given(tables(), desired_sets)
def test_what_is_expected_of_each_step_is_what_a_router_shows(
    table: tuple[RouteShape, list[RouteRow]], desired: tuple[str, ...]
) -> None:
    shape, rows = table
    for step in plan(rows, shape, desired):
        ours = sorted_own(rows, shape).ours
        rows = apply_step(rows, step)
        assert after_step(ours, step) == shape_of(sorted_own(rows, shape).ours)


@given(comments)
def test_a_mark_put_on_and_taken_off_leaves_the_comment_byte_for_byte(comment: str) -> None:
    assume(not carries_mark(comment, VIP))
    assert carries_mark(marked(comment, VIP), VIP)
    assert unmarked(marked(comment, VIP), VIP).encode() == comment.encode()


@given(comments)
def test_marking_twice_is_marking_once(comment: str) -> None:
    assert marked(marked(comment, VIP), VIP) == marked(comment, VIP)


@given(st.lists(comments, min_size=1, max_size=COUNT))
def test_adoption_and_release_are_inverse(words: list[str]) -> None:
    assume(not any(carries_mark(word, VIP) for word in words))
    rows = [
        RouteRow(row_id=f"*{number}", next_hops=(hop,), comment=word)
        for number, (hop, word) in enumerate(zip(GATEWAYS, words, strict=False))
    ]
    adopted = rows
    for mark in adoption_steps(sorted_own(rows, RouteShape.ROWS), VIP_CONFIG):
        adopted = apply_step(adopted, mark)
    assert sorted_own(adopted, RouteShape.ROWS).foreign == ()
    released = adopted
    for mark in release_steps(sorted_own(adopted, RouteShape.ROWS), VIP_CONFIG):
        released = apply_step(released, mark)
    assert released == rows


@given(tables())
def test_sorting_forgets_nobody_and_counts_nobody_twice(
    table: tuple[RouteShape, list[RouteRow]],
) -> None:
    shape, rows = table
    own = sorted_own(rows, shape)
    static = [row for row in rows if row.static and not row.dynamic and not row.bgp]
    assert sorted((*own.ours, *own.foreign), key=repr) == sorted(static, key=repr)
    assert own.bgp == tuple(row for row in rows if row.bgp)
    assert set(own.members).isdisjoint(own.disabled)
    assert own.rows == {*own.members, *own.disabled}


@given(tables())
def test_row_ids_do_not_matter_to_what_a_person_would_compare(
    table: tuple[RouteShape, list[RouteRow]],
) -> None:
    _, rows = table
    renamed = [replace(row, row_id=f"*R{number}") for number, row in enumerate(rows)]
    assert shape_of(renamed) == shape_of(rows)
