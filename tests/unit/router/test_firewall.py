"""Which rules may turn edged's connections away, on rule sets as people write them."""

import pytest

from edged.router.firewall import Firewall, Way, parse_rules

API = Way(chain="input", source="172.30.1.5", target="172.30.1.1", port=8729, at_once=4)


def firewall(*lines: str, listed: dict[str, str] | None = None) -> Firewall:
    """Read rules written as on the console, without spaces in values."""
    rows = [
        {".id": f"*{place}", **dict(word.split("=", 1) for word in line.split())}
        for place, line in enumerate(lines, start=1)
    ]
    return Firewall(rules=parse_rules(rows), listed=listed or {})


def threats(*lines: str, listed: dict[str, str] | None = None) -> list[str]:
    return [rule.row_id for rule in firewall(*lines, listed=listed).threats(API)]


TABLE = {
    "nothing": ((), []),
    "the default configuration": (
        (
            "chain=input action=accept connection-state=established,related,untracked",
            "chain=input action=drop connection-state=invalid",
            "chain=input action=accept protocol=icmp",
            "chain=input action=drop in-interface-list=!LAN",
        ),
        [],
    ),
    "a brute-force ladder on the port": (
        (
            "chain=input protocol=tcp dst-port=8728,8729 src-address-list=black action=drop",
            (
                "chain=input protocol=tcp dst-port=8728,8729 connection-state=new "
                "src-address-list=stage1 action=add-src-to-address-list address-list=black"
            ),
            (
                "chain=input protocol=tcp dst-port=8000-9000 connection-state=new "
                "action=add-src-to-address-list address-list=stage1"
            ),
        ),
        ["*2", "*3"],
    ),
    "the same ladder on ssh": (
        (
            (
                "chain=input protocol=tcp dst-port=22 connection-state=new "
                "action=add-src-to-address-list address-list=stage1"
            ),
        ),
        [],
    ),
    "an accept before it": (
        (
            "chain=input action=accept src-address=172.30.1.0/24",
            "chain=input protocol=tcp action=add-src-to-address-list address-list=black",
        ),
        [],
    ),
    "an accept for another host before it": (
        (
            "chain=input action=accept src-address=172.30.1.6-172.30.1.9",
            "chain=input protocol=tcp action=add-src-to-address-list address-list=black",
        ),
        ["*2"],
    ),
    "an accept that may not take us": (
        (
            "chain=input action=accept in-interface=ether2",
            "chain=input protocol=tcp connection-limit=2,32 action=drop",
        ),
        ["*2"],
    ),
    "an accept for a list that holds us": (
        (
            "chain=input action=accept src-address-list=management",
            "chain=input protocol=tcp connection-limit=2,32 action=drop",
        ),
        [],
    ),
    "roomy": (("chain=input protocol=tcp connection-limit=50,32 action=drop",), []),
    "an accept up to a limit, then a drop": (
        ("chain=input protocol=tcp dst-port=8729 limit=1,5:packet", "chain=input action=drop"),
        ["*1"],
    ),
    "an accept up to a limit, and no drop": (
        ("chain=input protocol=tcp dst-port=8729 limit=1,5:packet",),
        [],
    ),
    "disabled": (("chain=input action=drop dst-limit=1,5,src-address disabled=true",), []),
    "not tcp": (("chain=input protocol=!tcp action=drop limit=1,5:packet",), []),
    "not us": (("chain=input src-address=!172.30.1.5 action=drop limit=1,5:packet",), []),
    "in a chain of its own": (
        (
            "chain=input protocol=tcp action=jump jump-target=api",
            "chain=input action=accept",
            "chain=api psd=21,3s,3,1 action=drop",
        ),
        ["*3"],
    ),
    "returned before it": (
        (
            "chain=input action=jump jump-target=api",
            "chain=api src-address=172.30.1.5 action=return",
            "chain=api psd=21,3s,3,1 action=drop",
        ),
        [],
    ),
    "accepted in a chain of its own": (
        (
            "chain=input action=jump jump-target=api",
            "chain=input psd=21,3s,3,1 action=drop",
            "chain=api protocol=tcp action=accept",
        ),
        [],
    ),
    "a loop of chains": (
        (
            "chain=input action=jump jump-target=input",
            "chain=input psd=21,3s,3,1 action=drop",
        ),
        ["*2"],
    ),
    "another chain": (("chain=forward psd=21,3s,3,1 action=drop",), []),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_rule_that_counts_new_connections_is_found(name: str) -> None:
    rules, expected = TABLE[name]
    listed = {"management": ""} if "list that holds us" in name else {}
    assert sorted(threats(*rules, listed=listed)) == expected


def test_a_list_that_is_dropped_and_holds_us_is_a_ban() -> None:
    rules = (
        "chain=input src-address-list=black action=drop comment=bad",
        "chain=input src-address-list=white action=accept",
    )
    found = firewall(*rules, listed={"black": "4m52s", "white": ""})
    assert [(ban.list_name, ban.left, str(ban.rule)) for ban in found.bans()] == [
        ("black", "4m52s", '*1 "bad" (drop)')
    ]
    assert not list(firewall(*rules, listed={"white": ""}).bans())


def test_a_rule_is_named_with_what_it_counts() -> None:
    (rule,) = firewall("chain=input action=drop dst-limit=1,5,src-address").rules
    assert str(rule) == "*1 (drop, dst-limit=1,5,src-address)"
