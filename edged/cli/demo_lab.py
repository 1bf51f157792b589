"""The demo's world: a simulated router and the daemon itself, each a process of its own.

Everything lives in one temporary folder. The daemon is configured, started and asked as a user's
would be: a file, `edged run`, the control socket. Nothing here reaches into it.
"""

import json
import os
import secrets
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from edged.cli.client import Client, NoDaemon
from edged.cli.demo_processes import Child, DemoFailed, Ending
from edged.simulator.server import data_path

VIP: Final = "172.30.1.7/32"
USER: Final = "edged"
START_S: Final = 15.0
ANSWER_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024

_NOT_FOR_CHILDREN: Final = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "WATCHDOG_USEC",
    }
)

Json = dict[str, Any]


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what would configure another edged than the demo's."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith("EDGED_") and key not in _NOT_FOR_CHILDREN
    }


# --- the router ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One accepted write of the router's log: when, by whom, and who was in the route by it."""

    at_us: int
    user: str
    sentence: tuple[str, ...]
    before: frozenset[str]
    after: frozenset[str]
    comments: tuple[str, ...]
    """Of the rows that it changed, after it (before it, where a row was removed)."""


class Router:
    """A simulated RouterOS in its own process, asked over its control socket."""

    def __init__(self, folder: Path, *, routeros: str, gateways: Mapping[str, str]) -> None:
        self.version = routeros
        self.password = secrets.token_urlsafe(18)
        self._control = folder / "router.sock"
        self._password_file = folder / "router-password"
        self._password_file.write_text(self.password, encoding="utf-8")
        self._password_file.chmod(0o600)
        words = [
            *(sys.executable, "-m", "edged.simulator.main", "--routeros", routeros),
            *("--listen", "127.0.0.1:0", "--tls", "cert", "--tls-listen", "127.0.0.1:0"),
            *("--user", USER, "--password-file", str(self._password_file)),
            *("--identity", "hex", "--vip", VIP, "--control", str(self._control)),
        ]
        for name, address in gateways.items():
            words += ["--gateway", f"{name}={address}"]
        self.child = Child("the simulated router", words, log=folder / "router.log")
        self.port = 0

    @property
    def password_file(self) -> Path:
        """Where its password is."""
        return self._password_file

    def start(self, ending: Ending) -> None:
        """Start it, and wait until it answers."""
        self.child.start()
        there = ending.wait(lambda: self._listens or not self.child.running, limit_s=START_S)
        if not there or not self.child.running:
            raise DemoFailed(f"the simulated router does not start: {self.child.last_words()}")
        self.port = int(self.ask(do="status")["ports"][1])

    @property
    def _listens(self) -> bool:
        """Tell whether the control socket takes connections; its file is there a bit earlier."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
            return way.connect_ex(str(self._control)) == 0

    def ask(self, **request: object) -> Json:
        """Send one request of `edged.simulator.control` and return its answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
            way.settimeout(ANSWER_S)
            try:
                way.connect(str(self._control))
                way.sendall(json.dumps(request).encode() + b"\n")
                answer = bytearray()
                while not answer.endswith(b"\n") and len(answer) < ANSWER_BYTES_MAX:
                    chunk = way.recv(65_536)
                    if not chunk:
                        break
                    answer += chunk
                document = json.loads(answer)
            except (OSError, ValueError) as error:
                raise DemoFailed(f"the simulated router does not answer: {error}") from error
        if not document.get("ok"):
            raise DemoFailed(f"the simulated router refuses {request}: {document.get('error')}")
        assert isinstance(document, dict)
        return document

    def next_hops(self) -> list[str]:
        """Return the enabled next hops of the VIP's static route."""
        return [str(hop) for hop in self.ask(do="next-hops")["enabled"]]

    def rows(self) -> list[dict[str, str]]:
        """Return the VIP's static rows."""
        return [
            row
            for row in self.ask(do="rows", menu="/ip/route")["rows"]
            if row.get("dst-address") == VIP and row.get("dynamic") != "true"
        ]

    def writes(self, since: int = 0) -> list[Write]:
        """Return the accepted writes from the given number on."""
        return [_write(one) for one in self.ask(do="writes", since=since)["writes"]]

    def write_count(self) -> int:
        """Return how many writes there were."""
        return int(self.ask(do="status")["counters"]["writes"])


def _write(record: Json) -> Write:
    return Write(
        at_us=round(record["at_s"] * 1_000_000),
        user=record["user"],
        sentence=tuple(record["sentence"]),
        before=_carrying(record["before"]),
        after=_carrying(record["after"]),
        comments=tuple(row.get("comment", "") for row in record["after"] or record["before"]),
    )


def _carrying(rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """Return the next hops of rows that are enabled: a list on v6, one a row on v7."""
    return frozenset(
        hop
        for row in rows
        if row.get("disabled", "false") in {"false", "no"}
        for hop in row.get("gateway", "").split(",")
        if hop
    )


# --- the daemon ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between one lab's daemon and another's."""

    server_name: str
    port: int
    mode: str = "enforce"
    adopt: bool = False
    profile: str = "default"
    hold_down: str = "2s"
    on_human_edit: str = "yield"
    log_level: str = "info"
    probe: Mapping[str, str | int] = field(default_factory=dict)
    vip: Mapping[str, str | int] = field(default_factory=dict)
    router: Mapping[str, str | int] = field(default_factory=dict)
    bgp: Mapping[str, str | int] = field(default_factory=dict)
    listen: str = ""
    language: str = "en"


class Daemon:
    """`edged run` as a process of its own, with a folder, a state and a socket of its own."""

    def __init__(self, folder: Path, *, program: Sequence[str] = ("-m", "edged.cli.main")) -> None:
        self.folder = folder
        self.config = folder / "edged.toml"
        self.socket = folder / "control.sock"
        self.client = Client(self.socket, deadline_ms=round(ANSWER_S * 1_000))
        self.child = Child(
            "edged",
            [sys.executable, *program, "run", "--config", str(self.config)],
            log=folder / "edged.log",
            environ=clean_environ(os.environ),
        )

    def configure(self, router: Router, gateways: Mapping[str, str], settings: Settings) -> None:
        """Write its configuration."""
        text = config_text(self.folder, self.socket, router, gateways, settings)
        self.config.write_text(text, encoding="utf-8")

    def start(self, ending: Ending) -> None:
        """Start it, and wait until it answers."""
        self.child.start()
        answers = ending.wait(lambda: self.answers or not self.child.running, limit_s=START_S)
        if not answers or not self.child.running:
            raise DemoFailed(f"edged does not start: {self.child.last_words()}")

    @property
    def answers(self) -> bool:
        """Tell whether the control socket answers."""
        try:
            self.client.get("status")
        except NoDaemon:
            return False
        return True

    def status(self) -> Json:
        """Return `edged.status/v1`."""
        return self.client.get("status")

    def gateway(self, name: str) -> Json:
        """Return what the status says about one gateway."""
        for vip in self.status()["vips"]:
            for gateway in vip["gateways"]:
                if gateway["name"] == name:
                    assert isinstance(gateway, dict)
                    return gateway
        raise DemoFailed(f"edged's status does not know {name}")

    def events(self, after: int = 0, *, names: str | None = None) -> list[Json]:
        """Return events with a number above `after`, oldest first."""
        found = self.client.get("events", {"after": after, "limit": 1_000, "names": names})
        return list(found["events"])


def config_text(
    folder: Path,
    control: Path,
    router: Router,
    gateways: Mapping[str, str],
    settings: Settings,
) -> str:
    """Return a configuration file as a person would write it."""
    pem = data_path("demo-cert.pem").read_text(encoding="utf-8")
    certificate = ssl.PEM_cert_to_DER_cert(pem[pem.index(ssl.PEM_HEADER) :])
    lines = [
        "version = 1",
        f'mode = "{settings.mode}"',
        f'language = "{settings.language}"',
        f'state_dir = "{folder / "state"}"',
        f'control_socket = "{control}"',
        "",
        "[[router]]",
        'name = "hex"',
        'address = "127.0.0.1"',
        f"port = {router.port}",
        f'username = "{USER}"',
        f'password_file = "{router.password_file}"',
        'tls = "pin"',
        f'fingerprint = "sha256:{sha256(certificate).hexdigest()}"',
        *_pairs(settings.router),
    ]
    for name, address in gateways.items():
        lines += ["", "[[gateway]]", f'name = "{name}"', f'address = "{address}"']
    lines += [
        "",
        "[[vip]]",
        'name = "web"',
        f'address = "{VIP}"',
        "distance = 10",
        f"adopt = {str(settings.adopt).lower()}",
        f'on_human_edit = "{settings.on_human_edit}"',
        *_pairs(settings.vip),
        "",
        "[vip.probe]",
        f'server_name = "{settings.server_name}"',
        f"port = {settings.port}",
        f'profile = "{settings.profile}"',
        *_pairs(settings.probe),
        "",
        "[hold_down]",
        f'base = "{settings.hold_down}"',
        "",
        "[bgp]",
        *_pairs(settings.bgp),
        "",
        "[web]",
        f'listen = "{settings.listen}"',
        "",
        "[log]",
        'format = "json"',
        f'level = "{settings.log_level}"',
        "",
    ]
    return "\n".join(lines)


def _pairs(values: Mapping[str, str | int]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{key} = {json.dumps(value)}"


class Folder:
    """A temporary folder that goes with the block; short, for a Unix socket's path has a bound."""

    def __init__(self, prefix: str = "edged-demo-") -> None:
        self._prefix = prefix

    def __enter__(self) -> Path:
        parent = os.environ.get("TMPDIR", "")
        short = parent if parent and len(parent) < 60 else "/tmp"  # noqa: PLR2004, S108 - mkdtemp below
        self._path = Path(tempfile.mkdtemp(prefix=self._prefix, dir=short))
        return self._path

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
