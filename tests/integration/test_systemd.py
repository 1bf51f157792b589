"""The unit as systemd's own tools judge it, and the daemon towards a service manager.

Here the manager is a socket of ours, for it can be held to the word: what the daemon says to it, in
which order, and when it must be silent. test_systemd_boot.py has a real one.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from edged.cli.demo_lab import Folder
from edged.cli.main import main
from edged.system import clock
from tests.support.daemon import World, world
from tests.support.parts import require_part

pytestmark = pytest.mark.integration

EXPOSURE_TENTHS_MAX = 12


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is installed, starting an edged that exists."""
    assert main(["install-files", "--prefix", str(tmp_path), "--write"]) == 0
    return tmp_path / "etc/systemd/system/edged.service"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require_part("systemd-analyze"), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def exposure(unit: Path) -> int:
    words = ("--offline=true", f"--threshold={EXPOSURE_TENTHS_MAX}", str(unit))
    return analyze("security", *words).returncode


def test_the_unit_exposes_little(unit: Path) -> None:
    assert exposure(unit) == 0


def test_a_weaker_unit_would_be_noticed(unit: Path) -> None:
    text = unit.read_text()
    unit.write_text(text.replace("RestrictAddressFamilies=", "#"))
    assert exposure(unit) == 1


def test_systemd_finds_no_fault_in_the_unit(unit: Path) -> None:
    found = analyze("verify", "--recursive-errors=yes", str(unit))
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("name", ["ip-allow", "static-user"])
def test_systemd_finds_no_fault_in_a_drop_in(unit: Path, name: str) -> None:
    source = unit.parents[3] / f"usr/local/share/edged/drop-ins/{name}.conf"
    unit.write_text(f"{unit.read_text()}\n{source.read_text()}")
    found = analyze("verify", "--recursive-errors=yes", str(unit))
    assert (found.returncode, found.stderr) == (0, "")


# --- the daemon and its manager


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify.sock"
        self.heard: list[list[str]] = []
        self._way = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._way.bind(str(self.path))
        self._way.setblocking(False)  # noqa: FBT003 - the standard library's signature

    def listen(self) -> list[list[str]]:
        """Take what came and return everything heard so far."""
        while True:
            try:
                self.heard.append(self._way.recv(4_096).decode().split("\n"))
            except BlockingIOError:
                return self.heard

    def count(self, word: str) -> int:
        return sum(word in message for message in self.listen())

    def close(self) -> None:
        self._way.close()


@contextmanager
def managed(watchdog_ms: int = 0) -> Iterator[tuple[World, Manager]]:
    with Folder("edged-t-") as folder, world(folder, start=False) as w:
        manager = Manager(folder)
        environ = w.daemon.child._environ
        environ["NOTIFY_SOCKET"] = str(manager.path)
        if watchdog_ms:
            environ["WATCHDOG_USEC"] = str(watchdog_ms * 1_000)
        try:
            yield w, manager
        finally:
            w.daemon.child.end()
            manager.close()


def test_ready_comes_after_the_route_was_read_and_once() -> None:
    with managed() as (w, manager):
        w.router.ask(do="fault", kind="delay", seconds=1.0, command="/ip/route/print", times=1)
        w.start_daemon()
        assert manager.count("READY=1") == 0
        w.wait("READY", lambda: manager.count("READY=1") == 1)
        ready = next(m for m in manager.heard if "READY=1" in m)
        assert any(line.startswith("STATUS=web on hex: ") for line in ready)


def test_a_reload_says_reloading_then_ready_even_if_the_file_is_refused() -> None:
    with managed() as (w, manager):
        w.start_daemon()
        w.wait("READY", lambda: manager.count("READY=1") == 1)
        for broken in (False, True):
            if broken:
                w.daemon.config.write_text("version = 2\n")
            before = len(manager.listen())
            at_us = w.daemon.child.send(signal.SIGHUP)
            w.wait("READY again", partial(said, manager, before, "READY=1"))
            words = [m for m in manager.heard[before:] if m[0] in {"RELOADING=1", "READY=1"}]
            assert [m[0] for m in words] == ["RELOADING=1", "READY=1"]
            stamp = int(words[0][1].removeprefix("MONOTONIC_USEC="))
            assert at_us <= stamp <= clock.monotonic_us()
            assert any("reload refused" in line for line in words[1]) == broken
        w.wait("still there", lambda: w.event("config.rejected") is not None)
        assert w.daemon.child.running


def said(manager: Manager, since: int, word: str) -> bool:
    return any(word in message for message in manager.listen()[since:])


def test_the_watchdog_is_fed_and_stopping_is_said_before_the_end() -> None:
    with managed(watchdog_ms=1_000) as (w, manager):
        w.start_daemon()
        w.wait("three WATCHDOG=1", lambda: manager.count("WATCHDOG=1") >= 3)
        w.daemon.child.send(signal.SIGTERM)
        assert w.daemon.child.wait(3.0) == 0
        assert manager.count("STOPPING=1") == 1
        assert "WATCHDOG=1" not in [m[0] for m in after(manager.listen(), "STOPPING=1")]


def after(messages: list[list[str]], word: str) -> list[list[str]]:
    at = next(i for i, message in enumerate(messages) if word in message)
    return messages[at + 1 :]


# --- the system calls


def members(name: str) -> set[str]:
    """Return the system calls of a set, with those of the sets in it."""
    lines = analyze("syscall-filter", "--no-pager", name).stdout.splitlines()
    words = {line.strip() for line in lines if line.startswith("    ")}
    plain = {word for word in words if not word.startswith(("@", "#"))}
    return plain.union(*(members(word) for word in words if word.startswith("@")))


def filtered(unit: Path) -> set[str]:
    """Return what the unit's SystemCallFilter lets through."""
    allowed: set[str] = set()
    for line in unit.read_text().splitlines():
        if not line.startswith("SystemCallFilter="):
            continue
        value = line.partition("=")[2]
        found = set[str]().union(*(members(name) for name in value.lstrip("~").split()))
        allowed = allowed - found if value.startswith("~") else allowed | found
    return allowed


def test_the_filter_lets_through_every_system_call_of_a_life(unit: Path) -> None:
    strace = require_part("strace")
    with Folder("edged-t-") as folder, world(folder, start=False) as w:
        counts = folder / "calls"
        child = w.daemon.child
        child._words[:0] = [strace, "-D", "-f", "-qq", "-c", "-U", "name", "-o", str(counts)]
        w.start_daemon()
        w.wait_settled()
        w["node2"].child.end()
        w.wait("node2 out", lambda: "node2" not in w.in_route())
        child.send(signal.SIGHUP)
        w.wait("reloaded", lambda: w.event("config.reloaded") is not None)
        child.send(signal.SIGTERM)
        child.wait(10.0)
        w.wait("strace's table", lambda: counts.exists() and "openat" in counts.read_text())
        used = {line.strip() for line in counts.read_text().splitlines()}
    used = {name for name in used if name.isidentifier()} - {"total", "syscall"}
    assert {"connect", "sendto", "epoll_wait"} <= used
    if os.geteuid() == 0:
        used.discard("fchown")  # SQLite gives its files the directory's owner, only as root
    assert used - filtered(unit) == set()
