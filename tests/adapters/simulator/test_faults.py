"""Faults on request: what was applied, what the client saw, and that it ends when asked to."""

import asyncio

import pytest

from edged.simulator import Fault, FaultKind, Faults
from edged.simulator.wire import WireError
from tests.adapters.simulator.client import connect, row_of, serving, session

SET = ("/ip/route/set", "=.id=*1", "=gateway=172.30.1.20")
BEFORE = ["172.30.1.20", "172.30.1.70", "172.30.1.82"]
AFTER = ["172.30.1.20"]
SHORT_S = 0.03


async def test_a_cut_before_applying_changes_nothing() -> None:
    async with session() as (client, server):
        server.faults.cut_before(command="/ip/route/set")
        await client.send(*SET)
        assert await client.ended()
        assert server.router.vip_next_hops() == BEFORE
        assert not server.router.write_log


@pytest.mark.parametrize("mid_reply", [False, True])
async def test_a_cut_after_applying_leaves_the_change(*, mid_reply: bool) -> None:
    async with session() as (client, server):
        arm = server.faults.cut_mid_reply if mid_reply else server.faults.cut_after
        arm(command="/ip/route/set")
        await client.send(*SET)
        assert await client.ended()
        assert server.router.vip_next_hops() == AFTER
        assert len(server.router.write_log) == 1


async def test_a_cut_in_mid_reply_sends_half_a_sentence() -> None:
    async with session() as (client, server):
        server.faults.cut_mid_reply(command="/ip/route/print")
        await client.send("/ip/route/print")
        half = await client.reader.read()
        assert half[:1] == b"\x03"
        assert half[1:4] == b"!re"
        assert not half.endswith(b"\0")


@pytest.mark.parametrize("applied", [False, True])
async def test_a_hang_never_answers_and_is_applied_only_if_told(*, applied: bool) -> None:
    async with session() as (client, server):
        server.faults.hang(command="/ip/route/set", applied=applied)
        await client.send(*SET)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                await client.read()
        assert server.router.vip_next_hops() == (AFTER if applied else BEFORE)


async def test_a_delay_answers_late_and_lets_other_faults_through() -> None:
    async with session() as (client, server):
        loop = asyncio.get_running_loop()
        delay = server.faults.delay(SHORT_S, command="/ip", times=None)
        server.faults.refuse("failure: busy", command="/ip/route/set")
        started_s = loop.time()
        replies = await client.talk(*SET)
        assert loop.time() - started_s >= SHORT_S
        assert replies == [("!trap", "=message=failure: busy"), ("!done",)]
        server.faults.remove(delay)
        assert len(server.faults) == 0
        assert await client.talk(*SET) == [("!done",)]


async def test_a_refusal_changes_nothing_and_keeps_the_session() -> None:
    async with session() as (client, server):
        server.faults.refuse("failure: no space left", command="/ip/route", times=2, category=4)
        for _ in range(2):
            replies = await client.talk(*SET)
            assert row_of(replies[0]) == {"category": "4", "message": "failure: no space left"}
        assert server.router.vip_next_hops() == BEFORE
        assert server.router.counters.traps == 2
        assert await client.talk(*SET) == [("!done",)]


async def test_garbage_is_no_sentence() -> None:
    async with session() as (client, server):
        server.faults.garbage(command="/ip/route/print")
        with pytest.raises(WireError):
            await client.talk("/ip/route/print")


async def test_a_flood_goes_on_until_the_client_leaves() -> None:
    async with serving() as server:
        server.faults.flood(command="/ip/route/print")
        async with connect(server.port) as client:
            await client.login()
            await client.send("/ip/route/print")
            for _ in range(1_000):
                assert (await client.read())[0] == "!re"
        async with asyncio.timeout(1):
            await server.no_sessions()


async def test_logins_can_be_refused_hung_and_cut() -> None:
    async with serving() as server:
        refusal = server.faults.refuse_logins()
        async with connect(server.port) as client:
            assert (await client.login())[0] == (
                "!trap",
                "=message=invalid user name or password (6)",
            )
        server.faults.remove(refusal)
        server.faults.cut_before(command="/login")
        async with connect(server.port) as client:
            await client.send("/login", "=name=edged")
            assert await client.ended()
        server.faults.cut_after(command="/login")
        async with connect(server.port) as client:
            await client.send("/login", "=name=edged", "=password=correct horse")
            assert await client.ended()
        server.faults.hang(command="/login")
        async with connect(server.port) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT_S):
                    await client.login()
        assert server.router.counters.logins == 1


async def test_connections_can_be_taken_and_never_read() -> None:
    async with session() as (client, server):
        server.accept_silently = True
        async with connect(server.port) as other:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT_S):
                    await other.login()
        assert len(await client.rows("/ip/route/print")) == 5
        server.accept_silently = False
        async with connect(server.port) as other:
            assert await other.login() == [("!done",)]


async def test_a_reboot_cuts_stays_away_and_comes_back() -> None:
    async with session() as (client, server), asyncio.TaskGroup() as group:
        port = server.port
        rebooting = group.create_task(server.reboot(down_s=SHORT_S, version="7.20.8"))
        assert await client.ended()
        with pytest.raises(ConnectionRefusedError):
            async with connect(port):
                pass
        await rebooting
        async with connect(port) as again:
            await again.login()
            [row] = await again.rows("/system/resource/print", "=.proplist=version,uptime")
            assert row["version"] == "7.20.8 (stable)"
            assert row["uptime"] in {"0s", "1s"}


async def test_dropped_connections_can_come_back_at_once() -> None:
    async with session() as (client, server):
        server.drop_connections()
        assert await client.ended()
        async with connect(server.port) as again:
            assert await again.login() == [("!done",)]


def test_faults_are_counted_and_can_be_cleared() -> None:
    faults = Faults()
    faults.refuse("a", command="/ip/route", times=2)
    faults.refuse("b", times=None)
    order = [faults.take("/ip/route/set") for _ in range(3)]
    assert [one.text if one else None for one in order] == ["a", "a", "b"]
    assert faults.take("/log/print") is not None
    faults.clear()
    assert faults.take("/ip/route/set") is None


@pytest.mark.parametrize(("times", "seconds"), [(0, 0.0), (1, -1.0), (1, 4_000.0)])
def test_senseless_faults_are_refused(times: int, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"fault|delay"):
        Faults().add(Fault(kind=FaultKind.DELAY, times=times, seconds=seconds))
