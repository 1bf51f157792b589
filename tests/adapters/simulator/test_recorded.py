"""Recorded replies, reproduced: the simulator's rows have the words of the real ones.

Every recording is either reproduced by a test here, or listed with the reason why not.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from edged.simulator import BgpState, Network, SimulatedRouter, User
from edged.simulator.ping import run_ping
from edged.simulator.replies import Row
from tests.adapters.simulator.client import (
    Client,
    connect,
    recorded,
    row_of,
    rows_of,
    schema,
    serving,
    session,
)

REPLIES = recorded()
WORDS = schema()["_reply_words"]

REPRODUCED: set[int] = set()


def reply(command: str, version: str, form: str = "api", nth: int = 0) -> dict[str, Any]:
    """Find one recording, and count it as reproduced."""
    found = [
        place
        for place, one in enumerate(REPLIES)
        if (one["command"], one["routeros_version"], one["form"]) == (command, version, form)
    ]
    REPRODUCED.add(found[nth])
    found_reply: dict[str, Any] = REPLIES[found[nth]]
    return found_reply


def keys(row: dict[str, str]) -> set[str]:
    return {name for name in row if not name.startswith("_")}


# Parametrized tests look their recording up while they are collected, so that the last test of
# this file, which asks for what is missing, does not depend on which tests were chosen.


RESOURCES = [
    ("7.4", reply("/system/resource/print", "7.4")),
    ("6.48.6", reply("/system/resource/print", "6.48.6", "cli-settings")),
    ("6.48.7", reply("/system/resource/print", "6.48.7", "cli-settings")),
    ("7.12.2", reply("/system/resource/print", "7.12.2", "cli-settings", 0)),
    ("7.12.2", reply("/system/resource/print", "7.12.2", "cli-settings", 1)),
    ("7.24rc2", reply("/system/resource/print", "7.24rc2", "cli-settings")),
]


@pytest.mark.parametrize(("version", "recording"), RESOURCES)
def test_resource_has_the_recorded_words(version: str, recording: dict[str, Any]) -> None:
    """Boards differ in three words; the version's own spelling is as recorded."""
    optional = {"cpu-frequency", "bad-blocks", "factory-software"}
    [row] = SimulatedRouter(version=version).rows("/system/resource")
    assert keys(row) - optional == keys(recording["rows"][0]) - optional
    assert row["version"].partition(" ")[0] == version
    assert row["version"].endswith("(stable)") is (version != "7.24rc2")


V6_PING = reply("/ping", "6.x")
V7_PING = reply("/ping", "7.x")
NEW_PING = reply("/tool/ping", "7.24.3")
LOST_PING = reply("/tool/ping", "7.24.3", nth=1)


@pytest.mark.parametrize(
    ("recording", "is_v6", "round_trips_us"),
    [
        (V6_PING, True, [0, 0, 0, 0, 0]),
        (V7_PING, False, [9445, 9237, 9173, 9217, 9728]),
        (NEW_PING, False, [114, 120]),
        (LOST_PING, False, [None, None]),
    ],
)
def test_ping_rows_are_the_recorded_ones(
    *, recording: dict[str, Any], is_v6: bool, round_trips_us: list[int | None]
) -> None:
    """Counters, averages and units, word for word; only the distance (ttl) is the network's."""
    answers = iter(round_trips_us)

    def answer(_address: str) -> float | None:
        microseconds = next(answers)
        return None if microseconds is None else microseconds / 1_000_000

    arguments = {"address": recording["rows"][0]["host"], "count": str(len(round_trips_us))}
    steps = run_ping(arguments, is_v6=is_v6, answer=answer, lost_after_s=None)
    rows = [step.words for step in steps if isinstance(step, Row)]
    assert [{**row, "ttl": ""} for row in rows] == [
        {**row, "ttl": ""} for row in _with_ttl(recording["rows"], rows)
    ]


def _with_ttl(wanted: list[dict[str, str]], rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    for row, ours in zip(wanted, rows, strict=True):
        assert ("ttl" in row) is ("ttl" in ours)
        yield row


CONSOLE_LOST = reply("/ping", "any", "cli-columns")


def test_a_lost_probe_says_timeout_and_no_time() -> None:
    assert CONSOLE_LOST["rows"][0]["status"] == "timeout"
    steps = run_ping(
        {"address": "88.80.88.88", "count": "4"},
        is_v6=True,
        answer=lambda _address: None,
        lost_after_s=None,
    )
    rows = [step.words for step in steps if isinstance(step, Row)]
    assert [row["status"] for row in rows] == ["timeout"] * 4
    assert not any("time" in row for row in rows)
    assert {name: rows[-1][name] for name in ("sent", "received", "packet-loss")} == {
        "sent": "4",
        "received": "0",
        "packet-loss": "100",
    }


# BGP.

PEER_UP = reply("/routing/bgp/peer/print", "6.4x")
PEERS_DOWN = [
    reply("/routing/bgp/peer/print", "6.x", "cli-status", 0)["rows"][0],
    reply("/routing/bgp/peer/print", "6.x", "cli-status", 1)["rows"][1],
]
PEER_WORDS = WORDS["/routing/bgp/peer"]["v6"]


def test_a_peer_that_is_up_has_the_recorded_words() -> None:
    row = SimulatedRouter().rows("/routing/bgp/peer")[0]
    [real] = PEER_UP["rows"]
    assert keys(real) - {"keepalive-time"} == keys(row)
    assert (row["state"], row["established"]) == (real["state"], real["established"])


@pytest.mark.parametrize("real", PEERS_DOWN)
def test_a_peer_that_is_down_keeps_its_row_and_loses_words(real: dict[str, str]) -> None:
    router = SimulatedRouter()
    router.set_bgp("node1", BgpState(real["state"]))
    row = router.rows("/routing/bgp/peer")[0]
    assert row["state"] == real["state"]
    assert not keys(row) & set(PEER_WORDS["absent_when_down"])
    assert keys(real) - keys(row) <= {"keepalive-time"}
    assert keys(row) - keys(real) <= {".id", "disabled"}


SESSIONS = [
    ("7.19.4", reply("/routing/bgp/session/print", "7.19.4")),
    ("7.21.5", reply("/routing/bgp/session/print", "7.21.5")),
]


@pytest.mark.parametrize(("version", "recording"), SESSIONS)
def test_a_session_has_the_recorded_words(version: str, recording: dict[str, Any]) -> None:
    row = SimulatedRouter(version=version).rows("/routing/bgp/session")[0]
    [real] = recording["rows"]
    assert keys(real) <= keys(row)
    known = WORDS["/routing/bgp/session"]["v7"]
    assert keys(row) - {".id"} <= {*known["flags"], *known["read_only"]}
    assert row["name"] == "node1-1"
    assert row[".id"] == real[".id"]
    assert ("instance" in row) is ("instance" in real)


@pytest.mark.parametrize(
    ("version", "recording"),
    [
        ("7.19.4", reply("/routing/bgp/connection/print", "7.19.4")),
        ("7.21.5", reply("/routing/bgp/connection/print", "7.21.5")),
    ],
)
def test_a_connection_has_the_recorded_words(version: str, recording: dict[str, Any]) -> None:
    row = SimulatedRouter(version=version).rows("/routing/bgp/connection")[0]
    assert keys(row) == keys(recording["rows"][0])


@pytest.mark.parametrize(
    ("version", "recording"),
    [
        ("6.49.10", reply("/routing/bgp/instance/print", "6.4x")),
        ("7.21.5", reply("/routing/bgp/instance/print", "7.21.5")),
    ],
)
def test_an_instance_has_the_recorded_words(version: str, recording: dict[str, Any]) -> None:
    row = SimulatedRouter(version=version).rows("/routing/bgp/instance")[0]
    assert keys(row) == keys(recording["rows"][0])


# Routes.

V6_ROUTES = reply("/ip/route/print", "6.x", "cli-terse")["rows"]
V6_HOLE = reply("/ip/route/print", "6.x", "cli-terse", 1)["rows"][4]
V6_IPV6 = reply("/ipv6/route/print", "6.x", "cli-terse")["rows"]
V6_IDS = reply("/ip/route/print", "6.x", "collector-dump")["rows"]
V6_IBGP = reply("/ip/route/print", "6.x", "cli-detail", 1)["rows"][0]
V7_ROUTES = reply("/ip/route/print", "7.x", "cli-terse")["rows"]
V7_STATIC = reply("/ip/route/print", "7.x", "rest")["rows"][0]
V7_ECMP = reply("/ip/route/print", "7.x", "cli-columns", 0)["rows"]
V7_LOSING = reply("/ip/route/print", "7.x", "cli-columns", 1)["rows"]
V7_ORIGINS = reply("/routing/route/print", "7.x", "cli-detail")["rows"]


def seed_router() -> SimulatedRouter:
    """The recorded seed case: two gateways, one unreachable, one route."""
    network = Network(
        vip="0.0.0.0/0",
        gateways={"a": "185.138.116.222", "b": "185.138.116.223"},
        interface="pppoe-out1",
        comment="",
    )
    router = SimulatedRouter(network=network)
    router.set_reachable("185.138.116.222", reachable=False)
    return router


def test_the_seed_case_is_word_for_word() -> None:
    """One static route, one member unreachable, the route still active, two blanks after via."""
    [row] = seed_router().vip_rows()
    real = {name: V6_ROUTES[6][name] for name in keys(V6_ROUTES[6])}
    assert row == {**real, ".id": "*1", "disabled": "false"}


def test_a_losing_bgp_route_of_v6_has_the_recorded_words() -> None:
    bgp = [row for row in SimulatedRouter().rows("/ip/route") if row.get("bgp") == "true"]
    recorded_words = keys(V6_ROUTES[1]) | keys(V6_IBGP)
    assert len(bgp) == 3
    for row in bgp:
        assert keys(row) - recorded_words == {".id", "disabled"}
        assert recorded_words - keys(row) == {"active", "bgp-local-pref"}
        assert (row["distance"], row["scope"], row["target-scope"]) == ("20", "40", "10")


def test_a_connected_route_of_v6_has_the_recorded_words() -> None:
    [row] = [one for one in SimulatedRouter().rows("/ip/route") if one.get("connect") == "true"]
    assert keys(row) - keys(V6_ROUTES[4]) == {".id", "disabled"}
    assert row["gateway-status"] == "bridge reachable"


def test_ids_of_v6_have_the_recorded_lengths() -> None:
    """Static ones are short, dynamic ones have eight digits."""
    rows = SimulatedRouter().rows("/ip/route")
    for row in rows:
        digits = {len(one[".id"]) for one in V6_IDS} if row.get("dynamic") == "true" else {2}
        assert len(row[".id"]) in digits


def test_a_blackhole_of_v6_has_the_recorded_words() -> None:
    router = SimulatedRouter()
    router.add_route(
        {
            "dst-address": "10.0.0.0/8",
            "type": "blackhole",
            "distance": "100",
            "routing-mark": "Free_Wi-Fi",
        }
    )
    [row] = [one for one in router.rows("/ip/route") if one["dst-address"] == "10.0.0.0/8"]
    assert keys(row) - keys(V6_HOLE) == {".id", "disabled"}
    assert keys(V6_HOLE) <= keys(row)


def test_a_disabled_route_of_v6_shows_its_gateway_inactive() -> None:
    real = V6_IPV6[3]
    network = Network(
        vip=real["dst-address"],
        gateways={"a": "ec64::1"},
        interface="ether2",
        with_route=False,
        with_bgp=False,
    )
    router = SimulatedRouter(network=network)
    router.add_route({"gateway": "ether2", "distance": "7", "disabled": "yes"})
    [row] = router.vip_rows()
    assert row == {**{name: real[name] for name in keys(real)}, ".id": "*1"}


def test_a_static_route_of_older_v7_sends_every_flag() -> None:
    router = SimulatedRouter(version="7.12.2")
    row = router.vip_rows()[0]
    assert keys(row) - {"comment"} == keys(V7_STATIC)
    assert int(row[".id"][1:], 16) & 0x80000000


def test_connected_routes_of_v7_have_the_recorded_words() -> None:
    [row] = [
        one
        for one in SimulatedRouter(version="7.12.2").rows("/ip/route")
        if one.get("connect") == "true"
    ]
    false_flags = {"inactive", "ecmp", "hw-offloaded", "disabled"}
    assert keys(row) - false_flags - {".id"} == keys(V7_ROUTES[0])
    assert row["local-address"] == "172.30.1.1%bridge"


def test_ecmp_members_of_v7_are_active_and_ecmp() -> None:
    rows = SimulatedRouter(version="7.23").vip_rows()
    assert len(rows) == 3
    for row in rows:
        assert (row["active"], row["static"], row["ecmp"]) == ("true", "true", "true")
        assert {"active", "static", "ecmp"} <= keys(V7_ECMP[0])


def test_a_losing_route_of_v7_is_neither_active_nor_inactive() -> None:
    assert "active" not in V7_LOSING[0]
    bgp = [
        row for row in SimulatedRouter(version="7.23").rows("/ip/route") if row.get("bgp") == "true"
    ]
    assert len(bgp) == 3
    assert not any({"active", "inactive"} & keys(row) for row in bgp)


def test_a_disabled_row_of_newer_v7_is_nearly_bare() -> None:
    """Seen on a live 7.23.7: no distance, no table, and an `inactive` that is false."""
    router = SimulatedRouter(version="7.23")
    first = router.vip_rows()[0]
    router.edit("/ip/route/disable", {".id": first[".id"]})
    assert router.vip_rows()[0] == {
        ".id": first[".id"],
        "dst-address": "172.30.1.7/32",
        "gateway": "172.30.1.20",
        "disabled": "true",
        "inactive": "false",
        "static": "true",
        "comment": "ECMP to Gateway VIP",
    }


def test_routing_route_says_where_routes_come_from() -> None:
    rows = SimulatedRouter(version="7.23").rows("/routing/route")
    known = WORDS["/routing/route"]["v7"]
    for row in rows:
        assert keys(row) - {".id", "comment"} <= {*known["flags"], *known["read_only"]}
        assert row["contribution"] in known["contribution_values"]
    wanted = {one["belongs-to"].partition(" from ")[0] for one in V7_ORIGINS}
    ours = {one["belongs-to"].partition(" from ")[0] for one in rows}
    assert {"Static route", "BGP IP routes"} <= ours & wanted


# The other menus.

ADDRESS_LIST = reply("/ip/firewall/address-list/print", "7.24.3")["rows"]
OLD_ADDRESS_LIST = reply("/ip/firewall/address-list/print", "6.x/7.x", "cli-terse")["rows"]
SERVICES = reply("/ip/service/print", "7.24.3")["rows"]
ARP = reply("/ip/arp/print", "7.24.x")["rows"]
ROUTING_SETTINGS = reply("/routing/settings/print", "7.2x", "cli-settings")["rows"][0]
USERS = reply("/user/print", "6.x")["rows"]
IDENTITY = reply("/system/identity/print", "any")["rows"]
DUPLICATE = reply("/ip/firewall/address-list/add", "6.x/7.x")["trap"]


def test_address_list_entries_have_the_recorded_words() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    router = SimulatedRouter(version="7.24", now=lambda: now, clock=lambda: 100.0)
    menu = "/ip/firewall/address-list"
    for real in ADDRESS_LIST:
        words = {name: real[name] for name in ("list", "address", "comment") if name in real}
        if "timeout" in real:
            words["timeout"] = real["timeout"]
        router.edit(f"{menu}/add", {**words, "disabled": real["disabled"]})
    assert router.rows(menu) == ADDRESS_LIST


async def test_a_disabled_twin_does_not_block_an_entry_and_a_second_one_is_refused() -> None:
    twin, timed = OLD_ADDRESS_LIST[3:]
    path = "/ip/firewall/address-list/add"
    async with session() as (client, _):
        words = [f"={name}={twin[name]}" for name in ("list", "address")]
        for one in (twin, timed):
            extra = [f"=timeout={one['timeout']}"] if "timeout" in one else ["=disabled=yes"]
            assert (await client.talk(path, *words, *extra))[-1][0] == "!done"
        again = await client.talk(path, *words, "=timeout=5m")
        assert row_of(again[0])["message"] == DUPLICATE["message"]
        rows = await client.rows("/ip/firewall/address-list/print")
        assert [row["disabled"] for row in rows] == ["true", "false"]
        assert rows[1]["dynamic"] == "true"


async def test_services_of_7_24_have_the_recorded_words() -> None:
    async with session("7.24") as (client, _):
        rows = await client.rows("/ip/service/print", "?name=api")
        assert [keys(row) for row in rows] == [keys(row) for row in SERVICES[:2]]
        [secured] = await client.rows("/ip/service/print", "?name=api-ssl")
        assert keys(secured) == keys(SERVICES[2])


def test_services_before_7_24_have_an_address() -> None:
    for version in ("6.49.10", "7.15", "7.23"):
        rows = SimulatedRouter(version=version).rows("/ip/service")
        assert all("address" in row and "available-from" not in row for row in rows)
        assert all(("max-sessions" in row) is (version == "7.23") for row in rows)


def test_arp_has_the_recorded_words() -> None:
    router = SimulatedRouter(version="7.24")
    router.set_reachable("172.30.1.70", reachable=False)
    reachable, failed, _ = router.rows("/ip/arp")
    assert keys(reachable) == keys(ARP[0])
    assert reachable["status"] == ARP[0]["status"]
    assert keys(reachable) - keys(failed) == {"mac-address"}
    assert failed["status"] in WORDS["/ip/arp"]["v7"]["status_values"]
    assert failed["status"] == "failed"


def test_routing_settings_have_the_recorded_words() -> None:
    [row] = SimulatedRouter(version="7.24").rows("/routing/settings")
    assert keys(row) == keys(ROUTING_SETTINGS)
    [older] = SimulatedRouter(version="7.20").rows("/routing/settings")
    assert keys(older) == {"single-process"}


async def test_users_have_the_recorded_words() -> None:
    admin = User(name="admin", policies=frozenset({"api", "read"}))
    async with serving() as server, connect(server.port) as client:
        server.router.users.replace([admin])
        await client.login("admin", "")
        [row] = await client.rows("/user/print", "?name=admin")
        assert keys(USERS[0]) - {"comment"} == keys(row)
    assert keys(SimulatedRouter().rows("/user")[0]) == keys(USERS[0]) - {"last-logged-in"}


def test_identity_is_a_name() -> None:
    assert SimulatedRouter().rows("/system/identity") == IDENTITY


# The protocol.

CHALLENGE = reply("/login", "<6.43")
OLD_REFUSAL = reply("/login", "<6.43", nth=1)
NEW_REFUSAL = reply("/login", ">=6.43")
QUIT = reply("/quit", "any")
NOT_LOGGED_IN = reply("(command before login)", "any")
LISTEN = reply("/ip/address/listen", "any")
COMMENTS = reply("/ip/service/print =.proplist=comment", "any")
EMPTY = reply("(any print with no match)", ">=7.18")
BAD_INTERFACE = reply("/ip/address/add =interface=asdf", "any")
MISSPELT = reply("/ip/adress/print", "any")
NO_POLICY = reply("(command without policy)", "any")
V6_MENU = reply("/routing/bgp/peer/print", "7.x")
HTTP_LISTEN = reply("/rest/system/resource/listen", "7.23.2", "api")
ADDED = reply("/ip/address/add", "any")


async def test_the_old_login_gives_a_challenge_and_its_own_refusal() -> None:
    async with serving("6.42") as server, connect(server.port) as client:
        [done] = await client.talk("/login")
        assert done[0] == CHALLENGE["reply"]
        assert len(row_of(done)["ret"]) == len(CHALLENGE["rows"][0]["ret"])
        refused = await client.talk("/login", "=name=edged", "=response=00" + "a" * 32)
        assert refused == [("!trap", f"=message={OLD_REFUSAL['trap']['message']}"), ("!done",)]


async def test_a_wrong_password_is_refused_with_the_recorded_text() -> None:
    async with serving() as server, connect(server.port) as client:
        refused = await client.login(password="wrong")
        assert refused == [("!trap", f"=message={NEW_REFUSAL['trap']['message']}"), ("!done",)]


async def test_quit_and_commands_before_login_end_fatally() -> None:
    async with serving() as server:
        async with connect(server.port) as client:
            assert await client.talk("/ip/route/print") == [("!fatal", NOT_LOGGED_IN["fatal"])]
            assert await client.ended()
        async with connect(server.port) as client:
            await client.login()
            assert await client.talk("/quit") == [("!fatal", QUIT["fatal"])]
            assert await client.ended()


async def test_a_cancelled_listen_ends_in_the_recorded_order() -> None:
    async with session() as (client, server):
        await client.send("/ip/route/listen", ".tag=10")
        await _until_listening(client, server.router)
        added = server.router.add_route({"gateway": "172.30.1.20", "distance": "99"})
        change = await client.read()
        assert change[:2] == ("!re", ".tag=10")
        assert row_of(change)[".id"] == added
        server.router.edit("/ip/route/remove", {".id": added})
        assert await client.read() == ("!re", ".tag=10", f"=.id={added}", "=.dead=true")
        assert LISTEN["rows"][-1][".dead"] == "true"
        await client.send("/cancel", "=tag=10", ".tag=20")
        assert [list(await client.read()) for _ in range(3)] == LISTEN["then_cancel"]


async def _until_listening(client: Client, router: SimulatedRouter) -> None:
    """A command answered after the listen shows that the listen has begun."""
    before = router.counters.sentences
    await client.talk("/system/identity/print", ".tag=sync")
    assert router.counters.sentences > before


async def test_rows_without_the_asked_word_come_as_empty_rows() -> None:
    async with session() as (client, _):
        replies = await client.talk("/ip/service/print", "=.proplist=comment")
        assert rows_of(replies) == [{}] * (len(replies) - 1)
        assert all(row == {} for row in COMMENTS["rows"])


async def test_a_print_without_rows_says_empty_from_7_18_on() -> None:
    words = EMPTY["reply"].split(" then ")
    for version, expected in (("7.18", words), ("7.17", words[1:]), ("6.49.10", words[1:])):
        async with session(version) as (client, _):
            replies = await client.talk("/ip/route/print", "?comment=nothing like it")
            assert [one[0] for one in replies] == expected


async def test_an_unknown_interface_word_is_refused_with_the_recorded_text() -> None:
    path = "/ip/route/add"
    async with session() as (client, _):
        replies = await client.talk(path, "=gateway=172.30.1.20", "=vrf-interface=asdf")
        trap = row_of(replies[0])
        text = BAD_INTERFACE["trap"]["message"].replace("interface", "vrf-interface")
        assert trap == {"category": BAD_INTERFACE["trap"]["category"], "message": text}


@pytest.mark.parametrize(
    ("version", "sentence", "traps"),
    [
        ("6.40", ("/ip/adress/print",), MISSPELT["traps"]),
        ("7.21.5", ("/routing/bgp/peer/print",), [V6_MENU["trap"]]),
        ("7.23.2", ("/system/resource/listen",), [{"message": HTTP_LISTEN["http"]["detail"]}]),
    ],
)
async def test_refusals_carry_the_recorded_texts(
    version: str, sentence: tuple[str, ...], traps: list[dict[str, str]]
) -> None:
    router = SimulatedRouter(version=version)
    if router.old_login:
        router.reboot(version="6.43")  # the old login is tested above
    async with session(router=router) as (client, server):
        server.router.reboot(version=version)
        replies = await client.talk(*sentence)
        assert [one[0] for one in replies] == ["!trap"] * len(traps) + ["!done"]
        assert [row_of(one) for one in replies[:-1]] == traps


async def test_a_missing_policy_is_refused_with_the_recorded_text() -> None:
    async with serving() as server, connect(server.port) as client:
        reader = User(name="reader", policies=frozenset({"api", "read"}))
        server.router.users.replace([reader])
        await client.login("reader", "")
        replies = await client.talk("/ip/route/disable", "=.id=*1")
        assert row_of(replies[0]) == NO_POLICY["trap"]


async def test_an_add_returns_the_new_id() -> None:
    assert ADDED["reply"] == "!done"
    async with session() as (client, server):
        [done] = await client.talk("/ip/route/add", "=gateway=172.30.1.20", "=distance=5")
        assert row_of(done)["ret"] == server.router.rows("/ip/route")[1][".id"]


NOT_REPRODUCED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "menus edged never reads": lambda one: one["command"].startswith(
        ("/routing/bfd", "/system/package", "/system/routerboard")
    ),
    "reduced by its author": lambda one: one["routeros_version"] == "6.33.3",
    "another board family, a beta": lambda one: one["routeros_version"] == "7.1beta4",
    "recursive next hops, which a VIP's route has not": lambda one: (
        one["command"] == "/ip/route/print" and "recursive" in str(one["rows"])
    ),
    "detail of sessions with VRF, IPv6 link-local or BFD": lambda one: (
        one["command"] == "/routing/bgp/session/print" and one["form"] == "cli-detail"
    ),
}


def test_every_recording_is_reproduced_or_has_a_reason() -> None:
    open_ones = [
        f"{one['command']} {one['routeros_version']} {one['form']}"
        for place, one in enumerate(REPLIES)
        if place not in REPRODUCED
        and not any(explains(one) for explains in NOT_REPRODUCED.values())
    ]
    assert open_ones == []
    unused = [
        reason for reason, explains in NOT_REPRODUCED.items() if not any(map(explains, REPLIES))
    ]
    assert unused == []
