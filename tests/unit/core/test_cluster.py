"""What the cluster says of nodes and Pods, judged by the clock alone."""

from edged.core.cluster import COMMON_CAUSE_MS, NOT_READY_MS, POD_PATIENCE_MS, ClusterWatch

VIPS = {"web": ["a", "b", "c"]}


def watch(*not_ready: tuple[str, int]) -> ClusterWatch:
    made = ClusterWatch()
    for gateway, at_ms in not_ready:
        made.observe_node(gateway, ready=False, detail="stopped posting", now_ms=at_ms)
    return made


def test_a_node_counts_after_ten_seconds_and_once() -> None:
    made = watch(("a", 0))
    assert made.newly_not_ready(NOT_READY_MS - 1) == []
    assert made.sick(VIPS) == (frozenset(), frozenset())
    assert made.next_deadline_ms() == NOT_READY_MS
    assert made.newly_not_ready(NOT_READY_MS) == [("a", "stopped posting")]
    assert made.newly_not_ready(NOT_READY_MS + 1) == []
    assert made.sick(VIPS) == (frozenset({"a"}), frozenset())


def test_a_node_that_is_ready_again_begins_anew() -> None:
    made = watch(("a", 0))
    made.newly_not_ready(NOT_READY_MS)
    made.observe_node("a", ready=True, detail="", now_ms=NOT_READY_MS)
    assert made.sick(VIPS) == (frozenset(), frozenset())
    assert made.quiet


def test_half_of_a_vips_nodes_at_once_is_a_common_cause() -> None:
    made = watch(("a", 0), ("b", COMMON_CAUSE_MS))
    made.newly_not_ready(2 * COMMON_CAUSE_MS)
    assert made.sick(VIPS) == (frozenset(), frozenset({"a", "b"}))


def test_apart_in_time_each_is_its_own() -> None:
    made = watch(("a", 0), ("b", COMMON_CAUSE_MS + 1))
    made.newly_not_ready(2 * COMMON_CAUSE_MS)
    assert made.sick(VIPS) == (frozenset({"a", "b"}), frozenset())


def test_one_of_two_is_no_common_cause() -> None:
    made = watch(("a", 0))
    made.newly_not_ready(NOT_READY_MS)
    assert made.sick({"web": ["a", "b"]}) == (frozenset({"a"}), frozenset())


def test_a_pod_is_overdue_after_its_grace_and_asked_about_each_second() -> None:
    made = ClusterWatch()
    made.pod_going("a", "kube-system/envoy", grace_ms=1_000, now_ms=0)
    end_ms = 1_000 + POD_PATIENCE_MS
    assert made.overdue(end_ms - 1) == []
    assert [name for name, _ in made.overdue(end_ms)] == ["a"]
    assert made.overdue(end_ms) == []
    assert made.next_deadline_ms() == end_ms + 1_000
