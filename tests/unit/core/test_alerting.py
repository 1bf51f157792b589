"""Alert rules: what opens, joins, waits, resolves; told as time lines of events."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from edged.core.alerting import (
    FLAP_QUIET_MS,
    ROUTER_LOST_MS,
    Alerting,
    AlertKind,
    AlertMessage,
    AlertRules,
    AlertStep,
    IncidentState,
    Levels,
    Silence,
    WatchedVip,
    incident_name,
)
from edged.core.events import Event, Scalar, Severity, event

NODES = ("node1", "node2", "node3")
WEB = WatchedVip(
    name="web",
    checks=tuple((node, node) for node in NODES),
    routers=("hex",),
    min_healthy=2,
)
RULES = AlertRules(vips=(WEB,))
WINDOW_MS = RULES.group_window_ms
HOUR_MS = 3_600_000


class Story:
    """The rules, fed by hand; `messages` is what was said, `closed` what is over."""

    def __init__(self, rules: AlertRules = RULES) -> None:
        self.alerting = Alerting(rules, 0)
        self.now_ms = 0
        self.messages: list[AlertMessage] = []
        self.states: dict[str, IncidentState] = {}
        self.numbers: dict[str, list[int]] = {}
        self._number = 0

    def happens(self, name: str, severity: Severity | None = None, **fields: Scalar) -> "Story":
        self._number += 1
        self.alerting.observe(
            event(name, self.now_ms, severity, **fields), self.now_ms, self._number
        )
        return self.looks()

    def looks(self) -> "Story":
        for change in self.alerting.advance(self.now_ms):
            self.states[change.state.incident] = change.state
            self.numbers[change.state.incident] = list(change.events)
            if change.message is not None:
                self.messages.append(change.message)
        return self

    def passes(self, length_ms: int) -> "Story":
        """Let time pass as the daemon does: from deadline to deadline."""
        end_ms = self.now_ms + length_ms
        while True:
            due_ms = self.alerting.next_deadline_ms
            if due_ms is None or due_ms > end_ms:
                break
            self.now_ms = max(due_ms, self.now_ms + 1)
            self.looks()
        self.now_ms = end_ms
        return self.looks()

    # --- what an engine tells

    def dies(self, node: str, death: str = "refused") -> "Story":
        return self.happens(
            "gateway.went_down",
            gateway=node,
            check=node,
            class_=death,
            first_failure_at_ms=self.now_ms - 4,
            detect_ms=4,
        )

    def leaves(self, node: str, *left: str) -> "Story":
        common: Mapping[str, Scalar] = {
            "vip": "web",
            "router": "hex",
            "removed": (node,),
            "added": (),
            "in_route": left,
            "total_ms": 13,
        }
        self.happens("route.changed", None, **common)
        return self.happens("route.verified", None, **common)

    def rises(self, node: str) -> "Story":
        return self.happens("gateway.came_up", gateway=node, check=node, down_ms=1)

    def enters(self, node: str, *members: str) -> "Story":
        return self.happens(
            "route.changed", vip="web", router="hex", removed=(), added=(node,), in_route=members
        )

    # --- what was said

    @property
    def said(self) -> list[str]:
        return [f"{one.step} {one.kind}" for one in self.messages]

    @property
    def last(self) -> AlertMessage:
        return self.messages[-1]


# --- one gateway --------------------------------------------------------------------------------


def test_a_gateway_that_leaves_is_told_once_the_window_has_passed() -> None:
    story = Story().dies("node2").leaves("node2", "node1", "node3")
    assert story.passes(WINDOW_MS - 1).said == []
    story.passes(1)
    assert story.said == ["open gateway_out"]
    facts = story.last.facts
    assert story.last.gateways == ("node2",)
    assert story.last.at_ms == 0
    assert (facts["left"], facts["total"], facts["in_route"]) == (2, 3, ("node1", "node3"))
    assert (facts["class"], facts["total_ms"], facts["verified"]) == ("refused", 13, True)


def test_it_resolves_when_the_gateway_is_back_in_the_route_not_when_it_answers() -> None:
    story = Story().dies("node2").leaves("node2", "node1", "node3").passes(WINDOW_MS)
    assert story.rises("node2").passes(30_000).said == ["open gateway_out"]
    story.enters("node2", *NODES)
    assert story.said == ["open gateway_out", "resolve gateway_out"]
    assert story.last.incident == story.messages[0].incident
    assert story.last.facts["open_ms"] == WINDOW_MS + 30_000
    assert story.last.facts["ending"] == "returned"
    assert story.alerting.open == ()


def test_a_dip_inside_the_window_is_counted_and_told_with_the_next_message() -> None:
    story = Story()
    for _ in range(1):
        story.dies("node2").passes(500).rises("node2").passes(10_000)
    assert story.said == []
    story.dies("node2").leaves("node2", "node1", "node3").passes(WINDOW_MS)
    assert story.said == ["open gateway_out"]
    assert story.last.facts["dips"] == 1


def test_two_that_die_within_the_window_are_one_incident_and_a_later_one_another() -> None:
    wide = replace(WEB, checks=tuple((f"node{n}", f"node{n}") for n in range(1, 8)))
    story = Story(replace(RULES, vips=(wide,)))
    story.dies("node2").passes(300).dies("node3").passes(WINDOW_MS)
    assert story.said == ["open gateway_out"]
    assert story.last.gateways == ("node2", "node3")
    story.passes(60_000).dies("node4").passes(WINDOW_MS)
    assert [one.gateways for one in story.messages] == [("node2", "node3"), ("node4",)]
    assert len({one.incident for one in story.messages}) == 2


def test_when_one_of_two_returns_the_incident_goes_on_and_says_so() -> None:
    wide = replace(WEB, checks=tuple((f"node{n}", f"node{n}") for n in range(1, 8)))
    story = Story(replace(RULES, vips=(wide,)))
    story.dies("node2").dies("node3").passes(WINDOW_MS)
    story.rises("node2").passes(WINDOW_MS)
    assert story.said[-1] == "update gateway_out"
    assert story.last.facts["back"] == ("node2",)
    assert story.last.gateways == ("node3",)
    story.rises("node3")
    assert story.said == ["open gateway_out", "update gateway_out", "resolve gateway_out"]


def test_a_drained_gateway_that_dies_is_nobodys_concern() -> None:
    story = Story(replace(RULES, group_window_ms=0))
    story.happens("gateway.drained", gateway="node2", source="person", owner="kim")
    assert story.said == ["notice notice"]
    assert story.last.facts["event"] == "gateway.drained"
    story.dies("node2").passes(HOUR_MS)
    assert story.said == ["notice notice"]
    story.happens("gateway.undrained", gateway="node2", source="person", cause="asked")
    story.passes(1_000)
    assert story.said[-1] == "open gateway_out"


def test_observe_mode_is_marked() -> None:
    story = Story(replace(RULES, enforce=False)).dies("node2").passes(WINDOW_MS)
    assert story.last.observe
    story.rises("node2")
    assert story.said == ["open gateway_out", "resolve gateway_out"]
    assert story.last.facts["ending"] == "passes"


# --- many ---------------------------------------------------------------------------------------


def test_all_gone_is_one_alert_about_our_sight_at_once() -> None:
    story = Story().dies("node1", "silent").passes(200)
    assert story.said == []
    story.dies("node2", "silent")
    assert story.said == ["open too_few"], "critical ones do not wait"
    story.passes(200).dies("node3", "silent")
    assert story.said == ["open too_few", "update no_answer"]
    assert story.last.severity is Severity.CRITICAL
    assert story.last.facts["down"] == NODES
    assert story.passes(60_000).said == ["open too_few", "update no_answer"], "and nothing else"


def test_what_the_router_says_of_them_is_added_once() -> None:
    story = Story()
    for node in NODES:
        story.dies(node, "silent")
    count = len(story.messages)
    for node in NODES:
        story.happens(
            "router.opinion_given", router="hex", gateway=node, opinion="alive", took_ms=300
        )
    story.passes(10)
    assert len(story.messages) == count + 1
    assert story.last.facts["opinion"] == "alive"
    story.passes(60_000)
    assert len(story.messages) == count + 1


def test_when_all_return_together_there_is_one_resolve_and_no_stray_gateway() -> None:
    story = Story()
    for node in NODES:
        story.dies(node, "silent")
    story.passes(60_000)
    count = len(story.messages)
    for node in NODES:
        story.passes(300).rises(node)
    story.passes(60_000)
    assert story.said[count:] == ["resolve too_few"]
    assert story.alerting.open == ()


def test_one_that_stays_away_after_a_large_outage_is_told_then() -> None:
    story = Story()
    for node in NODES:
        story.dies(node, "silent")
    story.passes(60_000)
    count = len(story.messages)
    story.rises("node1").rises("node2").passes(WINDOW_MS)
    assert story.said[count:] == ["resolve too_few", "open gateway_out"]
    assert story.last.gateways == ("node3",)


# --- routers ------------------------------------------------------------------------------------


def test_a_lost_router_is_told_after_thirty_seconds_and_a_short_loss_never() -> None:
    story = Story().happens("router.lost", router="hex", detail="reset")
    story.passes(ROUTER_LOST_MS - 1)
    assert story.said == []
    story.happens("router.recovered", router="hex", lost_ms=29_999).passes(HOUR_MS)
    assert story.said == []
    story.happens("router.lost", router="hex", detail="reset").passes(ROUTER_LOST_MS)
    assert story.said == ["open router_lost"]
    assert story.last.facts["lost_ms"] == ROUTER_LOST_MS
    story.happens("router.recovered", router="hex", lost_ms=30_000)
    assert story.said == ["open router_lost", "resolve router_lost"]


def test_a_lost_router_is_told_at_once_if_a_write_waits_and_covers_the_gateway() -> None:
    story = Story().happens("router.lost", router="hex", detail="reset").passes(1_000)
    story.dies("node2").passes(1)
    assert story.said == ["open router_lost"]
    assert story.last.facts["down"] == ("node2",)
    assert story.passes(10_000).said == ["open router_lost"]


def test_a_refused_login_does_not_wait() -> None:
    story = Story().happens("router.login_refused", router="hex", detail="invalid user name")
    assert story.said == ["open router_lost"]
    assert story.last.facts["login_refused"] is True


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("contested", True),
        ("router_upgraded", True),
        ("foreign", True),
        ("paused", False),
        ("observing", False),
        ("human_edit", False),
        ("router_lost", False),
    ],
)
def test_a_frozen_route_is_an_alert_unless_a_person_wanted_it(reason: str, told: bool) -> None:  # noqa: FBT001 - a table
    story = Story().happens("route.frozen", vip="web", router="hex", reason=reason)
    assert story.said == (["open route_frozen"] if told else [])
    story.happens("route.thawed", vip="web", router="hex", reason=reason)
    assert story.said == (["open route_frozen", "resolve route_frozen"] if told else [])


def test_a_route_that_cannot_be_read_is_told_only_when_that_lasts() -> None:
    story = Story().happens("route.frozen", vip="web", router="hex", reason="uncertain")
    story.passes(29_000).happens("route.thawed", vip="web", router="hex", reason="uncertain")
    assert story.passes(HOUR_MS).said == []
    story.happens("route.frozen", vip="web", router="hex", reason="uncertain").passes(30_000)
    assert story.said == ["open route_frozen"]


def test_a_persons_edit_lasts_as_long_as_the_hold() -> None:
    story = Story().happens(
        "route.human_edited",
        vip="web",
        router="hex",
        before=NODES,
        after=("node1",),
        until_ms=900_000,
        passing=1,
    )
    story.passes(WINDOW_MS)
    assert story.said == ["open human_edit"]
    assert story.last.facts["after"] == ("node1",)
    story.happens("route.thawed", vip="web", router="hex", reason="human_edit")
    assert story.said == ["open human_edit", "resolve human_edit"]


# --- flapping, reminders, silence ---------------------------------------------------------------


def test_a_flapping_gateway_is_told_as_such_once_and_then_by_digest() -> None:
    story = Story()
    for _ in range(6):
        story.dies("node2").passes(20_000).rises("node2").passes(20_000)
    kinds = [one.kind for one in story.messages]
    assert kinds.count(AlertKind.FLAPPING) == 1
    assert kinds.count(AlertKind.GATEWAY_OUT) == 4, "two openings, two resolves, then silence"
    story.passes(FLAP_QUIET_MS - 300_000).dies("node2").passes(300_000)
    assert story.said.count("digest flapping") == 1
    story.rises("node2").passes(FLAP_QUIET_MS + 1_000)
    assert story.said[-1] == "resolve flapping"


def test_critical_alerts_are_repeated_hourly_and_warnings_are_not() -> None:
    story = Story().happens("route.frozen", vip="web", router="hex", reason="contested")
    story.dies("node2").passes(2 * HOUR_MS + 1)
    assert story.said.count("remind route_frozen") == 2
    assert story.said.count("open gateway_out") == 1
    assert not any(said.startswith("remind gateway") for said in story.said)


def test_without_a_reminder_interval_nothing_is_repeated() -> None:
    story = Story(replace(RULES, reminder_ms=0))
    story.happens("route.frozen", vip="web", router="hex", reason="contested").passes(5 * HOUR_MS)
    assert story.said == ["open route_frozen"]


def test_what_is_still_wrong_at_the_end_of_a_silence_is_told_then() -> None:
    story = Story()
    story.alerting.silence([Silence(until_ms=HOUR_MS)], 0)
    story.dies("node2").dies("node3").passes(HOUR_MS - 1)
    assert story.said == []
    story.rises("node3").passes(WINDOW_MS + 1)
    assert story.said == ["open gateway_out"]
    assert story.last.gateways == ("node2",)


def test_a_silence_about_one_gateway_leaves_the_others_heard() -> None:
    wide = replace(WEB, checks=tuple((f"node{n}", f"node{n}") for n in range(1, 8)))
    story = Story(replace(RULES, vips=(wide,)))
    story.alerting.silence([Silence(until_ms=HOUR_MS, gateway="node2")], 0)
    story.dies("node2").passes(WINDOW_MS).dies("node3").passes(WINDOW_MS)
    assert [one.gateways for one in story.messages] == [("node3",)]


def test_the_end_of_what_was_told_is_told_in_a_silence_too() -> None:
    story = Story().dies("node2").passes(WINDOW_MS)
    story.alerting.silence([Silence(until_ms=HOUR_MS)], story.now_ms)
    story.rises("node2")
    assert story.said == ["open gateway_out", "resolve gateway_out"]


# --- notices ------------------------------------------------------------------------------------


def test_one_certificate_on_three_gateways_is_one_message() -> None:
    story = Story()
    for node in NODES:
        story.happens(
            "certificate.expiring",
            gateway=node,
            names=("*.example.test",),
            not_after="2026-12-06T00:00:00+00:00",
            days=13,
        )
    story.passes(WINDOW_MS)
    assert story.said == ["notice notice"]
    assert story.last.gateways == NODES


def test_a_repeated_notice_is_counted_for_an_hour() -> None:
    story = Story()
    for _ in range(5):
        story.happens("route.drifted", vip="web", router="hex", expected=("node1",), found=())
        story.passes(60_000)
    assert story.said == ["notice notice"]
    story.passes(HOUR_MS)
    story.happens("route.drifted", vip="web", router="hex", expected=("node1",), found=())
    story.passes(WINDOW_MS)
    assert story.said == ["notice notice"] * 2
    assert story.last.facts["repeats"] == 4


def test_more_than_fifty_writes_a_day_wear_the_flash_and_are_told_once() -> None:
    story = Story()
    for _ in range(60):
        story.enters("node1", *NODES).passes(60_000)
    notices = [one for one in story.messages if one.facts.get("event") == "router.many_writes"]
    assert len(notices) == 1


def test_a_channel_that_cannot_be_reached_is_told_to_the_others_once_an_hour() -> None:
    story = Story()
    for channel in ("team", "team", "phone"):
        story.happens("alert.undeliverable", channel=channel, incident="7k2", detail="404")
        story.passes(60_000)
    story.happens("alert.undeliverable", channel="x", incident="7k2", detail="dropped by a person")
    story.passes(60_000)
    assert [one.facts["channel"] for one in story.messages] == ["team", "phone"]


# --- restarts and levels ------------------------------------------------------------------------


def levels(
    *, down: Iterable[str] = (), in_route: tuple[str, ...] = NODES, lost: Iterable[str] = ()
) -> Levels:
    return Levels(
        down=frozenset(down),
        in_route={("web", "hex"): in_route},
        lost=frozenset(lost),
        frozen=frozenset(),
    )


def restarted(story: Story) -> Story:
    """Return a new run that goes on with the incidents of the old one."""
    fresh = Story()
    fresh.alerting.restore(story.alerting.open, 0)
    return fresh


def test_an_incident_outlives_a_restart_and_ends_as_it_would_have() -> None:
    before = Story().dies("node2").leaves("node2", "node1", "node3").passes(WINDOW_MS)
    after = restarted(before)
    after.alerting.observe_levels(levels(down=["node2"], in_route=("node1", "node3")), 5_000)
    assert after.passes(60_000).said == []
    after.rises("node2").enters("node2", *NODES)
    assert after.said == ["resolve gateway_out"]
    assert after.last.incident == before.last.incident


def test_what_ended_while_edged_was_away_ends_with_the_first_look() -> None:
    after = restarted(Story().dies("node2").leaves("node2", "node1", "node3").passes(WINDOW_MS))
    after.alerting.observe_levels(levels(), 5_000)
    assert after.looks().said == ["resolve gateway_out"]


def test_what_nobody_was_told_of_before_the_crash_is_told_after_it() -> None:
    after = restarted(Story().dies("node2").leaves("node2", "node1", "node3"))
    after.alerting.observe_levels(levels(down=["node2"], in_route=("node1", "node3")), 500)
    after.passes(WINDOW_MS)
    assert after.said == ["open gateway_out"]


def test_numbers_go_on_after_a_restart() -> None:
    before = Story().dies("node2").passes(WINDOW_MS)
    after = restarted(before)
    after.happens("route.frozen", vip="web", router="hex", reason="contested")
    assert after.last.incident != before.last.incident


def test_the_levels_put_right_what_no_event_told() -> None:
    story = Story().dies("node2").passes(WINDOW_MS)
    story.alerting.observe_levels(levels(), story.now_ms)
    assert story.looks().said == ["open gateway_out", "resolve gateway_out"]


def test_a_gateway_that_leaves_the_configuration_ends_its_incident() -> None:
    story = Story().dies("node2").passes(WINDOW_MS)
    fewer = replace(WEB, checks=(("node1", "node1"), ("node3", "node3")))
    story.alerting.configure(replace(RULES, vips=(fewer,)), story.now_ms)
    assert story.looks().said == ["open gateway_out", "resolve gateway_out"]
    assert story.last.facts["ending"] == "gone"


# --- the time line ------------------------------------------------------------------------------


def test_an_incident_owns_the_events_from_its_first_sign_to_its_end() -> None:
    story = Story().dies("node2").leaves("node2", "node1", "node3").passes(WINDOW_MS)
    story.happens("daemon.paused", owner="kim").rises("node2").enters("node2", *NODES)
    incident = next(one.incident for one in story.messages if one.kind is AlertKind.GATEWAY_OUT)
    assert story.numbers[incident] == [1, 2, 3, 5, 6]


def test_names_of_incidents_are_short_and_differ() -> None:
    names = [incident_name(number) for number in range(1, 40_000)]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {3, 4}
    assert incident_name(1)[0] != incident_name(2)[0]


def test_an_event_that_changes_nothing_costs_nothing() -> None:
    story = Story()
    probe: Event = event("probe.finished", 0, gateway="node1", check="node1")
    story.alerting.observe(probe, 0)
    assert story.alerting.advance(0) == ()
    assert story.alerting.next_deadline_ms is None


def test_the_steps_of_an_incident_are_known() -> None:
    assert {str(step) for step in AlertStep} == {
        "open", "update", "remind", "digest", "resolve", "notice",
    }  # fmt: skip
