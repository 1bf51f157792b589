"""docs/first-hour.md as a stranger would walk it: every command in it, in its order."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.cli.demo_gateways import ADDRESSES
from edged.cli.demo_lab import Folder
from tests.support.daemon import World, world
from tests.support.recorded import repository_file

pytestmark = pytest.mark.integration

ROUTEROS = ["6.49.10", "7.16.2"]
NOT_HERE = ("systemctl", "install")


def told() -> list[str]:
    """Return the commands of the page, in order."""
    text = repository_file("docs/first-hour.md")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


class Stranger:
    """Somebody with a shell, in a folder, who types what the page says."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.typed: list[str] = []
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("EDGED_")},
            "EDGED_CONFIG": str(w.daemon.config),
            "EDGED_SOCKET": str(w.daemon.socket),
        }

    def types(self, command: str, *more: str) -> tuple[int, str]:
        """Run a command of the page; `more` is what this world needs beside it."""
        self.typed.append(command)
        done = subprocess.run(
            [sys.executable, "-m", "edged.cli.main", *shlex.split(command)[1:], *more],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.w.folder,
            env=self.environ,
        )
        return done.returncode, done.stdout + done.stderr

    def edits(self, old: str, new: str) -> None:
        """Change one line of the configuration."""
        text = self.w.daemon.config.read_text()
        assert text.count(old) == 1, old
        self.w.daemon.config.write_text(text.replace(old, new))


@pytest.fixture(params=ROUTEROS)
def w(request: pytest.FixtureRequest) -> Iterator[World]:
    with Folder("edged-t-") as folder, world(folder, routeros=request.param, start=False) as made:
        made.daemon.config.unlink()
        yield made


def test_every_command_of_the_page_does_what_the_page_says(w: World) -> None:
    me = Stranger(w)
    commands = iter(one for one in told() if not one.startswith(NOT_HERE))

    # 1: from the router
    password = str(w.router.password_file)
    code, said = me.types(
        next(commands),
        *("--router", "127.0.0.1", "--port", str(w.router.port), "--user", "edged"),
        *("--password-file", password, "--edged-password-file", password),
        *("--out", str(w.daemon.config)),
    )
    assert code == 0, said
    assert all(address in w.daemon.config.read_text() for address in ADDRESSES.values())
    port = w["node1"].port
    me.edits("[vip.probe]\n", f"[vip.probe]\nport = {port}\nstable_for = '500ms'\n")
    paths = f"state_dir = '{w.folder}/state'\ncontrol_socket = '{w.daemon.socket}'\n"
    me.edits("version = 1\n", f"version = 1\n{paths}")
    with w.daemon.config.open("a") as file:
        file.write('[hold_down]\nbase = "1s"\n[web]\nlisten = ""\n')

    # 3: checks
    assert me.types(next(commands))[0] == 0
    code, said = me.types(next(commands))
    assert code == 0, said
    assert "without edged's mark" in " ".join(said.split())

    # 4: look
    code, said = me.types(next(commands), "--prefix", str(w.folder / "root"))
    assert code == 0, said
    assert (w.folder / "root/etc/systemd/system/edged.service").exists()
    w.start_daemon()
    w.wait("gateways judged", lambda: all_up(w))
    for verb in ("status", "why", "plan", "events"):
        command = next(commands)
        assert command.split()[1] == verb
        code, said = me.types(command)
        assert code in {0, 6}, said
    assert w.router.writes() == []

    # 5: adopt
    me.edits('mode = "observe"', 'mode = "enforce"')
    code, said = me.types(next(commands))
    assert code == 0, said
    me.types(next(commands))
    code, said = me.types(next(commands), "--yes")
    assert code == 0, said
    w.wait_settled()
    assert all("edged:web" in row["comment"] for row in w.router.rows())

    # 6: it writes
    code, said = me.types(next(commands))
    assert code == 0, said
    assert sorted(w.in_route()) == ["node1", "node3"]
    assert me.types(next(commands))[0] == 0
    assert me.types(next(commands))[0] == 0
    w.wait_settled()
    me.types(next(commands))
    assert next(commands, None) is None
    assert_undone(me)


def all_up(w: World) -> bool:
    return all(one["state"] == "UP" for vip in w.daemon.status()["vips"] for one in vip["gateways"])


def assert_undone(me: Stranger) -> None:
    """The way back, as docs/by-hand.md has it: the rows as they were at adoption."""
    code, said = me.types("edged pause --until-resumed --restore")
    assert code == 0, said
    code, said = me.types("edged release", "--yes")
    assert code == 0, said
    me.w.wait("no mark", lambda: all("edged:" not in row["comment"] for row in me.w.router.rows()))
    assert all(row["comment"] == "ECMP to Gateway VIP" for row in me.w.router.rows())
    assert sorted(me.w.in_route()) == sorted(ADDRESSES)
    prefix = str(me.w.folder / "root")
    code, said = me.types("edged install-files --remove --write", "--prefix", prefix)
    assert code == 0, said
    assert not [one for one in Path(prefix).rglob("*") if one.is_file()]


def test_the_page_names_nothing_but_edged_and_what_is_everywhere() -> None:
    assert {one.split()[0] for one in told()} == {"edged", *NOT_HERE}
    assert json.dumps(told()).count("edged init") == 1
