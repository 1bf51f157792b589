"""A key that has another name now works for a while, and says so at its place."""

from pathlib import Path

import pytest

from edged.config.errors import ConfigErrors
from edged.config.load import load
from edged.config.loaded import Loaded
from tests.unit.config.files import ENVIRON, edited

OLD = {
    ("router", "host"): "address",
    ("vip", "probe", "sni"): "server_name",
    ("operation",): "mode",
    ("hold_down", "minimum"): "base",
}


def loaded(folder: Path, *changes: tuple[str, str]) -> Loaded:
    file = folder / "edged.toml"
    file.write_text(edited(*changes))
    file.chmod(0o600)
    return load(file, ENVIRON, renamed=OLD)


def test_an_old_name_is_taken_with_a_warning_that_names_the_new_one(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        ('[[router]]\nname = "hex"', 'operation = "enforce"\n[[router]]\nname = "hex"'),
        ('address = "172.30.1.1"', 'host = "172.30.1.1"'),
        ("server_name =", "sni ="),
    )
    assert found.config.mode.value == "enforce"
    assert found.config.routers[0].address == "172.30.1.1"
    assert found.config.vips[0].probe.server_name == "edged-probe.example.test"
    told = [(one.line, one.message) for one in found.warnings if one.code == "renamed"]
    assert told == [
        (4, 'is called "address" now: the old name goes with the next version'),
        (23, 'is called "server_name" now: the old name goes with the next version'),
        (1, 'is called "mode" now: the old name goes with the next version'),
    ]


def test_both_names_are_one_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, ("username =", 'host = "172.30.1.9"\nusername ='))
    (error,) = caught.value.errors
    assert (error.key, error.code) == ("router[0].host", "set_twice")
    assert error.message == 'is called "address" now, which is set, too: keep that one'


def test_a_bad_value_below_an_old_name_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, ("[[vip]]", '[hold_down]\nminimum = "soon"\n[[vip]]'))
    assert [error.key for error in caught.value.errors] == ["hold_down.base"]


def test_what_is_not_renamed_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(edited(('address = "172.30.1.1"', 'host = "172.30.1.1"')))
    with pytest.raises(ConfigErrors):
        load(file, ENVIRON)
