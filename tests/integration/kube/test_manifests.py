"""deploy/kubernetes against the real API server: dry runs, and Pod security at its strictest."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edged.cli.main import main
from tests.support.kube_objects import SERVICES
from tests.support.kube_plane import ControlPlane, Refused
from tests.support.kube_world import kube_world

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[3] / "deploy/kubernetes"
NAMESPACE = "edged-strict"
DRY = "?dryRun=All&fieldValidation=Strict"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in documents("deployment.yaml") if one["kind"] == kind]
    found["metadata"]["namespace"] = NAMESPACE
    return found


def pod() -> dict[str, Any]:
    template = of_kind("Deployment")["spec"]["template"]
    spec = template["spec"] | {"serviceAccountName": "default"}
    meta = {"name": "edged", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@pytest.fixture
def strict(shared_plane: ControlPlane) -> ControlPlane:
    """The control plane with a namespace that takes restricted Pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    meta = {"name": NAMESPACE, "labels": labels}
    with contextlib.suppress(Refused):
        shared_plane.call("POST", "/api/v1/namespaces", {"metadata": meta})
    account = {"metadata": {"name": "default"}}
    with contextlib.suppress(Refused):
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        shared_plane.call("POST", path, account)
    return shared_plane


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "/apis/apps/v1/namespaces/{}/deployments"),
        ("PodDisruptionBudget", "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"),
    ],
)
def test_the_server_takes_it_with_every_field_known(
    strict: ControlPlane, kind: str, path: str
) -> None:
    made = strict.call("POST", path.format(NAMESPACE) + DRY, of_kind(kind))
    assert made["metadata"]["name"] == "edged"


def test_a_misspelt_field_would_be_noticed(strict: ControlPlane) -> None:
    wrong = of_kind("Deployment")
    wrong["spec"]["replica"] = 2
    with pytest.raises(Refused, match="replica"):
        strict.call("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments{DRY}", wrong)


def test_its_pod_is_allowed_where_only_restricted_pods_are(strict: ControlPlane) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods{DRY}"
    assert strict.call("POST", path, pod())["metadata"]["name"] == "edged"
    loose = pod()
    del loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
    with pytest.raises(Refused, match="allowPrivilegeEscalation"):
        strict.call("POST", path, loose)


def test_the_kustomization_names_what_is_there() -> None:
    (kustomization,) = documents("kustomization.yaml")
    for resource in kustomization["resources"]:
        assert (FOLDER / resource).is_file()
    (deployment,) = [one for one in documents("deployment.yaml") if one["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    names = {one["name"] for one in kustomization["configMapGenerator"]}
    assert {v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v} == names
    assert deployment["spec"]["replicas"] == 2


def test_doctor_tells_what_the_daemon_may_not_do(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An account without any right: each sense that is off has its line, and rbac.yaml the cure."""
    namespace = f"/api/v1/namespaces/{NAMESPACE}"
    with contextlib.suppress(Refused):
        plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    with contextlib.suppress(Refused):
        plane.call("POST", f"{namespace}/serviceaccounts", {"metadata": {"name": "powerless"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = plane.call("POST", f"{namespace}/serviceaccounts/powerless/token", request)
    kubeconfig = plane.kubeconfig(tmp_path, made["status"]["token"])
    with kube_world(tmp_path, kubeconfig) as w:
        w.wait("told of Nodes", lambda: "Node" in str(w.daemon.events(names="kube.forbidden")))
        capsys.readouterr()
        main(["doctor", "--json", "--config", str(w.daemon.config)])
        checks = json.loads(capsys.readouterr().out)["checks"]
    found = [one for one in checks if one["area"] == "kubernetes"]
    assert [one for one in found if one["level"] == "ok"]
    forbidden = [one for one in found if one["text"].startswith("kube.forbidden: ")]
    assert any("Node" in one["text"] for one in forbidden)
    assert all("rbac.yaml" in one["fix"] for one in forbidden)


def test_doctor_asks_the_cluster_for_the_traffic_policy(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a daemon, too: Cluster has its cure, Local is fine, and a wrong name is said."""
    service = f"{SERVICES}/gateway-lb"
    named = {"kube_service": "kube-system/gateway-lb"}
    with kube_world(tmp_path, kubeconfig, vip=named) as w:
        w.daemon.child.end()

        def said() -> dict[str, Any]:
            capsys.readouterr()
            main(["doctor", "--json", "--config", str(w.daemon.config)])
            checks = json.loads(capsys.readouterr().out)["checks"]
            (found,) = [one for one in checks if "externalTrafficPolicy" in one["text"]]
            assert isinstance(found, dict)
            return found

        found = said()
        assert found["level"] == "warn"
        assert "externalTrafficPolicy is Cluster" in found["text"]
        patch = re.search(r"kubectl -n (\S+) patch service (\S+) -p '(.+)'$", found["fix"])
        assert patch is not None
        assert patch.groups()[:2] == ("kube-system", "gateway-lb")
        plane.patch(service, json.loads(patch[3]))
        found = said()
        assert (found["level"], found["area"]) == ("ok", "VIP web")
        assert "externalTrafficPolicy is Local" in found["text"]
        plane.delete(service)
        assert "not checked" in said()["text"]
