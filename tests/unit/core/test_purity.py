"""The core does no I/O, reads no clock, rolls no dice, and counts in integers (style 1, 11, 12)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edged.core

FILES = sorted(Path(edged.core.__file__).parent.glob("*.py"))
ALLOWED = {
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "re",
    "types",
    "typing",
}
"""Modules of the standard library that can neither read a clock nor do I/O."""

ONE_OF_EACH = {"Alerting", "Recorder"}
"""State of which a process has one: slots would save nothing."""

files = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def imported(path: Path) -> set[str]:
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            found.add(node.module)
    return found


def test_there_is_something_to_look_at() -> None:
    assert {"engine", "evidence", "plan", "selection"} <= {path.stem for path in FILES}


@files
def test_the_core_imports_itself_and_harmless_modules_only(path: Path) -> None:
    strange = {
        name
        for name in imported(path) - ALLOWED
        if not (name == "edged.core" or name.startswith("edged.core."))
    }
    assert strange == set()


@files
def test_the_core_never_awaits_and_opens_nothing(path: Path) -> None:
    for node in nodes(path):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "eval", "exec", "__import__"}


@files
def test_no_float_and_no_true_division_in_the_core(path: Path) -> None:
    """Floats drift: two runs of one seed must be equal."""
    for node in nodes(path):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"line {node.lineno}"
        if isinstance(node, (ast.BinOp, ast.AugAssign)):
            assert not isinstance(node.op, ast.Div), f"line {node.lineno}"
        if isinstance(node, ast.Name):
            assert node.id != "float", f"line {node.lineno}"


@files
def test_no_untyped_dictionaries_in_the_core(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Name):
            assert node.id != "Any", f"line {node.lineno}"
        if isinstance(node, ast.alias):
            assert node.name != "Any"


@files
def test_every_instant_is_named_in_milliseconds(path: Path) -> None:
    """An argument called `now` or `at` would leave its unit to the reader's luck."""
    for node in nodes(path):
        if isinstance(node, ast.arg):
            assert node.arg not in {"now", "at", "time", "deadline", "when"} or isinstance(
                node.annotation, ast.Name
            )
            if isinstance(node.annotation, ast.Name) and node.annotation.id == "int":
                assert node.arg not in {"now", "at", "time", "deadline", "when"}


@files
def test_values_are_frozen_and_state_has_slots(path: Path) -> None:
    for node in nodes(path):
        if not isinstance(node, ast.ClassDef) or path.stem == "errors":
            continue
        bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
        if bases & {"StrEnum", "Enum", "Protocol"}:
            continue
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        slots = any("slots=True" in decorator for decorator in decorators) or any(
            isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__slots__"
            for item in node.body
        )
        assert slots or node.name in ONE_OF_EACH, node.name
