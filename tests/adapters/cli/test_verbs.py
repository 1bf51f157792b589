"""Every verb against a control socket: what it asks, what it says, how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edged.cli import act, look
from edged.cli.main import main
from edged.core.errors import CommandRefused
from edged.core.types import Drain, Pause
from edged.web.control import ControlServer
from tests.support.control import NotingApi
from tests.support.documents import (
    adoption_of,
    healthy,
    node2_refused,
    not_adopted,
    plan_of,
    status_of,
    why_of,
)
from tests.support.engine_run import EngineRun


@dataclass(slots=True)
class Desk:
    """A daemon that notes, and a command line that asks it."""

    api: NotingApi
    server: ControlServer
    socket: Path
    capsys: pytest.CaptureFixture[str]

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Run `edged` in a thread; returns its exit code and what it said."""
        code = await asyncio.to_thread(main, [*words, "--socket", str(self.socket)])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def posted(self, verb: str) -> dict[str, Any]:
        """Return the words of the last call of a verb."""
        return dict([words for name, words in self.api.calls if name == verb][-1])


@pytest.fixture
async def desk(
    short_tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setenv("SUDO_USER", "kim")
    monkeypatch.setattr(act, "SETTLE_MS", 0)
    api = NotingApi()
    server = ControlServer(api, short_tmp_path / "c.sock")
    await server.start()
    try:
        yield Desk(api=api, server=server, socket=short_tmp_path / "c.sock", capsys=capsys)
    finally:
        await server.stop()


# --- looking


async def test_status_is_shown_and_its_document_printed(desk: Desk) -> None:
    document = status_of(node2_refused())
    desk.api.answers["status"] = document
    code, out, _ = await desk.run("status")
    assert code == 0
    assert "✗ DOWN" in out or "x DOWN" in out
    code, out, _ = await desk.run("status", "--json")
    assert (code, json.loads(out)) == (0, json.loads(json.dumps(document)))


@pytest.mark.parametrize(
    ("level", "expected"), [("fine", 0), ("degraded", 3), ("critical", 4)], ids=str
)
async def test_check_says_how_bad_it_is(desk: Desk, level: str, expected: int) -> None:
    desk.api.answers["status"] = {**status_of(healthy()), "level": level}
    assert (await desk.run("status", "--check"))[0] == expected
    assert (await desk.run("status", "--check", "--json"))[0] == expected


async def test_why_asks_about_whom_was_named(desk: Desk) -> None:
    desk.api.answers["why"] = why_of(node2_refused(), "node2")
    code, out, _ = await desk.run("why", "node2")
    assert (code, desk.posted("why")) == (0, {"name": "node2"})
    assert "In a word" in out
    desk.api.answers["why"] = CommandRefused('there is no gateway or VIP "x"; known are node1')
    assert await desk.run("why", "x") == (
        1,
        "",
        'edged: there is no gateway or VIP "x"; known are node1\n',
    )


async def test_a_plan_with_changes_ends_with_6(desk: Desk) -> None:
    run = healthy()
    desk.api.answers["plan"] = plan_of(run)
    assert (await desk.run("plan"))[0] == 0
    run.engine.command(Pause(owner="kim"), run.now_ms)
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(1_000)
    desk.api.answers["plan"] = plan_of(run)
    code, out, _ = await desk.run("plan")
    assert code == 6
    assert "/ip route set *1 gateway=172.30.1.20,172.30.1.82" in out
    assert (await desk.run("plan", "--json"))[0] == 6


def stored(seq: int, name: str = "gateway.came_up", **fields: object) -> dict[str, object]:
    return {
        "seq": seq,
        "time": "2026-10-12T18:12:44.000Z",
        "name": name,
        "severity": "info",
        "fields": {"gateway": "node2", **fields},
    }


async def test_events_are_asked_for_as_they_were_named(desk: Desk) -> None:
    desk.api.answers["events"] = {"schema": "edged.events/v1", "events": [stored(3)]}
    desk.api.answers["status"] = status_of(healthy())
    code, out, _ = await desk.run(
        *("events", "--since", "2026-10-12T18:00:00+00:00", "--limit", "5", "--gateway", "node2"),
        *("--vip", "web", "--type", "gateway.came_up,route.changed", "--severity", "warning"),
    )
    asked = desk.posted("events")
    assert code == 0
    assert "node2 UP again" in out
    assert asked["since"].isoformat() == "2026-10-12T18:00:00+00:00"
    assert asked["names"] == ("gateway.came_up", "route.changed")
    assert (asked["limit"], asked["gateway"], asked["vip"]) == (5, "node2", "web")
    assert asked["min_severity"] == "warning"
    assert (await desk.run("events", "--since", "4h"))[0] == 0
    assert desk.posted("events")["since"].tzinfo is not None


async def test_a_time_that_is_none_is_wrong_usage(desk: Desk) -> None:
    code, _, err = await desk.run("events", "--since", "yesterday")
    assert code == 2
    assert '--since takes 30m, 4h, 2d or a time such as 2026-05-01T12:00, not "yesterday"' in err


async def test_following_goes_on_after_the_last_one_that_was_shown(desk: Desk) -> None:
    desk.api.answers["events"] = {"schema": "edged.events/v1", "events": [stored(3)]}
    running = asyncio.create_task(desk.run("events", "-f", "--json", "--gateway", "node2"))
    while not desk.api.readers:  # noqa: ASYNC110 - the double counts, and has no event for it
        await asyncio.sleep(0.005)
    await desk.api.news.put({**stored(4), "fields": {"gateway": "node3"}})
    await desk.api.news.put(stored(5, "route.changed", removed=["node2"], gateway=None))
    await desk.api.news.put({**stored(6), "severity": "debug"})
    await desk.api.news.put(stored(7))
    while not desk.api.news.empty():  # noqa: ASYNC110 - a queue has no event for it
        await asyncio.sleep(0.005)
    await desk.server.stop()
    code, out, err = await running
    assert ("stream", {"after_seq": 3}) in desk.api.calls
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [3, 5, 7]
    assert (code, err) == (0, "edged: the daemon ended\n")


async def test_a_probe_that_does_not_pass_ends_with_1(desk: Desk) -> None:
    probe = {
        "gateway": "node2",
        "address": "172.30.1.70",
        "port": 443,
        "server_name": "edged-probe.example.test",
        "depth": "full",
        "outcome": "passed",
        "reason": None,
        "sentence": None,
        "detail": "",
        "latency_ms": 3.2,
        "http_status": 404,
        "phases": [{"name": "tcp", "took_ms": 0.3, "detail": ""}],
    }
    desk.api.answers["probe"] = {"schema": "edged.probe/v1", "probes": [probe]}
    code, out, _ = await desk.run("probe", "node2", "--trace")
    assert (code, desk.posted("probe")) == (0, {"gateway": "node2", "trace": True})
    assert "0.300 ms  tcp" in out
    desk.api.answers["probe"] = {"probes": [{**probe, "outcome": "failed"}]}
    assert (await desk.run("probe", "node2"))[0] == 1


async def test_recheck_says_where_the_result_will_be(desk: Desk) -> None:
    code, out, _ = await desk.run("recheck", "node2")
    assert (code, desk.posted("recheck")) == (0, {"gateway": "node2", "owner": "kim"})
    assert "edged why node2" in out


# --- draining


def drained(run: EngineRun, name: str = "node3", *, force: bool = False) -> EngineRun:
    run.engine.command(Drain(gateway=name, owner="kim", force=force), run.now_ms)
    run.run(2_000)
    return run


async def test_drain_says_what_moves_before_it_asks(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(healthy())
    code, out, _ = await desk.run("drain", "172.30.1.82", "--reason", "kernel", "--for", "2h")
    assert code == 0
    assert "new connections go to node1, node2; open connections through node3" in flat(out)
    assert desk.posted("drain") == {
        "gateway": "172.30.1.82",
        "owner": "kim",
        "reason": "kernel",
        "for_ms": 7_200_000,
        "force": False,
    }
    assert [name for name, _ in desk.api.calls][:2] == ["status", "drain"]


def flat(text: str) -> str:
    return " ".join(text.split())


async def test_drain_says_beforehand_that_the_floor_will_hold_it(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(node2_refused())
    _, out, _ = await desk.run("drain", "node3")
    assert "without node3 only 1 would pass, and the floor is 2" in flat(out)
    assert "--force takes it out now" in flat(out)
    _, out, _ = await desk.run("drain", "node3", "--force")
    assert "the floor is 2" not in flat(out)


async def test_a_drain_that_took_effect_is_safe_to_reboot(desk: Desk) -> None:
    run = healthy()
    desk.api.answers["status"] = status_of(run)
    desk.api.answers["drain"] = {"schema": "edged.drain/v1", "gateway": "node3", "until": None}
    asked = asyncio.create_task(desk.run("drain", "node3", "--wait", "--timeout", "5s"))
    while not any(name == "drain" for name, _ in desk.api.calls):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)
    desk.api.answers["status"] = status_of(drained(run))
    code, out, _ = await asked
    assert code == 0
    assert "node3 is out of the route, 2 left: safe to reboot." in flat(out)
    assert "edged undrain node3" in out


async def test_waiting_for_a_drain_ends_with_1_and_the_reason(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(drained(node2_refused()))
    code, out, _ = await desk.run("drain", "node3", "--wait", "--timeout", "1ms")
    assert code == 1
    assert "still in web on hex: fewer than 2 would be left in the route." in flat(out)


async def test_a_drain_in_json_is_one_document(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(healthy())
    desk.api.answers["drain"] = {"schema": "edged.drain/v1", "gateway": "node3"}
    code, out, _ = await desk.run("drain", "node3", "--json")
    assert (code, json.loads(out)) == (0, {"schema": "edged.drain/v1", "gateway": "node3"})


async def test_undrain_says_when_it_returns(desk: Desk) -> None:
    run = drained(healthy())
    run.engine.command(Drain(gateway="node3", source="kubernetes"), run.now_ms)
    desk.api.answers["undrain"] = {"gateway": "node3"}
    desk.api.answers["status"] = status_of(run)
    code, out, _ = await desk.run("undrain", "node3")
    assert code == 0
    assert "still drained by" in out
    desk.api.answers["status"] = status_of(healthy())
    assert "node3 is in the route" in (await desk.run("undrain", "node3"))[1]
    desk.api.answers["status"] = status_of(node2_refused())
    desk.api.answers["undrain"] = {"gateway": "node2"}
    assert "returns by itself" in (await desk.run("undrain", "node2"))[1]


# --- pausing and the rest


async def test_pause_says_until_when_and_how_to_go_on(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(healthy())
    desk.api.answers["pause"] = {"until": "2026-10-12T19:12:44.000Z", "restored": ["hex: set"]}
    code, out, _ = await desk.run("pause", "--for", "1h", "--restore")
    assert code == 0
    assert "Paused until " in out
    assert "KST" in out
    assert "hex: set" in out
    assert desk.posted("pause") == {"owner": "kim", "for_ms": 3_600_000, "restore": True}
    desk.api.answers["pause"] = {"until": None, "restored": []}
    assert "Paused until resumed" in (await desk.run("pause", "--until-resumed"))[1]
    assert desk.posted("pause")["for_ms"] is None


async def test_resume_says_what_still_holds(desk: Desk) -> None:
    desk.api.answers["status"] = status_of(not_adopted(), mode="observe")
    code, out, _ = await desk.run("resume")
    assert code == 0
    assert "Still held: no row on hex carries the mark edged:web yet." in flat(out)


async def test_reload_says_what_is_in_force(desk: Desk) -> None:
    desk.api.answers["reload"] = {"changed": ["vip[0].distance"], "needs_restart": ["web.listen"]}
    _, out, _ = await desk.run("reload")
    assert "In force        vip[0].distance" in out
    assert "Needs a restart  web.listen" in out
    desk.api.answers["reload"] = {"changed": [], "needs_restart": []}
    assert (await desk.run("reload"))[1] == "Nothing has changed.\n"


async def test_handing_over_needs_a_yes_and_taking_back_does_not(desk: Desk) -> None:
    code, _, err = await desk.run("handover", "bgp")
    assert (code, [name for name, _ in desk.api.calls]) == (2, [])
    assert "add --yes" in err
    assert (await desk.run("handover", "bgp", "web", "--yes"))[0] == 0
    assert desk.posted("handover") == {"owner": "kim", "vip": "web", "to_bgp": True}
    assert (await desk.run("handover", "back"))[0] == 0
    assert desk.posted("handover") == {"owner": "kim", "vip": None, "to_bgp": False}


# --- adopting


def adopted() -> dict[str, Any]:
    document: Any = json.loads(json.dumps(adoption_of(not_adopted())))
    document["routes"][0]["done"] = True
    document["routes"][0]["results"] = [{"outcome": "done", "message": ""}]
    return dict(document)


def answering(desk: Desk, answer: str | None) -> Callable[[Any, str], bool | None]:
    def ask(_: Any, question: str) -> bool | None:  # noqa: ANN401 - the context
        assert question.endswith("?")
        assert not desk.api.calls[-1][1].get("confirmed"), "asked after the deed"
        return None if answer is None else answer == "y"

    return ask


@pytest.mark.parametrize(
    ("answer", "code", "confirmed"),
    [("y", 0, [False, True]), ("n", 1, [False]), (None, 2, [False])],
    ids=["yes", "no", "nobody to ask"],
)
async def test_adoption_is_a_human_act(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
    code: int,
    confirmed: list[bool],
) -> None:
    monkeypatch.setattr("edged.cli.context.Context.ask", answering(desk, answer))
    desk.api.answers["adopt"] = adopted()
    ended, out, _ = await desk.run("adopt")
    assert ended == code
    assert [words["confirmed"] for _, words in desk.api.calls] == confirmed
    said = flat(out)
    assert 'after comment="ECMP to Gateway VIP edged:web"' in said
    assert "a script that searches for the whole old comment stops matching" in said
    assert "differs after each fail-over" in said
    assert "To put it back by hand, on hex: /ip route set [find" in said


async def test_adoption_with_yes_does_not_ask_and_shows_the_way_back(desk: Desk) -> None:
    desk.api.answers["adopt"] = adopted()
    code, out, _ = await desk.run("adopt", "web", "--router", "hex", "--yes")
    assert code == 0
    assert "web on hex: adopted, and read back. Back: edged release" in flat(out)
    assert desk.posted("adopt") == {
        "owner": "kim",
        "vip": "web",
        "router": "hex",
        "create": False,
        "drop": None,
        "confirmed": True,
    }


async def test_adoption_that_failed_half_way_says_so_and_ends_with_1(desk: Desk) -> None:
    document = adopted()
    document["routes"][0]["done"] = False
    document["routes"][0]["results"] = [{"outcome": "refused", "message": "no such item"}]
    desk.api.answers["adopt"] = document
    code, out, _ = await desk.run("adopt", "--yes")
    assert code == 1
    assert "NOT adopted as a whole; refused: no such item" in flat(out)


async def test_what_cannot_be_adopted_is_not_asked_for(desk: Desk) -> None:
    document = adopted()
    document["routes"][0] |= {"steps": [], "objection": "next hop 172.30.1.99 belongs to nobody"}
    desk.api.answers["adopt"] = document
    code, out, _ = await desk.run("adopt", "--yes")
    assert code == 1
    assert "next hop 172.30.1.99 belongs to nobody" in flat(out)
    assert len(desk.api.calls) == 1


async def test_adoption_in_json_changes_nothing_without_a_yes(desk: Desk) -> None:
    desk.api.answers["adopt"] = adopted()
    code, out, _ = await desk.run("adopt", "--json")
    assert (code, json.loads(out)["schema"]) == (0, "edged.adopt/v1")
    assert [words["confirmed"] for _, words in desk.api.calls] == [False]
    code, out, _ = await desk.run("adopt", "--json", "--yes")
    assert (code, json.loads(out)["routes"][0]["done"]) == (0, True)


async def test_dropping_a_next_hop_names_it_and_needs_a_yes(desk: Desk) -> None:
    desk.api.answers["adopt"] = {"schema": "edged.adopt/v1", "vip": "web", "drop": "172.30.1.99"}
    code, out, _ = await desk.run("adopt", "web", "--drop", "172.30.1.99", "--yes")
    assert code == 0
    assert "Next hop 172.30.1.99 leaves the rows of web" in flat(out)
    assert desk.posted("adopt")["drop"] == "172.30.1.99"
    assert (await desk.run("adopt", "web", "--drop", "172.30.1.99"))[0] == 2


async def test_release_gives_the_rows_back_after_a_yes(desk: Desk) -> None:
    document = adopted() | {"schema": "edged.release/v1"}
    document["routes"][0]["undo"] = []
    desk.api.answers["release"] = document
    code, out, _ = await desk.run("release", "--yes")
    assert code == 0
    assert "a node that dies stays in" in flat(out)
    assert "web on hex: released, and read back." in flat(out)


# --- watching


async def test_watching_prints_what_is_new_and_survives_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = healthy()
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            desk.api.answers["status"] = status_of(node2_refused())
        if looks == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(look, "time", type("Time", (), {"sleep": staticmethod(sleep)}))
    desk.api.answers["status"] = status_of(run)
    code, out, _ = await desk.run("status", "--watch")
    assert code == 130
    assert out.count("edged 1.0.0   ENFORCE") == 2
    assert out.count("DOWN") == 1
