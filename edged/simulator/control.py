"""Steering a running simulator from outside: one JSON object a line, one answer a line.

Over standard input or a Unix socket. Each request has a `do`; the answer is `{"ok": true, ...}` or
`{"ok": false, "error": "..."}`, with the request's `id` if it had one::

    {"do": "status"}
    {"do": "rows", "menu": "/ip/route"}
    {"do": "next-hops"}                                   enabled, and those in use
    {"do": "watch"}                                       a line now and with each change
    {"do": "writes", "since": 0}
    {"do": "edit", "path": "/ip/route/set", "words": {".id": "*1", "gateway": "..."},
                   "user": "admin"}
    {"do": "fault", "kind": "hang", "command": "/ip/route/set", "times": 1, "seconds": 0,
                    "text": "", "applied": false}
    {"do": "clear-faults"}      {"do": "drop-connections"}
    {"do": "accept-silently", "on": true}
    {"do": "reboot", "down_s": 2, "version": "7.20.8"}
    {"do": "bgp", "peer": "node1", "state": "idle"}       without a peer: all of them
    {"do": "reachable", "next_hop": "172.30.1.20", "on": false}
    {"do": "ping", "address": "172.30.1.20", "answers": false}
    {"do": "uptime", "seconds": 5}      {"do": "cpu-load", "percent": 95}
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from edged.simulator.bgp import BgpState
from edged.simulator.faults import GARBAGE, Fault, FaultKind
from edged.simulator.replies import Trap, Words
from edged.simulator.router import WriteRecord
from edged.simulator.server import ApiServer

MAX_LINE_BYTES = 65_536
"""Longest request line."""

Request = dict[str, Any]
Answer = dict[str, Any]
Send = Callable[[Answer], Awaitable[None]]


class Control:
    """Runs control requests against one server."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._router = server.router
        self._writers: set[asyncio.StreamWriter] = set()

    async def handle(self, line: bytes | str) -> Answer:
        """Run one request and return its answer; a mistake in it is an answer, too."""
        try:
            request = json.loads(line)
        except ValueError as error:
            return {"ok": False, "error": f"no JSON: {error}"}
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is an object with a 'do'"}
        marked = {"id": request["id"]} if "id" in request else {}
        try:
            result = await self._run(request)
        except Trap as trap:
            return {"ok": False, "error": f"trap: {trap.message}", **marked}
        except KeyError as error:
            return {"ok": False, "error": f"missing or unknown: {error}", **marked}
        except (TypeError, ValueError) as error:
            return {"ok": False, "error": str(error), **marked}
        return {"ok": True, **result, **marked}

    async def _run(self, request: Request) -> Answer:
        router = self._router
        match request.get("do"):
            case "status":
                return self._status()
            case "rows":
                return {"rows": router.rows(request["menu"])}
            case "next-hops":
                return self.next_hops()
            case "writes":
                return self._writes(int(request.get("since", 0)))
            case "edit":
                ret = router.edit(
                    request["path"], request.get("words"), user=request.get("user", "admin")
                )
                return {} if ret is None else {"ret": ret}
            case "fault":
                self._server.faults.add(_fault(request))
            case "clear-faults":
                self._server.faults.clear()
                self._server.accept_silently = False
            case "drop-connections":
                self._server.drop_connections()
            case "accept-silently":
                self._server.accept_silently = bool(request["on"])
            case "reboot":
                await self._server.reboot(
                    down_s=float(request.get("down_s", 0)), version=request.get("version")
                )
            case "bgp":
                self._set_bgp(request)
            case "reachable":
                router.set_reachable(request["next_hop"], reachable=bool(request["on"]))
            case "ping":
                router.set_ping(request["address"], answers=bool(request["answers"]))
            case "uptime":
                router.set_uptime(float(request["seconds"]))
            case "cpu-load":
                router.cpu_load = int(request["percent"])
            case other:
                raise ValueError(f"unknown request {other!r}")
        return {}

    def _status(self) -> Answer:
        router = self._router
        counters = router.counters
        return {
            "version": router.version,
            "identity": router.identity,
            "uptime_s": round(router.uptime_s, 3),
            "ports": self._server.ports,
            "sessions": self._server.session_count,
            "faults": len(self._server.faults),
            "counters": {
                "sentences": counters.sentences,
                "logins": counters.logins,
                "logins_refused": counters.logins_refused,
                "traps": counters.traps,
                "writes": counters.writes,
            },
        }

    def next_hops(self) -> Answer:
        """Return the enabled next hops of the VIP, and those in use."""
        return {
            "vip": self._router.network.destination,
            "enabled": self._router.vip_next_hops(),
            "in_use": self._router.forwarding_next_hops(),
        }

    def _writes(self, since: int) -> Answer:
        log = list(self._router.write_log)
        return {"writes": [_record(one) for one in log[since:]], "next": len(log)}

    def _set_bgp(self, request: Request) -> None:
        state = BgpState(request["state"])
        if "peer" in request:
            self._router.set_bgp(request["peer"], state)
        else:
            self._router.drop_bgp(state)

    async def watch(self, send: Send) -> None:
        """Send the next hops now and after each change, until cancelled."""
        changed = asyncio.Event()
        changed.set()

        def hear(_menu: str, _row: Words, _dead: bool) -> None:  # noqa: FBT001 - a listener's form
            changed.set()

        undo = self._router.subscribe(hear)
        last: Answer = {}
        try:
            while True:
                await changed.wait()
                changed.clear()
                now = self.next_hops()
                if now != last:
                    last = now
                    await send({"ok": True, **now})
        finally:
            undo()

    # Where requests come from.

    async def serve_lines(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None
    ) -> None:
        """Answer lines until they end; without a writer, answers go to standard output."""

        async def send(answer: Answer) -> None:
            line = json.dumps(answer, ensure_ascii=False)
            if writer is None:
                print(line, flush=True)  # noqa: T201 - this is the control's output
                return
            writer.write(line.encode("utf-8", "surrogateescape") + b"\n")
            await writer.drain()

        async with asyncio.TaskGroup() as group:
            watches: list[asyncio.Task[None]] = []
            with contextlib.suppress(ConnectionError, ValueError):
                while line := await reader.readline():
                    if _wants_watch(line):
                        watches.append(group.create_task(self._watch_quietly(send)))
                    elif line.strip():
                        await send(await self.handle(line))
            for watch in watches:
                watch.cancel()

    async def _watch_quietly(self, send: Send) -> None:
        with contextlib.suppress(ConnectionError):
            await self.watch(send)

    async def _serve_socket(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        try:
            await self.serve_lines(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    @contextlib.asynccontextmanager
    async def on_socket(self, path: Path) -> AsyncIterator[None]:
        """Serve a Unix socket, for its owner alone, while the block runs."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - a socket left by a killed simulator
        server = await asyncio.start_unix_server(
            self._serve_socket, str(path), limit=MAX_LINE_BYTES
        )
        os.chmod(path, 0o600)  # noqa: PTH101 - no other wait is involved
        try:
            yield
        finally:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - the newest Python has done so already


def _wants_watch(line: bytes) -> bool:
    try:
        request = json.loads(line)
    except ValueError:
        return False
    return isinstance(request, dict) and request.get("do") == "watch"


def _fault(request: Request) -> Fault:
    times = request.get("times", 1)
    payload = request.get("payload")
    return Fault(
        kind=FaultKind(request["kind"]),
        command=str(request.get("command", "")),
        times=None if times is None else int(times),
        seconds=float(request.get("seconds", 0.0)),
        text=str(request.get("text", "")),
        payload=GARBAGE if payload is None else str(payload).encode(),
        applied=bool(request.get("applied", False)),
    )


def _record(one: WriteRecord) -> Answer:
    return {
        "at_s": one.at_s,
        "uptime_s": one.uptime_s,
        "user": one.user,
        "sentence": list(one.sentence),
        "before": list(one.before),
        "after": list(one.after),
    }
