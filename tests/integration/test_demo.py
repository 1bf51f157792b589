"""`edged demo` as a user runs it: its output, its exit code, and what it leaves behind."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.cli.demo_gateways import find_envoy, three_gateways
from tests.support.parts import require_part

pytestmark = pytest.mark.integration

WORDS = (sys.executable, "-m", "edged.cli.main", "demo")
LONG_S = 90.0


@contextmanager
def demo(folder: Path, *options: str, plain: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a demo whose temporary files go into `folder`; it is gone at the end of the block."""
    process = subprocess.Popen(
        [*WORDS, *(["--plain"] if plain else []), *options],
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for pid in left_behind(folder):
            os.kill(pid, signal.SIGKILL)


def left_behind(folder: Path) -> dict[int, str]:
    """Return the processes that were started with this temporary folder, and still run."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            environ = (process / "environ").read_bytes()
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={folder}".encode() in environ.split(b"\0") and words:
            found[int(process.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read lines up to the one with `words`."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if words in line:
            return text
    raise AssertionError(f"the demo ended before it said {words!r}:\n{text}")


def assert_nothing_is_left(folder: Path) -> None:
    assert left_behind(folder) == {}
    assert list(folder.iterdir()) == []


def test_the_demo_tells_its_story_with_real_envoys(short_tmp_path: Path) -> None:
    """Every step happens, is measured, and nothing is left."""
    require_part("envoy")
    with demo(short_tmp_path, "--routeros", "6.49.10") as process:
        text, _ = process.communicate(timeout=LONG_S)

        assert process.returncode == 0, text
        assert_nothing_is_left(short_tmp_path)
    assert "three real Envoys" in text
    assert_story(text, "6.49.10")


def test_kept_it_goes_on_and_names_commands_that_work(short_tmp_path: Path) -> None:
    """With stand-ins, on the other RouterOS; Ctrl-C ends it well, and the table still comes."""
    with demo(short_tmp_path, "--stand-ins", "--routeros", "7.16.2", "--keep") as process:
        text = read_until(process, "# the stand-in of node3")
        (socket,) = short_tmp_path.glob("*/control.sock")
        assert f"--socket {socket} status --watch" in text

        asked = subprocess.run(
            [sys.executable, "-m", "edged.cli.main", "--socket", str(socket), "status"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert asked.returncode == 0, asked.stderr
        assert "3 of 3 in route" in asked.stdout

        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0, rest
        assert_nothing_is_left(short_tmp_path)
    assert "three stand-ins" in text
    assert_story(text + rest, "7.16.2")


def assert_story(text: str, routeros: str) -> None:
    for said in (
        f"RouterOS {routeros}",
        "edged adopt web --yes",
        "node2 out: refused",
        "node3 out: ill",
        "node1 out: drain",
        "a route is never emptied",
    ):
        assert said in text
    rows = {line.split()[0]: line for line in text.splitlines() if " ms  " in line and "|" in line}
    assert list(rows) == ["node2", "node3", "node1"]
    assert "refused" in rows["node2"]
    assert "ill" in rows["node3"]
    commands = ("$ ", "--socket ")
    assert all(len(line) < 80 for line in text.splitlines() if not any(c in line for c in commands))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_demo_and_all_it_started(
    short_tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with demo(short_tmp_path, "--stand-ins") as process:
        read_until(process, "is killed (SIGKILL)")
        assert len(left_behind(short_tmp_path)) >= 5

        process.send_signal(number)
        text, _ = process.communicate(timeout=20)

        assert process.returncode == code, text
        assert "folder are gone" in text.replace("\n", " ")
        assert_nothing_is_left(short_tmp_path)


def test_a_step_that_does_not_happen_is_named(short_tmp_path: Path) -> None:
    """Here edged dies in the middle, so that nothing can happen any more."""
    with demo(short_tmp_path, "--stand-ins") as process:
        read_until(process, "hangs (SIGSTOP)")
        (daemon,) = [pid for pid, cmd in left_behind(short_tmp_path).items() if " run " in cmd]

        os.kill(daemon, signal.SIGKILL)
        text, _ = process.communicate(timeout=20)

        assert process.returncode == 1, text
        assert "edged demo: " in text
        assert_nothing_is_left(short_tmp_path)


def test_on_a_terminal_ctrl_c_gives_the_cursor_back(short_tmp_path: Path) -> None:
    with on_terminal(short_tmp_path, "--stand-ins") as (pid, terminal):
        read_terminal(terminal, b"is killed (SIGKILL)")

        os.write(terminal, b"\x03")
        shown = read_terminal(terminal, b"folder are gone")
        shown += read_terminal(terminal, None)
        _, status = os.waitpid(pid, 0)

        assert os.waitstatus_to_exitcode(status) == 130
        assert shown.rindex(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
        assert_nothing_is_left(short_tmp_path)


def test_without_an_envoy_stand_ins_take_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))

    found = find_envoy()
    gateways = three_gateways(found, tmp_path)

    assert found is None
    assert [gateway.child.name for gateway in gateways] == [
        "the stand-in of node1",
        "the stand-in of node2",
        "the stand-in of node3",
    ]
    assert len({gateway.port for gateway in gateways}) == 1


# --- a terminal


@contextmanager
def on_terminal(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Run a demo as the foreground process of a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.environ.update({"TMPDIR": str(folder), "TERM": "xterm", "COLUMNS": "80"})
        os.execv(WORDS[0], [*WORDS, *options])  # noqa: S606 - a shell would be another process
    try:
        yield pid, terminal
    finally:
        for one in left_behind(folder):
            os.kill(one, signal.SIGKILL)
        os.close(terminal)


def read_terminal(terminal: int, words: bytes | None) -> bytes:
    """Read what is shown up to `words`; without them, up to the end."""
    shown = b""
    until = time.monotonic() + LONG_S
    while words is None or words not in shown:
        assert time.monotonic() < until, shown
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if not ready:
            continue
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:
            chunk = b""
        if not chunk:
            break
        shown += chunk
    return shown
