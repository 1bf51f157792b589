"""A whole edged and a real API server: discovery, drain marks, not ready, a Pod's end."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.cli.demo_gateways import ADDRESSES
from tests.support.daemon import World
from tests.support.kube_objects import NODES, PODS, node, pod
from tests.support.kube_plane import ControlPlane
from tests.support.kube_world import (
    drained_at,
    in_sync,
    kube_name,
    kube_world,
    node_path,
)

pytestmark = pytest.mark.integration

Obj = dict[str, Any]
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
FIRST, SECOND, THIRD = ADDRESSES
POD_DELETIONS = int(os.environ.get("EDGED_POD_DELETIONS", "3"))
PACE_S = 13.0 if POD_DELETIONS > 4 else 0.0
"""Two writes each: more than ten in a minute would be a storm."""


def taint(key: str) -> Obj:
    return {"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}}


def meta(kind: str, key: str, value: str | None) -> Obj:
    return {"metadata": {kind: {key: value}}}


def shutting_down(status: str, message: str) -> Obj:
    ready = {"type": "Ready", "status": status, "reason": "Kubelet", "message": message}
    return {"status": {"conditions": [ready]}}


MARKS: list[tuple[str, Obj, Obj]] = [
    (
        "annotation edged/drain",
        meta("annotations", "edged/drain", "true"),
        meta("annotations", "edged/drain", "false"),
    ),
    (f"label {EXCLUDE}", meta("labels", EXCLUDE, ""), meta("labels", EXCLUDE, None)),
    (
        "label example.test/maintenance",
        meta("labels", "example.test/maintenance", "yes"),
        meta("labels", "example.test/maintenance", None),
    ),
    (
        "annotation weave.works/kured-reboot-in-progress",
        meta("annotations", "weave.works/kured-reboot-in-progress", "2026-01-12T09:00:00Z"),
        meta("annotations", "weave.works/kured-reboot-in-progress", None),
    ),
    *(
        (f"taint {key}", taint(key), {"spec": {"taints": None}})
        for key in (
            "ToBeDeletedByClusterAutoscaler",
            "karpenter.sh/disrupted",
            "node.kubernetes.io/out-of-service",
        )
    ),
    ("cordoned", {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": None}}),
]


def change(plane: ControlPlane, gateway: str, body: Obj) -> None:
    path = node_path(gateway)
    plane.patch(f"{path}/status" if "status" in body else path, body)


@pytest.mark.parametrize("marks", [MARKS[:4], MARKS[4:]], ids=["by people", "by programs"])
def test_each_drain_mark_takes_a_gateway_out_and_back_and_is_acknowledged(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, marks: list[tuple[str, Obj, Obj]]
) -> None:
    """Eight writes each: more than ten in a minute would be a storm."""
    keys = {"cordon": True, "drain_labels": ["example.test/maintenance"]}
    with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        for words, on, off in marks:
            change(plane, SECOND, on)
            w.wait(f"out by {words}", lambda: SECOND not in w.in_route())
            w.wait(f"acknowledged {words}", lambda: drained_at(plane, SECOND) is not None)
            told = w.event("gateway.drained", gateway=SECOND)
            assert told is not None
            assert told["fields"]["source"] == "kubernetes"
            assert told["fields"]["reason"] == words
            change(plane, SECOND, off)
            w.wait(f"back after {words}", lambda: SECOND in w.in_route())
            w.wait("acknowledgement gone", lambda: drained_at(plane, SECOND) is None)


def test_a_node_that_is_shutting_down_is_drained(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        change(plane, SECOND, shutting_down("False", "node is shutting down"))
        w.wait("out", lambda: SECOND not in w.in_route())
        change(plane, SECOND, shutting_down("True", "kubelet is posting ready status"))
        w.wait("back", lambda: SECOND in w.in_route())


def test_a_cordon_alone_is_no_drain(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        change(plane, SECOND, {"spec": {"unschedulable": True}})
        w.stays("in the route", lambda: SECOND in w.in_route(), 1.0)


@pytest.mark.parametrize("role", ["control plane", "there first"])
def test_the_exclude_label_of_kubeadm_is_ignored_with_a_warning(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, role: str
) -> None:
    change(plane, SECOND, meta("labels", EXCLUDE, ""))
    if role == "control plane":
        change(plane, SECOND, meta("labels", "node-role.kubernetes.io/control-plane", ""))
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("told", lambda: w.event("kube.warning_found", object=kube_name(SECOND)) is not None)
        w.stays("in the route", lambda: SECOND in w.in_route(), 1.0)
        change(plane, SECOND, meta("labels", EXCLUDE, None))
        time.sleep(0.3)
        change(plane, SECOND, meta("labels", EXCLUDE, ""))
        if role == "control plane":
            w.stays("in the route", lambda: SECOND in w.in_route(), 1.0)
        else:
            w.wait("set by a person, it counts", lambda: SECOND not in w.in_route())


def test_a_deleted_node_is_drained_and_the_floor_holds(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        for name in (SECOND, THIRD):
            plane.delete(node_path(name))
        w.wait("one is out", lambda: len(w.in_route()) == 2)
        w.stays("two are in", lambda: len(w.in_route()) == 2, 1.0)
        assert w.event("gateway.vanished", gateway=SECOND) is not None
        plane.delete(node_path(FIRST))
        w.wait(
            "an empty list is not believed",
            lambda: w.event("kube.warning_found", kind="Node", object="*") is not None,
        )
        w.stays("two are in", lambda: len(w.in_route()) == 2, 1.0)


def test_nodes_are_discovered_and_count_from_their_first_up(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    keys = {"node_selector": "kubernetes.io/os=linux,!example.test/off"}
    names = [kube_name(name) for name in ADDRESSES]
    with kube_world(tmp_path, kubeconfig, kubernetes=keys, configured=False) as w:
        w.wait("discovered", lambda: known(w) == names)
        w.wait("adopted", lambda: not w.daemon.status()["vips"][0]["frozen"], 8)
        w.wait("all count", lambda: w.daemon.status()["vips"][0]["min_healthy"] == 2)
        for name in names:
            assert w.event("gateway.discovered", gateway=name) is not None

        change(plane, THIRD, meta("labels", "example.test/off", ""))
        w.wait("gone", lambda: known(w) == names[:2])
        assert w.event("gateway.vanished", gateway=names[2]) is not None
        assert w.in_route() == [FIRST, SECOND]

        change(plane, THIRD, meta("labels", "example.test/off", None))
        w.wait("back", lambda: w.in_route() == [FIRST, SECOND, THIRD], 15)

        w.daemon.child.end()
        w.start_daemon()
        assert known(w) == names  # before the API has been asked
        assert w.daemon.status()["vips"][0]["min_healthy"] == 2


def known(w: World) -> list[str]:
    return [one["name"] for one in w.daemon.status()["vips"][0]["gateways"]]


def test_bad_nodes_are_named(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    plane.create(NODES, node("k8s-twin", ADDRESSES[THIRD]))
    plane.create(NODES, node("k8s-without", ""))
    keys = {"node_selector": "kubernetes.io/os", "daemonset": "kube-system/absent"}
    with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
        w.wait_settled()
        for name, words in (
            ("k8s-twin", kube_name(THIRD)),
            ("k8s-without", "no InternalIP"),
            ("kube-system/absent", "no Pod"),
        ):
            w.wait(name, warned(w, name, words))


def warned(w: World, name: str, words: str) -> Callable[[], bool]:
    def look() -> bool:
        event = w.event("kube.warning_found", object=name)
        return event is not None and words in event["fields"]["detail"]

    return look


@pytest.mark.usefixtures("plane")
def test_a_selector_that_matches_nothing_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    with kube_world(tmp_path, kubeconfig, kubernetes={"node_selector": "no=such"}) as w:
        w.wait_settled()
        w.wait("told", warned(w, "*", "matches none"))


def test_a_node_that_is_not_ready_degrades_after_ten_seconds(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        change(plane, THIRD, shutting_down("Unknown", "Kubelet stopped posting node status."))
        w.stays("in the route", lambda: THIRD in w.in_route(), 8.0)
        w.wait("degraded", lambda: w.daemon.gateway(THIRD)["state"] == "DEGRADED")
        w.wait("out", lambda: THIRD not in w.in_route())
        change(plane, THIRD, shutting_down("True", "kubelet is posting ready status"))
        w.wait("back", lambda: THIRD in w.in_route(), 10)


# --- Pods ---------------------------------------------------------------------------------------


def test_a_pods_end_takes_its_gateway_out_before_the_port_closes(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    """The kubelet stands still for 100 ms, then stops the gateway: the route is there first."""
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        for turn in range(POD_DELETIONS):
            writes, begun = len(w.own_writes()), time.monotonic()
            plane.delete(f"{PODS}/envoy-{SECOND}", grace_s=1)
            time.sleep(0.1)
            assert SECOND not in w.in_route(), f"turn {turn}: the port closes first"
            w[SECOND].terminate()
            w.wait("seen down", lambda: w.daemon.gateway(SECOND)["state"] == "DOWN")
            down = w.event("gateway.went_down", gateway=SECOND)
            assert down is not None
            assert down["fields"]["lead_ms"] > 0
            plane.delete(f"{PODS}/envoy-{SECOND}", grace_s=0)
            plane.create(PODS, pod(f"envoy-{SECOND}", kube_name(SECOND)))
            w[SECOND].start(w.ending)
            w.wait("back", lambda: SECOND in w.in_route())
            assert len(w.own_writes()) == writes + 2
            time.sleep(max(0.0, begun + PACE_S - time.monotonic()))
        assert w.event("gateway.waiting", gateway=SECOND) is None  # no hold-down


def test_where_the_floor_holds_a_pods_gateway_its_death_removes_it(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    settings = {"vip": {"min_healthy": 3}}
    with kube_world(tmp_path, kubeconfig, settings=settings) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        plane.delete(f"{PODS}/envoy-{SECOND}", grace_s=30)
        w.wait("kept", lambda: w.event("gateway.kept", gateway=SECOND, reason="floor") is not None)
        assert SECOND in w.in_route()
        w[SECOND].kill()
        w.wait("out", lambda: SECOND not in w.in_route())


def test_a_pod_that_goes_on_serving_is_believed_no_longer(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        plane.delete(f"{PODS}/envoy-{SECOND}", grace_s=1)
        w.wait("out", lambda: SECOND not in w.in_route())
        w.wait("void", warned(w, f"kube-system/envoy-{SECOND}", "still passes"), 9)
        w.wait("back", lambda: SECOND in w.in_route())


def test_two_pods_that_end_at_once_are_a_warning_and_one_stays(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        for name in (SECOND, THIRD):
            plane.delete(f"{PODS}/envoy-{name}", grace_s=30)
        w.wait("told", warned(w, "kube-system/cilium-envoy", "at once"))
        w.wait("one out", lambda: len(w.in_route()) == 2)
        w.stays("two in", lambda: len(w.in_route()) == 2, 0.5)
