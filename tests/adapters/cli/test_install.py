"""`install-files`: what it places, and what it never touches."""

from pathlib import Path

import pytest

from edged.cli.install import UNIT_PROGRAM, files
from edged.cli.main import main
from tests.support.recorded import repository_file

UNIT = "etc/systemd/system/edged.service"


def install(prefix: Path, *words: str) -> int:
    return main(["install-files", "--prefix", str(prefix), "--program", "/opt/edged", *words])


def placed(prefix: Path) -> list[str]:
    return sorted(str(one.relative_to(prefix)) for one in prefix.rglob("*") if one.is_file())


def test_without_write_it_only_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(tmp_path) == 0
    assert placed(tmp_path) == []
    assert f"would create  {tmp_path / UNIT}" in capsys.readouterr().out


def test_the_unit_starts_the_program_that_was_named(tmp_path: Path) -> None:
    assert install(tmp_path, "--write") == 0
    text = (tmp_path / UNIT).read_text()
    assert "ExecStart=/opt/edged run --config /etc/edged/config.toml\n" in text
    assert UNIT_PROGRAM not in text


@pytest.mark.parametrize("program", ["/root/.venv/bin/edged", "/home/kim/edged/bin/edged"])
def test_a_program_that_the_unit_hides_is_said(
    tmp_path: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["install-files", "--prefix", str(tmp_path), "--program", program, "--write"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"edged: {program} lies where the unit lets edged see nothing" in said
    install(tmp_path, "--force", "--write")
    assert "/opt/edged lies" not in capsys.readouterr().err


def test_what_was_placed_goes_away_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "etc/edged/config.toml"
    kept.parent.mkdir(parents=True)
    kept.write_text("version = 1\n")
    assert install(tmp_path, "--write") == 0
    assert set(placed(tmp_path)) == {one.path for one in files("x")} | {"etc/edged/config.toml"}
    assert install(tmp_path, "--remove", "--write") == 0
    assert placed(tmp_path) == ["etc/edged/config.toml"]


@pytest.mark.parametrize("words", [("--write",), ("--remove", "--write")])
def test_a_changed_file_is_kept_and_said(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "--write")
    (tmp_path / UNIT).write_text("mine\n")
    capsys.readouterr()
    assert install(tmp_path, *words) == 1
    assert (tmp_path / UNIT).read_text() == "mine\n"
    assert "keep (differs)" in capsys.readouterr().out
    assert install(tmp_path, *words, "--force") == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    assert install(blocked, "--write") == 1
    said = capsys.readouterr().err
    assert said.startswith("edged: ")
    assert said.count("\n") == 1


def test_every_placed_folder_is_shipped_with_the_package() -> None:
    project = repository_file("pyproject.toml")
    for name in ("systemd", "deploy", "docs", "config.example.toml", "config.schema.json"):
        assert f'"{name}" = "edged/files/{name}"' in project
