"""Measures what a person waits for: commands, and `edged run` until it says READY.

A simulated router and stand-in gateways are at hand on loopback. A command's time runs from its
start to its end, READY's from the start of `edged run` to the datagram that a service manager would
get. Bytecode is compiled before, as pip and the container do it.
    python bench/startup.py --n 30
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edged.cli.demo_gateways import ADDRESSES, SERVER_NAME, three_gateways
from edged.cli.demo_lab import Daemon, Folder, Router, Settings
from edged.cli.demo_processes import Child, Ending

READY_S = 30.0
NOTIFY = "notify.sock"


def main() -> None:
    """Measure, and print one row per command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=30, help="how often each is done")
    n = parser.parse_args().n
    print(f"load {' '.join(f'{one:.1f}' for one in os.getloadavg())}, n = {n}, in ms")
    with Folder("edged-b-") as cache:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        measure(n, environ)
    print(f"load {' '.join(f'{one:.1f}' for one in os.getloadavg())} at the end")


def measure(n: int, environ: dict[str, str]) -> None:
    """Print a row for READY and one for each command."""
    with lab(environ) as daemon:
        config = ["--config", str(daemon.config)]
        until_ready(daemon)  # compiles
        show("run, until READY", [until_ready(daemon) for _ in range(n)])
        daemon.start(Ending())
        for words in (
            ["--version"],
            ["status", *config],
            ["why", "node2", *config],
            ["plan", *config],
            ["check-config", *config],
        ):
            run = command(words, environ)
            run()  # compiles
            show(words[0], [took_ms(run) for _ in range(n)])


@contextlib.contextmanager
def lab(environ: Mapping[str, str]) -> Iterator[Daemon]:
    """Run a router and three gateways, with a daemon's configuration ready."""
    with Folder("edged-b-") as folder, contextlib.ExitStack() as stack:
        ending = Ending()
        gateways = three_gateways(None, folder)
        router = Router(folder, routeros="6.49.10", gateways=ADDRESSES)
        daemon = Daemon(folder)
        daemon.child = Child(
            "edged",
            [sys.executable, "-m", "edged.cli.main", "run", "--config", str(daemon.config)],
            log=folder / "edged.log",
            environ={**environ, "NOTIFY_SOCKET": str(daemon.folder / NOTIFY)},
        )
        for child in (router.child, *(one.child for one in gateways), daemon.child):
            stack.callback(child.end)
        for gateway in gateways:
            gateway.start(ending)
        router.start(ending)
        settings = Settings(server_name=SERVER_NAME, port=gateways[0].port, adopt=True)
        daemon.configure(router, ADDRESSES, settings)
        yield daemon


def command(words: Sequence[str], environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what runs `edged` as a shell would."""
    program = Path(sys.executable).parent / "edged"

    def run() -> None:
        # Without a time-out: with one, subprocess looks only every 50 ms.
        subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL, env=environ)

    return run


def took_ms(run: Callable[[], None]) -> float:
    """Return how long it took."""
    began = time.monotonic()
    run()
    return (time.monotonic() - began) * 1_000


def until_ready(daemon: Daemon) -> float:
    """Start the daemon, wait for READY=1, end it; return the time in ms."""
    path = daemon.folder / NOTIFY
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(READY_S)
        began = time.monotonic()
        daemon.child.start()
        while b"READY=1" not in manager.recv(4_096).split(b"\n"):
            pass
        took = (time.monotonic() - began) * 1_000
    daemon.child.end()
    return took


def show(what: str, times: Sequence[float]) -> None:
    """Print one row: median, p99 (with fewer than 100 the slowest) and the slowest."""
    ordered = sorted(times)
    median = ordered[len(ordered) // 2]
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    print(f"{what:<18} median {median:7.0f}   p99 {p99:7.0f}   max {ordered[-1]:7.0f}", flush=True)


if __name__ == "__main__":
    main()
