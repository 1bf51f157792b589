"""`edged run` as it is installed, if asked with a sampler of its loop's lag; for the bench alone.

structlog imports rich where it is there. It comes with the tools that check edged, not with edged,
so it is hidden here: else its memory would be counted as edged's.

Every 10 ms a timer is due; how late it comes is the lag. SIGUSR1 begins anew, SIGUSR2 writes the
samples so far, in milliseconds, to the file named by BENCH_LAG. With BENCH_PROFILE the functions
that ran at each millisecond of CPU time between the two signals are counted, and written there.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

sys.modules["rich"] = None  # type: ignore[assignment] # what None means to an import

from edged.config.apart import load_apart  # noqa: E402 - after rich is hidden
from edged.daemon.process import Process  # noqa: E402 - after rich is hidden

EVERY_S = 0.010


class Sampler:
    def __init__(self, path: Path, profile: str) -> None:
        self._path = path
        self._profiler = Profiler(Path(profile)) if profile else None
        self._late: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + EVERY_S
        self._loop.call_at(self._due, self._sample)
        self._loop.add_signal_handler(signal.SIGUSR1, self._begin)
        self._loop.add_signal_handler(signal.SIGUSR2, self._write)

    def _sample(self) -> None:
        now = self._loop.time()
        self._late.append(max(0.0, now - self._due) * 1_000)
        self._due = now + EVERY_S
        self._loop.call_at(self._due, self._sample)

    def _begin(self) -> None:
        self._late.clear()
        if self._profiler is not None:
            self._profiler.begin()

    def _write(self) -> None:
        if self._profiler is not None:
            self._profiler.write()
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._late))
        fresh.rename(self._path)


class Profiler:
    """Counts by CPU time: which function ran itself, and which stood anywhere on the stack."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: Counter[str] = Counter()
        self._all: Counter[str] = Counter()

    def begin(self) -> None:
        self._own.clear()
        self._all.clear()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        samples = sum(self._own.values())
        lines = [f"{samples} samples; % of them: itself, on the stack"]
        lines += [
            f"{100 * self._own[name] / samples:5.1f} {100 * count / samples:5.1f}  {name}"
            for name, count in self._all.most_common(80)
        ]
        self._path.write_text("\n".join(lines) + "\n")

    def _look(self, number: int, frame: FrameType | None) -> None:
        del number
        names: list[str] = []
        while frame is not None:
            code = frame.f_code
            names.append(f"{Path(code.co_filename).name}:{code.co_qualname}")
            frame = frame.f_back
        self._own.update(names[:1])
        self._all.update(set(names))


def main(words: list[str]) -> int:
    assert words[:2] == ["run", "--config"]
    ours = {"BENCH_LAG", "BENCH_PROFILE"}
    environ = {key: value for key, value in os.environ.items() if key not in ours}
    path = Path(words[2])
    loaded = load_apart(path, environ)

    async def run() -> int:
        if lag := os.environ.get("BENCH_LAG"):
            Sampler(Path(lag), os.environ.get("BENCH_PROFILE", ""))
        return await Process(loaded, environ, path).run(once=False)

    with asyncio.Runner() as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
