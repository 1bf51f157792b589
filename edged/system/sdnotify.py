"""What edged tells the service manager: ready, status, reloading, stopping, and that it turns.

Owns the notification socket and the watchdog thread. Must not decide when edged is ready.

Source: sd_notify(3) and sd_watchdog_enabled(3); tried with systemd 252.
"""

import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from edged.system.clock import monotonic_us

STATUS_CHARACTERS_MAX: Final = 200
"""One line of `systemctl status`."""

WEDGED_AFTER_MS: Final = 30_000
"""Without a service manager's own figure: an event loop silent for so long is not coming back."""

WATCHDOG_TICKS: Final = 5
"""Looks per watchdog interval. Counting looks instead of time forgives a stopped process: after
SIGCONT the loop has four more looks to show that it turns."""

EXIT_BUG: Final = 70


class Notifier:
    """Datagrams to the service manager; does nothing where there is none."""

    __slots__ = ("_address",)

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of the abstract name space.
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def ready(self, status: str = "") -> bool:
        """Say that edged works (also after a reload, even if the new file was refused)."""
        return self._send("READY=1", *_status_line(status))

    def status(self, text: str) -> bool:
        """Set the sentence that `systemctl status` shows first."""
        return self._send(*_status_line(text))

    def reloading(self) -> bool:
        """Say that a reload has begun; `ready` ends it.

        Without MONOTONIC_USEC `systemctl reload` would hang for ever with Type=notify-reload.
        """
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_us()}")

    def stopping(self, status: str = "") -> bool:
        """Say that edged is on its way out."""
        return self._send("STOPPING=1", *_status_line(status))

    def alive(self) -> bool:
        """Feed the service manager's watchdog."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if not self._address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.settimeout(0)
            try:
                way.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return False
        return True


def _status_line(text: str) -> list[str]:
    line = " ".join(text.split())[:STATUS_CHARACTERS_MAX]
    return [f"STATUS={line}"] if line else []


def watchdog_ms(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the watchdog interval this process has to keep, or None without one."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    for_pid = environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if for_pid and for_pid != str(os.getpid()):
        return None
    return max(int(microseconds) // 1_000, 1)


def dump_and_exit() -> NoReturn:
    """Show where every thread stands, and end the process without asking it."""
    try:
        sys.stderr.write("edged: the event loop does not turn any more; stacks follow\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
    finally:
        os._exit(EXIT_BUG)


class Watchdog:
    """A thread that vouches for the loop only as long as the loop feeds it.

    Each look at which it was fed since the last one sends WATCHDOG=1. After `WATCHDOG_TICKS`
    looks in a row without food it calls `on_wedged` once, which by default dumps all stacks and
    ends the process; so a wedged loop is restarted by any supervisor, with a service manager's
    watchdog or without one. The thread is a daemon thread: it dies with the process.
    """

    __slots__ = ("_closed", "_fed", "_interval_ms", "_notifier", "_on_wedged", "_thread")

    def __init__(
        self,
        notifier: Notifier,
        *,
        interval_ms: int,
        on_wedged: Callable[[], object] = dump_and_exit,
    ) -> None:
        assert interval_ms > 0
        self._notifier = notifier
        self._interval_ms = interval_ms
        self._on_wedged = on_wedged
        self._fed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look; counts as the first feeding."""
        self._fed.set()
        self._thread.start()

    def feed(self) -> None:
        """Say that the loop turns. Called from the loop, never from a timer thread."""
        self._fed.set()

    def close(self) -> None:
        """Stop looking, so that a slow exit is not taken for a wedged loop."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _look(self) -> None:
        hungry_looks = 0
        while not self._closed.wait(self._interval_ms / WATCHDOG_TICKS / 1_000):
            if self._fed.is_set():
                self._fed.clear()
                self._notifier.alive()
                hungry_looks = 0
                continue
            hungry_looks += 1
            if hungry_looks == WATCHDOG_TICKS:
                self._on_wedged()
                return
