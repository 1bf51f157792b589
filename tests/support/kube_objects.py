"""Builders of raw Kubernetes objects, and the samples in tests/data/kube."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

DATA: Final = Path(__file__).parents[1] / "data" / "kube"
NODES: Final = "/api/v1/nodes"
PODS: Final = "/api/v1/namespaces/kube-system/pods"
SERVICES: Final = "/api/v1/namespaces/kube-system/services"
GATEWAYS: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/kube-system/gateways"
DAEMONSET: Final = "cilium-envoy"

Obj = dict[str, Any]


def sample(name: str) -> list[Obj]:
    """Return every object of a sample file, lists unpacked."""
    found: list[Obj] = []
    for raw in yaml.safe_load_all((DATA / name).read_text(encoding="utf-8")):
        found.extend(raw["items"] if raw["kind"] == "List" else [raw])
    return found


def sample_lines(name: str) -> list[bytes]:
    """Return the lines of a sample stream."""
    return (DATA / name).read_bytes().splitlines()


def node(
    name: str,
    address: str = "172.30.1.20",
    *,
    ready: str = "True",
    message: str = "kubelet is posting ready status",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    taints: tuple[str, ...] = (),
    **spec: object,
) -> Obj:
    """Return a Node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"kubernetes.io/os": "linux", **(labels or {})},
            "annotations": annotations or {},
        },
        "spec": {
            **spec,
            "taints": [{"key": key, "effect": "NoSchedule"} for key in taints],
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}] if address else [],
            "conditions": [{"type": "Ready", "status": ready, "message": message}],
        },
    }


def pod(
    name: str,
    on: str,
    *,
    daemonset: str = DAEMONSET,
    grace_s: int | None = None,
    phase: str = "Running",
    host_network: bool = True,
) -> Obj:
    """Return a Pod; with `grace_s` it is being deleted."""
    metadata: Obj = {
        "name": name,
        "namespace": "kube-system",
        "uid": f"uid-{name}",
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "name": daemonset,
                "uid": "uid-daemonset",
                "controller": True,
            }
        ],
    }
    if grace_s is not None:
        metadata |= {
            "deletionTimestamp": "2026-01-12T09:00:00Z",
            "deletionGracePeriodSeconds": grace_s,
        }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": on,
            "hostNetwork": host_network,
            "containers": [{"name": "cilium-envoy", "image": "envoy"}],
        },
        "status": {"phase": phase},
    }


def bytes_of(kind: str, raw: Obj) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": kind, "object": raw}).encode() + b"\n"
