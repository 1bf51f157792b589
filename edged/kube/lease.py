"""The Lease: which of two instances writes.

Both judge; the holder writes. Whether a lease has lapsed is told by our own clock, from when we
last saw it change, so clocks that differ between hosts do not matter. A holder that cannot renew
does not stop: nobody can take a Lease from an API server that nobody reaches. It becomes unsure,
and the core then writes only onto rows that are as it last left them.
"""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from edged.core.events import Event, event
from edged.kube.client import Cluster
from edged.kube.errors import Conflict, Forbidden, KubeError, NotFound
from edged.kube.raw import Json, child, cut, number, stamp, text
from edged.kube.watch import Tell
from edged.system import clock

PREFIX: Final = "edged-"
"""Every identity of ours begins so; another holder is a stranger."""
MANIFEST: Final = "deploy/kubernetes/rbac.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """client-go's defaults are 15, 10 and 2 s; a route has to be right again within 10 s."""

    duration_s: int = 6
    renew_ms: int = 2_000
    look_ms: int = 1_000
    unsure_ms: int = 3_000
    request_s: float = 1.5


class Role(StrEnum):
    """What this instance may do. UNSURE: the holder, as far as it knows."""

    WRITER = "writer"
    UNSURE = "unsure"
    STANDBY = "standby"


def identity_of(host: str) -> str:
    """Return a name that no other run has, on this host or another."""
    return f"{PREFIX}{host}-{secrets.token_hex(3)}"


class Lease:
    """Holds a Lease, or waits for it."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        identity: str,
        *,
        changed: Callable[[Role], None],
        tell: Tell,
        rng: random.Random,
        wall: Callable[[], datetime] = clock.wall,
        timing: LeaseTiming | None = None,
    ) -> None:
        self.name = name
        self.identity = identity
        self.role = Role.STANDBY
        self.holder = ""
        self.detail = "not read yet"
        self.read_ms: int | None = None
        self._cluster = cluster
        self._namespace, _, self._object = name.partition("/")
        self._changed = changed
        self._tell = tell
        self._rng = rng
        self._wall = wall
        self._timing = timing or LeaseTiming()
        self._seen: Json | None = None
        self._mark: tuple[str, ...] = ()
        self._mark_ms = 0
        self._renewed_ms = 0
        self._forbidden_told = False
        self._stranger_told = ""
        self._namespace_told = False
        self._verb = "get"

    @property
    def _path(self) -> str:
        return f"{self._collection}/{self._object}"

    @property
    def _collection(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    async def run(self) -> None:
        """Renew or wait until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._timing.request_s):
                    await self._step()
            except (KubeError, TimeoutError) as error:
                self._failed(error)
            await asyncio.sleep(self._wait_ms() / 1_000)

    def _wait_ms(self) -> int:
        timing = self._timing
        if self.role is Role.WRITER and self._seen is not None:
            return timing.renew_ms - self._rng.randint(0, timing.renew_ms // 5)
        look_ms = timing.look_ms - self._rng.randint(0, timing.look_ms // 5)
        lapse_ms = self._lapses_ms() - clock.monotonic_ms()
        return min(look_ms, lapse_ms) if lapse_ms > 0 else look_ms

    # --- one step

    async def _step(self) -> None:
        sent_ms = clock.monotonic_ms()
        try:
            lease = self._seen or await self._read()
            if self._ours(lease) or self._free(lease):
                await self._write(lease, sent_ms)
            else:
                self._lost_to(lease)
        except NotFound:
            await self._create(sent_ms)
        except Conflict:
            self._seen = None  # somebody wrote first: look at once who it was
            self._lost_to(await self._read())

    async def _read(self) -> Json:
        self._verb = "get"
        lease = await self._cluster.get(self._path)
        self._note(lease)
        return lease

    def _note(self, lease: Json) -> None:
        """Remember when this lease was last seen to change."""
        self.read_ms = now_ms = clock.monotonic_ms()
        self.holder = cut(text(lease, "spec", "holderIdentity"))
        mark = (self.holder, text(lease, "spec", "renewTime"), _version(lease))
        if mark != self._mark:
            self._mark, self._mark_ms = mark, now_ms
        self._warn_of_stranger()

    def _ours(self, lease: Json) -> bool:
        return text(lease, "spec", "holderIdentity") == self.identity

    def _free(self, lease: Json) -> bool:
        if not text(lease, "spec", "holderIdentity"):
            return True
        return clock.monotonic_ms() >= self._lapses_ms(lease)

    def _lapses_ms(self, lease: Json | None = None) -> int:
        seconds = self._timing.duration_s
        if lease is not None:
            seconds = number(lease, "spec", "leaseDurationSeconds") or seconds
        return self._mark_ms + seconds * 1_000

    async def _write(self, lease: Json, sent_ms: int) -> None:
        self._seen = None  # until the answer is in, nobody knows what the server holds
        self._verb = "update"
        written = await self._cluster.replace(self._path, self._held(lease))
        self._took(written, sent_ms)

    async def _create(self, sent_ms: int) -> None:
        body: Json = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._object, "namespace": self._namespace},
        }
        self._verb = "create"
        try:
            written = await self._cluster.create(self._collection, self._held(body))
        except NotFound:
            self._warn_of_namespace()
            raise
        self._took(written, sent_ms)

    def _held(self, lease: Json) -> Json:
        now = stamp(self._wall())
        spec = dict(child(lease, "spec"))
        if not self._ours(lease):
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (number(lease, "spec", "leaseTransitions") or 0) + 1
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration_s,
            "renewTime": now,
        }
        return {**lease, "spec": spec}

    # --- what came of it

    def _took(self, lease: Json, sent_ms: int) -> None:
        self._note(lease)
        self._seen, self._renewed_ms = lease, sent_ms
        self._forbidden_told = False
        self.detail = ""
        self._become(Role.WRITER)

    def _lost_to(self, lease: Json) -> None:
        self._seen = None
        if self._ours(lease):
            return  # our own write, whose answer got lost: the next step renews it
        self.detail = ""
        self._become(Role.STANDBY)

    def _failed(self, error: BaseException) -> None:
        self._seen = None
        words = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        self.detail = words
        now_ms = clock.monotonic_ms()
        if isinstance(error, Forbidden) and not self._forbidden_told:
            self._forbidden_told = True
            self._tell(self._forbidden(words, now_ms))
        if self.role is Role.WRITER and now_ms - self._renewed_ms >= self._timing.unsure_ms:
            self._become(Role.UNSURE)

    def _forbidden(self, words: str, now_ms: int) -> Event:
        fix = f"allow it ({MANIFEST})"
        if self._verb == "create":
            fix += ", or create that Lease by hand"
        detail = f"Lease {self.name}: {words}; nothing is written before this is mended: {fix}"
        return event("kube.forbidden", now_ms, kind="Lease", verb=self._verb, detail=detail)

    def _become(self, role: Role) -> None:
        if role is self.role:
            return
        before, self.role = self.role, role
        now_ms = clock.monotonic_ms()
        if role is Role.WRITER:
            self._tell(event("lease.acquired", now_ms, holder=self.identity))
        elif role is Role.STANDBY:
            self._tell(
                event("lease.lost", now_ms, holder=self.holder, detail="taken by another instance")
            )
        elif before is Role.WRITER:
            self._tell(
                event(
                    "lease.lost",
                    now_ms,
                    holder=self.identity,
                    detail=f"it cannot be renewed ({self.detail}); writing goes on only while "
                    "nobody else changes the rows",
                )
            )
        self._changed(role)

    def _warn_of_stranger(self) -> None:
        holder = self.holder
        if not holder or holder.startswith(PREFIX) or holder == self._stranger_told:
            return
        self._stranger_told = holder
        self._tell(
            event(
                "kube.warning_found",
                clock.monotonic_ms(),
                kind="Lease",
                object=self.name,
                detail=f'held by "{holder}", which is no edged',
                fix="give edged a Lease of its own: lease in [kubernetes]",
            )
        )

    def _warn_of_namespace(self) -> None:
        if self._namespace_told:
            return
        self._namespace_told = True
        self._tell(
            event(
                "kube.warning_found",
                clock.monotonic_ms(),
                kind="Lease",
                object=self.name,
                detail=f"there is no namespace {self._namespace}, so nobody can hold it, and "
                "nothing is written",
                fix=f"kubectl create namespace {self._namespace}",
            )
        )

    # --- the end

    async def release(self, limit_s: float) -> None:
        """Give the lease back, so that the other need not wait until it lapses."""
        if self.role is Role.STANDBY:
            return
        try:
            async with asyncio.timeout(limit_s):
                lease = await self._cluster.get(self._path)
                if self._ours(lease):
                    spec = dict(child(lease, "spec"))
                    spec |= {
                        "holderIdentity": "",
                        "leaseDurationSeconds": 1,
                        "renewTime": stamp(self._wall()),
                    }
                    await self._cluster.replace(self._path, {**lease, "spec": spec})
        except (KubeError, TimeoutError):
            return  # it lapses by itself
        self.role = Role.STANDBY


def _version(lease: Json) -> str:
    return text(lease, "metadata", "resourceVersion")
