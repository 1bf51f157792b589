"""Kubernetes Events about what edged did, on the Node and on the VIP's Service.

For people who look there first. Rate-limited and bounded: the API server must not notice an
incident, and nothing here may hold up anything else.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from edged.core.events import event
from edged.kube.client import Cluster
from edged.kube.errors import Forbidden, KubeError
from edged.kube.raw import Json, stamp
from edged.kube.watch import Tell
from edged.system import clock

QUEUE: Final = 32
BURST: Final = 10
REFILL_MS: Final = 6_000
"""Ten at once, then ten a minute; client-go allows 25 and one per five minutes."""
MAX_NOTE: Final = 1_000
"""The API server takes 1,024 bytes."""
NODE_NAMESPACE: Final = "default"
"""Events about objects without a namespace are accepted here only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One Event to post. `namespace` is empty for a Node."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    reason: str
    action: str
    warning: bool
    words: str


class EventPoster:
    """Posts notes, a few at a time."""

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        *,
        tell: Tell,
        wall: Callable[[], datetime] = clock.wall,
    ) -> None:
        self.posted = 0
        self.dropped = 0
        self._cluster = cluster
        self._instance = instance
        self._tell = tell
        self._wall = wall
        self._queue: deque[tuple[Note, datetime]] = deque()
        self._ready = asyncio.Event()
        self._tokens = BURST
        self._refilled_ms = clock.monotonic_ms()
        self._forbidden: set[str] = set()

    def post(self, note: Note) -> None:
        """Take a note; beyond the bound it is counted and dropped."""
        namespace = note.namespace or NODE_NAMESPACE
        if len(self._queue) >= QUEUE or namespace in self._forbidden:
            self.dropped += 1
            return
        self._queue.append((note, self._wall()))
        self._ready.set()

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            await self._ready.wait()
            while self._queue:
                await self._take_token()
                note, at = self._queue.popleft()
                await self._send(note, at)
            self._ready.clear()

    async def _take_token(self) -> None:
        while True:
            now_ms = clock.monotonic_ms()
            gained = (now_ms - self._refilled_ms) // REFILL_MS
            if gained:
                self._tokens = min(self._tokens + gained, BURST)
                self._refilled_ms += gained * REFILL_MS
            if self._tokens > 0:
                self._tokens -= 1
                return
            await asyncio.sleep((self._refilled_ms + REFILL_MS - now_ms) / 1_000)

    async def _send(self, note: Note, at: datetime) -> None:
        namespace = note.namespace or NODE_NAMESPACE
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        try:
            await self._cluster.create(path, event_body(note, at, instance=self._instance))
        except Forbidden as error:
            self.dropped += 1
            self._forbidden.add(namespace)
            now_ms = clock.monotonic_ms()
            kind, detail = f"Event in {namespace}", str(error)
            self._tell(event("kube.forbidden", now_ms, kind=kind, verb="create", detail=detail))
        except KubeError:
            self.dropped += 1
        else:
            self.posted += 1


def event_body(note: Note, at: datetime, *, instance: str) -> Json:
    """Return an `events.k8s.io/v1` Event."""
    namespace = note.namespace or NODE_NAMESPACE
    regarding = {"apiVersion": "v1", "kind": note.kind, "name": note.name}
    if note.namespace:
        regarding["namespace"] = note.namespace
    if note.uid:
        regarding["uid"] = note.uid
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "edged-", "namespace": namespace},
        "eventTime": stamp(at),
        "reportingController": "edged",
        "reportingInstance": instance[:128],
        "action": note.action,
        "reason": note.reason,
        "regarding": regarding,
        "note": note.words.encode()[:MAX_NOTE].decode(errors="ignore"),
        "type": "Warning" if note.warning else "Normal",
    }
