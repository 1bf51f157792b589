"""The Lease against a strict server: who writes, and since when nobody else may."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edged.core.events import Event
from edged.kube.client import Cluster
from edged.kube.events import BURST, QUEUE, EventPoster, Note, event_body
from edged.kube.lease import Lease, LeaseTiming, Role, identity_of
from tests.support.kube_fake import FakeApi, fake_api, page, refused
from tests.support.router_rig import until

LEASES = "/apis/coordination.k8s.io/v1/namespaces/edged/leases"
QUICK = LeaseTiming(duration_s=1, renew_ms=100, look_ms=50, unsure_ms=200, request_s=0.5)


@dataclass
class Instance:
    """One edged, as far as the lease goes."""

    lease: Lease
    task: asyncio.Task[None]
    roles: list[Role] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    def die(self) -> None:
        self.task.cancel()


@asynccontextmanager
async def instance(
    api: FakeApi, folder: Path, name: str, *, ahead: timedelta = timedelta()
) -> AsyncIterator[Instance]:
    cluster = Cluster(api.kubeconfig(folder), {})
    roles: list[Role] = []
    told: list[Event] = []
    lease = Lease(
        cluster,
        "edged/edged",
        identity_of(name),
        changed=roles.append,
        tell=lambda *events: told.extend(events),
        rng=random.Random(1),
        wall=lambda: datetime.now(UTC) + ahead,
        timing=QUICK,
    )
    made = Instance(lease, asyncio.create_task(lease.run()), roles, told)
    try:
        yield made
    finally:
        made.die()
        with suppress(asyncio.CancelledError):
            await made.task
        await cluster.close()


async def test_a_lease_is_created_and_renewed(tmp_path: Path) -> None:
    async with fake_api() as api, instance(api, tmp_path, "a") as a:
        await until(lambda: api.count("put") >= 2)
        spec = api.objects[LEASES]["edged"]["spec"]
        assert spec["holderIdentity"] == a.lease.identity
        assert len(spec["renewTime"]) == len("2026-01-12T09:00:00.000000Z")
        assert a.roles == [Role.WRITER]


@pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(hours=1)])
async def test_clocks_that_differ_change_nothing(tmp_path: Path, ahead: timedelta) -> None:
    async with fake_api() as api, instance(api, tmp_path, "a") as a:
        await until(lambda: a.lease.role is Role.WRITER)
        async with instance(api, tmp_path, "b", ahead=ahead) as b:
            await asyncio.sleep(0.05)
            await until(lambda: api.count("get") >= 8)
            assert b.lease.role is Role.STANDBY
            a.die()
            at = asyncio.get_running_loop().time()
            await until(lambda: b.lease.role is Role.WRITER)
            took = asyncio.get_running_loop().time() - at
            assert 0.8 <= took <= 1.6
            assert api.objects[LEASES]["edged"]["spec"]["leaseTransitions"] == 2


async def test_a_released_lease_is_taken_at_once(tmp_path: Path) -> None:
    async with fake_api() as api, instance(api, tmp_path, "a") as a:
        await until(lambda: a.lease.role is Role.WRITER)
        async with instance(api, tmp_path, "b") as b:
            await until(lambda: b.lease.holder == a.lease.identity)
            a.die()
            await a.lease.release(1.0)
            await until(lambda: b.lease.role is Role.WRITER, within_s=0.6)


async def test_a_holder_that_cannot_renew_becomes_unsure_and_sure_again(tmp_path: Path) -> None:
    async with fake_api() as api, instance(api, tmp_path, "a") as a:
        await until(lambda: a.lease.role is Role.WRITER)
        for verb in ("get", "put"):
            api.always[verb] = page(502, "<html>")
        await until(lambda: a.lease.role is Role.UNSURE)
        api.always.clear()
        await until(lambda: a.lease.role is Role.WRITER)
        assert a.roles == [Role.WRITER, Role.UNSURE, Role.WRITER]
        assert [one.name for one in a.told] == ["lease.acquired", "lease.lost", "lease.acquired"]


async def test_an_answer_that_got_lost_costs_no_role(tmp_path: Path) -> None:
    """The write took place, its answer did not arrive, and the version is another now."""
    async with fake_api() as api, instance(api, tmp_path, "a") as a:
        await until(lambda: a.lease.role is Role.WRITER)
        kept = api.objects[LEASES]["edged"]
        api.put(LEASES, kept)
        api.next("put", refused(500, "InternalError"))
        await until(lambda: api.count("put") >= 4)
        assert a.roles == [Role.WRITER]


async def test_two_that_start_together_agree_on_one(tmp_path: Path) -> None:
    async with fake_api() as api:
        api.objects[LEASES] = {}
        async with instance(api, tmp_path, "a") as a, instance(api, tmp_path, "b") as b:
            await until(lambda: Role.WRITER in {a.lease.role, b.lease.role})
            await until(lambda: api.count("put") >= 3)
            assert sorted([a.lease.role, b.lease.role]) == [Role.STANDBY, Role.WRITER]


async def test_a_forbidden_lease_is_told_once(tmp_path: Path) -> None:
    async with fake_api() as api:
        api.always["get"] = refused(403, "Forbidden")
        async with instance(api, tmp_path, "a") as a:
            await until(lambda: api.count("get") >= 3)
            assert [one.name for one in a.told] == ["kube.forbidden"]
            assert a.lease.role is Role.STANDBY


# --- Events -------------------------------------------------------------------------------------


def note(words: str = "edged removed node2 (refused): web on hex") -> Note:
    return Note(
        kind="Node",
        name="k8s-02",
        uid="u",
        reason="GatewayRemoved",
        action="Remove",
        warning=True,
        words=words,
    )


async def test_events_are_posted_a_few_at_a_time_and_bounded(tmp_path: Path) -> None:
    async with fake_api() as api:
        cluster = Cluster(api.kubeconfig(tmp_path), {})
        poster = EventPoster(cluster, "edged-a", tell=lambda *_: None)
        for _ in range(60):
            poster.post(note())
        assert poster.dropped == 60 - QUEUE
        task = asyncio.create_task(poster.run())
        await until(lambda: poster.posted == BURST)
        await asyncio.sleep(0.05)
        assert poster.posted == BURST
        task.cancel()
        await cluster.close()


async def test_a_forbidden_event_is_told_once_and_not_tried_again(tmp_path: Path) -> None:
    async with fake_api() as api:
        api.always["post"] = refused(403, "Forbidden")
        cluster = Cluster(api.kubeconfig(tmp_path), {})
        told: list[Event] = []
        poster = EventPoster(cluster, "edged-a", tell=lambda *events: told.extend(events))
        task = asyncio.create_task(poster.run())
        poster.post(note())
        await until(lambda: told)
        poster.post(note())
        await asyncio.sleep(0.03)
        assert api.count("post") == 1
        assert [one.name for one in told] == ["kube.forbidden"]
        task.cancel()
        await cluster.close()


def test_a_long_note_is_cut_at_a_whole_character() -> None:
    at = datetime(2026, 1, 12, 9, 0, tzinfo=UTC)
    body = event_body(note("게" * 900), at, instance="edged-a")
    words = body["note"]
    assert isinstance(words, str)
    assert len(words.encode()) <= 1_000
    assert set(words) == {"게"}
    assert body["eventTime"] == "2026-01-12T09:00:00.000000Z"
