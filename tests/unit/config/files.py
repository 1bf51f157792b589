"""Configuration files for these tests: one that is well, and what is said about others."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from edged.config.errors import ConfigErrors
from edged.config.load import load
from edged.config.loaded import Loaded

WELL = """\
[[router]]
name = "hex"
address = "172.30.1.1"
username = "edged"
password_env = "HEX_PASSWORD"
tls = "off"
insecure = true

[[gateway]]
name = "node1"
address = "172.30.1.20"

[[gateway]]
name = "node2"
address = "172.30.1.70"

[[vip]]
name = "web"
address = "172.30.1.7/32"

[vip.probe]
server_name = "edged-probe.example.test"
"""

ENVIRON = {"HEX_PASSWORD": "correct horse"}


def edited(*changes: tuple[str, str]) -> str:
    """Return the good file with some lines replaced; each has to be there exactly once."""
    text = WELL
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def load_text(
    directory: Path, text: str, environ: Mapping[str, str] | None = None, *, secrets: bool = True
) -> Loaded:
    """Load a text as the file it would be."""
    file = directory / "edged.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return load(file, {**ENVIRON, **(environ or {})}, check_secrets=secrets)


def complaints(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what is said about a text, as a person reads it, without the directory."""
    with pytest.raises(ConfigErrors) as caught:
        load_text(directory, text, environ)
    return caught.value.render().replace(f"{directory}/", "")


def sentences(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the first line of each complaint, from the key on."""
    lines = complaints(directory, text, environ).splitlines()
    return [line.partition("error: ")[2] for line in lines if "error: " in line]


def remarks(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the warnings about a text that is accepted."""
    return [f"{one.key}: {one.message}" for one in load_text(directory, text, environ).warnings]
