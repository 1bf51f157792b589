"""`doctor --bundle`: what a bug report needs, in one archive, without secrets."""

import io
import json
import os
import platform
import socket
import tarfile
from pathlib import Path
from typing import Any, Final

from edged.cli.context import Context
from edged.config.loaded import Loaded
from edged.config.secret import SecretError
from edged.core.errors import EdgedError
from edged.system import clock
from edged.system.redaction import Redactor

BUNDLE_EVENTS: Final = 1_000


def write_bundle(
    target: Path, document: dict[str, Any], loaded: Loaded | None, context: Context
) -> None:
    """Pack what a report needs; every text goes through the same redaction."""
    redactor = _redactor(loaded)
    parts = {"doctor.json": document, "host.json": _about()}
    for name in ("status", "plan", "events"):
        try:
            query = {"limit": BUNDLE_EVENTS} if name == "events" else {}
            parts[f"{name}.json"] = context.client.get(name, query)
        except EdgedError as error:
            parts[f"{name}.json"] = {"missing": str(error)}
    texts = {
        name: json.dumps(redactor.value(part), indent=2) + "\n" for name, part in parts.items()
    }
    if loaded is not None and Path(loaded.source).is_file():
        texts["config.toml"] = redactor.text(_without_secrets(Path(loaded.source)))
    try:
        with tarfile.open(target, "w:gz") as archive:
            for name, text in texts.items():
                data = text.encode()
                entry = tarfile.TarInfo(f"edged-bundle/{name}")
                entry.size, entry.mtime = len(data), int(clock.wall().timestamp())
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise EdgedError(f"{target} cannot be written: {error.strerror}") from error


def _redactor(loaded: Loaded | None) -> Redactor:
    redactor = Redactor()
    if loaded is None:
        return redactor
    config = loaded.config
    sources = [router.password for router in config.routers]
    for channel in config.channels:
        sources += filter(None, (channel.url, channel.token, channel.routing_key, channel.secret))
    if config.dead_mans_switch is not None:
        sources.append(config.dead_mans_switch.url)
    for source in sources:
        try:
            redactor.hide(source.read().reveal())
        except SecretError:
            continue
    return redactor


def _without_secrets(file: Path) -> str:
    """Cut each line behind a key that looks like a secret's."""
    from edged.config.load import hide_secrets

    return "".join(f"{hide_secrets(line)}\n" for line in file.read_text("utf-8").splitlines())


def _about() -> dict[str, Any]:
    import edged

    return {
        "edged": edged.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "in_container": Path("/.dockerenv").exists() or bool(os.environ.get("container")),  # noqa: SIM112 - so spelt
    }
