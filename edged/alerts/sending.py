"""One POST to a service, bounded in time and size, without following anybody anywhere.

Owns the HTTP client of alerts and its name look-ups. Look-ups run in threads of their own: a name
server that hangs must not use up the threads that the rest of edged shares.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edged.alerts.channels.base import Answer, Request
from edged.system.redaction import cut_url

TOTAL_S: Final = 10.0
CONNECT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 16 * 1024
LOOKUPS_MAX: Final = 32
"""Threads of hanging look-ups; a channel has one at a time."""
NAMES_CACHED_S: Final = 300
AGENT: Final = "edged"


class NotSent(Exception):
    """No answer: the text says why and holds no secret. The message may have arrived."""


class OwnThreads(AbstractResolver):
    """Looks names up in daemon threads, which neither share a pool nor hold up the exit."""

    def __init__(self, look_up: Callable[..., list[tuple[object, ...]]] | None = None) -> None:
        self._look_up = look_up or socket.getaddrinfo
        self._running = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        if self._running >= LOOKUPS_MAX:
            raise OSError(f"{LOOKUPS_MAX} name look-ups hang already")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[tuple[object, ...]]] = loop.create_future()
        self._running += 1

        def settle(found: list[tuple[object, ...]] | None, error: OSError | None) -> None:
            self._running -= 1
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def work() -> None:
            found: list[tuple[object, ...]] | None = None
            error: OSError | None = None
            try:
                found = [*self._look_up(host, port, family, socket.SOCK_STREAM)]
            except OSError as fault:
                error = fault
            except UnicodeError as fault:
                error = OSError(f"not a host name: {fault}")
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found, error)

        threading.Thread(target=work, name="alert name look-up", daemon=True).start()
        return [_result(host, entry) for entry in await answer]

    async def close(self) -> None:
        """Nothing is held open."""


def _result(host: str, entry: tuple[object, ...]) -> ResolveResult:
    family, _, protocol, _, address = entry
    assert isinstance(address, tuple)
    return ResolveResult(
        hostname=host,
        host=str(address[0]),
        port=int(address[1]),
        family=int(str(int(family))),  # type: ignore[call-overload] # an enum of integers
        proto=int(protocol),  # type: ignore[call-overload] # likewise
        flags=socket.AI_NUMERICHOST,
    )


class Client:
    """The HTTP client of all channels; made in the event loop, closed at the end."""

    def __init__(self, *, total_s: float = TOTAL_S, context: ssl.SSLContext | None = None) -> None:
        self._total_s = total_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # Each channel has one request at a time; a limit would let one hold up another.
                limit=0,
                ttl_dns_cache=NAMES_CACHED_S,
                resolver=OwnThreads(),
                ssl=context if context is not None else True,
            ),
            timeout=aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_S, total_s)),
            headers={"User-Agent": AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def post(self, request: Request, *, proxy: str | None = None) -> Answer:
        """Send one request.

        Raises:
            NotSent: there was no whole answer in time.
        """
        return await self._ask("POST", request, proxy)

    async def get(self, url: str, *, proxy: str | None = None) -> Answer:
        """Ask for a URL.

        Raises:
            NotSent: there was no whole answer in time.
        """
        return await self._ask("GET", Request(url=url, body=b""), proxy)

    async def _ask(self, method: str, request: Request, proxy: str | None) -> Answer:
        try:
            async with (
                asyncio.timeout(self._total_s),
                self._session.request(
                    method,
                    request.url,
                    data=request.body or None,
                    headers=dict(request.headers),
                    allow_redirects=False,
                    proxy=proxy,
                ) as response,
            ):
                body = await _read(response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(status=response.status, headers=headers, body=body)
        except TimeoutError:
            raise NotSent(f"no answer within {self._total_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not "from" the original: it quotes the URL, and that is the secret.
            raise NotSent(_why(error)) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of the body; the rest is nobody's affair."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(ANSWER_BYTES_MAX):
        body += chunk
        if len(body) >= ANSWER_BYTES_MAX:
            response.close()
            break
    return bytes(body[:ANSWER_BYTES_MAX])


def _why(error: Exception) -> str:
    """Say a fault without what the library puts into it: the URL with its secret."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return f"TLS failed: {error.os_error if hasattr(error, 'os_error') else 'certificate'}"
        case aiohttp.ClientProxyConnectionError():
            return "the proxy cannot be reached"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} cannot be looked up"
        case aiohttp.ClientConnectorError():
            return f"{error.host}: {error.os_error.strerror or 'cannot be reached'}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "the connection ended before the answer was whole"
        case aiohttp.InvalidURL():
            return "the URL is not one"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case ConnectionResetError() | aiohttp.ClientOSError():
            return "the connection was reset"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return type(error).__name__


def host_of(url: str) -> str:
    """Return a URL as people may see it."""
    return cut_url(url)
