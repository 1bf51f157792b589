"""The shipped unit under a real systemd: start, reload, a frozen process, stop, and a restart."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edged.cli.client import NoDaemon
from edged.cli.demo_lab import Folder
from tests.support.daemon import World, world
from tests.support.machine import Machine, machine

pytestmark = pytest.mark.integration


@contextmanager
def under_systemd() -> Iterator[tuple[World, Machine]]:
    with (
        Folder("edged-t-") as folder,
        machine(folder) as m,
        world(folder, start=False) as w,
    ):
        m.configure(w)
        yield w, m


@pytest.fixture
def running() -> Iterator[tuple[World, Machine]]:
    with under_systemd() as (w, m):
        m.systemctl("start", "edged")
        w.wait_settled()
        yield w, m


def test_start_returns_when_the_route_was_read_and_the_user_is_nobody_of_note(
    running: tuple[World, Machine],
) -> None:
    w, m = running
    assert m.shown("ActiveState") == "active"
    assert m.shown("StatusText").startswith("web on hex: ")
    pid = m.shown("ExecMainPID")
    status = m.run("cat", f"/proc/{pid}/status").stdout
    (uids,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
    assert "0" not in uids
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    # History is where the unit puts it, and the adoption was the only write.
    assert m.path("/var/lib/edged/edged.sqlite3").exists()
    assert len(w.own_writes()) == 1


def test_reload_takes_a_good_file_and_says_that_it_refused_a_bad_one(
    running: tuple[World, Machine],
) -> None:
    w, m = running
    pid, writes = m.shown("ExecMainPID"), w.router.write_count()
    w.configure(hold_down="3s")
    m.write_config(w)
    m.systemctl("reload", "edged")
    w.wait("taken", lambda: w.event("config.reloaded", changed="hold_down.base") is not None)
    (m.root / "etc/edged/config.toml").write_text("version = 2\n")
    m.systemctl("reload", "edged")
    w.wait("refused", lambda: w.event("config.rejected") is not None)
    w.wait("said", lambda: "reload refused" in m.shown("StatusText"))
    assert m.shown("ActiveState") == "active"
    assert m.shown("ExecMainPID") == pid
    assert w.router.write_count() == writes


def test_a_frozen_edged_is_killed_by_the_watchdog_and_comes_back(
    running: tuple[World, Machine],
) -> None:
    w, m = running
    m.drop_in("[Service]\nWatchdogSec=2s\n")
    m.systemctl("restart", "edged")
    w.wait_settled()
    pid, writes = m.shown("ExecMainPID"), w.router.write_count()
    m.run("kill", f"-{signal.SIGSTOP.value}", pid)
    w.wait("another process", lambda: m.shown("ExecMainPID") not in {pid, "0"}, 30.0)
    assert "Watchdog timeout" in m.journal()
    w.wait_settled()
    assert m.shown("NRestarts") == "1"
    assert w.router.write_count() == writes


def test_stop_takes_less_than_three_seconds_with_an_event_stream_open(
    running: tuple[World, Machine],
) -> None:
    w, m = running
    heard: list[str] = []

    def follow() -> None:
        try:
            heard.extend(event["name"] for event in w.daemon.client.stream({"after": 0}))
        except NoDaemon:
            heard.append("broken")

    reader = threading.Thread(target=follow)
    reader.start()
    w.wait("the stream flows", lambda: len(heard) > 0)
    writes = w.router.write_count()
    began = time.monotonic()
    m.systemctl("stop", "edged")
    took_s = time.monotonic() - began
    reader.join(timeout=5)
    assert took_s < 3
    assert heard[-1] == "daemon.stopped"
    assert m.shown("Result") == "success"
    assert m.shown("ExecMainStatus") == "0"
    assert w.router.write_count() == writes


def test_a_restart_in_the_middle_of_an_outage_writes_nothing_needless(
    running: tuple[World, Machine],
) -> None:
    w, m = running
    w["node2"].kill()
    w.wait("node2 leaves", lambda: w.in_route() == ["node1", "node3"])
    w.wait("it is read back", lambda: w.event("route.verified", removed="node2") is not None)
    writes = w.router.write_count()
    m.systemctl("restart", "edged")
    w.wait_settled("node1", "node3")
    w.stays("nothing is written", lambda: w.router.write_count() == writes, 3.0)
    w["node2"].start(w.ending)
    w.wait_settled()
    assert w.router.write_count() == writes + 1


def test_a_bad_file_at_a_start_is_said_once_and_not_tried_again() -> None:
    with under_systemd() as (w, m):
        (m.root / "etc/edged/config.toml").write_text("version = 1\nmoode = 1\n")
        assert m.run("systemctl", "start", "edged").returncode != 0
        assert (m.shown("ExecMainStatus"), m.shown("NRestarts")) == ("78", "0")
        assert 'did you mean "mode"' in m.journal()
        assert "Traceback" not in m.journal()
        assert w.router.writes() == []
