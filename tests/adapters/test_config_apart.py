"""Loading in a child process gives what loading here gives, and leaves pydantic there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.config.apart import load_apart
from edged.config.errors import ConfigErrors
from edged.config.load import load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What the example needs, and a secret that must not get lost on the way."""
    secret = tmp_path / "password"
    secret.write_text("a secret\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGED_")}
    return kept | {"EDGED_ROUTER__PASSWORD_FILE": str(secret)}


def test_a_child_loads_what_would_be_loaded_here(environ: dict[str, str]) -> None:
    apart, here = load_apart(EXAMPLE, environ), load(EXAMPLE, environ)
    assert apart == here
    assert apart.config.routers[0].password.read().reveal() == "a secret"


def test_a_secret_in_a_variable_comes_through_the_pipe(environ: dict[str, str]) -> None:
    del environ["EDGED_ROUTER__PASSWORD_FILE"]
    environ["EDGED_ROUTER__PASSWORD"] = "another one"
    text = EXAMPLE.read_text().replace('password_file = "/etc/edged/router-password"\n', "")
    file = Path(environ.get("TMPDIR", "/tmp")) / f"edged-apart-{os.getpid()}.toml"
    file.write_text(text)
    try:
        loaded = load_apart(file, environ)
    finally:
        file.unlink()
    assert loaded.config.routers[0].password.read().reveal() == "another one"
    assert "another one" not in repr(loaded)


def test_every_fault_comes_back_with_its_place(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "edged.toml"
    file.write_text('version = 1\nmode = "obsrve"\n')
    with pytest.raises(ConfigErrors) as apart:
        load_apart(file, environ)
    with pytest.raises(ConfigErrors) as here:
        load(file, environ)
    assert apart.value.render() == here.value.render()


def test_without_a_child_the_caller_loads_itself(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert load_apart(EXAMPLE, environ) == load(EXAMPLE, environ)


def test_the_daemon_does_not_import_what_only_checking_needs() -> None:
    code = "import sys, edged.daemon.process; print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip() == "False"
