"""Where the command line looks for the daemon and for the configuration."""

import io
from pathlib import Path

import pytest

from edged.cli.context import CONFIG_SEARCH, SOCKET_DEFAULT, Context
from edged.cli.render import Terminal


def context(environ: dict[str, str], **given: Path) -> Context:
    return Context(
        environ=environ,
        out=io.StringIO(),
        err=io.StringIO(),
        terminal=Terminal(),
        config=given.get("config"),
        socket=given.get("socket"),
    )


def test_the_search_is_that_of_the_configuration_itself() -> None:
    from edged.config.load import SEARCH  # noqa: PLC0415 - pydantic comes with it

    assert CONFIG_SEARCH == SEARCH


def test_what_is_named_nearer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "edged.toml"
    environ = {"RUNTIME_DIRECTORY": "/run/other:/run/second"}
    assert context({}).socket_path == SOCKET_DEFAULT
    assert context(environ).socket_path == Path("/run/other/control.sock")
    file.write_text('control_socket = "near.sock"\n')
    assert context(environ).socket_path == tmp_path / "near.sock"
    file.write_text('control_socket = "/run/far.sock"\n')
    assert context(environ).socket_path == Path("/run/far.sock")
    environ["EDGED_CONTROL_SOCKET"] = "/run/variable.sock"
    assert context(environ).socket_path == Path("/run/variable.sock")
    environ["EDGED_SOCKET"] = "/run/mine.sock"
    assert context(environ).socket_path == Path("/run/mine.sock")
    assert context(environ, socket=Path("/x")).socket_path == Path("/x")


BROKEN = ['control_socket = "', "control_socket = 7\n", "\xff", "", "[control_socket]\n"]


@pytest.mark.parametrize("text", BROKEN, ids=["cut", "number", "latin1", "empty", "table"])
def test_a_broken_configuration_does_not_keep_anybody_from_looking(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(text.encode("latin-1"))
    assert context({}, config=file).socket_path == SOCKET_DEFAULT
    assert context({}, config=tmp_path / "missing").socket_path == SOCKET_DEFAULT
    assert context({}, config=tmp_path).socket_path == SOCKET_DEFAULT


def test_variables_of_the_command_line_are_not_taken_for_configuration() -> None:
    environ = {"EDGED_SOCKET": "/x", "EDGED_DEBUG": "1", "EDGED_MODE": "observe"}
    assert context(environ).config_environ == {"EDGED_MODE": "observe"}


def test_the_history_names_the_person_behind_sudo() -> None:
    assert context({"SUDO_USER": "kim"}).owner == "kim"
    assert context({}).owner
