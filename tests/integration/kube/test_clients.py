"""What a client sees while gateways are maintained: nothing.

The client asks the router for the route, as a packet would, and connects to one next hop at
random, 50 times a second. Kernel routes are the lab's business; this is about timing, with real
Envoys. `EDGED_POD_DELETIONS=20` deletes that many Pods instead of one on each node.
"""

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import pytest

from edged.cli.demo_gateways import ADDRESSES
from tests.support.daemon import World
from tests.support.kube_objects import PODS, pod
from tests.support.kube_plane import ControlPlane
from tests.support.kube_world import annotate, drained_at, in_sync, kube_name, kube_world
from tests.support.parts import require_part

pytestmark = pytest.mark.integration

RATE = 50
KUBELET_S = 0.1
DELETIONS = int(os.environ.get("EDGED_POD_DELETIONS", "3"))
REST_S = 13 if len(ADDRESSES) < DELETIONS else 0
"""More than ten writes a minute are a storm, and edged would stop adding for a while."""


@dataclass
class Visitor:
    """Opens new connections through the route and counts those that fail."""

    world: World
    port: int
    made: int = 0
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        rng = random.Random(3)
        while not self.stop.wait(1 / RATE):
            address = rng.choice(self.world.router.next_hops())
            try:
                socket.create_connection((address, self.port), timeout=2).close()
            except OSError as error:
                self.failed.append(f"{address}: {error}")
            self.made += 1


@contextmanager
def visited(w: World) -> Iterator[Visitor]:
    visitor = Visitor(w, w["node1"].port)
    thread = threading.Thread(target=visitor.run)
    thread.start()
    try:
        yield visitor
    finally:
        visitor.stop.set()
        thread.join(10)


def test_a_rolling_restart_with_drain_marks_costs_no_connection(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig, envoy=require_part("envoy")) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        with visited(w) as visitor:
            for name in ADDRESSES:
                annotate(plane, name, edged_drain="true")
                w.wait("acknowledged", lambda: drained_at(plane, name) is not None)  # noqa: B023
                w[name].terminate()
                time.sleep(0.5)
                w[name].start(w.ending)
                annotate(plane, name, edged_drain=None)
                w.wait("back", lambda: name in w.in_route(), 15)  # noqa: B023
        assert visitor.made >= 100
        assert visitor.failed == []


def test_pods_deleted_one_after_the_other_cost_no_connection(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    """A stand-in kubelet stops each Envoy 100 ms after its Pod's deletion was asked for."""
    late = []
    with kube_world(tmp_path, kubeconfig, envoy=require_part("envoy")) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        with visited(w) as visitor:
            for name in islice(cycle(ADDRESSES), DELETIONS):
                path = f"{PODS}/envoy-{name}"
                plane.delete(path, grace_s=1)
                time.sleep(KUBELET_S)
                if name in w.in_route():
                    late.append(name)
                w[name].terminate()
                plane.delete(path, grace_s=0)
                plane.create(PODS, pod(f"envoy-{name}", kube_name(name)))
                w[name].start(w.ending)
                w.wait("back", lambda: name in w.in_route(), 15)  # noqa: B023
                time.sleep(REST_S)
        assert visitor.made >= 100
        assert visitor.failed == []
        assert late == []  # still in the route when the port was about to close
