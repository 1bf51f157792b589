"""Programs in a namespace, heard by the ear; their CPU and memory, children included."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ear import Ear
from netlab import entered

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE_MB: Final = os.sysconf("SC_PAGE_SIZE") / 1_048_576


class Program:
    """One program; what it says goes to the ear under `source`."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        namespace: str,
        ear: Ear,
        source: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        with entered(namespace):
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
                process_group=0,
            )
        assert self._process.stdout is not None
        ear.listen(os.dup(self._process.stdout.fileno()), source)
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        if not self.running:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in family(self.pid):
                os.kill(pid, 9)
            self._process.wait()


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            words = _stat(int(path.name))
            if words:
                parents.setdefault(int(words[1]), []).append(int(path.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, its descendants and what they have reaped."""
    return sum(sum(map(int, _stat(one)[11:15])) for one in family(pid) if _stat(one)) / TICKS


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants; shared pages count twice."""
    return sum(int(words[21]) for one in family(pid) if (words := _stat(one))) * PAGE_MB


def _stat(pid: int) -> list[str]:
    """Return the words of /proc/PID/stat from the state on; none if it is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
