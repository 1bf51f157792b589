"""Child processes of the demo: started apart from the terminal, ended by their ids on every path.

Owns processes, signals to them, and waiting that a signal to the demo itself interrupts. Ctrl-C
reaches the demo alone, which then ends its children in order.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from edged.core.errors import EdgedError
from edged.system import clock

LOOK_S: Final = 0.02
"""How often a wait looks."""
END_S: Final = 5.0
"""What a child may take to end before it is killed."""
LOG_BYTES: Final = 4_096
"""How much of a child's last words is quoted."""


class DemoFailed(EdgedError):
    """A step did not happen; the text says which."""


class Interrupted(EdgedError):
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Ending:
    """Remembers that a signal asked for the end; every wait looks here, nothing is cut in two."""

    def __init__(self) -> None:
        self._number: int | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP while the block runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._number = number

    def look(self) -> None:
        """Raise `Interrupted` if the end was asked for."""
        if self._number is not None:
            raise Interrupted(self._number)

    def wait(
        self,
        done: Callable[[], bool],
        *,
        limit_s: float,
        between: Callable[[], None] = lambda: None,
        look_s: float = LOOK_S,
    ) -> bool:
        """Wait until `done`, calling `between` after each look; False when it took too long."""
        until_ms = clock.monotonic_ms() + round(limit_s * 1_000)
        while True:
            self.look()
            if done():
                return True
            if clock.monotonic_ms() >= until_ms:
                return False
            between()
            time.sleep(look_s)


class Child:
    """One program of ours."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._words = list(words)
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says goes into its log."""
        assert not self.running
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, our own words
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether it runs (or hangs)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Return how it ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> int:
        """Send a signal and return when, in microseconds of the monotonic clock."""
        at_us = clock.monotonic_us()
        os.kill(self.pid, number)
        return at_us

    def wait(self, limit_s: float) -> int:
        """Wait for its end, which is near, and return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{self.name} did not end within {limit_s:g} s") from None

    def end(self, limit_s: float = END_S) -> None:
        """End it if it runs: with SIGTERM, then with SIGKILL; a stopped one is killed at once."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout=limit_s if not self._stopped() else 0.1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _stopped(self) -> bool:
        """Tell whether the process is stopped by SIGSTOP."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"

    def last_words(self) -> str:
        """Return the end of its log."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_BYTES:].strip()
        except OSError:
            return ""
