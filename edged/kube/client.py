"""The API server over HTTP: credentials, TLS and transport from kubernetes_asyncio, the rest ours.

Every await that leaves the process stands under a deadline, every body and line has a bound.
kubernetes_asyncio's models, its Watch and its leader election are not used: they cost memory,
spin on EOF, never list again after 410, and leave two leaders (tried with version 36.1).
"""

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from yaml import YAMLError

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
from edged.kube.raw import Json, cut, number, text
from edged.kube.transport import library

REQUEST_S: Final = 10.0
CONNECT_S: Final = 5.0
CREDENTIALS_S: Final = 20.0
"""An exec plug-in may ask a cloud for a token."""
MAX_BODY: Final = 16 * 1024 * 1024
"""A page of 50 nodes with 50 images each is about one megabyte."""
MAX_LINE: Final = 4 * 1024 * 1024
"""etcd refuses objects above 1.5 MiB; a line is one object."""
MAX_RETRY_AFTER_MS: Final = 300_000

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"

TransportError = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError)
_UNUSABLE: Final = (YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""What kubernetes_asyncio lets through for a file that is no kubeconfig, or a broken plug-in."""


@dataclass(slots=True, eq=False)
class _Way:
    """Credentials and the session that carries them; the library's own objects.

    `users` counts the requests under way: aiohttp fails an assertion of its own when its session is
    closed below one (3.14), so the last one closes what was given up.
    """

    configuration: Any
    transport: Any
    users: int = 0

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.transport.close()


class Cluster:
    """One API server, with the credentials of one kubeconfig or of the Pod's own account."""

    def __init__(self, kubeconfig: Path | None, environ: Mapping[str, str] = os.environ) -> None:
        self._kubeconfig = kubeconfig
        self._environ = environ
        self._way: _Way | None = None
        self._opening = asyncio.Lock()

    @property
    def source(self) -> str:
        """Say where the credentials come from."""
        if self._kubeconfig is not None:
            return str(self._kubeconfig)
        return "the Pod's service account" if self._in_cluster else self._default_path

    @property
    def _in_cluster(self) -> bool:
        return "KUBERNETES_SERVICE_HOST" in self._environ

    @property
    def _default_path(self) -> str:
        # Our own look-up: kubernetes_asyncio freezes $KUBECONFIG when it is imported.
        return self._environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())

    # --- requests

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Read one object or one page."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object."""
        return await self._call("POST", path, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """Replace an object; its `resourceVersion` guards against others."""
        return await self._call("PUT", path, body=body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge a few fields into an object."""
        return await self._call("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = JSON,
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(REQUEST_S):
                headers = {"Content-Type": content_type} if data is not None else {}
                async with (
                    self._lent() as way,
                    await self._send(way, method, path, query, headers, data) as reply,
                ):
                    raw = await _body(reply)
                    self._check(way, reply, raw)
        except TransportError as error:
            raise KubeError(_words(error)) from error
        return decode(raw)

    async def _send(
        self,
        way: _Way,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        data: bytes | None,
    ) -> aiohttp.ClientResponse:
        configuration = way.configuration
        sent = {"Accept": JSON, "User-Agent": "edged", **headers}
        for setting in (await self._credentials(way)).values():
            if setting["value"]:
                sent[setting["key"]] = setting["value"].strip()
        session: aiohttp.ClientSession = way.transport.pool_manager
        return await session.request(
            method,
            str(configuration.host).rstrip("/") + path,
            params=query,
            headers=sent,
            data=data,
            allow_redirects=False,
            proxy=configuration.proxy,
            server_hostname=configuration.tls_server_name,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )

    def _check(self, way: _Way, reply: aiohttp.ClientResponse, raw: bytes) -> None:
        if reply.status == 401:  # noqa: PLR2004 - RFC 9110
            self._give_up(way)
        error = refusal(reply.status, raw, reply.headers.get("Retry-After", ""))
        if error is not None:
            raise error

    async def stream(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        silence_s: float,
    ) -> AsyncGenerator[Json]:
        """Yield the JSON lines of a watch until the server ends it.

        Raises:
            KubeError: refused, broken, cut in mid-line, not JSON, or silent for `silence_s`.
        """
        try:
            async with self._lent() as way:
                async with asyncio.timeout(REQUEST_S):
                    reply = await self._send(way, "GET", path, query, {}, None)
                async with reply:
                    if reply.status != 200:  # noqa: PLR2004 - RFC 9110
                        async with asyncio.timeout(REQUEST_S):
                            raw = await _body(reply)
                            self._check(way, reply, raw)
                        raise KubeError(f"HTTP {reply.status} instead of a watch")
                    async for line in _lines(reply, silence_s):
                        yield decode(line)
        except TransportError as error:
            raise KubeError(_words(error)) from error

    # --- credentials

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncGenerator[_Way]:
        """Lend the way in force; whoever gives it back last after it was given up closes it."""
        way = await self._opened()
        way.users += 1
        try:
            yield way
        finally:
            way.users -= 1
            if way is not self._way and not way.users:
                await way.close()

    async def _opened(self) -> _Way:
        async with self._opening:
            if self._way is None:
                self._way = await self._open()
            return self._way

    async def _open(self) -> _Way:
        configuration = library().configuration()
        async with self._reading():
            await self._load(configuration)
            # Python 3.13 and newer refuse the home-made CAs of many clusters by one strict flag.
            configuration.disable_strict_ssl_verification = True
            return _Way(configuration, library().transport(configuration))

    async def _credentials(self, way: _Way) -> dict[str, dict[str, str]]:
        """Return the headers that say who asks; a plug-in may be run for them."""
        try:
            async with self._reading():
                found: dict[str, dict[str, str]] = await way.configuration.auth_settings()
                return found
        except CredentialsUnusable:
            self._give_up(way)
            raise

    def _give_up(self, way: _Way) -> None:
        """Let the next request read the credentials anew."""
        if self._way is way:
            self._way = None

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncGenerator[None]:
        """Let credentials be read, within their time.

        Raises:
            CredentialsUnusable: they cannot be read, or not in time.
        """
        try:
            async with asyncio.timeout(CREDENTIALS_S):
                yield
        except library().config_error as error:
            raise CredentialsUnusable(f"{self.source}: {cut(str(error))}") from error
        except TimeoutError as error:
            raise CredentialsUnusable(f"{self.source}: the credential plug-in hangs") from error
        except _UNUSABLE as error:
            raise CredentialsUnusable(f"{self.source}: {_words(error)}") from error

    async def _load(self, configuration: object) -> None:
        if self._kubeconfig is None and self._in_cluster:
            library().load_in_cluster(client_configuration=configuration)
            return
        path = self._kubeconfig if self._kubeconfig is not None else self._default_path
        await library().load_kubeconfig(
            config_file=str(path), client_configuration=configuration, persist_config=False
        )

    async def close(self) -> None:
        """Drop connections and credentials; the next request begins anew."""
        way, self._way = self._way, None
        if way is not None and not way.users:
            await way.close()


# --- answers ------------------------------------------------------------------------------------


def decode(raw: bytes) -> Json:
    """Return a JSON object.

    Raises:
        KubeError: it is none, such as a proxy's HTML page.
    """
    try:
        found = json.loads(raw)
    except ValueError as error:
        shown = cut(raw[:80].decode(errors="replace"))
        raise KubeError(f"not JSON but {shown!r}") from error
    if not isinstance(found, dict):
        raise KubeError(f"not a JSON object but {type(found).__name__}")
    return found


def refusal(status: int, raw: bytes, retry_after: str = "") -> KubeError | None:
    """Return the error for an HTTP answer, or None for a good one."""
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110
        return None
    try:
        said = decode(raw)
    except KubeError:
        said = {}
    return error_of(said, status=status, retry_after=retry_after)


def error_of(said: Json, *, status: int | None = None, retry_after: str = "") -> KubeError:
    """Return the error that a `Status` object, in a body or in a stream, stands for."""
    code = status or number(said, "code") or 0
    reason = text(said, "reason")
    words = cut(text(said, "message")) or f"HTTP {code}"
    if code == 410 or reason in {"Expired", "Gone"}:  # noqa: PLR2004 - RFC 9110
        return Gone(words)
    kinds: dict[int, type[KubeError]] = {
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
    }
    if code in kinds:
        return kinds[code](words)
    if code in {429, 503}:
        seconds = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0
        seconds = seconds or number(said, "details", "retryAfterSeconds") or 0
        wait_ms = min(max(seconds, 0) * 1_000, MAX_RETRY_AFTER_MS)
        return Busy(words, retry_after_ms=wait_ms)
    return KubeError(words)


async def _body(reply: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            raise KubeError(f"an answer of more than {MAX_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


async def _lines(reply: aiohttp.ClientResponse, silence_s: float) -> AsyncIterator[bytes]:
    """Split a stream into lines; what follows the last line feed is a cut line."""
    buffer = bytearray()
    while True:
        async with asyncio.timeout(silence_s):
            part = await reply.content.readany()
        if not part:
            break
        searched = len(buffer)
        buffer += part
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            searched = 0
            if line.strip():
                yield line
        if len(buffer) > MAX_LINE:
            raise KubeError(f"a line of more than {MAX_LINE} bytes")
    if buffer.strip():
        raise KubeError("the stream was cut in mid-line")


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return cut(str(error)) or type(error).__name__
