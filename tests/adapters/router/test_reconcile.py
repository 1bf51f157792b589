"""The loop of one router against the simulator, in both dialects."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from edged.core.errors import RouterLoginRefused, RouterUnreachable
from edged.core.types import (
    CreateRow,
    PlannedStep,
    Refusal,
    RouteRead,
    RouterFacts,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    StepOutcome,
    StepResult,
    VipConfig,
)
from edged.router.link import RouterTiming
from edged.router.reconcile import JOBS_MAX
from edged.router.session import RouterTarget, TlsMode, certificate_fingerprint
from edged.simulator import ApiServer, Network, SimulatedRouter, User
from edged.simulator import server as simulator
from tests.support.router_rig import (
    ALL,
    COMMENT,
    HASTY,
    NODES,
    NODES_V6,
    QUICK,
    WEB,
    PlanningSink,
    Rig,
    client_of,
    members,
    rig,
    until,
)
from tests.support.scripted_router import RESOURCE_V7, Connection, hang, scripted_router
from tests.support.sessions import PASSWORD, target

VERSIONS = ["6.49.10", "7.4", "7.16", "7.18", "7.24"]
every_version = pytest.mark.parametrize("version", VERSIONS)
both_dialects = pytest.mark.parametrize("version", ["6.49.10", "7.20.8"])
ROUTE_SET = "/ip/route/set"
ROUTE_PRINT = "/ip/route/print"


# --- reading ---


@every_version
async def test_a_client_finds_out_the_dialect_and_reads_the_rows(version: str) -> None:
    async with rig(version) as run:
        (facts,) = run.sink.of(RouterFacts)
        assert isinstance(facts, RouterFacts)
        assert (facts.version, facts.major) == (version, int(version[0]))
        assert 86_400_000 <= facts.uptime_ms < 86_500_000
        assert facts.rtt_us > 0
        read = run.sink.reads["web"]
        static = [row for row in read.rows if not row.bgp]
        assert read.shape is (RouteShape.LIST if facts.major == 6 else RouteShape.ROWS)
        assert [hop for row in static for hop in row.next_hops] == list(NODES.values())
        assert {row.comment for row in static} == {COMMENT}
        assert {row.distance for row in static} == {10}
        learned = [row for row in read.rows if row.bgp]
        assert {row.distance for row in learned} == {20}
        assert len(learned) == 3
        assert run.client.status().connected
        assert run.client.status().version == version


@every_version
async def test_what_the_router_cannot_reach_is_named(version: str) -> None:
    async with rig(version) as run:
        run.router.set_reachable("172.30.1.70", reachable=False)
        read = await run.client.read_now("web", deadline_ms=500)
        unreachable = [hop for row in read.rows if not row.bgp for hop in row.unreachable]
        assert unreachable == ["172.30.1.70"]


async def test_rows_are_read_at_the_interval_and_facts_before_them() -> None:
    async with rig(timing=replace(QUICK, reconcile_interval_ms=10)) as run:
        await until(lambda: len(run.sink.of(RouteRead)) >= 4)
        kinds = [type(one) for one in run.sink.said if not isinstance(one, tuple)]
        assert kinds[:6] == [RouterFacts, RouteRead] * 3
        assert not run.written


async def test_a_silent_session_is_kept_alive() -> None:
    async with rig(timing=replace(QUICK, keep_alive_ms=10)) as run:
        await until(lambda: len(run.sink.of(RouterFacts)) >= 3)
        assert len(run.sink.of(RouteRead)) == 1


async def test_reads_back_off_while_the_router_is_busy() -> None:
    timing = replace(QUICK, reconcile_interval_ms=10, keep_alive_ms=1_000)
    async with rig(timing=timing) as run:
        run.router.cpu_load = 95
        await until(lambda: run.client.status().reads_backed_off)
        before = len(run.sink.of(RouteRead))
        await asyncio.sleep(0.03)
        assert len(run.sink.of(RouteRead)) - before <= 1
        run.router.cpu_load = 5
        await until(lambda: not run.client.status().reads_backed_off)


async def test_a_slow_answer_backs_reads_off() -> None:
    async with rig() as run:
        run.server.faults.delay(0.12, command=ROUTE_PRINT)
        await run.client.read_now("web", deadline_ms=500)
        assert run.client.status().reads_backed_off
        await run.client.answer_once(deadline_ms=500)
        assert not run.client.status().reads_backed_off


async def test_a_wake_up_can_ask_for_a_read() -> None:
    async with rig() as run:
        run.client.wake()
        await asyncio.sleep(0.005)
        assert len(run.sink.of(RouteRead)) == 1
        run.client.wake(read=True)
        await until(lambda: len(run.sink.of(RouteRead)) == 2)


# --- writing ---


@every_version
async def test_a_decision_is_written_once_and_read_back(version: str) -> None:
    async with rig(version) as run:
        await run.want("node1", "node3")
        assert len(run.written) == 1
        (result,) = run.sink.results
        assert result.outcome is StepOutcome.DONE
        read = run.sink.said[-1]
        assert isinstance(read, RouteRead)
        assert read.sent_ms >= result.finished_ms - 1
        for _ in range(5):
            run.client.wake()
            await asyncio.sleep(0.001)
        assert len(run.written) == 1, "no write without a difference"


@every_version
async def test_growing_comes_before_shrinking_with_a_read_in_between(version: str) -> None:
    async with rig(version) as run:
        await run.want("node1", "node2")
        run.sink.said.clear()
        await run.want("node1", "node3")
        sizes = [len(enabled_after(run, n)) for n in range(1, len(run.written))]
        assert sizes == ([2] if version.startswith("6") else [3, 2])
        kinds = [type(one) for one in run.sink.said]
        assert kinds == [StepResult, RouteRead] * len(sizes)


def enabled_after(run: Rig, number: int) -> set[str]:
    """Walk the write log back to behind one record: which next hops were enabled then?"""
    rows = {row[".id"]: row for row in run.router.vip_rows()}
    for record in reversed(run.written[number + 1 :]):
        rows |= {row[".id"]: row for row in record.before}
    enabled = [row for row in rows.values() if row.get("disabled") != "true"]
    return {hop for row in enabled for hop in row["gateway"].split(",")}


async def test_no_read_stands_between_a_wake_up_and_the_write() -> None:
    async with rig() as run:
        took: list[float] = []
        sentences: list[int] = []
        run.router.subscribe(lambda *_: sentences.append(run.router.counters.sentences))
        for wanted in (ALL[:2], ALL) * 10:
            sentences.clear()
            before = run.router.counters.sentences
            woken = run.router.clock()
            await run.want(*wanted)
            took.append(run.written[-1].at_s - woken)
            assert sentences[0] == before + 1
        assert sorted(took)[5] < 0.002


async def test_a_plan_that_went_stale_during_a_read_is_not_written() -> None:
    async with rig() as run:
        run.server.faults.delay(0.02, command=ROUTE_PRINT)
        run.client.wake(read=True)
        await asyncio.sleep(0.005)
        for wanted in (("node1",), ("node2",), ("node1", "node2")):
            run.sink.wanted["web"] = wanted
            run.client.wake()
            await asyncio.sleep(0.001)
        await until(lambda: members(run.router) == ["node1", "node2"])
        assert len(run.written) == 1


@both_dialects
async def test_comments_in_korean_stay_byte_for_byte(version: str) -> None:
    in_cp949 = "게이트웨이".encode("cp949").decode("utf-8", "surrogateescape")
    comment = f"{in_cp949} 쿠버네티스 edged:web"
    async with rig(version, network=Network(comment=comment)) as run:
        await run.want("node1")
        assert {row["comment"] for row in run.router.vip_rows()} == {comment}
        assert {row.comment for row in run.sink.reads["web"].rows if not row.bgp} == {comment}


@both_dialects
async def test_foreign_rows_are_never_touched(version: str) -> None:
    async with rig(version) as run:
        strangers = [
            run.router.add_route(words)
            for words in (
                {"dst-address": "172.30.1.7/32", "gateway": "172.30.1.20", "distance": "30"},
                {"dst-address": "172.30.1.7/32", "gateway": "172.30.1.70", "distance": "10",
                 "comment": "not edged:webmail"},
                {"dst-address": "0.0.0.0/0", "gateway": "172.30.1.1", "comment": "edged:web"},
            )
        ]  # fmt: skip
        before = {row[".id"]: row for row in run.router.rows("/ip/route")}
        await run.client.read_now("web", deadline_ms=500)
        for wanted in (("node1",), ALL, ("node2", "node3"), ("node3",)):
            run.sink.wanted["web"] = wanted
            run.client.wake()
            await until(lambda: run.sink._step("web", run.sink.wanted["web"]) is None)
        assert len(run.written) >= 4
        touched = {row[".id"] for record in run.written for row in record.before}
        assert touched.isdisjoint(strangers)
        after = {row[".id"]: row for row in run.router.rows("/ip/route")}
        assert all(settled(after[one]) == settled(before[one]) for one in strangers)


def settled(row: dict[str, str]) -> dict[str, str]:
    """Leave out what the router computes: flags follow other rows."""
    return {word: row[word] for word in ("gateway", "distance", "disabled") if word in row} | {
        "comment": row.get("comment", "")
    }


@both_dialects
async def test_a_step_that_names_a_foreign_row_never_leaves(version: str) -> None:
    """The core would have to be wrong for this; P7 holds even then."""
    async with rig(version, network=Network(comment="somebody else's")) as run:
        row = next(row for row in run.sink.reads["web"].rows if not row.bgp)
        wrong = PlannedStep(
            router="hex",
            vip="web",
            step=SetDisabled(row_ids=(row.row_id,), next_hops=row.next_hops, disabled=True),
        )
        sent = run.router.counters.sentences
        steps = iter([wrong])
        run.sink.override = lambda ready: next(steps, None) if ready else None
        run.client.wake()
        await until(lambda: run.sink.results)
        assert run.sink.results[0].outcome is StepOutcome.REFUSED
        assert "mark" in run.sink.results[0].message
        await until(lambda: run.router.counters.sentences == sent + 1)  # the read that follows
        assert not run.written


async def test_a_step_of_the_other_dialect_never_leaves() -> None:
    async with rig("7.20.8") as run:
        row = next(row for row in run.sink.reads["web"].rows if not row.bgp)
        wrong = SetNextHops(row_id=row.row_id, before=row.next_hops, after=("172.30.1.70",))
        steps = iter([step_of(wrong)])
        run.sink.override = lambda ready: next(steps, None) if ready else None
        run.client.wake()
        await until(lambda: run.sink.results)
        assert run.sink.results[0].outcome is StepOutcome.REFUSED
        assert "no list" in run.sink.results[0].message
        assert not run.written


# --- refusals: the session stays ---


@both_dialects
async def test_a_missing_policy_is_a_refusal_and_the_rows_are_read_again(version: str) -> None:
    reader = User(name="edged", password=PASSWORD, policies=frozenset({"read", "api"}))
    async with rig(version, user=reader) as run:
        wanted = run.sink.wanted
        run.sink.override = once(run, ("node1",))
        run.client.wake()
        await until(lambda: len(run.sink.of(RouteRead)) == 2)
        (result,) = run.sink.results
        assert result.refusal is Refusal.PERMISSION
        assert "not enough permissions" in result.message
        assert run.router.counters.logins == 1
        assert not wanted
        assert not run.written


def once(run: Rig, nodes: tuple[str, ...]) -> Callable[[frozenset[str]], PlannedStep | None]:
    """Want a set for one question only, as a core that waits after a refusal does."""
    plans = iter([nodes])

    def answer(ready: frozenset[str]) -> PlannedStep | None:
        wanted = next(plans, None) if "web" in ready else None
        return run.sink._step("web", wanted) if wanted else None

    return answer


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("unknown parameter gateway", Refusal.UNKNOWN_PARAMETER),
        ("no such item", Refusal.NO_SUCH_ITEM),
        ("failure: something new", Refusal.OTHER),
    ],
)
async def test_a_refusal_says_what_kind_it_is(text: str, refusal: Refusal) -> None:
    async with rig() as run:
        run.server.faults.refuse(text, command=ROUTE_SET)
        await run.want("node1")  # the sink plans again at once, and then it works
        first, second = run.sink.results
        assert (first.outcome, first.refusal) == (StepOutcome.REFUSED, refusal)
        assert second.outcome is StepOutcome.DONE
        between = run.sink.said[run.sink.said.index(first) + 1]
        assert isinstance(between, RouteRead)
        assert run.router.counters.logins == 1


# --- doubt: the connection goes, a read comes first ---


@both_dialects
@pytest.mark.parametrize(
    "fault",
    ["cut_before", "cut_after", "cut_mid_reply", "hang", "hang_applied", "garbage", "flood"],
)
async def test_after_an_uncertain_step_a_read_comes_first_and_the_end_is_right(
    version: str, fault: str
) -> None:
    timing = HASTY if fault.startswith("hang") else QUICK
    async with rig(version, timing=timing) as run:
        if fault == "hang_applied":
            run.server.faults.hang(command=ROUTE_SET, applied=True)
        else:
            getattr(run.server.faults, fault)(command=ROUTE_SET)
        await run.want("node1", "node2")
        first = run.sink.results[0]
        assert first.outcome is StepOutcome.UNCERTAIN
        told = [_kind(one) for one in run.sink.said[run.sink.said.index(first) + 1 :]]
        assert told[:4] == ["lost", "RouterFacts", "up", "RouteRead"]
        applied = fault in {"cut_after", "cut_mid_reply", "hang_applied"}
        assert len(run.sink.results) == (1 if applied else 2)
        assert len(run.written) == 1
        assert run.router.counters.logins == 2


def _kind(one: object) -> str:
    return one[0] if isinstance(one, tuple) else type(one).__name__


@pytest.mark.parametrize("fault", ["cut_before", "cut_mid_reply", "hang", "garbage", "flood"])
async def test_a_read_that_fails_costs_a_connection_and_nothing_else(fault: str) -> None:
    async with rig(timing=HASTY if fault == "hang" else QUICK) as run:
        getattr(run.server.faults, fault)(command=ROUTE_PRINT)
        run.client.wake(read=True)
        await until(lambda: len(run.sink.words("up")) == 2)
        await until(lambda: len(run.sink.of(RouteRead)) == 2)
        assert len(run.sink.words("lost")) == 1
        await run.want("node2")


async def test_a_time_out_doubles_the_deadline_and_shows_it() -> None:
    async with rig(timing=HASTY) as run:
        run.server.faults.hang(command=ROUTE_PRINT)
        run.client.wake(read=True)
        await until(lambda: run.client.status().command_deadline_ms == 80)
        await until(lambda: run.client.status().command_deadline_ms == 40)


async def test_a_loss_is_told_once_until_its_reason_changes() -> None:
    async with rig() as run:
        run.server._close_listeners()
        run.server.drop_connections()
        await until(lambda: run.sink.words("lost"))
        await asyncio.sleep(0.04)
        assert len(run.sink.words("lost")) <= 2, "the cut, and the closed port"
        assert not run.client.status().connected
        assert run.client.status().detail


async def test_an_idle_connection_that_ends_is_replaced_at_once() -> None:
    async with rig() as run:
        run.server.drop_connections()
        await until(lambda: len(run.sink.words("up")) == 2, within_s=0.5)


async def test_a_port_that_takes_connections_and_never_answers_is_given_up() -> None:
    timing = replace(QUICK, open_deadline_ms=20)
    async with rig(timing=timing) as run:
        run.server.accept_silently = True
        run.server.drop_connections()
        await until(lambda: len(run.sink.words("lost")) >= 2)
        run.server.accept_silently = False
        await until(lambda: len(run.sink.words("up")) == 2)


async def test_a_wanted_write_hurries_the_reconnect() -> None:
    slow = replace(QUICK, retry_ms=60_000, retry_ms_max=60_000, retry_ms_while_wanted=10)
    async with rig(timing=slow) as run:
        run.server.drop_connections()
        await until(lambda: run.sink.words("lost"))
        await asyncio.sleep(0.03)
        assert len(run.sink.words("up")) == 1, "nobody is in a hurry"
        await run.want("node1")


@both_dialects
async def test_a_reboot_with_new_row_ids_is_read_before_anything_is_written(version: str) -> None:
    async with rig(version) as run:
        ids = {row.row_id for row in run.sink.reads["web"].rows if not row.bgp}
        run.sink.wanted["web"] = ("node1", "node2")
        run.server.faults.cut_before(command=ROUTE_SET)
        await run.server.reboot(down_s=0.02)
        await until(lambda: members(run.router) == ["node1", "node2"])
        uptimes = [one.uptime_ms for one in run.sink.said if isinstance(one, RouterFacts)]
        assert min(uptimes) < 5_000
        assert uptimes[0] >= 86_400_000
        after = {row.row_id for row in run.sink.reads["web"].rows if not row.bgp}
        assert ids.isdisjoint(after)


@both_dialects
async def test_rows_of_an_earlier_connection_are_not_written_to(version: str) -> None:
    async with rig(version) as run:
        run.sink.said.clear()
        run.sink.wanted["web"] = ("node1", "node2")  # nobody wakes the loop: the cut does
        await run.server.reboot()
        await until(lambda: members(run.router) == ["node1", "node2"])
        await run.settled()
        told = [_kind(one) for one in run.sink.said]
        assert told[told.index("up") :] == ["up", "RouteRead", "StepResult", "RouteRead"]


async def test_a_router_that_comes_back_as_7_is_spoken_to_as_7() -> None:
    async with rig("6.49.10") as run:
        await run.server.reboot(version="7.20.8")
        await until(lambda: run.sink.reads["web"].shape is RouteShape.ROWS)
        majors = [one.major for one in run.sink.said if isinstance(one, RouterFacts)]
        assert (majors[0], majors[-1]) == (6, 7)
        await run.want("node1")


# --- credentials and TLS ---


async def test_refused_credentials_are_said_and_the_secret_is_read_anew() -> None:
    secrets = ["wrong", "wrong", PASSWORD]
    async with rig(password=lambda: secrets.pop(0) if len(secrets) > 1 else secrets[0]) as run:
        refused = run.sink.words("login refused")
        assert len(refused) == 1
        assert "invalid user name or password" in refused[0][2]
        assert run.router.counters.logins_refused == 2


@pytest.mark.parametrize("version", ["6.42.12", "6.43"])
async def test_both_ways_to_log_in_are_known(version: str) -> None:
    async with rig(version):
        pass


async def test_a_pinned_router_is_spoken_to_and_another_one_is_not() -> None:
    context = simulator.make_tls_context(simulator.TlsMode.CERTIFICATE)
    pem = simulator.data_path("demo-cert.pem").read_text()
    pem = pem[pem.index("-----BEGIN CERTIFICATE") :]
    pin = certificate_fingerprint(ssl.PEM_cert_to_DER_cert(pem))

    def pinned(port: int) -> RouterTarget:
        return target(port, tls=TlsMode.PIN, fingerprint=pin)

    def other(port: int) -> RouterTarget:
        return target(port, tls=TlsMode.PIN, fingerprint="sha256:" + "1" * 64)

    router = SimulatedRouter(network=Network(comment=COMMENT))
    server = ApiServer(router, users=[User(name="edged", password=PASSWORD)])
    await server.start(tls=context)
    async with server:
        async with client_of(server, connect_to=pinned) as run:
            await until(lambda: run.sink.reads)
            await run.want("node1")
        async with client_of(server, connect_to=other) as run:
            await until(lambda: run.sink.words("login refused"))
        assert router.counters.logins == 1


# --- several VIPs, several routers ---

V6_VIP = VipConfig(name="web6", destination="2001:db8::7/128", routers=("hex",), checks=())


def two_vips() -> PlanningSink:
    return PlanningSink(vips={"web6": V6_VIP, "web": WEB}, nodes={"web6": NODES_V6})


def add_ipv6_route(run: Rig) -> None:
    for address in NODES_V6.values():
        words = {"dst-address": "2001:db8::7/128", "gateway": address, "distance": "10"}
        run.router.edit("/ipv6/route/add", {**words, "comment": "edged:web6"}, user="admin")


async def test_an_ipv6_vip_is_kept_in_its_own_menu() -> None:
    async with rig("7.20.8", sink=two_vips()) as run:
        add_ipv6_route(run)
        await run.client.read_now("web6", deadline_ms=500)
        run.sink.wanted["web6"] = ("node1",)
        run.client.wake()
        await until(lambda: run.written)
        assert run.written[0].sentence[0] == "/ipv6/route/set"
        await until(lambda: len(run.sink.of(RouteRead)) >= 4)
        enabled = [row.next_hops for row in run.sink.reads["web6"].rows if not row.disabled]
        assert enabled == [("2001:db8::20",)]


async def test_a_vip_that_6_cannot_serve_is_refused_and_the_others_go_on() -> None:
    async with rig("6.49.10", sink=two_vips(), connected=False) as run:
        await until(lambda: "web" in run.sink.reads)
        (refused,) = run.sink.words("read refused")
        assert refused[2] == "web6"
        assert "IPv6" in refused[3]
        await run.want("node1")
        with pytest.raises(RouterUnreachable, match="IPv6"):
            await run.client.perform(
                PlannedStep(
                    router="hex", vip="web6", step=SetComment(row_id="*1", before="", after="x")
                ),
                deadline_ms=500,
            )


@pytest.mark.parametrize("fault", ["refuse", "hang", "garbage"])
async def test_a_vip_whose_rows_cannot_be_read_does_not_block_the_others(fault: str) -> None:
    timing = HASTY if fault == "hang" else QUICK
    async with rig("7.20.8", sink=two_vips(), timing=timing) as run:
        arguments = ("not enough permissions (9)",) if fault == "refuse" else ()
        getattr(run.server.faults, fault)(*arguments, command="/ipv6/route", times=None)
        run.client.wake(read=True)
        await run.want("node1")
        await run.want("node1", "node2")
        assert len(run.written) == 2


async def test_a_vip_that_costs_us_the_connection_is_read_last_and_then_later() -> None:
    sink = two_vips()
    sink.write_wanted = lambda _: True  # type: ignore[method-assign]  # hurry the reconnects
    slow = replace(HASTY, retry_ms=500, retry_ms_while_wanted=5)
    async with rig("7.20.8", sink=sink, timing=slow) as run:
        run.server.faults.hang(command="/ipv6/route", times=None)
        run.client.wake(read=True)
        await until(lambda: len(sink.words("lost")) == 2)
        first, second = (n for n, one in enumerate(sink.said) if _kind(one) == "lost")
        between = [one.vip for one in sink.said[first:second] if isinstance(one, RouteRead)]
        assert between == ["web"]
        await until(lambda: len(sink.words("up")) == 3)
        for wanted in (("node1",), ALL, ("node2",)):
            await run.want(*wanted)
            await asyncio.sleep(0.03)
        assert len(sink.words("lost")) == 2, "it steps back for the others"


async def test_a_hung_router_does_not_stall_another() -> None:
    async with (
        scripted_router(hang) as hung,
        rig() as run,
        client_of(run.server, connect_to=lambda _: target(hung.port)),
    ):
        for wanted in (("node1",), ALL, ("node2",)):
            await run.want(*wanted)


async def test_new_vips_are_read_before_they_are_written() -> None:
    async with rig(sink=PlanningSink(vips={})) as run:
        run.sink.vips = {"web": WEB}
        run.client.reconfigure([WEB])
        await until(lambda: "web" in run.sink.reads)
        await run.want("node1")
        run.client.reconfigure([])
        run.sink.wanted["web"] = ALL
        run.client.wake()
        await asyncio.sleep(0.01)
        assert members(run.router) == ["node1"]


# --- people's requests ---


def step_of(step: SetComment | CreateRow | SetDisabled | SetNextHops) -> PlannedStep:
    return PlannedStep(router="hex", vip="web", step=step)


@both_dialects
async def test_adoption_marks_the_row_and_returns_what_it_looks_like(version: str) -> None:
    async with rig(version, network=Network(comment="ECMP to Gateway VIP")) as run:
        row = next(row for row in run.sink.reads["web"].rows if not row.bgp)
        step = SetComment(row_id=row.row_id, before=row.comment, after=f"{row.comment} edged:web")
        done = await run.client.perform(step_of(step), deadline_ms=500)
        assert done.result.outcome is StepOutcome.DONE
        assert done.read is not None
        marked = [one.row_id for one in done.read.rows if "edged:web" in one.comment]
        assert marked == [row.row_id]
        assert len(run.written) == 1
        again = await run.client.perform(step_of(step), deadline_ms=500)
        assert again.result.outcome is StepOutcome.REFUSED
        assert "changed" in again.result.message
        assert len(run.written) == 1


@both_dialects
async def test_a_persons_step_is_held_against_rows_read_just_before_it(version: str) -> None:
    async with rig(version) as run:
        row = next(row for row in run.sink.reads["web"].rows if not row.bgp)
        changed = {".id": row.row_id, "comment": "changed by hand"}
        run.router.edit("/ip/route/set", changed, user="admin")
        step = SetComment(row_id=row.row_id, before=row.comment, after="edged:web")
        done = await run.client.perform(step_of(step), deadline_ms=500)
        assert done.result.outcome is StepOutcome.REFUSED
        assert not run.written


async def test_a_persons_request_hurries_the_reconnect() -> None:
    slow = replace(QUICK, retry_ms=60_000, retry_ms_max=60_000, retry_ms_while_wanted=10)
    async with rig(timing=slow) as run:
        run.server.drop_connections()
        await until(lambda: run.sink.words("lost"))
        await run.client.read_now("web", deadline_ms=500)


async def test_rows_that_make_no_sense_end_the_connection_also_behind_a_persons_step() -> None:
    prints = iter(["*1", "*1", ""])

    async def script(connection: Connection) -> None:
        await connection.hear_login()
        while True:
            words = await connection.hear()
            if words[0] == "/system/resource/print":
                connection.say("!re", *RESOURCE_V7, to=words)
            elif words[0] == ROUTE_PRINT:
                number = next(prints, "*1")
                connection.say("!re", f"=.id={number}", "=static=true", "=comment=a", to=words)
            connection.say("!done", to=words)

    sink = PlanningSink()
    async with (
        scripted_router(script) as odd,
        rig(connected=False) as run,
        client_of(run.server, sink=sink, connect_to=lambda _: target(odd.port)) as other,
    ):
        await until(lambda: sink.reads)
        step = SetComment(row_id="*1", before="a", after="a edged:web")
        done = await other.client.perform(step_of(step), deadline_ms=500)
        assert done.result.outcome is StepOutcome.DONE
        assert done.read is None
        await until(lambda: len(sink.words("up")) == 2)


@both_dialects
async def test_a_route_is_created_and_not_twice(version: str) -> None:
    async with rig(version, network=Network(with_route=False)) as run:
        hops = tuple(NODES.values()) if version.startswith("6") else ("172.30.1.20",)
        step = CreateRow(next_hops=hops, comment="쿠버 edged:web", disabled=False)
        done = await run.client.perform(step_of(step), deadline_ms=500)
        assert done.result.outcome is StepOutcome.DONE
        assert run.router.vip_next_hops() == list(hops)
        assert {row["comment"] for row in run.router.vip_rows()} == {"쿠버 edged:web"}
        again = await run.client.perform(step_of(step), deadline_ms=500)
        assert again.result.outcome is StepOutcome.REFUSED
        assert len(run.written) == 1


async def test_a_persons_step_that_is_uncertain_says_so_and_the_loop_goes_on() -> None:
    async with rig() as run:
        run.server.faults.cut_after(command=ROUTE_SET)
        row = next(row for row in run.sink.reads["web"].rows if not row.bgp)
        step = SetComment(row_id=row.row_id, before=row.comment, after="edged:web")
        done = await run.client.perform(step_of(step), deadline_ms=500)
        assert done.result.outcome is StepOutcome.UNCERTAIN
        assert done.read is None
        await run.want("node1")


async def test_a_request_for_a_vip_that_is_not_kept_here_harms_nobody() -> None:
    async with rig() as run:
        with pytest.raises(RouterUnreachable, match="not kept"):
            await run.client.read_now("mail", deadline_ms=500)
        step = SetComment(row_id="*1", before="", after="x")
        with pytest.raises(RouterUnreachable, match="not kept"):
            await run.client.perform(
                PlannedStep(router="hex", vip="mail", step=step), deadline_ms=500
            )
        await run.client.read_now("web", deadline_ms=500)


async def test_a_question_is_a_witness_of_our_own_line() -> None:
    async with rig(timing=HASTY) as run:
        sent_ms, answered_ms = await run.client.answer_once(deadline_ms=500)
        assert sent_ms <= answered_ms
        run.server.faults.hang(command="/system/resource")
        with pytest.raises(Exception, match="no answer in time"):
            await run.client.answer_once(deadline_ms=500)
        await run.client.answer_once(deadline_ms=500)


async def test_a_request_to_a_router_that_is_away_ends_at_its_deadline() -> None:
    async with rig(password=lambda: "wrong", connected=False) as run:
        await until(lambda: run.sink.words("login refused"))
        with pytest.raises(RouterUnreachable, match="invalid user name"):
            await run.client.read_now("web", deadline_ms=30)


async def test_waiting_requests_are_bounded_and_end_with_the_loop() -> None:
    async with rig(password=lambda: "wrong", connected=False) as run:
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(_refused(run.client.read_now("web", deadline_ms=5_000)))
                for _ in range(JOBS_MAX)
            ]
            await asyncio.sleep(0)
            with pytest.raises(RouterUnreachable, match="too many"):
                await run.client.read_now("web", deadline_ms=5_000)
            run.client.stop()
        assert {task.result() for task in waiting} == {"hex: edged is stopping"}


async def _refused(request: object) -> str:
    with pytest.raises(RouterUnreachable) as caught:
        await request  # type: ignore[misc]  # a coroutine of any result
    return str(caught.value)


# --- ends ---


async def test_a_stop_finishes_the_step_in_flight() -> None:
    async with rig() as run:
        run.server.faults.delay(0.02, command=ROUTE_SET)
        run.sink.wanted["web"] = ("node1",)
        run.client.wake()
        await asyncio.sleep(0.01)
        run.client.stop()
        assert run.task is not None
        await run.task
        assert [result.outcome for result in run.sink.results] == [StepOutcome.DONE]
        assert members(run.router) == ["node1"]


async def test_a_cancelled_loop_drops_its_connection_and_passes_the_cancellation_on() -> None:
    async with rig() as run:
        run.server.faults.hang(command=ROUTE_SET)
        run.sink.wanted["web"] = ("node1",)
        run.client.wake()
        await asyncio.sleep(0.01)
        assert run.task is not None
        run.task.cancel()
        await until(lambda: run.task is not None and run.task.done())
        assert run.task.cancelled()
        await until(lambda: run.server.session_count == 0)


async def test_two_sessions_are_held_open_and_no_more() -> None:
    timing = replace(QUICK, reconcile_interval_ms=10, keep_alive_ms=10, bgp_interval_ms=10)
    async with rig(companion=True, timing=timing) as run:
        await until(lambda: run.client.companion.connected)
        for wanted in (("node1",), ALL):
            await run.want(*wanted)
            await asyncio.sleep(0.02)
        assert run.server.session_count == 2
        assert run.router.counters.logins == 2


def test_the_usual_times_are_the_documented_ones() -> None:
    timing = RouterTiming()
    assert (timing.reconcile_interval_ms, timing.keep_alive_ms) == (10_000, 5_000)
    assert (timing.command_deadline_ms, timing.open_deadline_ms) == (1_000, 5_000)
    assert issubclass(RouterLoginRefused, RouterUnreachable)
