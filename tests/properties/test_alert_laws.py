"""Laws of the rules: whatever happens in whatever order, incidents are told in order and end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edged.core.alerting import Alerting, AlertMessage, AlertRules, AlertStep, Levels, WatchedVip
from edged.core.events import Event, event

NODES = ("node1", "node2", "node3")
ROUTE = {"vip": "web", "router": "hex"}
RULES = AlertRules(
    vips=(
        WatchedVip(
            name="web",
            checks=tuple((node, node) for node in NODES),
            routers=("hex",),
            min_healthy=2,
        ),
    ),
)
WELL = Levels(
    down=frozenset(),
    in_route={("web", "hex"): NODES},
    lost=frozenset(),
    frozen=frozenset(),
)
BEGINNINGS = {AlertStep.OPEN, AlertStep.NOTICE}


def _events(node: str) -> list[tuple[str, dict[str, object]]]:
    rest = tuple(name for name in NODES if name != node)
    return [
        ("gateway.went_down", {"gateway": node, "check": node, "class_": "silent"}),
        ("gateway.came_up", {"gateway": node, "check": node}),
        ("route.changed", {**ROUTE, "removed": (node,), "added": (), "in_route": rest}),
        ("route.changed", {**ROUTE, "removed": (), "added": (node,), "in_route": NODES}),
        ("gateway.drained", {"gateway": node, "source": "person", "owner": "kim"}),
        ("gateway.undrained", {"gateway": node, "source": "person"}),
        ("gateway.kept", {**ROUTE, "gateway": node, "reason": "second_opinion"}),
        ("gateway.released", {**ROUTE, "gateway": node, "reason": "second_opinion"}),
        ("router.opinion_given", {"router": "hex", "gateway": node, "opinion": "alive"}),
    ]


KINDS = [
    *(one for node in NODES for one in _events(node)),
    ("router.lost", {"router": "hex", "detail": "x"}),
    ("router.recovered", {"router": "hex", "lost_ms": 1}),
    ("route.frozen", {**ROUTE, "reason": "contested"}),
    ("route.thawed", {**ROUTE, "reason": "contested"}),
    ("store.degraded", {"detail": "full"}),
    ("store.recovered", {}),
    ("route.drifted", {**ROUTE, "detail": "x"}),
]
STEPS = st.lists(
    st.tuples(st.sampled_from(range(len(KINDS))), st.integers(min_value=0, max_value=40_000)),
    max_size=60,
)


def made(at: int, now_ms: int) -> Event:
    name, fields = KINDS[at]
    return event(name, now_ms, None, **fields)  # type: ignore[arg-type] # a table


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, restart_at=st.integers(min_value=0, max_value=60))
def test_a_resolve_follows_its_opening_and_nothing_follows_a_resolve(
    steps: list[tuple[int, int]], restart_at: int
) -> None:
    rules, now_ms = Alerting(RULES, 0), 0
    told: list[AlertMessage] = []

    def look() -> None:
        told.extend(one.message for one in rules.advance(now_ms) if one.message is not None)

    for number, (at, wait_ms) in enumerate(steps):
        rules.observe(made(at, now_ms), now_ms, number)
        look()
        now_ms += wait_ms
        look()
        if number == restart_at:
            fresh = Alerting(RULES, now_ms, next_number=1_000)
            fresh.restore(rules.open, now_ms)
            rules = fresh
    for at, (name, _) in enumerate(KINDS):
        if name in {"gateway.undrained", "store.recovered", "router.recovered"}:
            rules.observe(made(at, now_ms), now_ms)
    rules.observe_levels(WELL, now_ms)
    for _ in range(5):
        look()
        now_ms += 3_600_000
    look()
    by_incident: dict[str, list[AlertStep]] = {}
    for message in told:
        by_incident.setdefault(message.incident, []).append(message.step)
    for incident, found in by_incident.items():
        assert found[0] in BEGINNINGS, incident
        assert not any(step in BEGINNINGS for step in found[1:]), incident
        assert AlertStep.RESOLVE not in found[:-1], incident
    still = [one for one in rules.open if one.kind != "second_opinion"]
    assert not still, still
