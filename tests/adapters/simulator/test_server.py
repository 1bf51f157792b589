"""Sessions on a real socket: logins, tags, cancelling, queries, policies, TLS, limits."""

import asyncio
import hashlib
import ssl

import pytest

from edged.simulator import ApiServer, BgpState, SimulatedRouter, TlsMode, User
from edged.simulator.session import COMMANDS_IN_FLIGHT, LOGINS_PER_CONNECTION
from edged.simulator.tls import make_tls_context
from edged.simulator.wire import Sentence
from tests.adapters.simulator.client import (
    PASSWORD,
    Client,
    connect,
    row_of,
    rows_of,
    serving,
    session,
)

REFUSED = [("!trap", "=message=invalid user name or password (6)"), ("!done",)]


# Logging in.


async def test_the_new_login_opens_a_session() -> None:
    async with serving() as server, connect(server.port) as client:
        assert await client.login() == [("!done",)]
        [active] = await client.rows("/user/active/print")
        assert (active["name"], active["address"], active["via"]) == ("edged", "127.0.0.1", "api")
        assert server.router.counters.logins == 1


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_the_old_login_proves_the_password_without_sending_it(password: str) -> None:
    async with serving("6.42.12") as server, connect(server.port) as client:
        [done] = await client.talk("/login")
        challenge = bytes.fromhex(row_of(done)["ret"])
        digest = hashlib.md5(b"\0" + password.encode() + challenge, usedforsecurity=False)
        replies = await client.talk("/login", "=name=edged", f"=response=00{digest.hexdigest()}")
        expected = (
            [("!done",)]
            if password == PASSWORD
            else [("!trap", "=message=cannot log in"), ("!done",)]
        )
        assert replies == expected


async def test_an_old_router_answers_a_new_login_with_a_challenge() -> None:
    """A client that takes any `!done` for a login would go on without one."""
    async with serving("6.42") as server, connect(server.port) as client:
        [done] = await client.login()
        assert "ret" in row_of(done)
        assert await client.talk("/ip/route/print") == [("!fatal", "not logged in")]


@pytest.mark.parametrize(
    "user",
    [
        User(name="edged", password=PASSWORD, policies=frozenset({"read", "write"})),
        User(name="edged", password=PASSWORD, address="192.0.2.0/24,198.51.100.1/32"),
        User(name="edged", password="other"),
    ],
    ids=["no api policy", "wrong address", "wrong password"],
)
async def test_who_may_not_use_the_api_is_refused(user: User) -> None:
    async with serving() as server, connect(server.port) as client:
        server.router.users.replace([user])
        assert await client.login() == REFUSED
        assert server.router.counters.logins_refused == 1


async def test_a_refused_login_may_be_repeated_but_not_for_ever() -> None:
    async with serving() as server, connect(server.port) as client:
        for _ in range(LOGINS_PER_CONNECTION - 1):
            assert await client.login(password="wrong") == REFUSED
        assert await client.login() == [("!done",)]
    async with serving() as server, connect(server.port) as client:
        for _ in range(LOGINS_PER_CONNECTION):
            assert await client.login(password="wrong") == REFUSED
        assert (await client.login())[0][0] == "!fatal"


async def test_logins_and_logouts_are_in_the_routers_log() -> None:
    async with session() as (client, server):
        async with connect(server.port) as other:
            await other.login()
            await other.talk("/quit")
            assert await other.ended()
        await client.login(password="wrong")
        messages = [row["message"] for row in await client.rows("/log/print")]
        assert messages == [
            "user edged logged in from 127.0.0.1 via api",
            "user edged logged in from 127.0.0.1 via api",
            "user edged logged out via api",
            "login failure for user edged from 127.0.0.1 via api",
        ]


async def test_sentences_may_be_long_after_the_login() -> None:
    async with session() as (client, server):
        comment = "x" * 20_000
        replies = await client.talk("/ip/route/comment", "=.id=*1", f"=comment={comment}")
        assert replies == [("!done",)]
        assert server.router.vip_rows()[0]["comment"] == comment


async def test_a_login_that_is_too_long_ends_the_connection() -> None:
    async with serving() as server, connect(server.port) as client:
        await client.send("/login", "=name=" + "x" * 5_000)
        assert await client.ended()


# Tags.


async def test_a_tag_stands_on_every_reply() -> None:
    async with session() as (client, _):
        for words in (
            ("/ip/route/print",),
            ("/ip/route/remove", "=.id=*77"),
            ("/ip/rout/print",),
            ("/nonsense",),
        ):
            replies = await client.talk(*words, ".tag=a b")
            assert len(replies) >= 2
            assert all(one[1] == ".tag=a b" for one in replies)


async def test_tagged_commands_run_beside_each_other() -> None:
    async with session() as (client, server):
        server.faults.delay(0.03, command="/ip/route")
        await client.send("/ip/route/print", "=count-only=", ".tag=slow")
        replies = await client.talk("/system/identity/print", ".tag=quick")
        assert [one[1] for one in replies] == [".tag=quick"] * 2
        assert await client.read() == ("!done", ".tag=slow", "=ret=5")


async def test_untagged_commands_are_answered_in_order() -> None:
    async with session() as (client, server):
        server.faults.delay(0.02, command="/ip/route")
        await client.send("/ip/route/print", "=count-only=")
        await client.send("/system/identity/print")
        replies = [await client.read() for _ in range(3)]
        assert replies == [("!done", "=ret=5"), ("!re", "=name=MikroTik"), ("!done",)]


async def test_cancel_without_a_tag_ends_everything() -> None:
    async with session() as (client, _):
        await client.send("/tool/ping", "=address=10.0.0.1", ".tag=1")
        await client.talk("/system/identity/print", ".tag=sync")
        await client.send("/cancel", ".tag=9")
        replies = [await client.read() for _ in range(3)]
        assert replies == [
            ("!trap", ".tag=1", "=category=2", "=message=interrupted"),
            ("!done", ".tag=9"),
            ("!done", ".tag=1"),
        ]
        assert await client.talk("/cancel", "=tag=none such") == [("!done",)]


async def test_too_many_commands_at_once_end_the_session() -> None:
    async with session() as (client, server):
        server.faults.hang(times=None)
        for place in range(COMMANDS_IN_FLIGHT + 1):
            await client.send("/ip/route/print", f".tag={place}")
        assert await client.ended()
        assert server.router.counters.logins == 1


# Printing.


async def rows(client: Client, *words: str) -> list[str]:
    found = rows_of(await client.talk("/ip/route/print", "=.proplist=.id", *words))
    return [row[".id"] for row in found]


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ([], ["*1", "*40000001", "*30000001", "*30000002", "*30000003"]),
        (["?dst-address=172.30.1.7/32", "?static=true"], ["*1"]),
        (["?static=yes"], ["*1"]),
        (["?=comment=ECMP to Gateway VIP"], ["*1"]),
        (["?comment"], ["*1"]),
        (["?-comment", "?-bgp"], ["*40000001"]),
        (["?>distance=10"], ["*30000001", "*30000002", "*30000003"]),
        (["?<distance=10"], ["*40000001"]),
        (["?static=true", "?connect=true", "?#|"], ["*1", "*40000001"]),
        (["?bgp=yes", "?gateway=172.30.1.70", "?#&"], ["*30000002"]),
        (["?dynamic=true", "?#!"], ["*1"]),
        (["?bgp=yes", "?connect=yes", "?#|!"], ["*1"]),
        (["?bgp=yes", "?#.&"], ["*30000001", "*30000002", "*30000003"]),
        (["?static=true", "?bgp=yes", "?#1"], ["*1"]),
        (["?gateway=172.30.1.99"], []),
    ],
)
async def test_queries_choose_rows(queries: list[str], expected: list[str]) -> None:
    async with session() as (client, _):
        assert await rows(client, *queries) == expected


@pytest.mark.parametrize("query", ["?#&", "?#!", "?#7", "?#x"])
async def test_a_query_that_cannot_be_worked_out_is_refused(query: str) -> None:
    async with session() as (client, _):
        replies = await client.talk("/ip/route/print", query)
        assert replies[0][:2] == ("!trap", "=category=5")


async def test_print_counts_and_starts_from_ids() -> None:
    async with session() as (client, _):
        assert await client.talk("/ip/route/print", "=count-only=", "?bgp=yes") == [
            ("!done", "=ret=3")
        ]
        assert await rows(client, "=from=*30000002,*1") == ["*1", "*30000002"]
        assert await client.rows("/ip/route/getall", "=.proplist=gateway", "?connect=yes") == [
            {"gateway": "bridge"}
        ]


async def test_get_and_find_return_values() -> None:
    async with session() as (client, _):
        words = ("/ip/route/get", "=.id=*1", "=value-name=distance")
        assert await client.talk(*words) == [("!done", "=ret=10")]
        assert await client.talk("/system/identity/get", "=value-name=name") == [
            ("!done", "=ret=MikroTik")
        ]
        [done] = await client.talk("/ip/route/find")
        assert row_of(done)["ret"].split(";")[0] == "*1"


async def test_print_with_an_interval_repeats_until_cancelled() -> None:
    async with session() as (client, _):
        words = ("/system/identity/print", "=interval=200ms", ".tag=1")
        await client.send(*words)
        assert await client.read() == ("!re", ".tag=1", "=name=MikroTik")
        assert (await client.talk("/cancel", "=tag=1"))[-1] == ("!done",)
        assert await client.read() == ("!done", ".tag=1")
        replies = await client.talk("/system/identity/print", "=interval=199ms")
        assert "out of range" in row_of(replies[0])["message"]


async def test_follow_begins_with_the_table_and_goes_on_with_changes() -> None:
    async with session("7.23") as (client, server):
        await client.send(
            "/ip/route/print", "=follow=", "=.proplist=.id,disabled", "?static=true", ".tag=1"
        )
        first = [await client.read() for _ in range(3)]
        assert [row_of(one) for one in first] == [
            {".id": f"*8000000{place}"} for place in (1, 2, 3)
        ]
        await client.talk("/system/identity/print", ".tag=sync")
        server.router.edit("/ip/route/disable", {".id": "*80000002"})
        assert row_of(await client.read()) == {".id": "*80000002", "disabled": "true"}


async def test_bgp_sessions_can_be_listened_to() -> None:
    async with session("7.23") as (client, server):
        await client.send("/routing/bgp/session/listen", ".tag=1")
        await client.talk("/system/identity/print", ".tag=sync")
        server.router.set_bgp("node1", BgpState.CACHED)
        row = row_of(await client.read())
        assert row["name"] == "node1-1"
        assert "established" not in row
        server.router.set_bgp("node1", BgpState.ABSENT)
        assert row_of(await client.read()) == {".id": row[".id"], ".dead": "true"}


# Permissions.


@pytest.mark.parametrize(
    ("policies", "sentence", "permitted"),
    [
        ({"api", "read"}, ("/ip/route/print",), True),
        ({"api", "write"}, ("/ip/route/print",), False),
        ({"api", "read"}, ("/ip/route/set", "=.id=*1", "=distance=5"), False),
        ({"api", "write"}, ("/ip/route/set", "=.id=*1", "=distance=5"), True),
        ({"api", "read", "write"}, ("/tool/ping", "=address=172.30.1.20", "=count=1"), False),
        ({"api", "test"}, ("/tool/ping", "=address=172.30.1.20", "=count=1"), True),
        ({"api", "write"}, ("/user/remove", "=.id=*1"), False),
        ({"api", "write", "policy"}, ("/user/remove", "=.id=*1"), True),
    ],
)
async def test_each_command_needs_its_policy(
    *, policies: set[str], sentence: Sentence, permitted: bool
) -> None:
    async with serving() as server, connect(server.port) as client:
        server.router.users.replace(
            [User(name="some", password=PASSWORD, policies=frozenset(policies))]
        )
        await client.login("some")
        replies = await client.talk(*sentence)
        denied = ("!trap", "=message=not enough permissions (9)")
        assert (replies[0] != denied) is permitted
        assert replies[-1] == ("!done",)
        assert server.router.counters.traps == (0 if permitted else 1)


async def test_a_group_keeps_its_policies_until_they_are_taken_by_name() -> None:
    async with session(user="root") as (client, server):
        [group] = await client.rows("/user/group/print", "?name=edged")
        await client.talk("/user/group/set", f"=.id={group['.id']}", "=policy=read,reboot")
        assert {"api", "reboot", "write"} <= server.router.users.policies("edged")
        await client.talk("/user/group/set", "=.id=edged", "=policy=!write")
        assert "write" not in server.router.users.policies("edged")
        assert "api" in server.router.users.policies("edged")


async def test_passwords_and_keys_are_not_shown() -> None:
    async with session() as (client, server):
        assert all("password" not in row for row in await client.rows("/user/print"))
        server.router.edit("/routing/bgp/peer/set", {".id": "*0", "tcp-md5-key": "hush"})
        [row] = await client.rows("/routing/bgp/peer/print", "?name=node1")
        assert row["tcp-md5-key"] == "*****"


# Sessions and TLS.


async def test_sessions_are_limited() -> None:
    async with serving() as server:
        server.router.max_sessions = 2
        async with connect(server.port) as one, connect(server.port) as two:
            await one.login()
            await two.login()
            async with connect(server.port) as three:
                assert await three.ended()
            assert len(await two.rows("/user/active/print")) == 2


async def test_max_sessions_can_be_set_from_7_16_on() -> None:
    async with session("7.16") as (client, server):
        replies = await client.talk("/ip/service/set", "=.id=api", "=max-sessions=3")
        assert replies == [("!done",)]
        assert server.router.max_sessions == 3
        [row] = await client.rows("/ip/service/print", "?name=api")
        assert row["max-sessions"] == "3"


async def test_garbage_from_a_client_ends_its_session_alone() -> None:
    async with session() as (client, server), connect(server.port) as other:
        other.writer.write(b"\xff\xff\xff\xff")
        assert await other.ended()
        assert len(await client.rows("/ip/route/print")) == 5


def client_context(mode: TlsMode) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if mode is TlsMode.ANONYMOUS:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ADH:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("mode", [TlsMode.CERTIFICATE, TlsMode.ANONYMOUS])
async def test_the_api_speaks_tls(mode: TlsMode) -> None:
    server = ApiServer(SimulatedRouter(), users=[User(name="edged", password=PASSWORD)])
    await server.start()
    await server.start(tls=make_tls_context(mode))
    try:
        plain, secured = server.ports
        async with connect(secured, tls=client_context(mode)) as client:
            await client.login()
            cipher = client.writer.get_extra_info("cipher")
            assert cipher[0].startswith("ADH-") is (mode is TlsMode.ANONYMOUS)
            assert (await client.rows("/user/active/print"))[0]["via"] == "api-ssl"
        async with connect(plain) as client:
            assert await client.login() == [("!done",)]
    finally:
        await server.stop()


async def test_an_anonymous_listener_refuses_a_client_that_wants_a_certificate() -> None:
    server = ApiServer(SimulatedRouter())
    await server.start(tls=make_tls_context(TlsMode.ANONYMOUS))
    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connect(server.port, tls=client_context(TlsMode.CERTIFICATE)):
                pass
    finally:
        await server.stop()


async def test_stopping_ends_open_sessions_and_hanging_commands() -> None:
    async with serving() as server:
        server.faults.hang(command="/ip/route/print")
        async with connect(server.port) as client, connect(server.port) as silent:
            await client.login()
            await client.send("/ip/route/print")
            await client.send("/ip/route/listen", ".tag=1")
            async with asyncio.timeout(1):
                await server.stop()
            assert await client.ended()
            assert await silent.ended()
        assert server.session_count == 0


async def test_a_client_that_goes_away_takes_its_commands_along() -> None:
    async with serving() as server:
        server.faults.hang(command="/ip/route/print")
        async with connect(server.port) as client:
            await client.login()
            await client.send("/ip/route/print")
        async with asyncio.timeout(1):
            await server.no_sessions()
        assert server.router.rows("/user/active") == []


# Ping.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing =address="),
        (["=address=node1.example.test"], "resolve failed"),
        (["=address=172.30.1.20", "=interval=9ms"], "value of interval out of range (10ms..5s)"),
        (["=address=172.30.1.20", "=count=many"], "invalid value for argument count"),
    ],
)
async def test_ping_refuses_what_it_cannot_do(words: list[str], message: str) -> None:
    async with session("7.23") as (client, _):
        replies = await client.talk("/tool/ping", *words)
        assert row_of(replies[0])["message"] == message


@pytest.mark.parametrize("version", ["6.49.10", "7.23"])
async def test_ping_answers_probe_by_probe(version: str) -> None:
    """An answer comes at its round trip, a lost probe is told after the interval."""
    heard = iter([0.0004, None, 0.0006])
    async with session(version) as (client, server):
        server.router.ping_answer = lambda _address: next(heard)
        rows = await client.rows("/tool/ping", "=address=172.30.1.20", "=count=3", "=interval=10ms")
        assert [row.get("status") for row in rows] == [None, "timeout", None]
        assert [row["packet-loss"] for row in rows] == ["0", "50", "33"]
        average = "0ms" if server.router.is_v6 else "500us"
        assert [row["avg-rtt"] for row in rows][-1] == average


async def test_unreachable_and_unknown_addresses_do_not_answer() -> None:
    async with session() as (client, server):
        server.router.set_reachable("172.30.1.20", reachable=False)
        server.router.set_ping("192.0.2.1", answers=True, rtt_s=0.001)
        for address, answers in (("172.30.1.20", 0), ("172.30.1.70", 1), ("192.0.2.1", 1)):
            rows = await client.rows(
                "/tool/ping", f"=address={address}", "=count=1", "=interval=10ms"
            )
            assert rows[0]["received"] == str(answers)
