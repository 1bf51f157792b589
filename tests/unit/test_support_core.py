"""The builders and the bench that the core's tests stand on."""

import pytest

from edged.core.types import (
    CreateRow,
    Decision,
    ProbeOutcome,
    ProbeReason,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
)
from tests.support.core import (
    MARK,
    PROFILES,
    Bench,
    Manner,
    a_config,
    a_list,
    a_result,
    a_row,
    apply_step,
    hop,
    names,
    rows_of,
)


def test_names_hops_and_rows_go_together() -> None:
    assert names(2) == ("node1", "node2")
    assert a_row("node2").next_hops == (hop("node2"),) == ("10.0.0.2",)
    assert [row.disabled for row in rows_of(("node2",), 2)] == [True, False]
    assert rows_of(("node2",), 2, RouteShape.LIST) == [a_list(["node2"])]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (None, ProbeOutcome.PASSED),
        (ProbeReason.REFUSED, ProbeOutcome.FAILED),
        (ProbeReason.STALLED, ProbeOutcome.INCONCLUSIVE),
    ],
)
def test_a_results_outcome_follows_from_its_reason(
    reason: ProbeReason | None, outcome: ProbeOutcome
) -> None:
    assert a_result(reason=reason).outcome is outcome


def test_a_result_without_a_matching_reason_cannot_be_built() -> None:
    with pytest.raises(AssertionError):
        a_result(reason=ProbeReason.REFUSED, outcome=ProbeOutcome.PASSED)
    with pytest.raises(AssertionError):
        a_result(outcome=ProbeOutcome.FAILED)
    with pytest.raises(AssertionError):
        a_result(reason=ProbeReason.REFUSED, outcome=ProbeOutcome.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("profile", "silent_ms", "length_ms"), [("default", 150, 450), ("fast", 60, 300)]
)
def test_profiles_hold_the_numbers_of_the_design(
    profile: str, silent_ms: int, length_ms: int
) -> None:
    timing = PROFILES[profile]
    assert (timing.silent_after_ms, timing.burst_length_ms) == (silent_ms, length_ms)


def test_steps_are_applied_like_a_router_would() -> None:
    rows = rows_of(("node1",), 2)
    rows = apply_step(rows, SetDisabled(row_ids=("*2",), next_hops=(hop("node2"),), disabled=False))
    assert not rows[1].disabled
    rows = apply_step(rows, SetComment(row_id="*1", before="", after="x"))
    assert rows[0].comment == "x"
    rows = apply_step(rows, CreateRow(next_hops=("10.0.0.3",), comment=MARK, disabled=True))
    assert (rows[2].row_id, rows[2].disabled) == ("*A2", True)
    rows = apply_step(rows, SetNextHops(row_id="*1", before=(), after=("10.0.0.4",)))
    assert rows[0].next_hops == ("10.0.0.4",)
    with pytest.raises(AssertionError):
        apply_step(rows, SetNextHops(row_id="*1", before=(), after=()))
    with pytest.raises(KeyError):
        apply_step(rows, SetNextHops(row_id="*9", before=(), after=("10.0.0.4",)))


def test_a_bench_starts_settled_and_moves_only_when_told() -> None:
    bench = Bench(3)
    assert bench.now_ms == 5_000
    assert bench.members == names(3)
    assert bench.frozen() == []
    bench.advance(0)
    assert bench.now_ms == 5_000


@pytest.mark.parametrize("shape", RouteShape)
def test_a_bench_carries_steps_out(shape: RouteShape) -> None:
    bench = Bench(3, shape=shape)
    bench.kill("node1")
    bench.advance(5)
    assert bench.members == ("node2", "node3")
    assert len(bench.steps) == 1


@pytest.mark.parametrize("manner", [m for m in Manner if m is not Manner.NOTHING])
def test_a_bench_reports_what_a_gateway_does(manner: Manner) -> None:
    bench = Bench(config=a_config(1))
    bench.behave("node1", manner, 1)
    bench.advance(3_000)
    shown = bench.gateway("node1")
    assert (shown.last_outcome == "passed") is (manner in {Manner.ANSWER, Manner.LOCAL_ERROR})


def test_a_bench_says_when_an_engine_never_comes_to_rest() -> None:
    class Restless(Bench):
        def _act(self, decision: Decision) -> bool:
            return super()._act(decision) or self.now_ms > 0

    bench = Restless(1, settled=False)
    bench.now_ms = 1
    with pytest.raises(AssertionError, match="never comes to rest"):
        bench.turn()
