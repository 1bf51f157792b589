"""`install-files`: what pip cannot place: unit, completions, manual page, samples, documents.

It shows what it would do and does it after `--write`. A file that a person changed is never
replaced or removed without `--force`. State, configuration and secrets are not its affair.
"""

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from edged.cli.context import Context
from edged.cli.manual import render_manual
from edged.core.errors import EdgedError

EXIT_FINE: Final = 0
EXIT_DIFFERENT: Final = 1
HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - names only
"""What ProtectHome= and PrivateTmp= of the unit hide."""
UNIT_PROGRAM: Final = "/usr/local/bin/edged"
"""The program's path as `systemd/edged.service` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One file: what it should hold, and where it goes below the prefix."""

    path: str
    text: str


def install_files(arguments: Namespace, context: Context) -> int:
    """Show, place or remove the files."""
    root: Path = arguments.prefix
    program = arguments.program or _program()
    wanted = list(files(program))
    outcome = EXIT_FINE
    for placed in wanted:
        target = root / placed.path
        word = (
            _removed(target, placed, arguments)
            if arguments.remove
            else _put(target, placed, arguments)
        )
        if word.startswith("keep"):
            outcome = EXIT_DIFFERENT
        context.say([f"{word:<14}{target}"])
    if not arguments.remove:
        context.warn(_hidden(program))
    context.say(["", *_next(arguments, root)])
    return outcome


def _hidden(program: str) -> Iterator[str]:
    """Say it when the unit could not start what it names."""
    for path in (Path(program), Path(sys.executable)):
        real = path.resolve()
        if any(real.is_relative_to(folder) for folder in HIDDEN):
            yield (
                f"edged: {real} lies where the unit lets edged see nothing ({', '.join(HIDDEN)}): "
                "install edged, and a Python for it, elsewhere, such as in /opt/edged"
            )


def _next(arguments: Namespace, root: Path) -> list[str]:
    if not arguments.write:
        return ["Nothing was changed. With --write it is done."]
    if arguments.remove:
        return [
            "Left alone: /etc/edged, /var/lib/edged, and the route on the router.",
            "To give the route back first: edged release, while edged runs.",
        ]
    if root != Path("/"):
        return []
    return [
        "Next: systemctl daemon-reload",
        "      edged init --from-router ...   (or put a configuration in /etc/edged/config.toml)",
        "      systemctl enable --now edged",
    ]


def _put(target: Path, placed: Placed, arguments: Namespace) -> str:
    found = _read(target)
    if found == placed.text:
        return "same"
    if found is not None and not arguments.force:
        return "keep (differs)"
    verb = "create" if found is None else "replace"
    if not arguments.write:
        return f"would {verb}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(placed.text, encoding="utf-8")
        target.chmod(0o644)
    except OSError as error:
        raise EdgedError(f"{target} cannot be written: {error.strerror}") from error
    return f"{verb}d"


def _removed(target: Path, placed: Placed, arguments: Namespace) -> str:
    found = _read(target)
    if found is None:
        return "not there"
    if found != placed.text and not arguments.force:
        return "keep (differs)"
    if not arguments.write:
        return "would remove"
    try:
        target.unlink()
    except OSError as error:
        raise EdgedError(f"{target} cannot be removed: {error.strerror}") from error
    return "removed"


def _read(target: Path) -> str | None:
    try:
        return target.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise EdgedError(f"{target} cannot be read: {error}") from error


def _program() -> str:
    """Return the path of the edged that was started, or of the one that a shell would find."""
    started = Path(sys.argv[0])
    if started.name == "edged" and started.exists():
        return str(started.absolute())
    beside = Path(sys.executable).parent / "edged"
    return str(beside) if beside.exists() else shutil.which("edged") or UNIT_PROGRAM


def files(program: str) -> Iterator[Placed]:
    """Yield every file that is placed."""
    source = _source()
    unit = (source / "systemd" / "edged.service").read_text(encoding="utf-8")
    yield Placed(path="etc/systemd/system/edged.service", text=unit.replace(UNIT_PROGRAM, program))
    share = "usr/local/share"
    for one in _texts(source / "systemd" / "drop-ins"):
        yield _copy(one, f"{share}/edged/drop-ins")
    yield _copy(source / "systemd" / "sysusers.conf", f"{share}/edged")
    completions = resources.files("edged.cli") / "completions"
    for name, folder in _COMPLETIONS.items():
        text = (completions / name).read_text(encoding="utf-8")
        target = "edged" if name == "edged.bash" else name
        yield Placed(path=f"{share}/{folder}/{target}", text=text)
    yield Placed(path=f"{share}/man/man1/edged.1", text=render_manual())
    for name in ("config.example.toml", "config.schema.json"):
        yield _copy(source / name, f"{share}/edged")
    for name in ("prometheus", "grafana", "kubernetes"):
        for one in _texts(source / "deploy" / name):
            yield _copy(one, f"{share}/edged/{name}")
    for one in _texts(source / "docs"):
        yield _copy(one, f"{share}/doc/edged")


_COMPLETIONS: Final[Mapping[str, str]] = {
    "edged.bash": "bash-completion/completions",
    "edged.fish": "fish/vendor_completions.d",
    "_edged": "zsh/site-functions",
}


def _copy(one: Traversable, folder: str) -> Placed:
    return Placed(path=f"{folder}/{one.name}", text=one.read_text(encoding="utf-8"))


def _texts(folder: Traversable) -> list[Traversable]:
    if not folder.is_dir():
        return []
    return sorted((one for one in folder.iterdir() if one.is_file()), key=lambda one: one.name)


def _source() -> Traversable:
    """Return where the files are: in the package, or around it in a checkout."""
    shipped = resources.files("edged") / "files"
    if shipped.is_dir():
        return shipped
    checkout = Path(__file__).parents[2]
    if not (checkout / "systemd" / "edged.service").is_file():
        raise EdgedError("this edged was installed without its files")
    return checkout
