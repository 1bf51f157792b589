"""The command line's end of the control socket: HTTP/1.0 with nothing but a socket.

Owns one request and its answer. Must stay quick to import: aiohttp would cost half a second and
even `http.client` four times what this does, for every `edged status`.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from edged.core.errors import EdgedError
from edged.system import clock

DEADLINE_MS: Final = 35_000
"""A little more than the daemon allows itself for a verb."""

LOOK_DEADLINE_MS: Final = 10_000
"""Looking changes nothing and waits for nobody; a daemon that takes longer is stuck."""

CONNECT_MS: Final = 2_000
"""The kernel connects at once; only a daemon whose queue is full makes anybody wait."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""10,000 events with long fields; more is no answer of ours."""

HEAD_BYTES_MAX: Final = 16 * 1024

EXIT_ERROR: Final = 1
EXIT_NO_DAEMON: Final = 5
EXIT_BUG: Final = 70


class NoDaemon(EdgedError):
    """Nobody answers on the control socket; exit code 5."""

    exit_code = EXIT_NO_DAEMON


class Refused(EdgedError):
    """The daemon said no; the text is its sentence, `exit_code` what the command ends with."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


Words = Mapping[str, str | int | bool | None]


class Client:
    """Asks the daemon on one socket; each request is a connection of its own."""

    def __init__(self, path: Path, *, deadline_ms: int = DEADLINE_MS) -> None:
        self._path = path
        self._deadline_ms = deadline_ms

    def get(self, verb: str, words: Words | None = None) -> dict[str, Any]:
        """Ask a question; words that are None are left out.

        Raises:
            NoDaemon: nobody answers, or not in time.
            Refused: the daemon said no.
        """
        request = f"GET {_target(verb, words)} HTTP/1.0\r\n\r\n".encode()
        return self._request(request, min(self._deadline_ms, LOOK_DEADLINE_MS))

    def post(self, verb: str, words: Words | None = None) -> dict[str, Any]:
        """Give a command; words that are None are left out.

        Raises:
            NoDaemon: nobody answers, or not in time; then the command may have been carried out.
            Refused: the daemon said no.
        """
        given = {key: value for key, value in (words or {}).items() if value is not None}
        body = json.dumps(given).encode()
        head = (
            f"POST /v1/{verb} HTTP/1.0\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return self._request(head.encode() + body, self._deadline_ms)

    def stream(self, words: Words | None = None) -> Iterator[dict[str, Any]]:
        """Yield events as they happen, until the daemon ends or the caller stops asking.

        Raises:
            NoDaemon: nobody answers.
            Refused: the daemon said no.
        """
        with self._connect() as way:
            way.sendall(f"GET {_target('events/stream', words)} HTTP/1.0\r\n\r\n".encode())
            way.settimeout(None)
            with way.makefile("rb") as answer:
                status = _read_head(answer.readline)
                if status != 200:  # noqa: PLR2004 - the one good status
                    _document(status, answer.read(ANSWER_BYTES_MAX))
                for line in answer:
                    if not line.endswith(b"\n"):
                        return
                    yield json.loads(line)

    def _request(self, request: bytes, deadline_ms: int) -> dict[str, Any]:
        until_ms = clock.monotonic_ms() + deadline_ms
        try:
            with self._connect() as way:
                way.sendall(request)
                answer = bytearray()
                while chunk := _receive(way, until_ms):
                    answer += chunk
                    if len(answer) > ANSWER_BYTES_MAX:
                        raise NoDaemon(f"what answers on {self._path} is not edged")
        except TimeoutError:
            seconds = f"{deadline_ms / 1_000:g}"
            raise NoDaemon(f"edged on {self._path} did not answer within {seconds} s") from None
        except ConnectionError:
            raise NoDaemon(f"edged on {self._path} ended before it answered") from None
        if not answer:
            raise NoDaemon(f"edged on {self._path} ended before it answered")
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        lines = iter([*head.splitlines(keepends=True), b"\r\n"])
        return _document(_read_head(lambda _: next(lines)), body)

    def _connect(self) -> socket.socket:
        way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            way.settimeout(CONNECT_MS / 1_000)
            way.connect(str(self._path))
        except OSError as error:
            way.close()
            raise NoDaemon(_why_not(self._path, error)) from error
        return way


def _why_not(path: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return f"no edged runs with the control socket {path}: start it, or name another"
        case PermissionError():
            return f"the control socket {path} is not yours to use: join its group, or use sudo"
        case TimeoutError() | BlockingIOError():
            return f"the edged on {path} is too busy to answer"
        case _:
            return f"the control socket {path} cannot be used: {error.strerror or error}"


def _target(verb: str, words: Words | None) -> str:
    query = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (words or {}).items()
        if value is not None
    }
    return f"/v1/{verb}" + (f"?{urlencode(query, errors='backslashreplace')}" if query else "")


def _receive(way: socket.socket, until_ms: int) -> bytes:
    left_ms = until_ms - clock.monotonic_ms()
    if left_ms <= 0:
        raise TimeoutError
    way.settimeout(left_ms / 1_000)
    return way.recv(65_536)


def _read_head(read_line: Any) -> int:  # noqa: ANN401 - a file's readline, or one like it
    """Return the status of an answer and leave its body to be read."""
    first = read_line(HEAD_BYTES_MAX).split(b" ", 2)
    if len(first) < 2 or not first[0].startswith(b"HTTP/1.") or not first[1].isdigit():  # noqa: PLR2004
        raise NoDaemon("what answers on the control socket does not speak HTTP")
    while read_line(HEAD_BYTES_MAX).strip():
        pass
    return int(first[1])


def _document(status: int, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused("edged met a bug while it answered; its log tells more", EXIT_BUG)
    if status != 200:  # noqa: PLR2004 - the one good status
        raise Refused(
            str(document.get("error", f"edged answered {status}")),
            int(document.get("exit", EXIT_ERROR)),
        )
    return document
