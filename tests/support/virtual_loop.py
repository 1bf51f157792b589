"""An event loop with one clock that only the test moves: timers, watchers and late calls."""

from collections.abc import Callable


class FakeHandle:
    """A timer that can be cancelled."""

    def __init__(self, when_ms: int, call: Callable[[], None]) -> None:
        self.when_ms = when_ms
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Take the timer back."""
        self.cancelled = True


class FakeLoop:
    """A loop whose clock only `run_until` and `stall` move."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.handles: list[FakeHandle] = []
        self.readers: dict[int, Callable[[], None]] = {}

    def call_at(self, when: float, call: Callable[[], None]) -> FakeHandle:
        """Set a timer."""
        handle = FakeHandle(round(when * 1_000), call)
        self.handles.append(handle)
        return handle

    def call_soon(self, call: Callable[..., None], *args: object) -> None:
        """Call when the loop runs next."""
        self.call_at(self.now_ms / 1_000, lambda: call(*args))

    def add_reader(self, fd: int, call: Callable[[], None]) -> None:
        """Note who watches a descriptor."""
        self.readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        """Forget who watches a descriptor."""
        self.readers.pop(fd, None)

    def run_until(self, end_ms: int) -> None:
        """Fire each timer exactly when it is due."""
        while True:
            self.handles = [handle for handle in self.handles if not handle.cancelled]
            due = min(self.handles, key=lambda handle: handle.when_ms, default=None)
            if due is None or due.when_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due.when_ms)
            self.handles.remove(due)
            due.call()
        self.now_ms = max(self.now_ms, end_ms)

    def stall(self, length_ms: int) -> None:
        """Be late: the clock goes on, and no timer fires."""
        self.now_ms += length_ms
