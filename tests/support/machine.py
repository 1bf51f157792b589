"""A machine with systemd as its first process: systemd-nspawn on an overlay of this one.

It shares this machine's network, so that the simulated router and gateways are at hand, and nothing
else: files are written to a layer that goes with the block. edged is copied into it, Python and the
libraries are shown under /opt, for the unit hides /root, /home and /tmp from edged.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edged.cli.client import Client
from edged.cli.demo_processes import Child, Ending
from edged.cli.main import main
from tests.support.daemon import World
from tests.support.parts import require_part

ROOT: Final = Path(__file__).parents[2]
BOOT_S: Final = 30.0
PROGRAM: Final = "/usr/local/bin/edged"
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
LAUNCHER: Final = f"""\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/site:/opt/edged PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/{PYTHON} -m edged.cli.main "$@"
"""


class Machine:
    """A booted machine; what is asked of its systemd goes through `nsenter`."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self._pid = pid

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        enter = ["nsenter", "--target", str(self._pid), "--all", "--", *words]
        return subprocess.run(enter, check=False, capture_output=True, text=True, timeout=60)

    def systemctl(self, *words: str) -> str:
        """Ask its systemd; what goes wrong is the failure."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, f"systemctl {words}: {done.stderr}\n{self.journal()}"
        return done.stdout.strip()

    def shown(self, name: str) -> str:
        """Return one property of the unit."""
        return self.systemctl("show", "--value", f"--property={name}", "edged.service")

    def journal(self) -> str:
        """Return what edged and systemd have said about the unit."""
        return self.run("journalctl", "--no-pager", "--unit=edged.service").stdout

    def path(self, inside: str) -> Path:
        """Return where a file of the running machine is seen from here."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def drop_in(self, text: str) -> None:
        """Change the unit as `systemctl edit` does."""
        folder = self.root / "etc/systemd/system/edged.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(text)
        self.systemctl("daemon-reload")

    def configure(self, w: World) -> None:
        """Install edged, its unit, its password, and the world's configuration."""
        shutil.copytree(ROOT / "edged", self.root / "opt/edged/edged", dirs_exist_ok=True)
        program = self.root / PROGRAM.lstrip("/")
        program.write_text(LAUNCHER)
        program.chmod(0o755)
        words = ["install-files", "--prefix", str(self.root), "--program", PROGRAM, "--write"]
        assert main(words) == 0
        secret = self.root / "etc/edged/credentials/router-password"
        secret.parent.mkdir(parents=True, mode=0o700)
        secret.write_text(w.router.password)
        secret.chmod(0o600)
        self.write_config(w)
        w.daemon.socket = self.path("/run/edged/control.sock")
        w.daemon.client = Client(w.daemon.socket, deadline_ms=5_000)
        self.systemctl("daemon-reload")

    def write_config(self, w: World) -> None:
        """Take the world's file, less what a unit gives: state, socket, password, log format."""
        text = w.daemon.config.read_text()
        given = r"^(state_dir|control_socket|password_file|format) = .*\n"
        text = re.sub(given, "", text, flags=re.MULTILINE)
        (self.root / "etc/edged/config.toml").write_text(text)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Boot a machine; it is halted and its layer unmounted at the end of the block."""
    nspawn = require_part("systemd-nspawn")
    layer, root = folder / "layer", folder / "root"
    for one in (layer, root):
        one.mkdir()
    _mount("tmpfs", "-t", "tmpfs", str(layer))
    try:
        for name in ("upper", "work"):
            (layer / name).mkdir()
        options = f"lowerdir=/,upperdir={layer / 'upper'},workdir={layer / 'work'}"
        _mount("overlay", "-t", "overlay", "-o", options, str(root))
        try:
            _strip(root)
            with _booted(nspawn, root, folder) as pid:
                yield Machine(root, pid)
        finally:
            _unmount(root)
    finally:
        _unmount(layer)


def _strip(root: Path) -> None:
    """Leave nothing of this machine that its units or its identity would start or clash with."""
    (root / "etc/machine-id").write_text("")
    with contextlib.suppress(FileNotFoundError):
        (root / "var/lib/dbus/machine-id").unlink()
    units = root / "etc/systemd/system"
    shutil.rmtree(units)
    units.mkdir()


@contextmanager
def _booted(nspawn: str, root: Path, folder: Path) -> Iterator[int]:
    name = f"edged-{os.getpid()}"
    shown = {
        sys.base_prefix: "/opt/python",
        sysconfig.get_path("purelib"): "/opt/site",
    }
    words = [
        *(nspawn, "--quiet", "--boot", "--directory", str(root), "--machine", name),
        *("--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off"),
        *(f"--bind-ro={source}:{target}" for source, target in shown.items()),
        "systemd.unit=basic.target",
    ]
    child = Child("the machine", words, log=folder / "machine.log")
    ending = Ending()
    child.start()
    try:
        up = ending.wait(lambda: _first(child.pid) is not None, limit_s=BOOT_S)
        pid = _first(child.pid)
        assert up, child.last_words()
        assert pid is not None, child.last_words()
        made = Machine(root, pid)
        state = ("systemctl", "is-active", "basic.target")
        up = ending.wait(lambda: made.run(*state).stdout.strip() == "active", limit_s=BOOT_S)
        assert up, child.last_words()
        yield pid
    finally:
        child.end(limit_s=15.0)
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{name}", ignore_errors=True)


def _first(nspawn: int) -> int | None:
    """Return the machine's first process: nspawn's child whose program is systemd."""
    try:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    except OSError:
        return None
    for child in children:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/exe").readlink().name == "systemd":
                return int(child)
    return None


def _mount(what: str, *words: str) -> None:
    subprocess.run(["mount", *words[:-1], what, words[-1]], check=True, timeout=30)


def _unmount(where: Path) -> None:
    subprocess.run(["umount", "--lazy", str(where)], check=True, timeout=30)
