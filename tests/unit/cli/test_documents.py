"""The pages in docs/: written from the code, or held against it."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from edged.alerts.texts.english import WORDS
from edged.cli.main import parser_of
from edged.cli.manual import EXIT_CODES
from edged.cli.reference import render_reference
from edged.cli.verbs import VERBS
from edged.core.events import EVENTS
from edged.core.types import FrozenReason, KeptReason
from tests.support.recorded import repository_file

ROOT = Path(__file__).parents[3]
MEASURED = re.compile(r"\*\*[0-9.]+\*\* · [0-9.]+")
PAGES = [
    *("3am", "by-hand", "first-hour", "how-edged-decides", "reference"),
    *("what-a-probe-proves", "your-network"),
]
TITLES = sorted(key for key in WORDS if key.startswith(("title.", "notice.")))


def page(name: str) -> str:
    return repository_file(f"docs/{name}.md")


def told_commands(name: str) -> list[str]:
    """Return what a page tells people to type, from its code and its tables."""
    text = repository_file("README.ko.md") if name == "README.ko" else page(name)
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    found = re.findall(r"^edged ([^#\n]+)", blocks, re.MULTILINE)
    found += re.findall(r"`edged ([a-z-]+[^`\n]*)`", text)
    return list(dict.fromkeys(one.strip() for one in found if "{" not in one))


COMMANDS = [
    (name, command)
    for name in [*PAGES, "README.ko"]
    if name != "reference"
    for command in told_commands(name)
]


def test_the_reference_is_written_from_the_code() -> None:
    assert page("reference") == render_reference()


def test_every_exit_code_in_the_code_is_in_the_reference() -> None:
    found = set()
    for file in (ROOT / "edged").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id.startswith("EXIT_")
                and isinstance(node.value, ast.Constant)
            ):
                found.add(node.value.value)
    assert found == set(EXIT_CODES) - {3, 4}, "3 and 4 stand in tables by level"


def test_every_event_and_a_deep_key_are_in_the_reference() -> None:
    text = page("reference")
    assert all(f"| `{name}` |" in text for name in EVENTS)
    for heading in ("### `[[vip]]`", "### `[vip.probe]`", "### `[kubernetes]`"):
        assert f"{heading}\n" in text
    assert "| `burst` |" in text


@pytest.mark.parametrize("key", TITLES)
def test_each_message_stands_verbatim_at_3_am_with_one_command(key: str) -> None:
    rows = [line for line in page("3am").splitlines() if line.startswith(f"| `{WORDS[key]}` |")]
    assert len(rows) == 1
    assert re.search(r"\. \| `edged [^`]+` \|$", rows[0])


def test_3_am_tells_of_no_message_that_is_not_sent() -> None:
    told = re.findall(r"^\| `([^`]+)` \|", page("3am"), re.MULTILINE)
    assert set(told) == {WORDS[key] for key in TITLES}


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_each_told_command_is_understood(name: str, command: str) -> None:
    del name
    verb, *words = shlex.split(command)
    assert verb in VERBS
    if words:
        parser_of(verb, VERBS[verb]).parse_args(words)


def test_every_reason_that_holds_edged_back_is_explained() -> None:
    text = page("how-edged-decides")
    for reason in (*FrozenReason, *(one for one in KeptReason if one is not KeptReason.STALE)):
        assert f"`{reason.value}`" in text


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page(name)):
        assert (ROOT / "docs" / link).exists(), link


def test_both_readmes_give_the_same_measurements() -> None:
    english = MEASURED.findall(repository_file("README.md"))
    assert len(english) == 8
    assert MEASURED.findall(repository_file("README.ko.md")) == english


def test_the_korean_readme_links_to_what_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", repository_file("README.ko.md"))
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link
