"""Chat services on loopback that enforce their limits, and misbehave when told to.

One server plays all of them; the first part of the path says which. It keeps what it took and when,
and answers as the service does: refusals in its dialect, limits in its own unit.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any, Final

from aiohttp import web

ACCEPT_JANDI: Final = "application/vnd.tosslab.jandi-v2+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One request that was accepted."""

    service: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 - what a service is sent
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An answer out of the ordinary, given once."""

    status: int = 503
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    reset: bool = False


@dataclass(slots=True)
class Chat:
    """The server's state; `port` is set once it listens."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    asked: list[Taken] = field(default_factory=list)
    troubles: dict[str, deque[Trouble]] = field(default_factory=dict)
    always: dict[str, Trouble] = field(default_factory=dict)
    objections: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, service: str, path: str = "hook/secret-path") -> str:
        """Return where a service is."""
        return f"http://127.0.0.1:{self.port}/{service}/{path}"

    def trouble(self, service: str, *troubles: Trouble) -> None:
        """Have the next requests to a service answered like this."""
        self.troubles.setdefault(service, deque()).extend(troubles)

    def of(self, service: str) -> list[Taken]:
        """Return what a service took."""
        return [one for one in self.taken if one.service == service]

    async def wait(self, done: Callable[[], bool], limit_s: float = 10.0) -> None:
        """Wait until `done`, looked at with each request."""
        async with asyncio.timeout(limit_s):
            while not done():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def chat_server() -> AsyncIterator[Chat]:
    """Run the server for the length of the block."""
    chat = Chat()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _handle(chat, request)

    application = web.Application(client_max_size=1 << 20)
    application.router.add_route("*", "/{service}/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    chat.port = server.sockets[0].getsockname()[1]
    try:
        yield chat
    finally:
        await runner.cleanup()


async def _handle(chat: Chat, request: web.Request) -> web.StreamResponse:
    service = request.match_info["service"]
    taken = Taken(
        service=service,
        path=request.match_info["path"],
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.read(),
    )
    chat.asked.append(taken)
    chat.news.set()
    waiting = chat.troubles.get(service)
    trouble = waiting.popleft() if waiting else chat.always.get(service)
    if trouble is not None:
        return await _misbehave(request, trouble)
    objection = LIMITS[service](taken) if service in LIMITS else ""
    if objection:
        chat.objections.append(f"{service}: {objection}")
        return web.Response(status=400, text=objection)
    chat.taken.append(taken)
    chat.news.set()
    return GOOD.get(service, lambda: web.Response(text="ok"))()


async def _misbehave(request: web.Request, trouble: Trouble) -> web.StreamResponse:
    if trouble.hang_s:
        await asyncio.sleep(trouble.hang_s)
    if trouble.reset:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return response
    return web.Response(status=trouble.status, text=trouble.body, headers=trouble.headers)


# --- what each service takes --------------------------------------------------------------------


def utf16(text: str) -> int:
    """Return the number of UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def _slack(taken: Taken) -> str:
    document = taken.document
    blocks = [b for a in document.get("attachments", ()) for b in a["blocks"]]
    if not document.get("text") or len(blocks) > 50:
        return "invalid_blocks"
    for block in blocks:
        texts = block["elements"] if block["type"] == "context" else [block["text"]]
        limit = 2_000 if block["type"] == "context" else 3_000
        for text in texts:
            if not 0 < len(text["text"]) <= limit:
                return "invalid_blocks: length"
            if "<" in text["text"] or ">" in text["text"]:
                return "a link or a mention"
    return "" if len(taken.body) < 40_000 else "msg_too_long"


def _discord(taken: Taken) -> str:
    document = taken.document
    if taken.query.get("wait") != "true" or document["allowed_mentions"] != {"parse": []}:
        return "mentions"
    total = 0
    for embed in document["embeds"]:
        sizes = {
            "title": (utf16(embed["title"]), 256),
            "description": (utf16(embed["description"]), 4_096),
            "footer": (utf16(embed["footer"]["text"]), 2_048),
        }
        for name, (size, limit) in sizes.items():
            if size > limit:
                return f"{name}: Must be {limit} or fewer in length."
            total += size
    return "" if total <= 6_000 else "Embed size exceeds maximum size of 6000"


class _Tags(HTMLParser):
    """Telegram's HTML without its tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note a tag."""
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def _telegram(taken: Taken) -> str:
    document = taken.document
    if not taken.path.startswith("bot") or not taken.path.endswith("/sendMessage"):
        return "Not Found"
    parser = _Tags()
    parser.feed(document["text"])
    parser.close()
    if set(parser.tags) - {"b"}:
        return f"can't parse entities: {parser.tags}"
    if not 0 < utf16(parser.text) <= 4_096:
        return "message is too long"
    return "" if parser.text == unescape(parser.text) or "&" in parser.text else "entities"


def _ntfy(taken: Taken) -> str:
    document = taken.document
    if taken.path or not document["topic"]:
        return "not the server's root"
    if len(document["message"].encode()) > 4_096:
        return "it became an attachment"
    return "" if 1 <= document["priority"] <= 5 else "priority"


def _dooray(taken: Taken) -> str:
    document = taken.document
    return "" if document["botName"] and document["text"] else "empty"


def _teams(taken: Taken) -> str:
    if len(taken.body) > 28 * 1024:
        return "RequestEntityTooLarge"
    card = taken.document["attachments"][0]["content"]
    return "" if card["version"] == "1.4" else "version"


def _mattermost(taken: Taken) -> str:
    texts = [a["text"] + a["title"] for a in taken.document["attachments"]]
    if any("@channel" in text or "@all" in text for text in texts):
        return "everybody is called"
    return "" if sum(len(text) for text in texts) <= 16_383 else "too long"


def _googlechat(taken: Taken) -> str:
    if len(taken.body) > 32_000:
        return "too long"
    if "<users/all>" in taken.document["text"]:
        return "everybody is called"
    return "" if taken.query.get("requestId") and taken.document["thread"]["threadKey"] else "key"


def _pagerduty(taken: Taken) -> str:
    document = taken.document
    if document["event_action"] not in {"trigger", "resolve"} or not document["routing_key"]:
        return "invalid event"
    if len(document["dedup_key"]) > 255 or len(document["payload"]["summary"]) > 1_024:
        return "too long"
    levels = {"critical", "error", "warning", "info"}
    return "" if document["payload"]["severity"] in levels else "severity"


def _alertmanager(taken: Taken) -> str:
    if not taken.path.endswith("api/v2/alerts"):
        return "not found"
    for alert in taken.document:
        if alert["endsAt"] < alert["startsAt"]:
            return "start time must be before end time"
    return ""


def _jandi(taken: Taken) -> str:
    if taken.headers.get("accept") != ACCEPT_JANDI:
        return "Invalid accept"
    return "" if taken.document["body"] else "empty"


def _naverworks(taken: Taken) -> str:
    return "" if taken.document["body"]["text"] and taken.document["title"] else "empty"


def _kakaowork(taken: Taken) -> str:
    texts = [b["text"] for b in taken.document["blocks"]]
    return "" if taken.document["text"] and all(len(text) <= 500 for text in texts) else "too long"


LIMITS: Final[Mapping[str, Callable[[Taken], str]]] = {
    "alertmanager": _alertmanager,
    "discord": _discord,
    "dooray": _dooray,
    "googlechat": _googlechat,
    "jandi": _jandi,
    "kakaowork": _kakaowork,
    "mattermost": _mattermost,
    "naverworks": _naverworks,
    "ntfy": _ntfy,
    "pagerduty": _pagerduty,
    "slack": _slack,
    "teams": _teams,
    "telegram": _telegram,
}
GOOD: Final[Mapping[str, Callable[[], web.Response]]] = {
    "discord": lambda: web.json_response({"id": "1"}),
    "dooray": lambda: web.json_response({"header": {"isSuccessful": True, "resultCode": 0}}),
    "kakaowork": lambda: web.json_response({"success": True}),
    "pagerduty": lambda: web.json_response({"status": "success"}, status=202),
    "teams": lambda: web.Response(status=202),
    "telegram": lambda: web.json_response({"ok": True, "result": {}}),
}
