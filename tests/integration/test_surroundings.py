"""Bad surroundings at a start: what edged cannot work with is one sentence and an exit code.

What it can work without is an event, and it goes on. Never a traceback, never a needless write.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.cli.demo_lab import Daemon, Folder
from edged.cli.demo_processes import Child
from tests.support.daemon import World, world
from tests.support.parts import require_part

pytestmark = pytest.mark.integration

RUN = (sys.executable, "-m", "edged.cli.main", "run", "--config")


@pytest.fixture
def w() -> Iterator[World]:
    with Folder("edged-t-") as folder, world(folder, start=False) as made:
        yield made


def changed(w: World, key: str, value: str) -> Path:
    """Write the world's configuration anew, with another value for a key."""
    text, count = re.subn(
        rf"^{key} = .*$", f'{key} = "{value}"', w.daemon.config.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    file = w.folder / "other.toml"
    file.write_text(text)
    return file


def refused(w: World, config: Path) -> str:
    """Start edged, which ends by itself; return what it says."""
    writes = w.router.write_count()
    done = subprocess.run(
        [*RUN, str(config)], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert w.router.write_count() == writes
    return done.stderr.splitlines()[-1]


# --- sockets


@pytest.mark.parametrize("place", ["below a file", "no directory", "a file"])
def test_a_control_socket_that_cannot_be_made_ends_the_start(w: World, place: str) -> None:
    block = w.folder / "block"
    block.write_text("")
    path = {"below a file": f"{block}/c.sock", "no directory": "/proc/c.sock", "a file": str(block)}
    said = refused(w, changed(w, "control_socket", path[place]))
    assert said.startswith("edged: ")
    assert path[place] in said
    assert "choose another place with control_socket" in said


def test_a_socket_left_over_from_a_crash_is_replaced(w: World) -> None:
    w.start_daemon()
    w.daemon.child.send(signal.SIGKILL)
    w.daemon.child.wait(5)
    assert w.daemon.socket.exists()
    w.start_daemon()
    w.wait_settled()


# --- directories


def test_a_state_directory_that_cannot_be_made_means_memory_and_is_told(w: World) -> None:
    block = w.folder / "block"
    block.write_text("")
    w.daemon.config.write_text(changed(w, "state_dir", f"{block}/state").read_text())
    w.start_daemon()
    w.wait_settled()
    told = w.event("store.degraded")
    assert told is not None
    assert f"{block}/state/edged.sqlite3 cannot be opened" in told["fields"]["detail"]
    assert "in memory only" in told["fields"]["detail"]


# --- two of them


def test_a_second_daemon_on_one_socket_is_refused(w: World) -> None:
    w.start_daemon()
    w.wait_settled()
    said = refused(w, changed(w, "state_dir", f"{w.folder}/state2"))
    assert said == (
        f"edged: another edged answers on {w.daemon.socket}: stop it first, or give this one a "
        "control_socket of its own"
    )
    assert w.daemon.answers


def test_a_second_daemon_on_one_state_directory_is_refused(w: World) -> None:
    w.start_daemon()
    w.wait_settled()
    said = refused(w, changed(w, "control_socket", f"{w.folder}/two.sock"))
    assert said == (
        f"edged: another edged (pid {w.daemon.child.pid}) keeps its state in {w.folder}/state: "
        "stop it first, or give this one a state_dir of its own"
    )
    # What was held goes with the process, however that ends.
    w.daemon.child.send(signal.SIGKILL)
    w.daemon.child.wait(5)
    w.start_daemon()


def second(w: World) -> Daemon:
    """Return another daemon for the same VIP, with a state and a socket of its own."""
    folder = w.folder / "two"
    folder.mkdir()
    made = Daemon(folder)
    text = w.daemon.config.read_text()
    for mine, other in ((w.daemon.socket, made.socket), (w.folder / "state", folder / "state")):
        text = text.replace(f'"{mine}"', f'"{other}"')
    made.config.write_text(text)
    return made


def test_two_daemons_on_one_vip_agree_and_do_not_fight(w: World) -> None:
    w.start_daemon()
    w.wait_settled()
    other = second(w)
    try:
        other.start(w.ending)
        w.wait("both settled", lambda: w.settled() and other.status()["vips"][0]["in_sync"])
        writes = w.router.write_count()
        w["node2"].kill()
        w.wait("node2 leaves", lambda: w.in_route() == ["node1", "node3"])
        w["node2"].start(w.ending)
        w.wait("node2 returns", lambda: len(w.in_route()) == 3, 30.0)
        w.stays("no fight", lambda: len(w.in_route()) == 3, 2.0)
        assert w.router.write_count() - writes <= 4
    finally:
        other.child.end()


# --- rights


def test_a_user_without_the_right_to_write_is_named_with_what_it_lacks(w: World) -> None:
    rows = w.router.ask(do="rows", menu="/user")["rows"]
    (group,) = [row["group"] for row in rows if row["name"] == "edged"]
    groups = w.router.ask(do="rows", menu="/user/group")["rows"]
    (row_id,) = [row[".id"] for row in groups if row["name"] == group]
    words = {".id": row_id, "policy": "!write"}
    w.router.ask(do="edit", path="/user/group/set", words=words)
    w.start_daemon()
    w.wait("refused", lambda: w.event("route.write_refused") is not None)
    told = w.event("route.write_refused")
    assert told is not None
    assert "not enough permissions" in str(told["fields"])
    assert w.own_writes() == []


# --- time


def test_a_clock_at_1970_changes_no_decision(w: World) -> None:
    """No battery, no NTP yet: as on a small board just after its start."""
    faketime = require_part("faketime")
    child = w.daemon.child
    w.daemon.child = Child(
        "edged",
        [faketime, "-f", "@1970-01-02 00:00:00", *child._words],
        log=child.log,
        environ={**child._environ, "DONT_FAKE_MONOTONIC": "1"},
    )
    try:
        w.start_daemon()
        w.wait_settled()
        w["node2"].kill()
        w.wait("node2 leaves", lambda: w.in_route() == ["node1", "node3"])
        (started,) = w.daemon.events(names="daemon.started")
        assert started["time"].startswith("1970-01-02")
        assert "Traceback" not in w.daemon.child.last_words()
    finally:
        w.daemon.child.end()


def test_doctor_says_that_the_clock_is_wrong(w: World) -> None:
    words = [require_part("faketime"), "-f", "@1970-01-02 00:00:00", sys.executable]
    words += ["-m", "edged.cli.main", "doctor", "--config", str(w.daemon.config)]
    environ = {**os.environ, "DONT_FAKE_MONOTONIC": "1"}
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=60, env=environ
    )
    assert done.returncode == 1
    assert "the clock says 1970-01-02" in done.stdout
    assert "set it (NTP)" in done.stdout
    assert "Traceback" not in done.stderr


# --- a daemon that hangs


def test_a_look_at_a_frozen_daemon_gives_up_in_time(w: World) -> None:
    w.start_daemon()
    w.daemon.child.send(signal.SIGSTOP)
    words = [sys.executable, "-m", "edged.cli.main", "status", "--socket", str(w.daemon.socket)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=25)
    assert done.returncode == 5
    assert done.stderr == f"edged: edged on {w.daemon.socket} did not answer within 10 s\n"
