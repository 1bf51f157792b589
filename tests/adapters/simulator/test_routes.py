"""What the router does with its routes, in both dialects; no sockets."""

import pytest

from edged.simulator import BgpState, Network, SimulatedRouter, Trap
from edged.simulator.routes import RouteSource

NODES = ["172.30.1.20", "172.30.1.70", "172.30.1.82"]
V6, V7, NEWEST = "6.49.10", "7.12.2", "7.24"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def ids(router: SimulatedRouter) -> list[str]:
    return [row[".id"] for row in router.vip_rows()]


def refused(router: SimulatedRouter, path: str, words: dict[str, str]) -> str:
    before = router.rows("/ip/route")
    with pytest.raises(Trap) as caught:
        router.edit(path, words)
    assert router.rows("/ip/route") == before
    assert not router.write_log
    return caught.value.message


def test_v6_keeps_one_row_and_v7_one_for_each_gateway() -> None:
    assert [row["gateway"] for row in SimulatedRouter(version=V6).vip_rows()] == [",".join(NODES)]
    assert [row["gateway"] for row in SimulatedRouter(version=V7).vip_rows()] == NODES


def test_a_set_of_the_list_is_one_write_on_v6() -> None:
    router = SimulatedRouter(version=V6)
    router.edit("/ip/route/set", {".id": "*1", "gateway": "172.30.1.82,172.30.1.20"}, user="edged")
    assert router.vip_next_hops() == ["172.30.1.82", "172.30.1.20"]
    [write] = router.write_log
    assert write.user == "edged"
    assert write.sentence == ("/ip/route/set", "=.id=*1", "=gateway=172.30.1.82,172.30.1.20")
    assert [row["gateway"] for row in write.before] == [",".join(NODES)]
    assert [row["gateway"] for row in write.after] == ["172.30.1.82,172.30.1.20"]


def test_rows_are_toggled_by_a_list_of_ids_on_v7() -> None:
    router = SimulatedRouter(version=V7)
    first, second, _ = ids(router)
    router.edit("/ip/route/disable", {".id": f"{first},{second}"})
    assert router.vip_next_hops() == ["172.30.1.82"]
    router.edit("/ip/route/set", {"numbers": first.lower(), "disabled": "no"})
    assert router.vip_next_hops() == ["172.30.1.20", "172.30.1.82"]
    assert router.counters.writes == router.writes_since_boot == 2


@pytest.mark.parametrize("gateway", ["172.30.1.20,172.30.1.70", "ether9", "fd00::1", ""])
def test_v7_refuses_a_list_and_what_is_no_next_hop(gateway: str) -> None:
    router = SimulatedRouter(version=V7)
    message = refused(router, "/ip/route/set", {".id": ids(router)[0], "gateway": gateway})
    assert message == "invalid or unexpected argument base"


def test_v6_refuses_an_unknown_interface() -> None:
    router = SimulatedRouter(version=V6)
    words = {".id": "*1", "gateway": "172.30.1.20,ether9"}
    assert refused(router, "/ip/route/set", words) == ("input does not match any value of gateway")


def test_v6_takes_a_gateway_outside_every_network_and_shows_it_unreachable() -> None:
    router = SimulatedRouter(version=V6)
    router.edit("/ip/route/set", {".id": "*1", "gateway": "10.9.9.9"})
    [row] = router.vip_rows()
    assert row["gateway-status"] == "10.9.9.9 unreachable"
    assert "active" not in row


@pytest.mark.parametrize(
    ("version", "path", "words", "message"),
    [
        (V6, "/ip/route/set", {".id": "*99", "distance": "5"}, "no such item"),
        (V7, "/ip/route/remove", {".id": "*1"}, "no such item"),
        (
            V7,
            "/ip/route/add",
            {"dst-address": "10.0.0.0/8"},
            "missing value(s) of argument(s) gateway",
        ),
        (
            V7,
            "/ip/route/add",
            {"dst-address": "10.0.0.300/8", "gateway": "172.30.1.20"},
            "invalid value for argument dst-address",
        ),
        (
            V7,
            "/ip/route/add",
            {"dst-address": "fd00::/8", "gateway": "172.30.1.20"},
            "invalid value for argument dst-address",
        ),
        (
            V7,
            "/ip/route/add",
            {"gateway": "172.30.1.20", "routing-table": "vpn"},
            "input does not match any value of routing-table",
        ),
        (
            V7,
            "/ip/route/add",
            {"gateway": "172.30.1.20", "pref-src": "me"},
            "invalid value for argument pref-src",
        ),
        (
            V7,
            "/ip/route/unset",
            {".id": "*80000001", "value-name": "distance"},
            "input does not match any value of value-name",
        ),
    ],
)
def test_what_a_router_cannot_do_is_refused_whole(
    version: str, path: str, words: dict[str, str], message: str
) -> None:
    assert refused(SimulatedRouter(version=version), path, words) == message


@pytest.mark.parametrize(
    ("path", "extra", "message"),
    [
        ("/ip/route/set", {"distance": "5"}, "failure: can not change dynamic route"),
        ("/ip/route/disable", {}, "failure: can not change dynamic route"),
        ("/ip/route/remove", {}, "failure: can not remove dynamic route"),
    ],
)
@pytest.mark.parametrize("version", [V6, V7])
def test_dynamic_rows_cannot_be_changed(
    version: str, path: str, extra: dict[str, str], message: str
) -> None:
    router = SimulatedRouter(version=version)
    dynamic = [row[".id"] for row in router.rows("/ip/route") if row.get("dynamic") == "true"]
    assert len(dynamic) == 4
    for one in dynamic:
        assert refused(router, path, {".id": one, **extra}) == message
        listed = f"{ids(router)[0]},{one}"
        assert refused(router, path, {".id": listed, **extra}) == message


def test_an_unknown_id_in_a_list_changes_nothing_unless_told_so() -> None:
    """What a real router leaves undone is not recorded: both can be tried."""
    router = SimulatedRouter(version=V7)
    first, second, _ = ids(router)
    listed = {".id": f"{first},*99,{second}"}
    assert refused(router, "/ip/route/disable", listed) == "no such item"
    router.applies_before_bad_id = True
    with pytest.raises(Trap, match="no such item"):
        router.edit("/ip/route/disable", listed)
    assert router.vip_next_hops() == NODES[1:]


@pytest.mark.parametrize("value", ["", "no", "yes"])
def test_the_presence_of_blackhole_makes_a_blackhole(value: str) -> None:
    router = SimulatedRouter(version=NEWEST)
    first = ids(router)[0]
    router.edit("/ip/route/set", {".id": first, "blackhole": value})
    row = router.vip_rows()[0]
    assert row["blackhole"] == ""
    assert "gateway" not in row
    assert router.vip_next_hops() == NODES[1:]
    router.edit("/ip/route/set", {".id": first, "gateway": "172.30.1.20"})
    assert "blackhole" in router.vip_rows()[0]
    router.edit("/ip/route/unset", {".id": first, "value-name": "blackhole"})
    router.edit("/ip/route/set", {".id": first, "gateway": "172.30.1.20"})
    assert router.vip_next_hops() == NODES


def test_v7_takes_the_same_route_twice() -> None:
    router = SimulatedRouter(version=V7)
    router.add_route({"gateway": "172.30.1.20", "distance": "10"})
    assert router.vip_next_hops() == [*NODES, "172.30.1.20"]
    assert all(row["ecmp"] == "true" for row in router.vip_rows())


def test_comments_are_kept_letter_by_letter_and_can_be_unset() -> None:
    router = SimulatedRouter(version=V6)
    comment = "게이트웨이 VIP edged:web = 10"
    router.edit("/ip/route/comment", {".id": "*1", "comment": comment})
    assert router.vip_rows()[0]["comment"] == comment
    router.edit("/ip/route/unset", {".id": "*1", "value-name": "comment"})
    assert "comment" not in router.vip_rows()[0]


def test_host_bits_and_a_missing_prefix_are_made_regular() -> None:
    router = SimulatedRouter(version=V7)
    for written, shown in (("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32")):
        added = router.add_route({"dst-address": written, "gateway": "172.30.1.20"})
        [row] = [one for one in router.rows("/ip/route") if one[".id"] == added]
        assert row["dst-address"] == shown


# Who forwards.


@pytest.mark.parametrize("version", [V6, V7, NEWEST])
def test_an_unreachable_member_leaves_forwarding_but_not_the_set(version: str) -> None:
    router = SimulatedRouter(version=version)
    router.set_reachable("172.30.1.70", reachable=False)
    assert router.vip_next_hops() == NODES
    assert router.forwarding_next_hops() == ["172.30.1.20", "172.30.1.82"]
    router.set_reachable("172.30.1.70", reachable=True)
    assert router.forwarding_next_hops() == NODES


def test_v6_says_in_a_text_and_v7_by_flags_who_is_unreachable() -> None:
    old, middle, new = (SimulatedRouter(version=one) for one in (V6, V7, NEWEST))
    for router in (old, middle, new):
        router.set_reachable("172.30.1.70", reachable=False)
    assert old.vip_rows()[0]["gateway-status"] == (
        "172.30.1.20 reachable via  bridge,172.30.1.70 unreachable,"
        "172.30.1.82 reachable via  bridge"
    )
    assert old.vip_rows()[0]["active"] == "true"
    assert [row["inactive"] for row in middle.vip_rows()] == ["false", "true", "false"]
    assert [row["active"] for row in middle.vip_rows()] == ["true", "false", "true"]
    assert [row.get("inactive") for row in new.vip_rows()] == [None, "true", None]
    assert "immediate-gw" not in new.vip_rows()[1]


@pytest.mark.parametrize("version", [V6, V7, NEWEST])
def test_bgp_takes_over_with_one_path_when_no_static_member_is_left(version: str) -> None:
    router = SimulatedRouter(version=version)
    router.edit("/ip/route/disable", {".id": ",".join(ids(router))})
    assert router.vip_next_hops() == []
    assert router.forwarding_next_hops() == ["172.30.1.20"]
    active = [row for row in router.rows("/ip/route") if row.get("active") == "true"]
    assert [row.get("bgp") for row in active] == [None, "true"]


def test_bgp_spreads_over_its_paths_from_7_22_with_multipath() -> None:
    router = SimulatedRouter(version="7.22")
    router.edit("/ip/route/remove", {".id": ",".join(ids(router))})
    [instance] = router.rows("/routing/bgp/instance")
    router.edit("/routing/bgp/instance/set", {".id": instance[".id"], "multipath": "yes"})
    assert router.forwarding_next_hops() == NODES
    router.reboot(version="7.21")
    assert router.forwarding_next_hops() == NODES[:1]


def test_a_static_row_at_bgp_distance_joins_the_bgp_path_on_v7() -> None:
    network = Network(distance=20)
    router = SimulatedRouter(version=NEWEST, network=network)
    router.edit("/ip/route/disable", {".id": ",".join(ids(router)[:2])})
    assert router.forwarding_next_hops() == ["172.30.1.82", "172.30.1.20"]


def test_v6_has_one_active_row_only() -> None:
    router = SimulatedRouter(version=V6)
    router.add_route({"gateway": "172.30.1.20", "distance": "10"})
    active = [row for row in router.vip_rows() if row.get("active") == "true"]
    assert [row["gateway"] for row in active] == [",".join(NODES)]


def test_a_foreign_row_of_lower_distance_takes_the_traffic() -> None:
    for version in (V6, V7):
        router = SimulatedRouter(version=version)
        router.add_route({"gateway": "172.30.1.82", "distance": "1", "comment": "mine"})
        assert router.forwarding_next_hops() == ["172.30.1.82"]


def test_ipv6_has_no_multipath_on_v6() -> None:
    gateways = {"a": "fd00::20", "b": "fd00::70"}
    network = Network(vip="fd00:1::7/128", gateways=gateways)
    old = SimulatedRouter(version=V6, network=network)
    new = SimulatedRouter(version=NEWEST, network=network)
    assert old.vip_menu == new.vip_menu == "/ipv6/route"
    assert old.forwarding_next_hops() == ["fd00::20"]
    assert new.forwarding_next_hops() == ["fd00::20", "fd00::70"]
    assert [row["immediate-gw"] for row in new.vip_rows()] == [
        "fd00::20%bridge",
        "fd00::70%bridge",
    ]


def test_flags_can_be_sent_or_left_out_on_any_version() -> None:
    """The version where that changed is not recorded, so a test may choose."""
    router = SimulatedRouter(version=NEWEST)
    table = router.routes["/ip/route"]
    assert "disabled" not in router.vip_rows()[0]
    table.false_flags = True
    assert router.vip_rows()[0]["disabled"] == "false"
    router.edit("/ip/route/disable", {".id": ids(router)[0]})
    assert router.vip_rows()[0]["distance"] == "10"


# BGP.


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (BgpState.IDLE, "idle"),
        (BgpState.OPENSENT, "opensent"),
        (BgpState.CACHED, "idle"),
        (BgpState.ESTABLISHED, "established"),
    ],
)
def test_v6_keeps_the_row_of_every_peer(state: BgpState, shown: str) -> None:
    router = SimulatedRouter(version=V6)
    router.set_bgp("node2", state)
    row = router.rows("/routing/bgp/peer")[1]
    assert row["state"] == shown
    learned = [one for one in router.routes["/ip/route"].routes() if one.source is RouteSource.BGP]
    assert len(learned) == (3 if shown == "established" else 2)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (BgpState.IDLE, None),
        (BgpState.ABSENT, None),
        (BgpState.CACHED, ""),
        (BgpState.STOPPED, "stopped"),
        (BgpState.LIMIT_EXCEEDED, "limit-exceeded"),
    ],
)
def test_v7_shows_a_lost_session_in_one_of_three_ways(state: BgpState, word: str | None) -> None:
    router = SimulatedRouter(version=V7)
    router.set_bgp("172.30.1.70", state)
    rows = [row for row in router.rows("/routing/bgp/session") if row["name"] == "node2-1"]
    assert len(router.rows("/routing/bgp/connection")) == 3
    if word is None:
        assert rows == []
        return
    [row] = rows
    assert "established" not in row
    assert "uptime" not in row
    assert not word or word in row


def test_a_cached_session_and_its_route_run_out() -> None:
    clock = Clock()
    router = SimulatedRouter(version=V7, clock=clock)
    router.edit("/ip/route/remove", {".id": ",".join(ids(router))})
    router.set_bgp("node1", BgpState.CACHED)
    clock.now_s += router.bgp.cache_s - 1
    assert len(router.rows("/routing/bgp/session")) == 3
    assert router.forwarding_next_hops() == ["172.30.1.20"]
    clock.now_s += 1
    assert len(router.rows("/routing/bgp/session")) == 2
    assert router.forwarding_next_hops() == ["172.30.1.70"]


def test_session_uptime_runs_and_starts_anew() -> None:
    clock = Clock()
    router = SimulatedRouter(version=V7, clock=clock)
    clock.now_s += 310.25
    assert router.rows("/routing/bgp/session")[0]["uptime"] == "5m10s250ms"
    before = router.rows("/routing/bgp/session")[0][".id"]
    router.drop_bgp(BgpState.ABSENT)
    assert router.rows("/routing/bgp/session") == []
    router.set_bgp("node1", BgpState.ESTABLISHED)
    [row] = router.rows("/routing/bgp/session")
    assert row["uptime"] == "0ms"
    assert row[".id"] != before


@pytest.mark.parametrize("version", [V6, V7])
def test_a_neighbour_that_is_switched_off_is_down(version: str) -> None:
    router = SimulatedRouter(version=version)
    menu = "/routing/bgp/peer" if router.is_v6 else "/routing/bgp/connection"
    first = router.rows(menu)[0][".id"]
    router.edit(f"{menu}/set", {".id": first, "disabled": "yes"})
    assert router.rows(menu)[0]["disabled"] == "true"
    learned = [row for row in router.rows("/ip/route") if row.get("bgp") == "true"]
    assert [row["gateway"] for row in learned] == NODES[1:]


def test_sessions_can_be_stopped_and_cleared() -> None:
    router = SimulatedRouter(version=V7)
    first = router.rows("/routing/bgp/session")[0][".id"]
    router.edit("/routing/bgp/session/stop", {".id": first})
    assert "stopped" in router.rows("/routing/bgp/session")[0]
    router.edit("/routing/bgp/session/clear", {".id": first, "flag": "stopped"})
    assert router.rows("/routing/bgp/session")[0]["established"] == "true"


# Reboot.


def test_a_reboot_resets_what_lives_in_memory_and_keeps_the_configuration() -> None:
    clock = Clock()
    router = SimulatedRouter(version=V7, clock=clock, uptime_s=500)
    lock = {"list": "edged", "address": "10.0.0.1"}
    router.edit("/ip/firewall/address-list/add", {**lock, "timeout": "1h"})
    router.edit("/ip/firewall/address-list/add", {**lock, "list": "kept"})
    router.set_bgp("node3", BgpState.ABSENT)
    before = ids(router)
    assert router.rows("/system/resource")[0]["uptime"] == "8m20s"
    router.reboot()
    clock.now_s += 29
    assert router.rows("/system/resource")[0]["uptime"] == "29s"
    assert router.rows("/system/resource")[0]["write-sect-since-reboot"] == "0"
    assert [row["list"] for row in router.rows("/ip/firewall/address-list")] == ["kept"]
    assert [row["uptime"] for row in router.rows("/routing/bgp/session")] == ["29s"] * 2
    assert router.vip_next_hops() == NODES
    assert not set(before) & set(ids(router))


def test_ids_may_survive_a_reboot_if_a_test_wants_that() -> None:
    router = SimulatedRouter(version=V6)
    router.renumbers_on_reboot = False
    router.reboot()
    assert ids(router) == ["*1"]


def test_an_upgrade_splits_the_list_into_rows() -> None:
    router = SimulatedRouter(version=V6)
    router.edit("/ip/route/comment", {".id": "*1", "comment": "ECMP edged:web"})
    router.reboot(version=NEWEST)
    rows = router.vip_rows()
    assert [row["gateway"] for row in rows] == NODES
    assert {row["comment"] for row in rows} == {"ECMP edged:web"}
    assert all(int(row[".id"][1:], 16) > 0x80000000 for row in rows)
    router.reboot(version=V6)
    assert [row["gateway"] for row in router.vip_rows()] == NODES


def test_set_uptime_can_look_like_a_reboot() -> None:
    router = SimulatedRouter(clock=lambda: 50.0)
    router.set_uptime(7)
    assert router.rows("/system/resource")[0]["uptime"] == "7s"


# Listening.


def test_listeners_hear_rows_that_change_and_rows_that_go() -> None:
    router = SimulatedRouter(version=V7)
    heard: list[tuple[str, str, bool]] = []
    undo = router.subscribe(lambda menu, row, dead: heard.append((menu, row[".id"], dead)))
    first, second, third = ids(router)
    router.edit("/ip/route/remove", {".id": first})
    assert heard == [("/ip/route", first, True)]
    heard.clear()
    router.edit("/ip/route/disable", {".id": second})
    assert heard == [("/ip/route", second, False), ("/ip/route", third, False)]
    undo()
    heard.clear()
    router.edit("/ip/route/enable", {".id": second})
    assert heard == []


def test_the_network_can_live_anywhere() -> None:
    network = Network(
        vip="10.0.0.7",
        gateways={"a": "127.0.20.1", "b": "127.0.20.2", "c": "192.0.2.9"},
        with_route=False,
    )
    router = SimulatedRouter(version=V7, network=network)
    assert router.vip_rows() == []
    for gateway in network.gateways.values():
        router.add_route({"gateway": gateway, "distance": "10"})
    assert router.forwarding_next_hops() == list(network.gateways.values())
    assert [row["address"] for row in router.rows("/ip/address")] == [
        "127.0.20.254/24",
        "192.0.2.1/24",
    ]
