"""List and watch against a strict server on loopback: every stream fault is survived."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edged.core.events import Event
from edged.kube.client import Cluster
from edged.kube.nodes import NodeFacts, parse_node
from edged.kube.watch import Resource, SyncState, Watcher
from tests.support.kube_fake import (
    FakeApi,
    Fault,
    expired,
    fake_api,
    page,
    refused,
    silent,
    streamed,
)
from tests.support.kube_objects import NODES, bytes_of, node, sample_lines
from tests.support.router_rig import until


@dataclass
class Rig:
    """A watch of nodes with everything that it said."""

    api: FakeApi
    watcher: Watcher[NodeFacts]
    told: list[Event] = field(default_factory=list)
    looks: int = 0

    @property
    def names(self) -> list[str]:
        return sorted(self.watcher.objects)

    def events(self, name: str) -> list[Event]:
        return [one for one in self.told if one.name == name]


@asynccontextmanager
async def watching(
    folder: Path,
    before: Callable[[FakeApi], None] = lambda _: None,
    *,
    silence_s: float = 30.0,
) -> AsyncIterator[Rig]:
    async with fake_api() as api:
        api.objects[NODES] = {}
        for name in ("k8s-01", "k8s-02"):
            api.put(NODES, node(name))
        before(api)
        cluster = Cluster(api.kubeconfig(folder), {})
        told: list[Event] = []
        rig: Rig

        def looked() -> None:
            rig.looks += 1

        watcher = Watcher(
            cluster,
            Resource(kind="Node", path=NODES, query={}),
            parse_node,
            changed=looked,
            tell=lambda *events: told.extend(events),
            rng=random.Random(1),
            silence_s=silence_s,
            retry_ms=4,
            retry_ms_max=40,
            shut_ms=20,
        )
        rig = Rig(api=api, watcher=watcher, told=told)
        task = asyncio.create_task(watcher.run())
        try:
            yield rig
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await cluster.close()


async def test_a_list_then_a_watch_keep_what_the_server_shows(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        assert rig.names == ["k8s-01", "k8s-02"]
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: rig.names == ["k8s-01", "k8s-02", "k8s-03"])
        rig.api.delete(NODES, "k8s-01")
        await until(lambda: rig.names == ["k8s-02", "k8s-03"])
        assert rig.api.count("list") == 1
        assert rig.told == []


async def test_a_change_is_seen_in_the_turn_in_which_its_line_arrived(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        looks = rig.looks
        rig.api.put(NODES, node("k8s-01", ready="False"))
        await until(lambda: rig.watcher.objects["k8s-01"].ready is False)
        assert rig.looks > looks


async def test_a_heartbeat_is_no_change(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        looks = rig.looks
        raw = node("k8s-01")
        raw["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-12T09:00:00Z"
        rig.api.put(NODES, raw)
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: "k8s-03" in rig.names)
        assert rig.looks == looks + 1


async def test_pages_are_followed_and_only_a_whole_list_counts(tmp_path: Path) -> None:
    def many(api: FakeApi) -> None:
        for number in range(120):
            api.put(NODES, node(f"n{number:03}"))
        api.next("list", refused(500, "InternalError"))

    async with watching(tmp_path, many) as rig:
        await until(lambda: rig.watcher.synced)
        assert len(rig.names) == 122
        assert rig.api.count("list") == 4  # one refused, then pages of 50, 50 and 22


async def test_a_clean_end_goes_on_from_the_last_bookmark(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.put("/api/v1/namespaces", {"metadata": {"name": "other"}})  # moves the version only
        await until(lambda: rig.api.count("watch") >= 3, within_s=5.0)
        versions = [q["resourceVersion"] for v, _, q in rig.api.seen if v == "watch"]
        assert int(versions[-1]) == rig.api.version
        assert rig.api.count("list") == 1
        assert rig.told == []


async def test_history_that_is_gone_means_list_again(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        gone = streamed(bytes_of("ERROR", expired()))
        rig.api.next("watch", gone, gone)
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: rig.api.count("list") == 3, within_s=5.0)
        await until(lambda: rig.names == ["k8s-01", "k8s-02", "k8s-03"])
        assert rig.events("kube.watch_lost") == []


async def test_history_that_is_always_gone_does_not_spin(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        rig.api.always["watch"] = streamed(bytes_of("ERROR", expired()))
        await until(lambda: rig.watcher.lists >= 2)
        before = rig.api.count("list")
        await asyncio.sleep(0.05)
        assert rig.api.count("list") - before <= 12


async def test_an_expired_page_token_begins_the_list_again(tmp_path: Path) -> None:
    def many(api: FakeApi) -> None:
        for number in range(60):
            api.put(NODES, node(f"n{number:03}"))

    async with watching(tmp_path, many) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.next("watch", streamed(bytes_of("ERROR", expired())))
        await until(lambda: rig.api.count("watch") >= 2, within_s=5.0)
        rig.api.next("list", refused(410, "Expired"))
        await until(lambda: rig.watcher.lists == 2, within_s=5.0)
        assert len(rig.names) == 62


SAMPLES = sample_lines("watch-errors.jsonl")

STREAM_FAULTS = [
    pytest.param(streamed(), id="eof right after the start"),
    pytest.param(streamed(abort=True), id="reset after the head"),
    pytest.param(silent(opened=True), id="silence after the head"),
    pytest.param(streamed(SAMPLES[0] + b"\n"), id="500 in the stream"),
    pytest.param(streamed(SAMPLES[1] + b"\n"), id="401 as a line"),
    pytest.param(streamed(SAMPLES[3] + b"\n"), id="429 as a line"),
    pytest.param(streamed(SAMPLES[4] + b"\n"), id="an HTML line"),
    pytest.param(streamed(SAMPLES[5]), id="cut in mid-line"),
    pytest.param(streamed(SAMPLES[5], abort=True), id="cut in mid-line and reset"),
    pytest.param(streamed(b"[1]\n"), id="JSON, but no object"),
    pytest.param(streamed(b'{"type":"SURPRISE","object":{}}\n'), id="an unknown type"),
    pytest.param(streamed(b"\xff\xfe\n"), id="no text"),
    pytest.param(page(502, "<html>Bad Gateway</html>"), id="502 with a page"),
    pytest.param(page(200, "<html>Log in</html>"), id="200 with a page"),
    pytest.param(refused(500, "InternalError"), id="500"),
    pytest.param(refused(429, "TooManyRequests"), id="429"),
    pytest.param(refused(302, "Found", Location="https://192.0.2.1/"), id="a redirection"),
]


@pytest.mark.parametrize("fault", STREAM_FAULTS)
async def test_a_broken_stream_is_survived_and_told_once_if_it_stays(
    tmp_path: Path,
    fault: Fault,
) -> None:
    async with watching(tmp_path, silence_s=0.7) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.always["watch"] = fault
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: len(rig.events("kube.watch_lost")) == 1, within_s=6.0)
        assert rig.watcher.state is SyncState.LOST
        assert set(rig.names) >= {"k8s-01", "k8s-02"}  # what was known stays known

        seen = len(rig.api.seen)
        await asyncio.sleep(0.05)
        assert len(rig.api.seen) - seen <= 25, "it spins"

        rig.api.always.clear()
        await until(lambda: len(rig.events("kube.watch_recovered")) == 1, within_s=6.0)
        await until(lambda: rig.names == ["k8s-01", "k8s-02", "k8s-03"])
        assert len(rig.events("kube.watch_lost")) == 1


async def test_one_broken_stream_alone_is_nobodys_business(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.next("watch", page(502, "<html>"))
        await until(lambda: rig.api.count("watch") >= 3, within_s=5.0)
        await until(lambda: rig.watcher.synced)
        assert rig.told == []


async def test_lists_go_on_where_watches_fail(tmp_path: Path) -> None:
    """A proxy that cannot stream: late knowledge, but knowledge, and its age is shown."""
    async with watching(tmp_path) as rig:
        rig.api.always["watch"] = page(502, "<html>")
        await until(lambda: rig.watcher.state is SyncState.LOST)
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: "k8s-03" in rig.names)
        assert rig.watcher.state is SyncState.LOST


async def test_a_hanging_server_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.kube.client.REQUEST_S", 0.05)
    async with watching(tmp_path, lambda api: api.next("list", silent(opened=False))) as rig:
        await until(lambda: rig.watcher.synced)
        assert rig.api.count("list") == 2


async def test_a_dead_server_leaves_what_was_known(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        for verb in ("list", "watch"):
            rig.api.always[verb] = streamed(abort=True)
        await until(lambda: rig.watcher.state is SyncState.LOST, within_s=5.0)
        assert rig.names == ["k8s-01", "k8s-02"]
        assert rig.watcher.age_ms(2**40) == 2**40 - (rig.watcher.heard_ms or 0)


async def test_a_missing_rule_is_told_once_and_looked_for_again(tmp_path: Path) -> None:
    def forbid(api: FakeApi) -> None:
        api.always["list"] = refused(403, "Forbidden")

    async with watching(tmp_path, forbid) as rig:
        await until(lambda: rig.api.count("list") >= 4)
        told = rig.events("kube.forbidden")
        assert [(one.get("kind"), one.get("verb")) for one in told] == [("Node", "list")]
        assert rig.watcher.state is SyncState.FORBIDDEN
        rig.api.always.clear()
        await until(lambda: rig.watcher.synced)
        assert len(rig.events("kube.watch_recovered")) == 1


async def test_a_missing_watch_rule_leaves_lists(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        rig.api.always["watch"] = refused(403, "Forbidden")
        await until(lambda: rig.watcher.lists >= 3)
        assert [one.get("verb") for one in rig.events("kube.forbidden")] == ["watch"]
        rig.api.put(NODES, node("k8s-03"))
        await until(lambda: "k8s-03" in rig.names)


async def test_a_kind_that_is_not_there_is_absent(tmp_path: Path) -> None:
    async with watching(tmp_path, lambda api: api.objects.clear()) as rig:
        await until(lambda: rig.watcher.state is SyncState.ABSENT)
        assert rig.told == []
        rig.api.objects[NODES] = {}
        await until(lambda: rig.watcher.synced)


async def test_an_expired_token_is_read_anew(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.token = "newer-token"
        await until(lambda: rig.events("kube.watch_lost"), within_s=5.0)
        rig.api.kubeconfig(tmp_path, token="newer-token")
        await until(lambda: rig.watcher.synced, within_s=5.0)
        lost = rig.events("kube.watch_lost")
        assert len(lost) == 1
        assert "Unauthorized" in str(lost[0].get("detail"))


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        rig.api.always["watch"] = refused(429, "TooManyRequests", Retry_After="60")
        before = rig.api.count("watch")
        await until(lambda: rig.api.count("watch") > before, within_s=5.0)
        seen = len(rig.api.seen)
        await asyncio.sleep(0.05)
        assert len(rig.api.seen) == seen


@pytest.mark.parametrize(
    "text",
    ["", "not: [yaml", "- a list", '{"kind": "Config"}', '{"current-context": "absent"}'],
    ids=["empty", "broken", "a list", "nothing in it", "no such context"],
)
async def test_an_unusable_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    async with watching(tmp_path) as rig:
        await until(lambda: rig.watcher.synced)
        path = rig.api.kubeconfig(tmp_path)
        path.write_text(text)
        rig.api.token = "other"
        await until(lambda: rig.watcher.detail.startswith(str(path)), within_s=5.0)
        rig.api.kubeconfig(tmp_path, token="other")
        await until(lambda: rig.watcher.synced, within_s=5.0)


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    told: list[Event] = []
    cluster = Cluster(path, {})
    watcher = Watcher(
        cluster,
        Resource(kind="Node", path=NODES, query={}),
        parse_node,
        changed=lambda: None,
        tell=lambda *events: told.extend(events),
        rng=random.Random(1),
        retry_ms=4,
    )
    task = asyncio.create_task(watcher.run())
    await until(lambda: told)
    task.cancel()
    assert told[0].name == "kube.watch_lost"
    assert str(path) in str(told[0].get("detail"))
