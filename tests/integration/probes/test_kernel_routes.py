"""What the kernel says about routes, and whose fault that is: a network namespace of our own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import require_part

pytestmark = pytest.mark.lab

SCRIPT = """
import asyncio
from edged.core.types import ProbeDepth
from tests.support.probing import bench, target_at

async def main():
    for last in (1, 2, 3, 4):
        async with bench(target_at(443, address=f"192.0.2.{last}")) as it:
            result = await it.probe(ProbeDepth.FULL)
            print(result.outcome, result.reason, result.detail.split(":")[0])

asyncio.run(main())
"""
ROUTES = """
ip link set lo up
ip route add unreachable 192.0.2.1
ip route add prohibit 192.0.2.2
ip route add blackhole 192.0.2.3
exec "$@"
"""


def test_only_an_unreachable_host_is_held_against_the_gateway() -> None:
    """EHOSTUNREACH also comes for unanswered ARP, after 3 s; a missing route is our own trouble."""
    unshare = require_part("root-netns")

    finished = subprocess.run(
        [unshare, "--net", "sh", "-ec", ROUTES, "sh", sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert finished.stdout.splitlines() == [
        "failed unreachable EHOSTUNREACH",
        "inconclusive local_error EACCES",
        "inconclusive local_error EINVAL",
        "inconclusive local_error ENETUNREACH",
    ], finished.stderr
