"""The manual page: it has every verb and option, and troff finds nothing to complain about."""

import subprocess

import pytest

from edged.cli.main import parser_of
from edged.cli.manual import EXIT_CODES, render_manual
from edged.cli.verbs import VERBS
from tests.support.parts import require_part

PAGE = render_manual()


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_its_options_there(name: str) -> None:
    verb = VERBS[name]
    start = PAGE.index(f"\\fBedged {name}\\fR".replace("-", "\\-"))
    entry = PAGE[start : PAGE.index(".RE", start)].replace("\\-", "-").lower()
    assert verb.help.lower() in entry
    if verb.passes_on:
        return
    for action in parser_of(name, verb)._actions:
        for option in {*action.option_strings} - {"-h", "--help", "--config", "--socket"}:
            assert option.lower() in entry


def test_the_exit_codes_are_there() -> None:
    for code in EXIT_CODES:
        assert f".TP\n\\fB{code}\\fR\n" in PAGE


def test_no_line_is_taken_for_a_command_that_is_none() -> None:
    known = {".TH", ".SH", ".TP", ".RS", ".RE", ".B"}
    assert {line.split()[0] for line in PAGE.splitlines() if line.startswith((".", "'"))} <= known


def test_troff_is_content_and_a_reader_sees_text() -> None:
    words = [require_part("groff"), "-man", "-Tutf8", "-P-cbou", "-ww", "-Kutf8"]
    done = subprocess.run(words, input=PAGE.encode(), check=True, capture_output=True, timeout=30)
    assert done.stderr == b""
    assert "EXIT STATUS" in done.stdout.decode()
