"""The menus beside routes and BGP: rows that are added, changed, copied, hidden and run out."""

import pytest

from edged.simulator import SimulatedRouter, Trap, User
from edged.simulator.replies import Words
from edged.simulator.values import (
    check_value,
    read_bool,
    read_duration_us,
    same_value,
    write_duration,
)

NAT = "/ip/firewall/nat"
LIST = "/ip/firewall/address-list"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def refused(router: SimulatedRouter, path: str, words: Words) -> str:
    with pytest.raises(Trap) as caught:
        router.edit(path, words)
    return caught.value.message


# NAT: what doctor looks for.


def test_the_default_network_forwards_its_ports() -> None:
    rows = SimulatedRouter().rows(NAT)
    assert [(row["comment"], row["dst-port"], row["to-addresses"]) for row in rows] == [
        ("Gateway API HTTP (VIP)", "80", "172.30.1.7"),
        ("Gateway API HTTPS (VIP)", "443", "172.30.1.7"),
        ("K8s API", "6443", "172.30.1.20"),
    ]
    assert {row["action"] for row in rows} == {"dst-nat"}


def test_rules_are_added_placed_copied_and_removed() -> None:
    router = SimulatedRouter()
    words = {"chain": "srcnat", "action": "masquerade", "place-before": "*2"}
    added = router.edit(f"{NAT}/add", words)
    copied = router.edit(
        f"{NAT}/add",
        {
            "chain": "dstnat",
            "action": "dst-nat",
            "copy-from": "*1",
            "comment": "copy",
            "disabled": "yes",
        },
    )
    assert [row[".id"] for row in router.rows(NAT)] == ["*1", added, "*2", "*3", copied]
    assert router.rows(NAT)[-1]["dst-port"] == "80"
    assert router.rows(NAT)[-1]["disabled"] == "true"
    router.edit(f"{NAT}/remove", {".id": f"*1,{added}"})
    router.edit(f"{NAT}/unset", {".id": "*2", "value-name": "comment,dst-port"})
    assert [row[".id"] for row in router.rows(NAT)] == ["*2", "*3", copied]
    assert "comment" not in router.rows(NAT)[0]
    assert refused(router, f"{NAT}/add", {"chain": "dstnat"}) == (
        "missing value(s) of argument(s) action"
    )


# The address list, which can serve as a lock.


def test_an_entry_with_a_timeout_runs_out_and_can_be_renewed_on_v7() -> None:
    clock = Clock()
    router = SimulatedRouter(version="7.20", clock=clock)
    lock = {"list": "edged", "address": "192.0.2.1", "timeout": "10s"}
    entry = router.edit(f"{LIST}/add", lock)
    clock.now_s = 4.0
    assert router.rows(LIST)[0]["timeout"] == "6s"
    assert refused(router, f"{LIST}/add", lock) == "failure: already have such entry"
    router.edit(f"{LIST}/set", {".id": str(entry), "timeout": "10s"})
    clock.now_s = 13.9
    assert len(router.rows(LIST)) == 1
    clock.now_s = 14.0
    assert router.rows(LIST) == []
    router.edit(f"{LIST}/add", lock)
    router.edit(f"{LIST}/remove", {".id": router.rows(LIST)[0][".id"]})
    assert router.rows(LIST) == []


def test_a_timeout_is_not_renewed_on_v6() -> None:
    router = SimulatedRouter()
    entry = router.edit(f"{LIST}/add", {"list": "l", "address": "192.0.2.1", "timeout": "10s"})
    words = {".id": str(entry), "timeout": "1m"}
    assert "can not change dynamic" in refused(router, f"{LIST}/set", words)
    assert "can not change dynamic" in refused(
        router, f"{LIST}/set", {".id": str(entry), "comment": "x"}
    )


def test_addresses_of_a_list_are_shown_without_a_hosts_mask() -> None:
    router = SimulatedRouter()
    for written in ("192.0.2.1/32", "192.0.2.0/28", "192.0.2.4-192.0.2.9"):
        router.edit(f"{LIST}/add", {"list": "l", "address": written})
    assert [row["address"] for row in router.rows(LIST)] == [
        "192.0.2.1",
        "192.0.2.0/28",
        "192.0.2.4-192.0.2.9",
    ]


# Users.


def test_users_and_groups_are_made_as_init_prints_them() -> None:
    router = SimulatedRouter(version="7.20")
    group = {"name": "edged", "policy": "read,write,test,api"}
    router.edit("/user/group/add", group)
    router.edit(
        "/user/add",
        {"name": "edged", "group": "edged", "password": "pw", "address": "192.0.2.7/32"},
    )
    assert router.users.policies("edged") == {"read", "write", "test", "api"}
    assert router.users.password_of("edged") == "pw"
    assert router.users.admits("edged", source="192.0.2.7")
    assert not router.users.admits("edged", source="192.0.2.8")
    shown = next(row for row in router.rows("/user/group") if row["name"] == "edged")
    assert {"read", "!ftp", "!policy"} <= set(shown["policy"].split(","))
    router.edit("/user/disable", {".id": "edged"})
    assert router.users.password_of("edged") is None


@pytest.mark.parametrize(
    ("path", "words", "message"),
    [
        ("/user/add", {"name": "x"}, "missing value(s) of argument(s) group"),
        ("/user/add", {"name": "x", "group": "none"}, "input does not match any value of group"),
        ("/user/set", {".id": "admin", "group": "none"}, "input does not match any value of group"),
        ("/user/add", {"name": "admin", "group": "full"}, "failure: already have such name"),
        (
            "/user/group/add",
            {"name": "x", "policy": "root"},
            "input does not match any value of policy",
        ),
        ("/ip/service/set", {".id": "*6", "port": "0"}, "value of port out of range (1..65535)"),
        ("/ip/route/export", {}, "failure: not simulated: export"),
        ("/ip/arp/remove", {".id": "*1"}, "failure: not simulated: *1"),
    ],
)
def test_what_does_not_fit_is_refused(path: str, words: Words, message: str) -> None:
    assert refused(SimulatedRouter(version="7.20"), path, words) == message


def test_replacing_a_user_keeps_the_others() -> None:
    router = SimulatedRouter(users=[User(name="a", password="1"), User(name="b", password="2")])
    router.users.replace([User(name="a", password="3", policies=frozenset({"api"}))])
    assert router.users.password_of("a") == "3"
    assert router.users.policies("a") == {"api"}
    assert router.users.password_of("b") == "2"
    assert router.users.password_of("c") is None
    assert router.users.policies("c") == frozenset()


# Single objects and the log.


def test_settings_show_what_their_version_can_set() -> None:
    def words(version: str) -> set[str]:
        return set(SimulatedRouter(version=version).rows("/ip/settings")[0])

    assert "route-cache" in words("6.49.10") & words("7.12.2")
    assert "route-cache" not in words("7.13.5")
    assert "ipv4-multipath-hash-policy" not in words("7.15.3")
    assert "ipv4-multipath-hash-policy" in words("7.16")
    router = SimulatedRouter(version="7.16")
    router.edit("/ip/settings/set", {"ipv4-multipath-hash-policy": "l4", "ip-forward": "no"})
    [row] = router.rows("/ip/settings")
    assert (row["ipv4-multipath-hash-policy"], row["ip-forward"]) == ("l4", "false")


def test_the_identity_can_be_set_and_the_log_be_written() -> None:
    router = SimulatedRouter()
    router.edit("/system/identity/set", {"name": "hex"})
    router.edit("/log/warning", {"message": "drained"}, user="edged")
    assert router.identity == "hex"
    assert [(row["topics"], row["message"]) for row in router.rows("/log")] == [
        ("system,info", "system identity set by admin"),
        ("script,warning", "drained"),
    ]


def test_neighbours_can_be_added_renamed_and_removed() -> None:
    router = SimulatedRouter()
    menu = "/routing/bgp/peer"
    added = router.edit(
        f"{menu}/add", {"name": "node4", "remote-address": "172.30.1.90", "remote-as": "64513"}
    )
    row = router.rows(menu)[-1]
    assert (row[".id"], row["name"], row["state"]) == (added, "node4", "idle")
    router.edit(f"{menu}/set", {".id": "node4", "name": "spare", "comment": "new"})
    router.edit(f"{menu}/unset", {".id": "spare", "value-name": "comment"})
    assert router.rows(menu)[-1]["name"] == "spare"
    assert "comment" not in router.rows(menu)[-1]
    router.edit(f"{menu}/remove", {".id": f"{added}"})
    assert len(router.rows(menu)) == 3
    assert refused(router, f"{menu}/add", {"name": "x"}) == (
        "missing value(s) of argument(s) remote-address"
    )


# Values.


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("10", 10_000_000),
        ("1w4d23h26m9s", (((7 + 4) * 24 + 23) * 3_600 + 26 * 60 + 9) * 1_000_000),
        ("9ms445us", 9_445),
        ("00:01:30", 90_000_000),
        ("00:00:01.5", 1_500_000),
        ("100ms", 100_000),
    ],
)
def test_durations_are_read(written: str, microseconds: int) -> None:
    assert read_duration_us("interval", written) == microseconds


@pytest.mark.parametrize("written", ["", "soon", "1x", "s", "1s1", "-1s"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(Trap, match="invalid value for argument interval"):
        read_duration_us("interval", written)


@pytest.mark.parametrize(
    ("microseconds", "smallest", "written"),
    [
        (0, "s", "0s"),
        (0, "ms", "0ms"),
        (9_445, "us", "9ms445us"),
        (9_445, "ms", "9ms"),
        (108_000_000_000, "s", "1d6h"),
        (86_400_000_000 * 10 + 1_999_999, "s", "1w3d1s"),
    ],
)
def test_durations_are_written_as_recorded(microseconds: int, smallest: str, written: str) -> None:
    assert write_duration(microseconds, smallest=smallest) == written


def test_yes_is_true_and_other_words_are_themselves() -> None:
    assert [read_bool("x", one) for one in ("yes", "true", "no", "false")] == [
        True,
        True,
        False,
        False,
    ]
    assert same_value("yes", "true")
    assert not same_value("no", "true")
    assert not same_value("Yes", "true")


def test_a_list_value_is_checked_word_by_word() -> None:
    check_value("policy", "read,!write", {"list": ["read", "write"]})
    with pytest.raises(Trap, match="input does not match any value of policy"):
        check_value("policy", "read,fly", {"list": ["read", "write"]})
    check_value("hold-time", "infinity", {"time": ["3s", "1h"], "values": ["infinity"]})
    check_value("any", "5ms", {"time": None})
