"""A strict API server on loopback that can be told to misbehave.

It knows as much as list, watch, Lease, Event and annotation need, refuses what the real one would
refuse, and keeps a log of requests. A second of a watch's `timeoutSeconds` lasts `SECOND_S` here.
"""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trustme
from aiohttp import web

from tests.support.certificates import authority

SECOND_S: Final = 0.02
TOKEN: Final = "good-token"
LIST_WORDS: Final = {"limit", "continue", "fieldSelector"}
WATCH_WORDS: Final = {
    "watch", "allowWatchBookmarks", "timeoutSeconds", "resourceVersion", "fieldSelector",
}  # fmt: skip
KINDS: Final = {"nodes": "Node", "pods": "Pod", "services": "Service", "gateways": "Gateway"}

Obj = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeApi:
    """The server's state; tests change objects and add faults."""

    objects: dict[str, dict[str, Obj]] = field(default_factory=dict)
    version: int = 1_000
    oldest: int = 0
    history: list[tuple[int, str, str, Obj]] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    token: str = TOKEN
    port: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what tests do

    def put(self, path: str, raw: Obj) -> None:
        """Create or change an object."""
        kept = self.objects.setdefault(path, {})
        name = raw["metadata"]["name"]
        happened = "MODIFIED" if name in kept else "ADDED"
        self.version += 1
        raw = json.loads(json.dumps(raw))
        raw["metadata"]["resourceVersion"] = str(self.version)
        kept[name] = raw
        self._tell(happened, path, raw)

    def delete(self, path: str, name: str) -> None:
        """Remove an object."""
        self.version += 1
        raw = self.objects[path].pop(name)
        raw["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", path, raw)

    def _tell(self, happened: str, path: str, raw: Obj) -> None:
        self.history.append((self.version, path, happened, raw))
        self.changed.set()
        self.changed = asyncio.Event()

    def compact(self) -> None:
        """Forget the history up to now."""
        self.oldest = self.version

    def next(self, verb: str, *faults: Fault) -> None:
        """Answer the next requests of a verb (list, watch, get, put, post, patch) so."""
        self.faults.setdefault(verb, deque()).extend(faults)

    def count(self, verb: str, path: str | None = None) -> int:
        """Count requests."""
        return sum(v == verb and path in {None, p} for v, p, _ in self.seen)

    # --- what the server does

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, dict(request.query)
        verb = self._verb(request)
        self.seen.append((verb, path, query))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return status(401, "Unauthorized", "Unauthorized")
        waiting = self.faults.get(verb)
        if waiting:
            return await waiting.popleft()(request)
        if verb in self.always:
            return await self.always[verb](request)
        match verb:
            case "list":
                return self._list(path, query)
            case "watch":
                return await self._watch(request, path, query)
            case _:
                return await self._object(verb, request, path)

    def _verb(self, request: web.Request) -> str:
        if request.method != "GET":
            return request.method.lower()
        if "watch" in request.query:
            return "watch"
        return "list" if request.path.rsplit("/", 1)[-1] in {*KINDS, "leases"} else "get"

    def _matching(self, path: str, query: Mapping[str, str]) -> list[Obj]:
        kept = list(self.objects.get(path, {}).values())
        selector = query.get("fieldSelector")
        if selector is None:
            return kept
        key, _, name = selector.partition("=")
        assert key == "metadata.name"
        return [raw for raw in kept if raw["metadata"]["name"] == name]

    def _list(self, path: str, query: Mapping[str, str]) -> web.Response:
        if not query.keys() <= LIST_WORDS:
            return status(400, f"unknown query {sorted(query)}", "BadRequest")
        if path not in self.objects:
            return status(404, "the server could not find the requested resource", "NotFound")
        matching = self._matching(path, query)
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "500"))
        meta: Obj = {"resourceVersion": str(self.version)}
        if start + limit < len(matching):
            meta["continue"] = str(start + limit)
        return web.json_response({"metadata": meta, "items": matching[start : start + limit]})

    async def _watch(
        self, request: web.Request, path: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        if not query.keys() <= WATCH_WORDS or not query.get("resourceVersion"):
            return status(
                400, f"a watch needs a resourceVersion, not {sorted(query)}", "BadRequest"
            )
        since = int(query["resourceVersion"])
        reply = await open_stream(request)
        if since < self.oldest:
            await line(reply, "ERROR", expired())
            return reply
        loop = asyncio.get_running_loop()
        end = loop.time() + int(query["timeoutSeconds"]) * SECOND_S
        while True:
            changed = self.changed
            names = {raw["metadata"]["name"] for raw in self._matching(path, query)}
            for version, where, happened, raw in list(self.history):
                selected = "fieldSelector" not in query or raw["metadata"]["name"] in names
                if version > since and where == path and selected:
                    await line(reply, happened, raw)
                    since = version
            left = end - loop.time()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue
        await line(reply, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
        return reply

    async def _object(self, verb: str, request: web.Request, path: str) -> web.Response:
        where, _, name = path.rpartition("/")
        if verb == "post":
            raw = await request.json()
            name = raw["metadata"].get("name") or f"{raw['metadata']['generateName']}{self.version}"
            if name in self.objects.get(path, {}):
                return status(409, "it exists", "AlreadyExists")
            raw["metadata"]["name"] = name
            self.put(path, raw)
            return web.json_response(self.objects[path][name], status=201)
        kept = self.objects.get(where, {}).get(name)
        if kept is None:
            return status(404, f'"{name}" not found', "NotFound")
        if verb == "put":
            raw = await request.json()
            if not raw["metadata"].get("resourceVersion"):
                return status(422, "metadata.resourceVersion: Required value", "Invalid")
            if raw["metadata"]["resourceVersion"] != kept["metadata"]["resourceVersion"]:
                return status(409, "the object has been modified", "Conflict")
            self.put(where, raw)
        elif verb == "patch":
            assert request.content_type == "application/merge-patch+json"
            self.put(where, merged(kept, await request.json()))
        return web.json_response(self.objects[where][name])

    # --- how to reach it

    def kubeconfig(self, folder: Path, *, token: str = TOKEN) -> Path:
        """Write a kubeconfig that reaches this server."""
        ca = folder / "ca.pem"
        ca.write_bytes(authority().cert_pem.bytes())
        path = folder / "kubeconfig"
        path.write_text(kubeconfig_text(f"https://127.0.0.1:{self.port}", ca, token))
        return path


def kubeconfig_text(url: str, ca: Path, token: str) -> str:
    """Return a kubeconfig with one context."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [
                {"name": "test", "cluster": {"server": url, "certificate-authority": str(ca)}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
        }
    )


def merged(kept: Obj, patch: Obj) -> Obj:
    """Apply a JSON merge patch (RFC 7386)."""
    out = dict(kept)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merged(out.get(key, {}), value)
        else:
            out[key] = value
    return out


def status(code: int, message: str, reason: str, **headers: str) -> web.Response:
    """Answer with a Status."""
    body = {
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(body, status=code, headers=named)


def expired() -> Obj:
    """Return the Status of a history that is gone."""
    return {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


async def open_stream(request: web.Request) -> web.StreamResponse:
    """Begin a watch's answer."""
    reply = web.StreamResponse(headers={"Content-Type": "application/json"})
    await reply.prepare(request)
    return reply


async def line(reply: web.StreamResponse, kind: str, raw: Obj) -> None:
    """Send one line of a watch."""
    await reply.write(json.dumps({"type": kind, "object": raw}).encode() + b"\n")


# --- faults -------------------------------------------------------------------------------------


def refused(code: int, reason: str, **headers: str) -> Fault:
    """Answer with a Status object."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return status(code, f"{reason}: made up", reason, **headers)

    return answer


def page(code: int, body: str) -> Fault:
    """Answer as a proxy does."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, text=body, content_type="text/html")

    return answer


def streamed(*raw: bytes, abort: bool = False) -> Fault:
    """Open a stream, send these bytes, and end it in order or by an abort."""

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = await open_stream(request)
        for part in raw:
            await reply.write(part)
        if abort:
            await asyncio.sleep(0.005)
            assert request.transport is not None
            request.transport.abort()
        return reply

    return answer


def silent(*, opened: bool) -> Fault:
    """Say nothing at all, or nothing after the head."""

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = await open_stream(request) if opened else web.StreamResponse()
        await asyncio.sleep(30)
        return reply

    return answer


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """Run a server for one test."""
    api = FakeApi()
    app = web.Application(client_max_size=2**22)
    app.router.add_route("*", "/{tail:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    api.port = runner.addresses[0][1]
    try:
        yield api
    finally:
        await runner.cleanup()
