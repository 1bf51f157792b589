"""List and watch of one kind: keeps small values of what the API server shows, and says "look".

A page at a time, then a stream from the list's version with bookmarks and an end that the server
is asked for. 410 means list again; everything else means wait, with jitter, and go on from where
it stopped. What was known stays known, and how old it is can be seen: a silent API server removes
nothing and adds nothing.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from edged.core.events import Event, event
from edged.kube.client import Cluster, error_of
from edged.kube.errors import Busy, CredentialsUnusable, Forbidden, Gone, KubeError, NotFound
from edged.kube.raw import Json, child, cut, items, key_of, text
from edged.system import clock

PAGE: Final = 50
"""A page of 50 nodes is about a megabyte: some 10 ms on the loop."""
MAX_PAGES: Final = 200
MAX_OBJECTS: Final = 5_000
WATCH_S: Final = 30
"""The server ends a watch after this long; bookmarks come just before. client-go: 300–600 s; ours
is short so that a half-open connection is noticed soon."""
TRIAL_S: Final = 2
"""The first watch after a loss is this short: its clean end shows that watching works again."""
SILENCE_S: Final = WATCH_S + 10.0
EARLY_END_MS: Final = 1_000
"""A stream that ends sooner, having said nothing, is a fault: do not spin on it."""
RETRY_MS: Final = 500
RETRY_MS_MAX: Final = 30_000
SHUT_MS: Final = 60_000
"""A missing rule or kind is looked for this seldom."""
STALE_MS: Final = 60_000

T = TypeVar("T")


class SyncState(StrEnum):
    """How well a kind is known."""

    STARTING = "starting"
    SYNCED = "synced"
    LOST = "lost"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What to list: a path below the API server, a narrowing query, and the kind's name."""

    kind: str
    path: str
    query: Mapping[str, str]


class Tell(Protocol):
    """Takes events."""

    def __call__(self, *events: Event) -> None:
        """Take them."""


class Backoff:
    """Waits that double up to a bound, each cut by up to half so that nobody marches in step."""

    __slots__ = ("_first_ms", "_max_ms", "_next_ms", "_rng")

    def __init__(self, rng: random.Random, *, first_ms: int, max_ms: int) -> None:
        self._rng = rng
        self._first_ms = first_ms
        self._max_ms = max_ms
        self._next_ms = first_ms

    def reset(self) -> None:
        """Begin with the first wait again."""
        self._next_ms = self._first_ms

    def next_ms(self) -> int:
        """Return the next wait."""
        wait_ms = self._next_ms
        self._next_ms = min(2 * wait_ms, self._max_ms)
        return wait_ms - self._rng.randint(0, wait_ms // 2)


class Watcher(Generic[T]):
    """Keeps `objects`, the parsed form of every object of one resource.

    `parse` returns None for an object that does not matter; `changed` is called, synchronously,
    after each change, so that a fact reaches the core in the turn in which its line arrived.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        parse: Callable[[Json], T | None],
        *,
        changed: Callable[[], None],
        tell: Tell,
        rng: random.Random,
        watch_s: int = WATCH_S,
        silence_s: float = SILENCE_S,
        retry_ms: int = RETRY_MS,
        retry_ms_max: int = RETRY_MS_MAX,
        shut_ms: int = SHUT_MS,
    ) -> None:
        self.resource = resource
        self.objects: dict[str, T] = {}
        self.state = SyncState.STARTING
        self.detail = ""
        self.heard_ms: int | None = None
        self.lists = 0
        self._cluster = cluster
        self._parse = parse
        self._changed = changed
        self._tell = tell
        self._backoff = Backoff(rng, first_ms=retry_ms, max_ms=retry_ms_max)
        self._watch_s = watch_s
        self._silence_s = silence_s
        self._shut_ms = shut_ms
        self._version: str | None = None
        self._verb = self._shut_verb = "list"
        self._failures = 0
        self._told = False
        self._lost_ms = 0

    @property
    def synced(self) -> bool:
        """Whether `objects` is what the API server shows now, as far as a stream can tell."""
        return self.state is SyncState.SYNCED

    @property
    def known(self) -> bool:
        """Whether a list was ever read."""
        return self.lists > 0

    def age_ms(self, now_ms: int) -> int | None:
        """Return how long ago the API server last vouched for `objects`; 0 while in sync."""
        if self.heard_ms is None:
            return None
        return 0 if self.synced else now_ms - self.heard_ms

    def stale(self, now_ms: int) -> bool:
        """Whether nothing new should be believed any more."""
        age_ms = self.age_ms(now_ms)
        return age_ms is None or age_ms > STALE_MS

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                await self._once()
            except KubeError as error:
                await asyncio.sleep(self._failed(error) / 1_000)

    async def _once(self) -> None:
        """List if that is needed, then watch once."""
        if self._version is None:
            self._verb = "list"
            self._version = await self._list()
            self._listed()
        self._verb = "watch"
        started_ms = clock.monotonic_ms()
        lines = await self._follow()
        if lines == 0 and clock.monotonic_ms() - started_ms < EARLY_END_MS:
            raise KubeError("the watch ended as soon as it had begun")
        self._progressed()

    # --- list

    async def _list(self) -> str:
        """Read all pages; only a complete list replaces what is known."""
        found: dict[str, T] = {}
        query = {**self.resource.query, "limit": str(PAGE)}
        for _ in range(MAX_PAGES):
            page = await self._cluster.get(self.resource.path, query)
            if not isinstance(page.get("items"), list):
                raise KubeError("the answer is no list")
            for raw in items(page, "items"):
                self._take(raw, found)
            token = text(page, "metadata", "continue")
            if not token:
                version = text(page, "metadata", "resourceVersion")
                if not version:
                    raise KubeError("the list has no resourceVersion")
                self.objects = found
                return version
            query["continue"] = token
        raise KubeError(f"a list of more than {MAX_PAGES} pages")

    def _take(self, raw: Json, into: dict[str, T]) -> bool:
        """Keep what matters of an object; False if nothing of that is new, as in a heartbeat."""
        key = key_of(raw)
        parsed = self._parse(raw) if key else None
        if parsed is None:
            return into.pop(key, None) is not None
        before = into.get(key)
        into[key] = parsed
        if len(into) > MAX_OBJECTS:
            raise KubeError(f"more than {MAX_OBJECTS} objects")
        return before != parsed

    # --- watch

    async def _follow(self) -> int:
        """Take lines until the server ends the stream; returns how many there were."""
        assert self._version is not None
        query = {
            **self.resource.query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._watch_s if self.synced else TRIAL_S),
            "resourceVersion": self._version,
        }
        lines = 0
        stream = self._cluster.stream(self.resource.path, query, silence_s=self._silence_s)
        async with contextlib.aclosing(stream):
            async for line in stream:
                lines += 1
                self._line(line)
        return lines

    def _line(self, line: Json) -> None:
        kind, raw = text(line, "type"), child(line, "object")
        news = False
        match kind:
            case "ADDED" | "MODIFIED":
                news = self._take(raw, self.objects)
            case "DELETED":
                news = self.objects.pop(key_of(raw), None) is not None
            case "BOOKMARK":
                pass
            case "ERROR":
                raise error_of(raw)
            case _:
                if text(line, "kind") == "Status":  # a Status where an event should be
                    raise error_of(line)
                raise KubeError(f"a line of unknown type {cut(kind)!r}")
        self._version = text(raw, "metadata", "resourceVersion") or self._version
        self._progressed()
        if news:
            self._changed()

    # --- how it goes

    def _listed(self) -> None:
        """Take note of a complete list; where watches fail, these lists are all there is."""
        self.lists += 1
        self.heard_ms = clock.monotonic_ms()
        waits_for_watch = self.state is SyncState.LOST or (
            self.state is SyncState.FORBIDDEN and self._shut_verb == "watch"
        )
        if not waits_for_watch:
            self._became_synced(self.heard_ms)
        self._changed()

    def _progressed(self) -> None:
        """Take note that a watch works."""
        self.heard_ms = clock.monotonic_ms()
        self._failures = 0
        self._backoff.reset()
        if not self.synced:
            self._became_synced(self.heard_ms)
            self._changed()

    def _became_synced(self, now_ms: int) -> None:
        self.state, self.detail = SyncState.SYNCED, ""
        if self._told:
            self._told = False
            lost_ms = now_ms - self._lost_ms
            kind = self.resource.kind
            self._tell(event("kube.watch_recovered", now_ms, kind=kind, lost_ms=lost_ms))

    def _failed(self, error: KubeError) -> int:
        """Take note of a fault; returns how long to wait."""
        now_ms = clock.monotonic_ms()
        if self._failures == 0:
            self._lost_ms = now_ms
        self._failures += 1
        if isinstance(error, Gone):
            self._version = None
            return 0 if self._failures == 1 else self._backoff.next_ms()
        if self._failures > 1:
            self._version = None  # a list tells more than one more watch would
        match error:
            case Forbidden():
                return self._shut(SyncState.FORBIDDEN, error, now_ms)
            case NotFound():
                return self._shut(SyncState.ABSENT, error, now_ms)
            case _:
                return self._lost(error, now_ms)

    def _lost(self, error: KubeError, now_ms: int) -> int:
        self.state, self.detail = SyncState.LOST, str(error)
        if not self._told and (self._failures > 1 or isinstance(error, CredentialsUnusable)):
            self._told = True  # one broken stream alone is nobody's business
            self._tell(event("kube.watch_lost", now_ms, kind=self.resource.kind, detail=str(error)))
        self._changed()
        wait_ms = self._backoff.next_ms()
        return max(wait_ms, error.retry_after_ms) if isinstance(error, Busy) else wait_ms

    def _shut(self, state: SyncState, error: KubeError, now_ms: int) -> int:
        """The way is closed until a person acts: say so once, and look again seldom."""
        self._version = None
        if self.state is state:
            return self._shut_ms
        self.state, self.detail, self._shut_verb = state, str(error), self._verb
        if state is SyncState.FORBIDDEN:
            self._told = True
            kind, verb = self.resource.kind, self._verb
            self._tell(event("kube.forbidden", now_ms, kind=kind, verb=verb, detail=str(error)))
        self._changed()
        return self._shut_ms
