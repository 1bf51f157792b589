"""The second session against the simulator: BGP, second opinions, and who waits for whom."""

import asyncio
from dataclasses import replace

import pytest

from edged.core.types import Opinion, OpinionRequest, OpinionResult
from edged.router.bgp import BgpRead
from edged.router.companion import OPINIONS_MAX
from edged.simulator import BgpState, User
from tests.support.router_rig import ALL, HASTY, NODES, QUICK, Rig, rig, until
from tests.support.sessions import PASSWORD

both_dialects = pytest.mark.parametrize("version", ["6.49.10", "7.20.8"])
OFTEN = replace(QUICK, bgp_interval_ms=10)
PING = {"6.49.10": "/ping", "7.20.8": "/tool/ping"}


def bgp_reads(run: Rig) -> list[BgpRead]:
    return [one for one in run.sink.said if isinstance(one, BgpRead)]


def opinions(run: Rig) -> list[OpinionResult]:
    return [one for one in run.sink.said if isinstance(one, OpinionResult)]


def established(read: BgpRead) -> list[str]:
    assert read.peers is not None
    return sorted(peer.address for peer in read.peers if peer.established)


async def opinion_on(run: Rig, node: str) -> OpinionResult:
    run.router.ping_lost_after_s = 0.01
    before = len(opinions(run))
    run.client.companion.want_opinion(
        OpinionRequest(router="hex", gateway=node, address=NODES[node])
    )
    await until(lambda: len(opinions(run)) > before, within_s=3.0)
    return opinions(run)[-1]


# --- BGP ---


@both_dialects
async def test_sessions_are_polled_and_a_drop_is_seen_in_the_next_poll(version: str) -> None:
    async with rig(version, companion=True, timing=OFTEN) as run:
        await until(lambda: bgp_reads(run))
        assert established(bgp_reads(run)[0]) == sorted(NODES.values())
        run.router.set_bgp("node2", BgpState.IDLE if version.startswith("6") else BgpState.CACHED)
        await until(lambda: established(bgp_reads(run)[-1]) == ["172.30.1.20", "172.30.1.82"])
        peers = bgp_reads(run)[-1].peers
        assert peers is not None
        assert len(peers) == 3, "a peer that is down is still a peer"
        assert bgp_reads(run)[-1].sent_ms <= bgp_reads(run)[-1].answered_ms


@pytest.mark.parametrize(
    "state", [BgpState.ABSENT, BgpState.CACHED, BgpState.STOPPED, BgpState.LIMIT_EXCEEDED]
)
async def test_every_way_to_be_down_on_7_is_down(state: BgpState) -> None:
    async with rig("7.20.8", companion=True, timing=OFTEN) as run:
        run.router.set_bgp("node1", state)
        await until(lambda: bgp_reads(run) and "172.30.1.20" not in established(bgp_reads(run)[-1]))


async def test_an_unreadable_list_is_unknown_and_the_session_stays() -> None:
    async with rig(companion=True, timing=OFTEN) as run:
        await until(lambda: bgp_reads(run))
        run.server.faults.refuse("not enough permissions (9)", command="/routing/bgp")
        await until(lambda: any(read.peers is None for read in bgp_reads(run)))
        assert any("permissions" in read.detail for read in bgp_reads(run))
        await until(lambda: bgp_reads(run)[-1].peers is not None)
        assert run.router.counters.logins == 2


async def test_a_lost_second_session_is_unknown_and_comes_back() -> None:
    async with rig(companion=True, timing=OFTEN) as run:
        await until(lambda: bgp_reads(run))
        run.server.faults.cut_before(command="/routing/bgp")
        await until(lambda: any(read.peers is None for read in bgp_reads(run)))
        await until(lambda: bgp_reads(run)[-1].peers is not None)
        assert len(run.sink.words("lost")) == 0, "the route session was never in doubt"


async def test_without_bgp_nothing_is_asked_of_it_and_the_session_is_kept_alive() -> None:
    async with rig(companion=True, timing=OFTEN, poll_bgp=False) as run:
        await until(lambda: run.router.counters.sentences > 8)
        assert not bgp_reads(run)
        assert run.server.session_count == 2


# --- second opinions ---


@both_dialects
async def test_silence_is_death_only_of_an_address_that_was_seen_to_answer(version: str) -> None:
    async with rig(version, companion=True) as run:
        run.router.set_ping(NODES["node1"], answers=False)
        never_heard = await opinion_on(run, "node1")
        assert never_heard.opinion is Opinion.UNKNOWN
        run.router.set_ping(NODES["node1"], answers=True)
        assert (await opinion_on(run, "node1")).opinion is Opinion.ALIVE
        run.router.set_ping(NODES["node1"], answers=False)
        dead = await opinion_on(run, "node1")
        assert (dead.router, dead.gateway, dead.opinion) == ("hex", "node1", Opinion.DEAD)
        assert 30 <= dead.answered_ms - dead.asked_ms <= 1_300


async def test_a_first_ping_teaches_who_answers_pings_at_all() -> None:
    async with rig(companion=True) as run:
        run.client.companion.learn(NODES.values())
        learned = run.client.companion._memory
        await until(lambda: all(learned.vouches(one, 0) for one in NODES.values()))
        run.router.set_ping(NODES["node2"], answers=False)
        assert (await opinion_on(run, "node2")).opinion is Opinion.DEAD
        assert len(opinions(run)) == 1, "lessons are nobody's opinion"


@both_dialects
async def test_without_the_test_policy_nothing_is_ever_confirmed(version: str) -> None:
    user = User(name="edged", password=PASSWORD, policies=frozenset({"read", "write", "api"}))
    async with rig(version, companion=True, user=user) as run:
        run.client.companion.learn(NODES.values())
        result = await opinion_on(run, "node1")
        assert result.opinion is Opinion.UNKNOWN
        assert "not enough permissions" in result.detail
        await asyncio.sleep(0.02)
        assert run.router.counters.logins == 2
        assert run.router.counters.traps <= 2, "lessons stop at the first refusal"


@both_dialects
async def test_an_opinion_lost_with_its_session_is_unknown(version: str) -> None:
    async with rig(version, companion=True) as run:
        await until(lambda: bgp_reads(run))
        run.server.faults.cut_before(command=PING[version])
        assert (await opinion_on(run, "node1")).opinion is Opinion.UNKNOWN
        assert (await opinion_on(run, "node1")).opinion is Opinion.ALIVE


async def test_a_ping_never_stands_before_a_write() -> None:
    async with rig(companion=True) as run:
        await until(lambda: run.client.companion.connected)
        run.router.set_ping(NODES["node1"], answers=False)
        run.router.ping_lost_after_s = 0.1
        run.client.companion.want_opinion(
            OpinionRequest(router="hex", gateway="node1", address=NODES["node1"])
        )
        await asyncio.sleep(0.01)
        for wanted in (("node1",), ALL, ("node2",)):
            await run.want(*wanted)
        assert not opinions(run), "the ping is still under way"


async def test_waiting_suspects_are_bounded_and_asked_about_once() -> None:
    async with rig() as run:  # the companion does not run: everything waits
        companion = run.client.companion
        for number in range(OPINIONS_MAX + 10):
            for _ in range(2):
                companion.want_opinion(
                    OpinionRequest(router="hex", gateway=f"n{number}", address="172.30.1.20")
                )
        names = [wanted.gateway for wanted in companion._wanted]
        assert len(names) == len(set(names)) == OPINIONS_MAX
        assert names[-1] == f"n{OPINIONS_MAX + 9}"


# --- who waits for whom ---


async def test_a_router_that_refuses_us_hears_of_it_from_one_session_only() -> None:
    async with rig(password=lambda: "wrong", companion=True, connected=False) as run:
        await until(lambda: run.router.counters.logins_refused >= 3)
        assert not bgp_reads(run)
        assert run.server.session_count <= 1


async def test_the_second_session_waits_until_the_first_knows_what_router_this_is() -> None:
    async with rig(companion=True, timing=HASTY) as run:
        await until(lambda: bgp_reads(run))
        run.server.faults.hang(command="/system/resource")
        run.server.drop_connections()
        await until(lambda: run.sink.words("lost"))
        await until(lambda: run.router.counters.logins == 3)
        run.client.companion.wake()
        await asyncio.sleep(0.02)  # the route session hangs in its first question
        assert run.router.counters.logins == 3
        await until(lambda: run.server.session_count == 2)


async def test_both_loops_end_on_stop() -> None:
    async with rig(companion=True, timing=OFTEN) as run:
        await until(lambda: run.client.companion.connected)
    assert run.server.session_count == 0
