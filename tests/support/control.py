"""A daemon behind the control socket that notes what it is asked and answers from a table."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from edged.core.events import Severity
from edged.web.control import Document


class NotingApi:
    """Implements `ControlApi`; `calls` is what came through, `answers` what goes back.

    An exception in `answers` is raised. With `busy` set, a verb says that it has begun and waits
    for `go_on`.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, object]]] = []
        self.answers: dict[str, Document | BaseException] = {}
        self.busy: asyncio.Event | None = None
        self.go_on = asyncio.Event()
        self.news: asyncio.Queue[Document] = asyncio.Queue()
        self.readers = 0

    async def _note(self, verb: str, **words: object) -> Document:
        self.calls.append((verb, words))
        if self.busy is not None:
            self.busy.set()
            await self.go_on.wait()
        answer = self.answers.get(verb, {"schema": f"edged.{verb}/v1"})
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def status(self) -> Document:
        """Note it."""
        return await self._note("status")

    async def why(self, name: str | None) -> Document:
        """Note it."""
        return await self._note("why", name=name)

    async def plan(self) -> Document:
        """Note it."""
        return await self._note("plan")

    async def events(
        self,
        *,
        since: datetime | None,
        after_seq: int,
        limit: int,
        names: tuple[str, ...],
        gateway: str | None,
        vip: str | None,
        incident: str | None,
        min_severity: Severity,
    ) -> Document:
        """Note it."""
        return await self._note(
            "events",
            since=since,
            after_seq=after_seq,
            limit=limit,
            names=names,
            gateway=gateway,
            vip=vip,
            incident=incident,
            min_severity=min_severity,
        )

    async def stream(self, *, after_seq: int | None) -> AsyncIterator[Document]:
        """Yield what the test puts into `news`, for ever."""
        self.calls.append(("stream", {"after_seq": after_seq}))
        self.readers += 1
        try:
            while True:
                yield await self.news.get()
        finally:
            self.readers -= 1

    async def probe(self, gateway: str, *, trace: bool) -> Document:
        """Note it."""
        return await self._note("probe", gateway=gateway, trace=trace)

    async def recheck(self, gateway: str, *, owner: str) -> Document:
        """Note it."""
        return await self._note("recheck", gateway=gateway, owner=owner)

    async def drain(
        self,
        gateway: str,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        force: bool,
    ) -> Document:
        """Note it."""
        return await self._note(
            "drain",
            gateway=gateway,
            owner=owner,
            reason=reason,
            for_ms=for_ms,
            force=force,
        )

    async def undrain(self, gateway: str, *, owner: str) -> Document:
        """Note it."""
        return await self._note("undrain", gateway=gateway, owner=owner)

    async def pause(self, *, owner: str, for_ms: int | None, restore: bool) -> Document:
        """Note it."""
        return await self._note("pause", owner=owner, for_ms=for_ms, restore=restore)

    async def resume(self, *, owner: str) -> Document:
        """Note it."""
        return await self._note("resume", owner=owner)

    async def adopt(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        create: bool,
        drop: str | None,
        confirmed: bool,
    ) -> Document:
        """Note it."""
        return await self._note(
            "adopt",
            owner=owner,
            vip=vip,
            router=router,
            create=create,
            drop=drop,
            confirmed=confirmed,
        )

    async def release(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        confirmed: bool,
    ) -> Document:
        """Note it."""
        return await self._note("release", owner=owner, vip=vip, router=router, confirmed=confirmed)

    async def handover(self, *, owner: str, vip: str | None, to_bgp: bool) -> Document:
        """Note it."""
        return await self._note("handover", owner=owner, vip=vip, to_bgp=to_bgp)

    async def reload(self, *, owner: str) -> Document:
        """Note it."""
        return await self._note("reload", owner=owner)

    async def alerts(self) -> Document:
        """Note it."""
        return await self._note("alerts")

    async def alerts_test(self, channel: str | None) -> Document:
        """Note it."""
        return await self._note("alerts_test", channel=channel)

    async def alerts_change(
        self, what: str, *, channel: str | None, number: int | None
    ) -> Document:
        """Note it."""
        return await self._note("alerts_change", what=what, channel=channel, number=number)

    async def silence(
        self,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        gateway: str | None,
        vip: str | None,
    ) -> Document:
        """Note it."""
        return await self._note(
            "silence", owner=owner, reason=reason, for_ms=for_ms, gateway=gateway, vip=vip
        )
