"""The helper that decides whether an optional part is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import parts

REPOSITORY = Path(__file__).parents[2]


def test_a_part_that_is_there_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parts._PARTS, "shell", parts._program("sh", "every machine has one"))
    assert parts.require_part("shell").endswith("/sh")


@pytest.mark.parametrize(
    ("in_ci", "outcome"),
    [(False, pytest.skip.Exception), (True, pytest.fail.Exception)],
    ids=["skips at home", "fails in CI"],
)
def test_a_missing_part_is_never_silently_passed(
    monkeypatch: pytest.MonkeyPatch,
    *,
    in_ci: bool,
    outcome: type[BaseException],
) -> None:
    monkeypatch.setattr(parts, "CI", in_ci)
    monkeypatch.setitem(parts._PARTS, "unicorn", lambda: (None, "there is no unicorn"))
    with pytest.raises(outcome, match="there is no unicorn"):
        parts.require_part("unicorn")


def test_an_unknown_part_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ValueError, match="unknown part 'envoi'; known: axe, bird"):
        parts.require_part("envoi")


@pytest.mark.parametrize(
    ("in_ci", "exit_code", "line"),
    [("0", 0, r"1 skipped"), ("1", 1, r"1 (failed|error)")],
    ids=["at home", "in CI"],
)
@pytest.mark.parametrize(
    "skipping",
    [
        "import pytest\ndef test_it():\n    pytest.skip('no time')\n",
        "import pytest\n@pytest.mark.skipif(True, reason='no time')\ndef test_it():\n    pass\n",
    ],
    ids=["called", "marked"],
)
def test_a_skipped_test_is_a_failed_one_in_ci(
    tmp_path: Path,
    skipping: str,
    in_ci: str,
    exit_code: int,
    line: str,
) -> None:
    (tmp_path / "test_it.py").write_text(skipping)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", "/dev/null", tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "EDGED_CI": in_ci},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.search(line, ran.stdout)
    assert ran.returncode == exit_code
