"""`edged run` as it is installed, if asked with a sampler of its loop's lag; for the bench alone.

structlog imports rich where it is there. It comes with the tools that check edged, not with edged,
so it is hidden here: else its memory would be counted as edged's.

Every 10 ms a timer is due; how late it comes is the lag. SIGUSR1 begins anew, SIGUSR2 writes the
samples so far, in milliseconds, to the file named by BENCH_LAG.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.modules["rich"] = None  # type: ignore[assignment] # what None means to an import

from edged.config.load import load  # noqa: E402 - after rich is hidden
from edged.daemon.process import Process  # noqa: E402 - after rich is hidden

EVERY_S = 0.010


class Sampler:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._late: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + EVERY_S
        self._loop.call_at(self._due, self._sample)
        self._loop.add_signal_handler(signal.SIGUSR1, self._late.clear)
        self._loop.add_signal_handler(signal.SIGUSR2, self._write)

    def _sample(self) -> None:
        now = self._loop.time()
        self._late.append(max(0.0, now - self._due) * 1_000)
        self._due = now + EVERY_S
        self._loop.call_at(self._due, self._sample)

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._late))
        fresh.rename(self._path)


def main(words: list[str]) -> int:
    assert words[:2] == ["run", "--config"]
    environ = {key: value for key, value in os.environ.items() if key != "BENCH_LAG"}
    path = Path(words[2])
    loaded = load(path, environ)

    async def run() -> int:
        if lag := os.environ.get("BENCH_LAG"):
            Sampler(Path(lag))
        return await Process(loaded, environ, path).run(once=False)

    with asyncio.Runner() as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
