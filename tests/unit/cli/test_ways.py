"""Whether a router lies between this host and another, as the kernel's table has it."""

from pathlib import Path

import pytest

from edged.cli.ways import own_address, passes_a_router

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t01011EAC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00011EAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t52011EAC\t01011EAC\t0007\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("target", "through"),
    [
        ("172.30.1.20", False),
        ("172.30.1.82", True),
        ("10.0.0.1", True),
        ("127.0.20.1", False),
        ("2001:db8::1", False),
        ("node1.example.test", False),
    ],
)
def test_the_longest_prefix_tells_whether_there_is_a_next_hop(
    target: str, *, through: bool, tmp_path: Path
) -> None:
    table = tmp_path / "route"
    table.write_text(TABLE)
    assert passes_a_router(target, table) is through


def test_no_table_is_no_router(tmp_path: Path) -> None:
    assert not passes_a_router("10.0.0.1", tmp_path / "absent")


def test_our_address_is_the_one_used_towards_the_target() -> None:
    assert own_address("127.0.0.1") == "127.0.0.1"
    assert own_address("no-such-host.invalid") == ""
