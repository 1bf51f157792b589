"""What Kubernetes costs: nothing where it is not asked for, and little where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import World, world
from tests.support.kube_objects import NODES, node
from tests.support.kube_plane import ControlPlane
from tests.support.kube_world import FROM_KUBERNETES, in_sync, kube_world

pytestmark = pytest.mark.integration


def rss_mb(w: World) -> float:
    pid = w.daemon.child.pid
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def test_with_kubernetes_it_stays_below_90_mb(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    for number in range(50):
        raw = node(f"other-{number:02}", f"10.0.0.{number + 1}")
        images = [{"names": [f"registry.test/image-{i}@sha256:{'0' * 64}"]} for i in range(50)]
        plane.create(NODES, {**raw, "status": {**raw["status"], "images": images}})
    keys = {"lease": "edged/edged"}
    with kube_world(tmp_path, kubeconfig, kubernetes=keys, vip=FROM_KUBERNETES) as w:
        w.wait("in sync", lambda: in_sync(w), 10)
        w.stays("running", lambda: w.daemon.child.running, 5.0)
        used = rss_mb(w)
        print("RSSK", used)


def test_without_kubernetes_nothing_of_it_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, asyncio, edged.cli.main, edged.daemon.process as p\n"
        "from pathlib import Path\n"
        "sys.argv = ['edged']\n"
        "code = p.run_daemon(config_path=Path(sys.stdin.read()), once=True, environ={})\n"
        "print(code, [m for m in sys.modules if m.split('.')[0] == 'kubernetes_asyncio'])\n"
    )
    with world(tmp_path) as w:
        w.wait_settled()
        print("RSS0", rss_mb(w)); w.daemon.child.end()
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=str(w.daemon.config),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stdout.splitlines()[-1].endswith(" []"), done.stdout
