"""From words to a verb and from every end to an exit code."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edged
from edged.cli import look, setup
from edged.cli.main import main, parser_of
from edged.cli.verbs import GROUPS, NEAR_MISSES, VERBS, add_arguments, duration_ms


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration and no daemon of this machine takes part."""
    monkeypatch.chdir(tmp_path)
    for name in ("EDGED_CONFIG", "EDGED_CONTROL_SOCKET", "EDGED_DEBUG", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGED_SOCKET", str(tmp_path / "no.sock"))


MISSES = [
    ("history", "events"),
    ("cordon", "drain"),
    ("uncordon", "undrain"),
    ("restore", "release"),
    ("statsu", "status"),
    ("Status", "status"),
    ("version", "--version"),
]


@pytest.mark.parametrize(("typed", "meant"), MISSES)
def test_a_near_miss_is_answered_with_what_was_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed]) == 2
    said = capsys.readouterr().err
    assert said == f'edged: there is no verb "{typed}"; did you mean "edged {meant}"?\n'


def test_every_near_miss_leads_to_a_verb_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in NEAR_MISSES:
        assert main([typed]) == 2
        assert "did you mean" in capsys.readouterr().err, typed
        assert typed not in VERBS


def test_something_else_is_answered_with_where_the_verbs_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["xyzzy"]) == 2
    assert "edged --help shows them all" in capsys.readouterr().err


def test_a_mistyped_option_is_answered_with_what_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drain", "node2", "--forse"])
    assert ended.value.code == 2
    assert '(did you mean "--force"?)' in capsys.readouterr().err


USAGE = [
    ["drain"],
    ["drain", "node2", "--for", "soon"],
    ["drain", "node2", "--for", "0m"],
    ["pause"],
    ["pause", "--for", "1h", "--until-resumed"],
    ["handover", "sideways"],
    ["adopt", "--create", "--drop", "172.30.1.99"],
    ["status", "--jso"],
]


@pytest.mark.parametrize("words", USAGE, ids=[" ".join(words) for words in USAGE])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("text", "expected"), [("90s", 90_000), ("4h", 14_400_000)])
def test_durations_are_those_of_the_configuration(text: str, expected: int) -> None:
    assert duration_ms(text) == expected


@pytest.mark.parametrize("text", ["", "4", "h", "1h30m", "-1h", "1.5h", "0s", "1" * 10 + "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration_ms(text)


def test_help_shows_every_verb_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{title}\n" in shown for title in GROUPS.values())
    assert all(f"\n  {name} " in shown for name in VERBS)
    assert max(len(line) for line in shown.splitlines()) <= 79


def test_no_verb_at_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Look" in capsys.readouterr().err
    assert main(["--wat"]) == 2
    assert "there is no option --wat" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if not verb.passes_on])
def test_every_verb_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"edged {name}" in shown
    assert "--socket" in shown
    parser_of(name, VERBS[name])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edged {edged.__version__}\n"


NEED_A_DAEMON = [
    ["status"],
    ["status", "--check"],
    ["why", "node2"],
    ["events"],
    ["recheck", "node2"],
    ["drain", "node2"],
    ["undrain", "node2"],
    ["pause", "--for", "1h"],
    ["resume"],
    ["handover", "back"],
    ["adopt"],
    ["release"],
    ["reload"],
]


@pytest.mark.parametrize("words", NEED_A_DAEMON, ids=[" ".join(words) for words in NEED_A_DAEMON])
def test_without_a_daemon_the_code_is_5_and_the_sentence_names_the_socket(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edged: no edged runs with the control socket ")
    assert "no.sock" in said.err


def test_options_for_everything_may_stand_before_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--socket", str(tmp_path / "other.sock"), "status"]) == 5
    assert "other.sock" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_used_ends_with_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("version = 1\nmod = 'observe'\n")
    assert main(["check-config", str(file)]) == 78
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}:2:1: error: mod: " in said.err
    assert main(["run", "--config", str(file)]) == 78


def raiser(error: BaseException) -> Callable[..., int]:
    def verb(*_: Any) -> int:  # noqa: ANN401 - whatever a verb is given
        raise error

    return verb


def test_a_bug_ends_with_70_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(look, "status", raiser(ZeroDivisionError("of course")))
    assert main(["status"]) == 70
    said = capsys.readouterr().err
    assert "this is a bug in edged: ZeroDivisionError: of course" in said
    assert f"\n  at {__file__}:" in said
    assert "Traceback" not in said
    monkeypatch.setenv("EDGED_DEBUG", "1")
    assert main(["status"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_of_a_group_of_tasks_the_bugs_in_it_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("kube", [KeyError("kind")])
    group = ExceptionGroup("unhandled errors in a TaskGroup", [inner, AssertionError()])
    monkeypatch.setattr(look, "status", raiser(group))
    assert main(["status"]) == 70
    assert capsys.readouterr().err == (
        "edged: this is a bug in edged: KeyError: 'kind'\n"
        "edged: this is a bug in edged: AssertionError\n"
        "edged: please report it; EDGED_DEBUG=1 shows the whole way there\n"
    )


def test_ctrl_c_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(look, "status", raiser(KeyboardInterrupt()))
    assert main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


def options_of(name: str) -> list[str]:
    """Return every spelling of a verb's options."""
    parser = argparse.ArgumentParser(prog="edged")
    add_arguments(parser, name)
    return [option for action in parser._actions for option in action.option_strings]


@pytest.mark.parametrize("shell", sorted(setup.COMPLETIONS))
def test_the_shipped_completions_know_every_verb_and_option(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completions", shell]) == 0
    shipped = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert name in shipped, "run: python -m edged.cli.setup"
        assert shell == "bash" or verb.help.partition("'")[0] in shipped, (
            "run: python -m edged.cli.setup"
        )
        if verb.passes_on:
            continue
        options = options_of(name)
        if shell == "bash":
            key = name.replace("-", "_")
            line = f"_shtab_edged_{key}_option_strings=({' '.join(options)})"
            assert line in shipped, "run: python -m edged.cli.setup"
        assert all(option.lstrip("-") in shipped for option in options)
