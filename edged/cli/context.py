"""What every verb needs to know of its surroundings: terminal, environment, where the daemon is."""

import json
import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from edged.cli.client import Client
from edged.cli.render import Terminal, spell_ascii, terminal_of, write_lines

CONFIG_SEARCH: Final = (Path("edged.toml"), Path("/etc/edged/config.toml"))
"""As in `edged.config.load`, whose import would cost what `edged status` takes in all."""
SOCKET_DEFAULT: Final = Path("/run/edged/control.sock")
SOCKET_NAME: Final = "control.sock"
CREDENTIALS: Final = Path("/etc/edged/credentials")
"""Where `systemd/edged.service` takes its credentials from."""
CONFIG_BYTES_MAX: Final = 1024 * 1024
OWN_VARIABLES: Final = frozenset({"EDGED_SOCKET", "EDGED_DEBUG"})
"""Variables of the command line; they are no keys of the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run of the command line."""

    environ: Mapping[str, str]
    out: TextIO
    err: TextIO
    terminal: Terminal
    config: Path | None = None
    socket: Path | None = None

    @property
    def client(self) -> Client:
        """Return a client of the daemon's control socket; nothing is opened yet."""
        return Client(self.socket_path)

    @property
    def socket_path(self) -> Path:
        """Return where the daemon should be listening."""
        if self.socket is not None:
            return self.socket
        for variable in ("EDGED_SOCKET", "EDGED_CONTROL_SOCKET"):
            if self.environ.get(variable):
                return Path(self.environ[variable])
        configured = _configured_socket(self.config_path)
        if configured is not None:
            return configured
        folder = self.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        return Path(folder) / SOCKET_NAME if folder else SOCKET_DEFAULT

    @property
    def config_path(self) -> Path | None:
        """Return the configuration file that would be used, if there is one."""
        if self.config is not None:
            return self.config
        if self.environ.get("EDGED_CONFIG"):
            return Path(self.environ["EDGED_CONFIG"])
        return next((path for path in CONFIG_SEARCH if path.exists()), None)

    @property
    def config_environ(self) -> dict[str, str]:
        """Return the environment as the configuration may read it."""
        found = {k: v for k, v in self.environ.items() if k not in OWN_VARIABLES}
        if os.access(CREDENTIALS, os.X_OK):
            # What systemd passes to the unit, a person finds where the unit takes it from.
            found.setdefault("CREDENTIALS_DIRECTORY", str(CREDENTIALS))
        return found

    @property
    def owner(self) -> str:
        """Return who asks, for the history: the person behind sudo, too."""
        name = self.environ.get("SUDO_USER", "")
        if name:
            return name
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return f"uid {os.getuid()}"

    def say(self, lines: Iterable[str]) -> None:
        """Print lines to standard output."""
        write_lines(lines, self.out)

    def warn(self, lines: Iterable[str]) -> None:
        """Print lines to standard error."""
        write_lines(lines, self.err)

    def say_json(self, document: Mapping[str, Any], *, indent: int | None = 2) -> None:
        """Print a document; ASCII only, so that no terminal or pipe can spoil it."""
        self.say([json.dumps(document, indent=indent)])

    def ask(self, question: str) -> bool | None:
        """Ask for a yes on the terminal; None where nobody can be asked."""
        if not sys.stdin.isatty():
            return None
        text = question if self.terminal.unicode else spell_ascii(question)
        self.out.write(f"{text} [y/N] ")
        self.out.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def context_of(arguments: Namespace, environ: Mapping[str, str]) -> Context:
    """Build the context of a run from its arguments."""
    return Context(
        environ=environ,
        out=sys.stdout,
        err=sys.stderr,
        terminal=terminal_of(sys.stdout, environ),
        config=getattr(arguments, "config", None),
        socket=getattr(arguments, "socket", None),
    )


def _configured_socket(path: Path | None) -> Path | None:
    """Read `control_socket` alone from a configuration; whatever is wrong there is not our affair.

    Who may use the socket need not be allowed to read the file.
    """
    if path is None:
        return None
    import tomllib

    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX).decode()
        configured = tomllib.loads(text).get("control_socket")
    except (OSError, ValueError):
        return None
    if not isinstance(configured, str) or not configured:
        return None
    return path.absolute().parent / configured
