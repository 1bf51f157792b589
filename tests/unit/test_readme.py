"""What the README tells people to type works: its configuration loads, its commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from edged.cli.main import parser_of
from edged.cli.verbs import VERBS
from edged.config.load import load

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PROMISED, _, NOT_YET = README.partition("## Not there yet")


def test_the_smallest_configuration_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    text = blocks[0].replace("sha256:…", "sha256:" + "5a" * 32)
    (tmp_path / "edged.toml").write_text(text, encoding="utf-8")

    loaded = load(tmp_path / "edged.toml", {}, check_secrets=False)

    assert loaded.config.mode.value == "observe"
    assert [gateway.name for gateway in loaded.config.gateways] == ["node1", "node2", "node3"]
    assert loaded.warnings == ()


def commands() -> list[str]:
    """Return the edged commands in code of the README, each once."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PROMISED, re.DOTALL))
    told = re.findall(r"`edged ([^`\n]+)`", PROMISED)
    told += re.findall(r"^edged ([^#\n]+)", blocks, re.MULTILINE)
    return list(dict.fromkeys(command.strip() for command in told))


def test_commands_are_told() -> None:
    assert {command.split()[0] for command in commands()} >= {"adopt", "release", "pause", "why"}


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_that_the_readme_tells_is_understood(command: str) -> None:
    verb, *words = shlex.split(command)

    assert verb in VERBS
    parser_of(verb, VERBS[verb]).parse_args(words)


def test_what_is_not_there_yet_is_really_not_there() -> None:
    missing = set(re.findall(r"`edged ([a-z-]+)`", NOT_YET))

    assert missing & set(VERBS) == set()
