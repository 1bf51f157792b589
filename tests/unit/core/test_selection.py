"""Selection, rule by rule (design 5): tables on `select()` alone, for 1 to 16 gateways.

Builders name what a gateway is; `now` is 100 s, verdicts are 100 ms old unless a test says more.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edged.core.selection import (
    MASS_WINDOW_MS,
    OPINION_HOLDS_MS,
    OPINION_PATIENCE_MS,
    Circumstances,
    GatewayView,
    OpinionView,
    Selection,
    select,
)
from edged.core.types import DeathClass, GatewayState, KeptReason, Opinion, WaitReason
from tests.support.core import names

NOW_MS = 100_000
AGO_MS = NOW_MS - 100
STATES = GatewayState


def up(name: str = "", **values: object) -> GatewayView:
    view = GatewayView(name=name, state=STATES.UP, passing=True, latest_passed=True)
    return replace(view, **values)  # type: ignore[arg-type]


def weak(name: str = "", **values: object) -> GatewayView:
    """A member that is UP by its last verdict and does not pass right now."""
    return replace(up(name, **values), passing=False, latest_passed=False)


def dead(
    name: str = "",
    death: DeathClass = DeathClass.REFUSED,
    *,
    at_ms: int = AGO_MS,
    witnessed: bool = True,
    stale: bool = False,
    **values: object,
) -> GatewayView:
    """A gateway that a burst has just found dead."""
    silent = death is DeathClass.SILENT
    view = GatewayView(
        name=name,
        state=STATES.DOWN,
        passing=False,
        latest_passed=False,
        known_bad=witnessed and not stale,
        death=death,
        witnessed=witnessed,
        stale=stale,
        verdict_since_ms=at_ms,
        verdict_at_ms=at_ms,
        burst_start_ms=at_ms - 150,
        silent_since_ms=at_ms - 150 if silent else None,
        silent_at_ms=at_ms if silent else None,
        unanswered=silent,
    )
    return replace(view, **values)  # type: ignore[arg-type]


def refused(name: str = "", **values: object) -> GatewayView:
    return dead(name, DeathClass.REFUSED, **values)  # type: ignore[arg-type]


def silent(name: str = "", **values: object) -> GatewayView:
    return dead(name, DeathClass.SILENT, **values)  # type: ignore[arg-type]


def ill(name: str = "", **values: object) -> GatewayView:
    return dead(name, DeathClass.ILL, **values)  # type: ignore[arg-type]


def drained(name: str = "", **values: object) -> GatewayView:
    return up(name, state=STATES.DRAIN, drained=True, **values)


def degraded(name: str = "", **values: object) -> GatewayView:
    return up(name, state=STATES.DEGRADED, degraded=True, **values)


def waiting(name: str = "", **values: object) -> GatewayView:
    return up(name, state=STATES.WAIT, hold_until_ms=NOW_MS + 20_000, **values)


def an_opinion(
    opinion: Opinion, *, asked_ms: int = AGO_MS - 10, answered_ms: int = NOW_MS - 10
) -> OpinionView:
    return OpinionView(opinion=opinion, asked_ms=asked_ms, answered_ms=answered_ms)


DEAD, ALIVE = an_opinion(Opinion.DEAD), an_opinion(Opinion.ALIVE)
UNSURE = an_opinion(Opinion.UNKNOWN)


def chosen(
    *views: GatewayView,
    members: str = "",
    min_healthy: int | None = None,
    **circumstances: object,
) -> Selection:
    """Select among gateways in order; `members` marks them `*` inside, `-` outside (default in)."""
    named = tuple(
        replace(view, name=name) for name, view in zip(names(len(views)), views, strict=True)
    )
    signs = members or "*" * len(views)
    inside = frozenset(view.name for view, sign in zip(named, signs, strict=True) if sign == "*")
    floor = -(-len(views) // 2) if min_healthy is None else min_healthy
    now = replace(
        Circumstances(now_ms=NOW_MS, min_healthy=floor),
        **circumstances,  # type: ignore[arg-type]
    )
    return select(named, inside, now)


def strip_of(selection: Selection, count: int) -> str:
    """Show who should be inside: `*` or `-` for each gateway in order."""
    return "".join("*" if name in selection.desired else "-" for name in names(count))


def kept(selection: Selection) -> dict[str, KeptReason]:
    return {entry.gateway: entry.reason for entry in selection.kept}


def waits(selection: Selection) -> dict[str, WaitReason]:
    return {entry.gateway: entry.reason for entry in selection.waiting}


def rules(selection: Selection) -> dict[str, str]:
    return {entry.gateway: entry.rule for entry in selection.leaving}


# --- 1: membership has memory -------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16])
def test_healthy_members_stay_as_they_are(count: int) -> None:
    selection = chosen(*[up()] * count)
    assert selection.desired == names(count)
    assert (selection.leaving, selection.entering, selection.kept) == ((), (), ())
    assert selection.next_deadline_ms is None


@pytest.mark.parametrize(
    "view",
    [weak(), waiting(), up(unanswered=True), up(suspect_since_ms=AGO_MS), up(inactive=True)],
    ids=["not-passing", "hold-down", "unanswered", "suspect", "inactive"],
)
def test_a_member_leaves_only_for_a_reason_of_its_own(view: GatewayView) -> None:
    assert chosen(view, up(), up()).leaving == ()


@pytest.mark.parametrize(
    ("view", "reason"),
    [(refused(witnessed=False), KeptReason.NO_WITNESS), (ill(), KeptReason.FLOOR)],
    ids=["no-witness", "floor"],
)
def test_a_floor_or_a_missing_witness_keeps_a_member_and_puts_none_in(
    view: GatewayView, reason: KeptReason
) -> None:
    inside = chosen(view, up(), min_healthy=2)
    assert kept(inside) == {"node1": reason}
    outside = chosen(view, up(), members="-*", min_healthy=2)
    assert outside.desired == ("node2",)


def test_hold_down_removes_nobody() -> None:
    assert strip_of(chosen(waiting(), up(), up()), 3) == "***"


def test_the_order_of_next_hops_is_the_configured_order() -> None:
    assert chosen(up(), up(), up(), members="--*", min_healthy=1).desired == names(3)


# --- 2: who leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 5, 16])
def test_refused_leaves_as_long_as_one_passing_member_remains(count: int) -> None:
    selection = chosen(*[refused()] * (count - 1), up())
    assert strip_of(selection, count) == "-" * (count - 1) + "*"
    assert set(rules(selection).values()) == {"hard"}


def test_silent_and_confirmed_by_the_router_leaves_hard() -> None:
    selection = chosen(silent(opinion=DEAD), up(), min_healthy=2)
    assert rules(selection) == {"node1": "hard"}


@pytest.mark.parametrize("opinion", [None, UNSURE, ALIVE], ids=["not-asked", "unknown", "alive"])
@pytest.mark.parametrize(
    ("count", "floor", "leaves"), [(3, 2, True), (3, 3, False), (2, 1, True), (16, 8, True)]
)
def test_silent_and_unconfirmed_leaves_softly(
    opinion: OpinionView | None, count: int, floor: int, *, leaves: bool
) -> None:
    selection = chosen(silent(opinion=opinion), *[up()] * (count - 1), min_healthy=floor)
    assert rules(selection) == ({"node1": "soft"} if leaves else {})
    assert kept(selection) == ({} if leaves else {"node1": KeptReason.FLOOR})


@pytest.mark.parametrize(
    ("dying", "floor", "shown"),
    [
        pytest.param(1, 1, "-*", id="two-gateways"),
        pytest.param(1, 2, "**", id="two-gateways-high-floor"),
        pytest.param(1, 2, "-**", id="three"),
        pytest.param(2, 2, "-**", id="three-two-ill"),
        pytest.param(2, 2, "--**", id="four"),
        pytest.param(3, 2, "--**", id="four-three-ill"),
        pytest.param(3, 3, "--***", id="five-three-ill"),
        pytest.param(16, 8, "*" * 16, id="sixteen-all-ill"),
        pytest.param(15, 8, "--------********", id="sixteen-fifteen-ill"),
    ],
)
def test_ill_leaves_while_the_floor_remains_the_longest_failed_first(
    dying: int, floor: int, shown: str
) -> None:
    count = len(shown)
    views = [ill(at_ms=AGO_MS + index) for index in range(dying)] + [up()] * (count - dying)
    assert strip_of(chosen(*views, min_healthy=floor), count) == shown


def test_the_longest_failed_leaves_first_whatever_the_order() -> None:
    selection = chosen(ill(at_ms=AGO_MS + 50), ill(at_ms=AGO_MS), up(), min_healthy=2)
    assert rules(selection) == {"node2": "soft"}
    assert kept(selection) == {"node1": KeptReason.FLOOR}


def test_members_count_for_the_floor_whatever_their_state() -> None:
    assert rules(chosen(ill(), weak(), up(), min_healthy=2)) == {"node1": "soft"}


def test_hard_ones_leave_before_soft_ones_take_the_room() -> None:
    selection = chosen(ill(at_ms=AGO_MS - 50), refused(), up(), up(), min_healthy=2)
    assert rules(selection) == {"node2": "hard", "node1": "soft"}
    selection = chosen(ill(at_ms=AGO_MS - 50), refused(), up(), up(), min_healthy=3)
    assert rules(selection) == {"node2": "hard"}
    assert kept(selection) == {"node1": KeptReason.FLOOR}


@pytest.mark.parametrize("make", [refused, silent, ill])
def test_one_that_passed_since_its_verdict_leaves_by_none(
    make: Callable[..., GatewayView],
) -> None:
    selection = chosen(make(passed_since_verdict=True, opinion=DEAD), up(), up())
    assert selection.leaving == ()
    assert selection.kept == ()


def test_the_router_is_asked_when_the_floor_would_keep_a_silent_one() -> None:
    assert chosen(silent(), up(), min_healthy=2).opinions_wanted == ("node1",)
    assert chosen(silent(), up(), up(), min_healthy=2).opinions_wanted == ()
    assert chosen(ill(), up(), min_healthy=2).opinions_wanted == ()


@pytest.mark.parametrize(
    ("opinion", "asked"),
    [
        (None, True),
        (an_opinion(Opinion.UNKNOWN, asked_ms=AGO_MS, answered_ms=AGO_MS), False),
        (an_opinion(Opinion.DEAD, asked_ms=AGO_MS - 1_000, answered_ms=AGO_MS - 900), True),
    ],
    ids=["never-asked", "asked-in-this-burst", "asked-before-this-burst"],
)
def test_the_router_is_asked_already_at_the_second_unanswered_syn(
    opinion: OpinionView | None, *, asked: bool
) -> None:
    suspect = weak(suspect_since_ms=AGO_MS, opinion=opinion)
    assert bool(chosen(suspect, up(), min_healthy=2).opinions_wanted) is asked
    assert chosen(suspect, up(), up(), min_healthy=2).opinions_wanted == ()
    company = chosen(suspect, weak(unanswered=True), up(), up(), min_healthy=2)
    assert bool(company.opinions_wanted) is asked


def test_while_blind_the_router_is_asked_again_before_its_opinion_lapses() -> None:
    old = an_opinion(Opinion.ALIVE, answered_ms=NOW_MS - 3_500)
    both = [silent(opinion=old, unanswered=True), silent(opinion=old, unanswered=True), up()]
    selection = chosen(*both, min_healthy=2, blind=True)
    assert kept(selection) == dict.fromkeys(["node1", "node2"], KeptReason.BLIND)
    assert selection.opinions_wanted == ("node1", "node2")


def test_a_suspect_that_passed_since_an_old_verdict_is_asked_about_anew() -> None:
    again = silent(passed_since_verdict=True, suspect_since_ms=AGO_MS)
    assert chosen(again, up(), min_healthy=2).opinions_wanted == ("node1",)


@pytest.mark.parametrize("reason", ["drain", "degraded"])
@pytest.mark.parametrize(
    ("passing", "floor", "leaves"), [(2, 2, True), (1, 2, False), (1, 1, True), (0, 1, False)]
)
def test_planned_ones_leave_while_the_floor_passes_without_them(
    reason: str, passing: int, floor: int, *, leaves: bool
) -> None:
    view = drained() if reason == "drain" else degraded()
    others = [up()] * passing + [weak()] * (2 - passing)
    selection = chosen(view, *others, min_healthy=floor)
    assert rules(selection) == ({"node1": reason} if leaves else {})
    assert bool(kept(selection)) is not leaves


def test_a_degraded_one_needs_others_that_are_up_not_merely_passing() -> None:
    assert rules(chosen(degraded(), waiting(), up(), min_healthy=2)) == {}
    assert rules(chosen(drained(), degraded(), up(), min_healthy=2)) == {"node1": "drain"}


def test_a_drain_that_waits_says_what_for() -> None:
    assert kept(chosen(drained(), up(), weak(), min_healthy=2)) == {"node1": KeptReason.FLOOR}
    assert kept(chosen(drained(), weak(), weak())) == {"node1": KeptReason.LAST}


def test_force_lowers_a_drains_floor_to_one() -> None:
    forced = drained(drain_forced=True)
    assert rules(chosen(forced, up(), weak(), min_healthy=3)) == {"node1": "drain"}
    assert kept(chosen(forced, weak(), weak(), min_healthy=3)) == {"node1": KeptReason.LAST}


def test_a_drained_one_that_is_down_and_kept_leaves_by_its_drain() -> None:
    view = ill(drained=True)
    assert rules(chosen(view, up(), up(), min_healthy=2)) == {"node1": "soft"}
    selection = chosen(view, weak(), up(), up(), min_healthy=2, blind=True)
    assert (rules(selection), kept(selection)) == ({"node1": "drain"}, {})
    selection = chosen(view, up(), min_healthy=2)
    assert kept(selection) == {"node1": KeptReason.FLOOR}


def test_a_floor_of_none_still_needs_one_that_is_up() -> None:
    assert rules(chosen(degraded(), degraded(), min_healthy=0)) == {}


# --- 3: never the last --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [refused, silent, ill])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_while_nobody_passes_nothing_leaves(make: Callable[..., GatewayView], count: int) -> None:
    opinion = {"opinion": UNSURE} if make is silent else {}
    selection = chosen(*[make(**opinion)] * count, min_healthy=1)
    assert strip_of(selection, count) == "*" * count
    assert set(kept(selection).values()) == {KeptReason.LAST}


def test_a_confirmed_silent_one_that_is_the_last_is_asked_about_again() -> None:
    old = an_opinion(Opinion.DEAD, answered_ms=NOW_MS - 4_000)
    view = silent(at_ms=AGO_MS - 5_000, opinion=replace(old, asked_ms=AGO_MS - 5_000))
    selection = chosen(view, min_healthy=1)
    assert kept(selection) == {"node1": KeptReason.LAST}
    assert selection.opinions_wanted == ("node1",)


def test_an_inactive_member_counts_as_absent_and_is_not_removed_for_it() -> None:
    selection = chosen(refused(), up(inactive=True), min_healthy=1)
    assert strip_of(selection, 2) == "**"
    assert kept(selection) == {"node1": KeptReason.LAST}
    assert kept(chosen(ill(), up(inactive=True), up(), min_healthy=2)) == {
        "node1": KeptReason.FLOOR
    }


def test_a_member_that_enters_counts_for_those_who_leave() -> None:
    """Judged on the set after the change."""
    selection = chosen(ill(), up(), up(), members="**-", min_healthy=2)
    assert strip_of(selection, 3) == "-**"


def test_one_that_cannot_enter_does_not_count_for_those_who_leave() -> None:
    """Otherwise a floor would be met on paper, and the route be emptied by a refused step."""
    blocked = up(entry_blocked=True, entry_blocked_until_ms=NOW_MS + 700)
    selection = chosen(refused(), blocked, members="*-", min_healthy=1)
    assert strip_of(selection, 2) == "*-"
    assert kept(selection) == {"node1": KeptReason.LAST}
    assert waits(selection) == {"node2": WaitReason.PACE}
    assert selection.next_deadline_ms == NOW_MS + 700
    forever = chosen(up(entry_blocked=True), up(), members="-*")
    assert forever.waiting[0].until_ms is None


# --- 4: who enters ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 5, 16])
def test_an_up_gateway_enters(count: int) -> None:
    selection = chosen(up(), *[up()] * (count - 1), members="-" + "*" * (count - 1))
    assert selection.desired == names(count)
    assert [entry.early for entry in selection.entering] == [count == 2 and False]


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (GatewayView(name="", state=STATES.UNKNOWN, passing=False, latest_passed=False), "rise"),
        (refused(), "rise"),
        (waiting(), "hold_down"),
        (up(gate_until_ms=NOW_MS + 60_000), "entry_gate"),
        (up(human_hold=True), "human_hold"),
    ],
    ids=["unknown", "down", "wait", "gate", "human-hold"],
)
def test_a_gateway_outside_says_what_it_waits_for(view: GatewayView, reason: str) -> None:
    selection = chosen(view, up(), up(), members="-**")
    assert waits(selection) == {"node1": reason}
    assert selection.entering == ()


def test_additions_keep_their_pace_and_say_until_when() -> None:
    selection = chosen(up(), up(), up(), members="-**", pace_until_ms=NOW_MS + 400)
    assert waits(selection) == {"node1": WaitReason.PACE}
    assert selection.next_deadline_ms == NOW_MS + 400
    assert chosen(up(), up(), up(), members="-**", pace_until_ms=NOW_MS).waiting == ()


def test_the_gate_opens_at_its_time() -> None:
    shut = chosen(up(gate_until_ms=NOW_MS + 1), up(), up(), members="-**")
    assert shut.next_deadline_ms == NOW_MS + 1
    assert chosen(up(gate_until_ms=NOW_MS), up(), up(), members="-**").entering != ()


@pytest.mark.parametrize("view", [waiting(), degraded()], ids=["wait", "degraded"])
@pytest.mark.parametrize(
    ("members", "enters"),
    [((up(), up()), False), ((up(), refused()), True), ((up(), weak()), False)],
    ids=["floor-met", "one-known-bad", "one-merely-not-passing"],
)
def test_wait_and_degraded_enter_early_below_the_floor(
    view: GatewayView, members: tuple[GatewayView, ...], *, enters: bool
) -> None:
    selection = chosen(view, *members, members="-**", min_healthy=2)
    assert [entry.early for entry in selection.entering] == ([True] if enters else [])


@pytest.mark.parametrize(
    "view",
    [
        refused(witnessed=False),
        refused(stale=True),
        weak(),
        GatewayView(name="", state=STATES.UNKNOWN, passing=False, latest_passed=False),
    ],
    ids=["no-witness", "stale", "one-lost-probe", "unprobed"],
)
def test_doubtful_members_are_not_known_bad(view: GatewayView) -> None:
    assert chosen(waiting(), view, members="-*", min_healthy=1).entering == ()


def test_an_early_one_must_pass() -> None:
    view = waiting(passing=False)
    assert chosen(view, up(), refused(), members="-**", min_healthy=2).entering == ()


@pytest.mark.parametrize(
    ("view", "enters"),
    [
        (refused(latest_passed=True, passed_since_verdict=True), True),
        (waiting(passing=False), True),
        (up(state=STATES.DRAIN, drained=True, drained_by_kubernetes_only=True), True),
        (drained(), False),
        (refused(), False),
    ],
    ids=["mid-rise", "hold-down", "drained-by-kubernetes", "drained-by-a-person", "failing"],
)
def test_while_all_members_are_known_bad_whoever_answers_enters(
    view: GatewayView, *, enters: bool
) -> None:
    selection = chosen(view, refused(), refused(), members="-**", min_healthy=1)
    assert [entry.gateway for entry in selection.entering] == (["node1"] if enters else [])


def test_no_gate_and_no_pace_delays_an_early_entry() -> None:
    later_ms = NOW_MS + 60_000
    view = up(gate_until_ms=later_ms)
    selection = chosen(view, up(), refused(), members="-**", min_healthy=2, pace_until_ms=later_ms)
    assert [entry.early for entry in selection.entering] == [True]


@pytest.mark.parametrize("blocked", ["warm_up", "blind"])
def test_nobody_enters_early_in_warm_up_or_blindness(blocked: str) -> None:
    selection = chosen(waiting(), refused(), members="-*", min_healthy=1, **{blocked: True})
    assert selection.entering == ()


def test_a_persons_hold_stops_an_early_entry() -> None:
    selection = chosen(up(human_hold=True), refused(), members="-*", min_healthy=1)
    assert selection.entering == ()
    assert waits(selection) == {"node1": WaitReason.HUMAN_HOLD}


def test_a_drained_gateway_outside_waits_for_nothing() -> None:
    assert chosen(drained(), up(), up(), members="-**").waiting == ()


# --- 5: mass events and overload ----------------------------------------------------------------


def test_a_lone_silent_gateway_never_waits() -> None:
    selection = chosen(silent(), up(), up())
    assert rules(selection) == {"node1": "soft"}
    assert selection.opinions_wanted == ()


@pytest.mark.parametrize(
    "company",
    [
        weak(unanswered=True),
        weak(undetermined=True),
        silent(at_ms=AGO_MS - MASS_WINDOW_MS, unanswered=False),
    ],
    ids=["unanswered", "not-determined-yet", "silent-within-a-second"],
)
def test_a_silent_verdict_in_company_asks_the_router_first(company: GatewayView) -> None:
    selection = chosen(silent(), company, up(), up(), up(), min_healthy=2)
    assert kept(selection)["node1"] is KeptReason.SECOND_OPINION
    assert "node1" in selection.opinions_wanted
    assert selection.next_deadline_ms is not None


def test_a_silence_more_than_a_second_earlier_is_no_company() -> None:
    other = silent(at_ms=AGO_MS - MASS_WINDOW_MS - 1, unanswered=False)
    selection = chosen(silent(), other, up(), up(), min_healthy=2)
    assert "node1" in rules(selection)


def test_company_counts_only_inside_the_route() -> None:
    selection = chosen(silent(), weak(unanswered=True), up(), up(), members="*-**")
    assert rules(selection) == {"node1": "soft"}


@pytest.mark.parametrize(
    ("opinion", "rule", "reason"),
    [
        (DEAD, "hard", None),
        (ALIVE, None, KeptReason.SECOND_OPINION),
        (UNSURE, "soft", None),
    ],
    ids=["dead", "alive", "unknown"],
)
def test_the_routers_opinion_decides_a_mass_event(
    opinion: OpinionView, rule: str | None, reason: KeptReason | None
) -> None:
    company = weak(unanswered=True)
    selection = chosen(silent(opinion=opinion), company, up(), up(), min_healthy=2)
    assert rules(selection).get("node1") == rule
    assert kept(selection).get("node1") == reason


@pytest.mark.parametrize(
    ("age_ms", "waits_on"), [(OPINION_PATIENCE_MS - 1, True), (OPINION_PATIENCE_MS, False)]
)
def test_a_late_opinion_leaves_the_soft_rules(age_ms: int, *, waits_on: bool) -> None:
    view = silent(at_ms=NOW_MS - age_ms)
    selection = chosen(view, weak(unanswered=True), up(), up(), min_healthy=2)
    assert (kept(selection).get("node1") is KeptReason.SECOND_OPINION) is waits_on
    assert (rules(selection).get("node1") == "soft") is not waits_on


def test_the_patience_for_a_new_silence_does_not_count_from_an_old_verdict() -> None:
    """DOWN for a minute as ill, silent only now: the router has its 1.5 s all the same."""
    view = silent(verdict_since_ms=NOW_MS - 60_000)
    selection = chosen(view, weak(unanswered=True), up(), up(), min_healthy=2)
    assert kept(selection) == {"node1": KeptReason.SECOND_OPINION}


def test_an_opinion_of_an_earlier_silence_does_not_count() -> None:
    old = an_opinion(Opinion.DEAD, asked_ms=AGO_MS - 151)
    selection = chosen(silent(opinion=old), up(), min_healthy=2)
    assert kept(selection) == {"node1": KeptReason.FLOOR}
    assert selection.opinions_wanted == ("node1",)


@pytest.mark.parametrize(("age_ms", "holds"), [(OPINION_HOLDS_MS, True), (5_001, False)])
def test_an_opinion_holds_for_five_seconds(age_ms: int, *, holds: bool) -> None:
    asked_ms = NOW_MS - age_ms - 200
    view = silent(
        silent_since_ms=asked_ms,
        opinion=OpinionView(opinion=Opinion.DEAD, asked_ms=asked_ms, answered_ms=NOW_MS - age_ms),
    )
    assert bool(rules(chosen(view, up(), min_healthy=2))) is holds


def test_an_opinion_that_ran_out_is_waited_for_once_more() -> None:
    view = silent(
        silent_since_ms=NOW_MS - 9_000,
        silent_at_ms=NOW_MS - 8_900,
        opinion=OpinionView(
            opinion=Opinion.ALIVE, asked_ms=NOW_MS - 8_000, answered_ms=NOW_MS - 5_100
        ),
    )
    selection = chosen(view, weak(unanswered=True), up(), up(), min_healthy=2)
    assert kept(selection) == {"node1": KeptReason.SECOND_OPINION}
    assert selection.opinions_wanted == ("node1",)


def test_a_kept_one_is_asked_about_again_in_time() -> None:
    answered_ms = NOW_MS - 1_000
    fresh = an_opinion(Opinion.UNKNOWN, asked_ms=answered_ms, answered_ms=answered_ms)
    view = silent(silent_since_ms=NOW_MS - 2_000, opinion=fresh)
    selection = chosen(view, up(), min_healthy=2)
    assert selection.opinions_wanted == ()
    assert selection.next_deadline_ms == answered_ms + 3_500


def test_a_forced_drain_overrides_the_second_opinion() -> None:
    view = silent(opinion=ALIVE, drained=True, drain_forced=True)
    selection = chosen(view, weak(unanswered=True), up(), up(), min_healthy=4)
    assert rules(selection) == {"node1": "drain"}


def test_refused_and_ill_wait_for_no_opinion() -> None:
    company = weak(unanswered=True)
    assert rules(chosen(refused(), company, up(), up())) == {"node1": "hard"}
    assert rules(chosen(ill(), company, up(), up())) == {"node1": "soft"}


@pytest.mark.parametrize(
    ("views", "overload"),
    [
        ((ill(overload_ms=AGO_MS), up(), up()), False),
        ((ill(overload_ms=AGO_MS), up(overload_ms=AGO_MS), up()), True),
        ((ill(overload_ms=AGO_MS), up(overload_ms=NOW_MS - 10_000), up()), True),
        ((ill(overload_ms=AGO_MS), up(overload_ms=NOW_MS - 10_001), up()), False),
        ((ill(overload_ms=AGO_MS), up(slow=True), up()), True),
        ((ill(overload_ms=AGO_MS, slow=True), up(), up()), False),
        ((ill(), up(slow=True), up(slow=True)), False),
        ((ill(), up(overload_ms=AGO_MS), up(overload_ms=AGO_MS)), True),
    ],
    ids=[
        "alone",
        "two-failing",
        "ten-seconds-ago",
        "longer-ago",
        "another-is-slow",
        "itself-slow",
        "ill-otherwise-others-slow",
        "two-others-failing",
    ],
)
def test_overload_keeps_the_ill_ones(views: tuple[GatewayView, ...], *, overload: bool) -> None:
    selection = chosen(*views, min_healthy=2)
    assert kept(selection) == ({"node1": KeptReason.OVERLOAD} if overload else {})
    assert bool(rules(selection)) is not overload


def test_overload_is_of_members_only_and_spares_no_dead_one() -> None:
    outside = chosen(ill(overload_ms=AGO_MS), up(overload_ms=AGO_MS), up(), members="*-*")
    assert KeptReason.OVERLOAD not in kept(outside).values()
    assert rules(chosen(refused(), up(overload_ms=AGO_MS), up(overload_ms=AGO_MS))) == {
        "node1": "hard"
    }


# --- 4.4: witness, blindness, staleness ---------------------------------------------------------


@pytest.mark.parametrize("make", [refused, silent, ill])
def test_no_class_leaves_without_a_witness(make: Callable[..., GatewayView]) -> None:
    selection = chosen(make(witnessed=False, opinion=DEAD), up(), up())
    assert kept(selection) == {"node1": KeptReason.NO_WITNESS}
    assert selection.leaving == ()


@pytest.mark.parametrize(
    ("view", "leaves"),
    [(silent(), False), (silent(opinion=DEAD), False), (ill(), False), (refused(), True)],
    ids=["silent", "silent-and-confirmed", "ill", "refused"],
)
def test_while_blind_only_refused_leaves(view: GatewayView, *, leaves: bool) -> None:
    selection = chosen(view, up(), up(), blind=True)
    assert bool(rules(selection)) is leaves
    assert kept(selection) == ({} if leaves else {"node1": KeptReason.BLIND})


@pytest.mark.parametrize("make", [refused, ill])
@pytest.mark.parametrize(("age_ms", "stale"), [(1_000, False), (1_001, True)])
def test_a_verdict_is_acted_on_for_a_second(
    make: Callable[..., GatewayView], age_ms: int, *, stale: bool
) -> None:
    selection = chosen(make(at_ms=NOW_MS - age_ms), up(), up())
    assert selection.stale == (("node1",) if stale else ())
    assert bool(rules(selection)) is not stale
    if not stale:
        assert selection.next_deadline_ms == NOW_MS + 1


def test_waiting_for_an_opinion_makes_nothing_stale() -> None:
    view = silent(at_ms=NOW_MS - 1_400, opinion=DEAD)
    assert rules(chosen(view, up(), min_healthy=2)) == {"node1": "hard"}
    assert kept(chosen(ill(at_ms=NOW_MS - 1_400), up(), up())) == {"node1": KeptReason.STALE}


@pytest.mark.parametrize("make", [refused, silent, ill])
def test_a_verdict_from_before_the_router_was_away_is_stale(
    make: Callable[..., GatewayView],
) -> None:
    selection = chosen(make(), up(), up(), router_back_ms=AGO_MS)
    assert kept(selection) == {"node1": KeptReason.STALE}
    assert selection.stale == ("node1",)


def test_a_stale_one_stays_until_a_new_burst() -> None:
    assert kept(chosen(refused(stale=True), up(), up())) == {"node1": KeptReason.STALE}


# --- 6: warm-up ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [refused(), silent(opinion=DEAD), ill(), drained(), degraded()],
    ids=["refused", "silent", "ill", "drained", "degraded"],
)
def test_nothing_leaves_in_warm_up(view: GatewayView) -> None:
    selection = chosen(view, up(), up(), warm_up=True)
    assert selection.desired == names(3)
    assert selection.kept == ()


# --- a decision is a value ----------------------------------------------------------------------


def test_selecting_twice_gives_the_same() -> None:
    views = (silent(), weak(unanswered=True), up(), waiting(), drained())
    assert chosen(*views) == chosen(*views)


def test_selecting_from_the_desired_set_changes_nothing_more() -> None:
    views = (refused(), ill(), up(), up(), waiting())
    first = chosen(*views, members="****-")
    again = chosen(*views, members=strip_of(first, 5))
    assert again.desired == first.desired
