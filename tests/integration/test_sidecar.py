"""deploy/sidecar as its README has it: the script before a shutdown, and curl on the socket."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edged.cli.demo_lab import Folder
from tests.support.daemon import world
from tests.support.parts import require_part
from tests.support.recorded import repository_file

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def test_the_script_takes_a_node_out_before_it_returns_and_curl_sees_it() -> None:
    readme = repository_file("deploy/sidecar/README.md")
    told = re.search(r"`curl --unix-socket \S+\s+(\S+)`", readme)
    assert told is not None
    with Folder("edged-t-") as folder, world(folder) as w:
        w.wait_settled()
        edged = f"{sys.executable} -m edged.cli.main --socket {w.daemon.socket}"
        subprocess.run(
            ["sh", str(ROOT / "deploy/sidecar/prestop.sh"), "node2", "10m"],
            check=True,
            env={"EDGED": edged, "PATH": "/usr/bin:/bin"},
            timeout=60,
        )
        assert w.in_route() == ["node1", "node3"]
        words = [require_part("curl"), "--silent", "--fail", "--unix-socket", str(w.daemon.socket)]
        done = subprocess.run([*words, told[1]], check=True, capture_output=True, timeout=30)
        status = json.loads(done.stdout)
    assert status["schema"] == "edged.status/v1"
    (drain,) = status["drains"]
    assert (drain["gateway"], drain["reason"]) == ("node2", "shutdown of node2")
