"""Hears what all contestants say, and stamps every line with the monotonic clock as it comes."""

import os
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final

DATAGRAM_MAX: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One line, and when it was here (microseconds)."""

    at_us: int
    source: str
    line: str


class Ear:
    """One thread that reads pipes and datagram sockets."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lines: list[Heard] = []
        self._rest: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ear", daemon=True)
        self._thread.start()

    def listen(self, descriptor: int, source: str) -> None:
        """Read lines of a pipe from now on; the descriptor is ours from here."""
        os.set_blocking(descriptor, False)
        with self._lock:
            self._rest[descriptor] = b""
            self._selector.register(descriptor, selectors.EVENT_READ, source)

    def listen_datagrams(self, sock: socket.socket, source: str) -> None:
        """Take each datagram as a line."""
        sock.setblocking(False)  # noqa: FBT003 - the library's own
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ, source)

    def heard(self, source: str, since_us: int = 0) -> list[Heard]:
        """Return what a source has said since an instant, oldest first."""
        with self._lock:
            return [one for one in self._lines if one.source == source and one.at_us >= since_us]

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._selector.close()

    def _run(self) -> None:
        while not self._end.is_set():
            # A descriptor registered meanwhile is waited for by epoll at once.
            for key, _ in self._selector.select(timeout=0.2):
                at_us = time.monotonic_ns() // 1_000
                if isinstance(key.fileobj, socket.socket):
                    self._take(at_us, key.data, [key.fileobj.recv(DATAGRAM_MAX)])
                else:
                    self._read(at_us, key.fd, key.data)

    def _read(self, at_us: int, descriptor: int, source: str) -> None:
        try:
            data = os.read(descriptor, DATAGRAM_MAX)
        except BlockingIOError:
            return
        if not data:
            with self._lock:
                self._selector.unregister(descriptor)
            os.close(descriptor)
            return
        *lines, self._rest[descriptor] = (self._rest[descriptor] + data).split(b"\n")
        self._take(at_us, source, lines)

    def _take(self, at_us: int, source: str, lines: list[bytes]) -> None:
        said = [
            Heard(at_us=at_us, source=source, line=line.decode(errors="replace").strip())
            for line in lines
        ]
        with self._lock:
            self._lines += said
