"""An API server that dies, hangs, forgets or forbids: edged sees less and routes on."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from edged.cli.demo_gateways import ADDRESSES
from tests.support.daemon import World
from tests.support.kube_fake import fake_api, page
from tests.support.kube_objects import PODS, sample
from tests.support.kube_plane import ControlPlane, Refused
from tests.support.kube_world import (
    CRDS,
    FROM_KUBERNETES,
    GATEWAYS,
    LEASES,
    NODE_EVENTS,
    RBAC,
    SERVICE_EVENTS,
    annotate,
    drained_at,
    in_sync,
    kube_name,
    kube_world,
    node_path,
)

pytestmark = pytest.mark.integration

Obj = dict[str, Any]
FIRST, SECOND, THIRD = ADDRESSES
P1_MS = 50.0
GATEWAY_CRD = CRDS / "gateway-api" / "gateway.networking.k8s.io_gateways.yaml"
ADVERTS_CRD = CRDS / "cilium" / "ciliumbgpadvertisements.yaml"


def kill_to_write_ms(w: World, name: str) -> float:
    """Kill a gateway; return how long it took until the router was told."""
    before = len(w.own_writes())
    at_us = w[name].kill()
    w.wait("a write", lambda: len(w.own_writes()) > before)
    return float((w.own_writes()[before].at_us - at_us) / 1_000)


# --- independence -------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["dead", "hanging"])
def test_an_incident_while_the_api_server_is_away_is_handled_as_ever(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, trouble: str
) -> None:
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        try:
            if trouble == "dead":
                plane.stop_api(signal.SIGKILL)
            else:
                plane.freeze_api(frozen=True)
            took = kill_to_write_ms(w, SECOND)
            assert took <= P1_MS
            assert w.in_route() == [FIRST, THIRD]
            w[SECOND].start(w.ending)
            w.wait("back", lambda: SECOND in w.in_route(), 15)
        finally:
            if trouble == "dead":
                plane.start_api()
            else:
                plane.freeze_api(frozen=False)
        w.wait("in sync again", lambda: in_sync(w), 45)
        annotate(plane, THIRD, edged_drain="yes")
        w.wait("marks are seen again", lambda: THIRD not in w.in_route())


def test_an_incident_while_the_api_server_talks_rubbish_is_handled_as_ever(tmp_path: Path) -> None:
    with rubbish(tmp_path) as kubeconfig, kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("told", lost(w, "not JSON"))
        assert kill_to_write_ms(w, SECOND) <= P1_MS
        assert w.in_route() == [FIRST, THIRD]


@contextmanager
def rubbish(folder: Path) -> Iterator[Path]:
    """Run a server that answers every question with a page, in a thread of its own."""
    ready, end = threading.Event(), threading.Event()
    paths: list[Path] = []

    async def serve() -> None:
        async with fake_api() as api:
            for verb in ("list", "watch", "get"):
                api.always[verb] = page(200, "<html>Sign in</html>")
            paths.append(api.kubeconfig(folder))
            ready.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield paths[0]
    finally:
        end.set()
        thread.join(10)


def test_a_drain_mark_set_while_the_api_server_is_restarted_is_not_missed(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    """The watch cache of a new server forgets old versions: 410, and a list."""
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait_settled()
        w.wait("in sync", lambda: in_sync(w))
        plane.stop_api(signal.SIGKILL)
        plane.start_api()
        annotate(plane, SECOND, edged_drain="yes")
        w.wait("out", lambda: SECOND not in w.in_route(), 15)
        w.wait("acknowledged", lambda: drained_at(plane, SECOND) is not None, 15)


def test_an_expired_token_is_named_and_a_new_one_is_read(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with service_account(plane, tmp_path) as renew:
        kubeconfig = renew()
        with kube_world(tmp_path, kubeconfig) as w:
            w.wait_settled()
            w.wait("in sync", lambda: in_sync(w))
            account = "/api/v1/namespaces/edged/serviceaccounts/edged"
            plane.delete(account)  # its tokens are worth nothing from now on
            plane.stop_api()  # so that no stream outlives them
            plane.start_api()
            w.wait("named", lambda: "Unauthorized" in w.daemon.status()["kubernetes"], 20)
            plane.apply_manifest(RBAC.read_text())
            renew()
            w.wait("in sync again", lambda: in_sync(w), 40)
            assert w.in_route() == list(ADDRESSES)


def lost(w: World, words: str) -> Callable[[], bool]:
    def look() -> bool:
        return any(
            words in str(event["fields"].get("detail"))
            for event in w.daemon.events(names="kube.watch_lost")
        )

    return look


@contextmanager
def service_account(plane: ControlPlane, folder: Path) -> Iterator[Callable[[], Path]]:
    """Apply the manifest; yields what makes a kubeconfig with a fresh token of the account."""
    plane.apply_manifest(RBAC.read_text())

    def renew() -> Path:
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = "/api/v1/namespaces/edged/serviceaccounts/edged/token"
        token = plane.call("POST", path, request)["status"]["token"]
        return plane.kubeconfig(folder, token)

    yield renew


# --- history that is gone -----------------------------------------------------------------------


def test_a_compacted_history_means_a_list_and_nothing_else(
    tmp_path: Path, shared_plane: ControlPlane
) -> None:
    """Without a watch cache etcd itself answers, and 410 comes from compaction."""
    from tests.support.kube_plane import control_plane  # noqa: PLC0415 - a second plane, here only
    from tests.support.kube_world import populate  # noqa: PLC0415
    from tests.support.parts import require_part  # noqa: PLC0415

    del shared_plane
    binaries = require_part("kube-apiserver")
    flags = ["--watch-cache=false"]
    with control_plane(binaries, tmp_path / "uncached", api_flags=flags) as plane:
        populate(plane)
        with kube_world(tmp_path, plane.kubeconfig(tmp_path)) as w:
            w.wait_settled()
            w.wait("in sync", lambda: in_sync(w))
            plane.create("/api/v1/namespaces", {"metadata": {"name": "moves-the-revision"}})
            plane.compact()
            plane.stop_api(signal.SIGKILL)
            annotate_later = {"metadata": {"annotations": {"edged/drain": "yes"}}}
            plane.start_api()
            plane.compact()
            plane.patch(node_path(SECOND), annotate_later)
            w.wait("out", lambda: SECOND not in w.in_route(), 20)


# --- rights -------------------------------------------------------------------------------------


def test_the_manifest_is_enough_for_everything(plane: ControlPlane, tmp_path: Path) -> None:
    kinds(plane, GATEWAY_CRD, ADVERTS_CRD)
    with service_account(plane, tmp_path) as renew:
        gateway = sample("gateway-programmed-true.yaml")[0]
        plane.create(GATEWAYS, gateway)
        keys = {"lease": "edged/edged", "node_selector": "kubernetes.io/os"}
        with kube_world(tmp_path, renew(), kubernetes=keys, vip=FROM_KUBERNETES) as w:
            w.wait_settled()
            annotate(plane, SECOND, edged_drain="yes")
            w.wait("out", lambda: SECOND not in w.in_route())
            w.wait("acknowledged", lambda: drained_at(plane, SECOND) is not None)
            w.wait("an Event on the node", lambda: posted(plane, NODE_EVENTS, kube_name(SECOND)))
            w.wait("one on the Service", lambda: posted(plane, SERVICE_EVENTS, "gateway-lb"))
            assert w.daemon.events(names="kube.forbidden") == []
            known = w.daemon.status()
            assert "Service kube-system/gateway-lb in sync" in known["kubernetes"]
            assert "Gateway kube-system/cilium-gateway in sync" in known["kubernetes"]
            assert "this instance" in known["writer"]
            why = w.daemon.client.get("why", {"name": SECOND})
            assert f"node {kube_name(SECOND)} Ready" in str(why)
            (route,) = w.daemon.client.get("plan")["routes"]
            told = [one for one in route["known"] if one["fact"] == "kubernetes"]
            assert [one["gateway"] for one in told] == list(ADDRESSES)
            assert all("API server" in one["source"] and one["at"] for one in told)


def posted(plane: ControlPlane, path: str, name: str) -> bool:
    return any(
        raw["regarding"]["name"] == name and raw["reportingController"] == "edged"
        for raw in plane.get(path)["items"]
    )


RULES: list[tuple[str, str, str, int, str]] = [
    ("nodes", "clusterroles", "edged", 0, "Node"),
    ("drained-at", "clusterroles", "edged", 1, "Node"),
    ("advertisements", "clusterroles", "edged", 2, "CiliumBGPAdvertisement"),
    ("pods", "namespaces/kube-system/roles", "edged", 0, "Pod"),
    ("service", "namespaces/kube-system/roles", "edged", 1, "Service"),
    ("gateway", "namespaces/kube-system/roles", "edged", 2, "Gateway"),
    ("events on services", "namespaces/kube-system/roles", "edged", 3, "Event in kube-system"),
    ("events on nodes", "namespaces/default/roles", "edged", 0, "Event in default"),
    ("lease", "namespaces/edged/roles", "edged", 1, "Lease"),
]


@pytest.mark.parametrize("rule", RULES, ids=[rule[0] for rule in RULES])
def test_a_missing_rule_turns_one_sense_off_and_is_told_once(
    plane: ControlPlane, tmp_path: Path, rule: tuple[str, str, str, int, str]
) -> None:
    _, collection, name, index, kind = rule
    role = f"/apis/rbac.authorization.k8s.io/v1/{collection}/{name}"
    kinds(plane, GATEWAY_CRD, ADVERTS_CRD)
    with service_account(plane, tmp_path) as renew:
        rules = plane.get(role)["rules"]
        plane.patch(role, {"rules": rules[:index] + rules[index + 1 :]})
        keys = {"lease": "edged/edged"} if kind == "Lease" else {}
        try:
            with kube_world(tmp_path, renew(), kubernetes=keys, vip=FROM_KUBERNETES) as w:
                if kind != "Lease":
                    w.wait_settled()
                if kind not in {"Node", "Lease"} or index == 1:
                    w.wait("nodes in sync", lambda: "nodes in sync" in str(w.daemon.status()))
                    annotate(plane, SECOND, edged_drain="yes")
                if kind not in {"Node", "Lease"}:
                    w.wait("marks still work", lambda: SECOND not in w.in_route())
                w.wait("told", lambda: forbidden(w) != [])
                time.sleep(1.0)
                assert forbidden(w) == [kind]
                assert "edged" in str(w.daemon.events(names="kube.forbidden")[0]["fields"])
        finally:
            plane.patch(role, {"rules": rules})


LEASE_RULES = "/apis/rbac.authorization.k8s.io/v1/namespaces/edged/roles/edged"


@contextmanager
def without_lease(plane: ControlPlane, folder: Path, *rules: Obj) -> Iterator[Path]:
    """Start as on a first day: no Lease yet, and these rules for it in place of the manifest's."""
    with service_account(plane, folder) as renew:
        shipped = plane.get(LEASE_RULES)["rules"]
        with suppress(Refused):
            plane.delete(f"{LEASES}/edged")
        if rules:
            plane.patch(LEASE_RULES, {"rules": list(rules)})
        try:
            yield renew()
        finally:
            plane.patch(LEASE_RULES, {"rules": shipped})


def lease_rule(*verbs: str, name: str = "") -> Obj:
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": [*verbs]}
    return {**rule, "resourceNames": [name]} if name else rule


def test_a_first_start_makes_its_lease_with_the_manifests_rights(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with without_lease(plane, tmp_path) as kubeconfig:
        keys = {"lease": "edged/edged"}
        with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
            w.wait_settled()
            holder = plane.get(f"{LEASES}/edged")["spec"]["holderIdentity"]
            assert w.daemon.status()["writer"] == f"{holder} (this instance)"
            assert w.daemon.events(names="kube.forbidden") == []


@pytest.mark.parametrize(
    ("rules", "verb"),
    [
        ([lease_rule("get", "update", name="edged")], "create"),
        ([lease_rule("create")], "get"),
        ([lease_rule("create"), lease_rule("update", name="edged")], "get"),
        ([lease_rule("create"), lease_rule("get", name="edged")], "update"),
        ([lease_rule("get", "update", name="other"), lease_rule("create")], "get"),
    ],
    ids=["no create", "create only", "no get", "no update", "another name"],
)
def test_each_missing_right_on_the_lease_is_named_and_the_route_stays(
    plane: ControlPlane, tmp_path: Path, rules: list[Obj], verb: str
) -> None:
    with without_lease(plane, tmp_path, *rules) as kubeconfig:
        keys = {"lease": "edged/edged"}
        with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
            w.wait("told", lambda: forbidden(w) == ["Lease"])
            (told,) = w.daemon.events(names="kube.forbidden")
            assert told["fields"]["verb"] == verb
            assert "Lease edged/edged" in told["fields"]["detail"]
            assert "rbac.yaml" in told["fields"]["detail"]
            w.stays("route", lambda: w.in_route() == list(ADDRESSES), 1.0)
            assert forbidden(w) == ["Lease"], "once"


def test_a_lease_in_a_namespace_that_is_not_there_is_named(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    keys = {"lease": "nowhere/edged"}
    with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
        w.wait("told", warned(w, "Lease", "no namespace nowhere"))
        assert w.in_route() == list(ADDRESSES)
        assert w.own_writes() == []
        plane.apply_manifest("{apiVersion: v1, kind: Namespace, metadata: {name: nowhere}}")
        w.wait("taken", lambda: "this instance" in w.daemon.status()["writer"])
        w.wait_settled()


def forbidden(w: World) -> list[str]:
    return [event["fields"]["kind"] for event in w.daemon.events(names="kube.forbidden")]


def kinds(plane: ControlPlane, *crds: Path) -> None:
    """Serve custom kinds, empty."""
    for path in crds:
        raw = yaml.safe_load(path.read_text())
        version = next(one["name"] for one in raw["spec"]["versions"] if one["served"])
        plural = f"{raw['spec']['group']}/{version}/{raw['spec']['names']['plural']}"
        plane.add_crd(path, f"/apis/{plural}")
    with suppress(Refused):
        plane.delete(f"{GATEWAYS}/cilium-gateway")


# --- the VIP's objects --------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["absent", "v2", "v2alpha1"])
def test_each_generation_of_ciliums_advertisements_is_understood(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, version: str
) -> None:
    advert = next(
        raw for raw in sample("cilium-bgp-v2-config.yaml") if raw["kind"].endswith("Advertisement")
    )
    advert["spec"]["advertisements"][0]["selector"] = {"matchLabels": {"no": "such"}}
    crd = ADVERTS_CRD
    if version == "v2alpha1":
        crd = tmp_path / "crd.yaml"
        crd.write_text(ADVERTS_CRD.read_text().replace('name: "v2"', 'name: "v2alpha1"'))
        advert["apiVersion"] = "cilium.io/v2alpha1"
    plane.remove_crd("ciliumbgpadvertisements.cilium.io")
    kinds(plane, *(() if version == "absent" else (crd,)))
    if version != "absent":
        plane.create(f"/apis/cilium.io/{version}/ciliumbgpadvertisements", advert)
    with kube_world(tmp_path, kubeconfig, vip=FROM_KUBERNETES) as w:
        w.wait_settled()
        w.wait("policy", warned(w, "Service", "externalTrafficPolicy is Cluster"))
        w.wait("no such Gateway", warned(w, "Gateway", "no such Gateway"))
        if version == "absent":
            w.stays("nothing of BGP", lambda: not warned(w, "Service", "BGP")(), 1.0)
        else:
            w.wait("not advertised", warned(w, "Service", "no BGP advertisement"))
        assert w.in_route() == list(ADDRESSES)


def warned(w: World, kind: str, words: str) -> Callable[[], bool]:
    def look() -> bool:
        return any(
            event["fields"]["kind"] == kind and words in event["fields"]["detail"]
            for event in w.daemon.events(names="kube.warning_found")
        )

    return look


def test_what_happens_to_the_vips_objects_is_told_and_the_route_stays(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    service = "/api/v1/namespaces/kube-system/services/gateway-lb"
    kinds(plane, GATEWAY_CRD)
    plane.create(GATEWAYS, sample("gateway-programmed-false.yaml")[0])
    with kube_world(tmp_path, kubeconfig, vip=FROM_KUBERNETES) as w:
        w.wait_settled()
        w.wait("cilium #42786", warned(w, "Gateway", "although"))
        assert "Cluster" in w.daemon.status()["policy"]["text"]

        plane.patch(service, {"spec": {"externalTrafficPolicy": "Local"}})
        w.wait("Local", lambda: w.daemon.status()["policy"]["fine"] is True)

        address = {"loadBalancer": {"ingress": [{"ip": "192.0.2.99"}]}}
        plane.patch(f"{service}/status", {"status": address})
        w.wait("changed", lambda: w.event("vip.changed", after="192.0.2.99") is not None)
        plane.patch(f"{service}/status", {"status": {"loadBalancer": {"ingress": None}}})
        w.wait("vanished", lambda: w.event("vip.vanished", vip="web") is not None)

        broken = sample("gateway-listener-broken.yaml")[0]
        path = f"{GATEWAYS}/cilium-gateway"
        plane.patch(f"{path}/status", {"status": broken["status"]})
        w.wait("references", warned(w, "Gateway", "ResolvedRefs False"))
        other = [{**one, "hostname": "*.other.test"} for one in broken["spec"]["listeners"]]
        for one in other:
            one["port"] = w[FIRST].port
        plane.patch(path, {"spec": {"listeners": other[1:]}})
        w.wait("SNI", warned(w, "Gateway", "no listener"))
        assert w.in_route() == list(ADDRESSES)


def test_unknown_names_are_named(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    vip = {"from": "kubernetes", "kube_service": "nowhere/nothing"}
    with kube_world(tmp_path, kubeconfig, vip=vip) as w:
        w.wait_settled()
        w.wait("told", warned(w, "Service", "no such Service"))
        plane.create(PODS.replace("kube-system", "default"), {**_plain_pod()})
        assert w.in_route() == list(ADDRESSES)


def test_an_unknown_context_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    found = yaml.safe_load(kubeconfig.read_text())
    other = tmp_path / "other-context"
    other.write_text(yaml.safe_dump({**found, "current-context": "nowhere"}))
    with kube_world(tmp_path, other) as w:
        w.wait_settled()
        w.wait("told", lost(w, "nowhere"))
        assert lost(w, str(other))()


def test_a_reload_names_what_of_kubernetes_needs_a_restart_and_disturbs_nothing(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with kube_world(tmp_path, kubeconfig, kubernetes={"cordon": False}) as w:
        w.wait_settled()
        annotate(plane, SECOND, edged_drain="yes")
        w.wait("out", lambda: SECOND not in w.in_route())
        writes = len(w.own_writes())
        text = w.daemon.config.read_text()
        w.daemon.config.write_text(text.replace("cordon = false", "cordon = true"))
        for _ in range(2):
            answer = w.daemon.client.post("reload", {"owner": "test"})
            assert answer["needs_restart"] == ["kubernetes.cordon"], "said until it is done"
        w.daemon.config.write_text(text.replace("enabled = true", "enabled = false"))
        answer = w.daemon.client.post("reload", {"owner": "test"})
        assert answer["needs_restart"] == ["kubernetes.enabled"]
        w.stays("the drain", lambda: w.in_route() == [FIRST, THIRD], 2.0)
        assert len(w.own_writes()) == writes
        assert in_sync(w), "as it was started"
        annotate(plane, SECOND, edged_drain=None)
        w.wait("back", lambda: SECOND in w.in_route(), 30)


def test_a_daemonset_in_an_unknown_namespace_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    keys = {"daemonset": "nowhere/cilium-envoy"}
    with kube_world(tmp_path, kubeconfig, kubernetes=keys) as w:
        w.wait_settled()
        w.wait("told", warned(w, "DaemonSet", "no Pod"))
        assert w.event("kube.warning_found", object="nowhere/cilium-envoy") is not None


def test_a_service_without_an_address_is_named(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    status = {"status": {"loadBalancer": {"ingress": None}}}
    plane.patch("/api/v1/namespaces/kube-system/services/gateway-lb/status", status)
    vip = {"from": "kubernetes", "kube_service": "kube-system/gateway-lb"}
    with kube_world(tmp_path, kubeconfig, vip=vip) as w:
        w.wait_settled()
        w.wait("told", warned(w, "Service", "it has no address"))
        assert w.event("kube.warning_found", object="kube-system/gateway-lb") is not None
        assert w.in_route() == list(ADDRESSES)


def _plain_pod() -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"plain-{time.monotonic_ns()}", "namespace": "default"},
        "spec": {"containers": [{"name": "one", "image": "none"}]},
    }


def test_a_kubeconfig_that_is_not_there_is_named_and_routing_goes_on(tmp_path: Path) -> None:
    with kube_world(tmp_path, tmp_path / "absent") as w:
        w.wait_settled()
        w.wait("told", lost(w, "absent"))
        assert kill_to_write_ms(w, SECOND) <= P1_MS
