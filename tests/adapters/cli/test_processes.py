"""The command line as a process: quick to start, quiet when a pipe closes, plain where it must."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edged.web.control import ControlServer
from tests.support.control import NotingApi
from tests.support.documents import node2_refused, status_of, why_of

EDGED = [sys.executable, "-m", "edged.cli.main"]
HEAVY = {
    "aiohttp",
    "asyncio",
    "email",
    "h11",
    "http",
    "kubernetes_asyncio",
    "librouteros",
    "logging",
    "prometheus_client",
    "pydantic",
    "sqlite3",
    "ssl",
    "structlog",
    "edged.core.engine",
    "edged.core.types",
    "edged.daemon",
    "edged.web.control",
    "edged.web.documents",
}


@pytest.fixture
async def socket(short_tmp_path: Path) -> AsyncIterator[Path]:
    """A control socket that answers about a gateway that is down."""
    api = NotingApi()
    run = node2_refused(2_000)
    api.answers["status"] = status_of(run)
    api.answers["why"] = why_of(run, "node2")
    events = [
        {
            "seq": seq,
            "time": "2026-10-12T18:12:44.000Z",
            "name": "gateway.came_up",
            "severity": "info",
            "fields": {"gateway": "node2"},
        }
        for seq in range(20_000)
    ]
    api.answers["events"] = {"schema": "edged.events/v1", "events": events}
    server = ControlServer(api, short_tmp_path / "c.sock")
    await server.start()
    try:
        yield short_tmp_path / "c.sock"
    finally:
        await server.stop()


async def run(
    *words: str, socket: Path, code: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `edged` (or Python code that runs it) without the loop being held up."""
    command = [sys.executable, "-c", code] if code else [*EDGED, *words]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, "EDGED_SOCKET": str(socket), **environ},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", [["status"], ["why", "node2"]], ids=["status", "why"])
async def test_looking_imports_nothing_heavy(socket: Path, words: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from edged.cli.main import main\n"
        f"code = main({words!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    ended = await run(socket=socket, code=code)
    found, modules = json.loads(ended.stderr)
    assert found == 0, ended.stderr
    assert "DOWN" in ended.stdout
    assert HEAVY.isdisjoint(modules)


async def test_a_reader_that_has_had_enough_is_left_in_peace(socket: Path) -> None:
    shell = f'"{sys.executable}" -m edged.cli.main events | head -n 1; echo "${{PIPESTATUS[0]}}"'
    ended = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", shell],
        env={**os.environ, "EDGED_SOCKET": str(socket), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == "0"
    assert "node2 UP again" in ended.stdout


async def test_a_pipe_gets_no_escape_sequences(socket: Path) -> None:
    ended = await run("status", socket=socket, TERM="xterm-256color", PYTHONIOENCODING="utf-8")
    assert "\x1b" not in ended.stdout
    assert "✗ DOWN" in ended.stdout


async def test_a_terminal_without_utf_8_gets_ascii(socket: Path) -> None:
    ended = await run("status", socket=socket, PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    assert "x DOWN" in ended.stdout


async def on_terminal(socket: Path, *words: str, **environ: str) -> str:
    """Run `edged` on a terminal of its own and return all that was drawn."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *EDGED,
        *words,
        env={**os.environ, "EDGED_SOCKET": str(socket), "PYTHONIOENCODING": "utf-8", **environ},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = bytearray()
    try:
        while chunk := await asyncio.to_thread(_read, ours):
            drawn += chunk
    finally:
        os.close(ours)
        await process.wait()
    return drawn.decode("utf-8").replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""  # the other end is closed


async def test_a_terminal_gets_colours_unless_it_is_dumb_or_asked_not_to(socket: Path) -> None:
    coloured = await on_terminal(socket, "status", TERM="xterm", NO_COLOR="")
    assert "\x1b[31m✗ DOWN\x1b[0m" in coloured
    assert "\x1b" not in await on_terminal(socket, "status", TERM="dumb", NO_COLOR="")
    assert "\x1b" not in await on_terminal(socket, "status", TERM="xterm", NO_COLOR="1")


async def test_a_narrow_terminal_gets_narrow_lines(socket: Path) -> None:
    drawn = await on_terminal(socket, "status", TERM="dumb", COLUMNS="40")
    assert max(len(line) for line in drawn.splitlines()) <= 39
    assert "node2  ✗ DOWN" in drawn
