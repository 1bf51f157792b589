"""Where credentials come from, and what each answer of the API server means."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiohttp import web

from edged.kube.client import Cluster, error_of, refusal
from edged.kube.errors import (
    Busy,
    Conflict,
    CredentialsUnusable,
    Forbidden,
    Gone,
    KubeError,
    NotFound,
    Unauthorized,
)
from tests.support.kube_fake import TOKEN, fake_api
from tests.support.kube_objects import NODES, node, sample_lines


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (429, Busy),
        (503, Busy),
        (500, KubeError),
        (302, KubeError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": "made up"}'])
def test_each_status_says_what_may_be_done_next(
    status: int, kind: type[KubeError], body: bytes
) -> None:
    error = refusal(status, body)
    assert type(error) is kind
    assert str(error) in {f"HTTP {status}", "made up"}


def test_a_good_answer_is_none() -> None:
    assert refusal(201, b"") is None


def test_the_wish_to_wait_is_bounded() -> None:
    busy = refusal(429, b"{}", "999999")
    assert isinstance(busy, Busy)
    assert busy.retry_after_ms == 300_000
    said = error_of(json.loads(sample_lines("watch-errors.jsonl")[3]))
    assert isinstance(said, Busy)
    assert said.retry_after_ms == 1_000
    odd = refusal(503, b"{}", "tomorrow")
    assert isinstance(odd, Busy)
    assert odd.retry_after_ms == 0


async def test_a_refused_token_leaves_the_requests_that_are_under_way_alone(tmp_path: Path) -> None:
    """When its session goes, aiohttp fails an assertion of its own, which ended the daemon."""
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await answer.wait()
        return web.json_response({"late": True})

    async with fake_api() as api:
        api.put(NODES, node("k8s-01"))
        cluster = Cluster(api.kubeconfig(tmp_path), {})
        api.next("list", late)
        async with asyncio.TaskGroup() as group:
            under_way = group.create_task(cluster.get(NODES))
            await arrived.wait()
            valid, api.token = api.token, "another"
            requests = [group.create_task(_refused(cluster)) for _ in range(3)]
            await asyncio.wait(requests)
            api.token = valid
            answer.set()
        assert await under_way == {"late": True}
        assert "items" in await cluster.get(NODES)  # with what was read anew
        await cluster.close()


async def _refused(cluster: Cluster) -> None:
    with pytest.raises(Unauthorized):
        await cluster.get(NODES)


async def test_an_exec_plug_in_supplies_the_token(tmp_path: Path) -> None:
    async with fake_api() as api:
        api.put(NODES, node("k8s-01"))
        path = api.kubeconfig(tmp_path)
        config = json.loads(path.read_text())
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": TOKEN},
        }
        config["users"][0]["user"] = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": sys.executable,
                "args": ["-c", f"print({json.dumps(json.dumps(credential))})"],
                "interactiveMode": "Never",
            }
        }
        path.write_text(json.dumps(config))
        cluster = Cluster(path, {})
        page = await cluster.get(NODES)
        assert page["items"]
        await cluster.close()


async def test_a_plug_in_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with fake_api() as api:
        path = api.kubeconfig(tmp_path)
        config = json.loads(path.read_text())
        exec_user = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "no-such-plug-in",
            "interactiveMode": "Never",
        }
        config["users"][0]["user"] = {"exec": exec_user}
        path.write_text(json.dumps(config))
        with pytest.raises(KubeError):
            await Cluster(path, {}).get(NODES)


async def test_inside_a_cluster_the_account_of_the_pod_is_used() -> None:
    cluster = Cluster(None, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert cluster.source == "the Pod's service account"
    with pytest.raises(CredentialsUnusable, match="the Pod's service account"):
        await cluster.get(NODES)  # there is none on this machine


def test_outside_of_one_the_usual_file_is_used() -> None:
    assert Cluster(None, {"KUBECONFIG": "/etc/edged/kubeconfig"}).source == "/etc/edged/kubeconfig"
    assert Cluster(None, {}).source.endswith("/.kube/config")


async def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    async with fake_api() as api:
        path = api.kubeconfig(tmp_path)
        config = json.loads(path.read_text())
        del config["clusters"][0]["cluster"]["certificate-authority"]
        path.write_text(json.dumps(config))
        cluster = Cluster(path, {})
        with pytest.raises(KubeError, match="certificate"):
            await cluster.get(NODES)
        await cluster.close()
        assert api.seen == []
