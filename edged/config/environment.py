"""Environment variables as configuration: ``EDGED_ROUTER__ADDRESS=172.30.1.1``.

Owns the names. Two underscores stand for a table; a number picks the item of an array of tables,
counted from 0, and may be left out for the first: ``EDGED_GATEWAY__1__ADDRESS``,
``EDGED_VIP__PROBE__PORT``. A variable wins over the file. Lists are parted by commas. A whole
configuration may come from variables, without a file.

Every other name that begins with ``EDGED_`` is an error, since a typo there would silently leave
a default in force. Three kinds are let through: names edged uses elsewhere, names that the file
points to (``password_env``), and those that Kubernetes sets in each Pod for a Service called
``edged…``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from edged.config.checks import closest
from edged.config.findings import Finding, KeyPath, Tree
from edged.config.layout import SECRET_KEYS, Kind, Shape, layout

PREFIX = "EDGED_"
OTHER_VARIABLES = frozenset({"EDGED_CONFIG"})
"""Names that are no configuration: where the file is."""

INDEX_MAX = 1_023

_SERVICE_LINK = re.compile(
    r"EDGED(_[A-Z0-9]+)*_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_TRUE = "true"
_FALSE = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What the environment adds to the file."""

    values: tuple[tuple[KeyPath, object], ...]
    origins: Mapping[KeyPath, str]
    """Which variable set a path."""
    findings: tuple[tuple[str, Finding], ...]
    """Faults, each with its variable."""


@dataclass(slots=True)
class _Builder:
    values: list[tuple[KeyPath, object]] = field(default_factory=list)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    findings: list[tuple[str, Finding]] = field(default_factory=list)


def read_environment(environ: Mapping[str, str], *, pointed_to: frozenset[str]) -> Overlay:
    """Sort the variables that begin with ``EDGED_`` into values and faults.

    Args:
        environ: All variables.
        pointed_to: Names that keys such as ``password_env`` mention.
    """
    builder = _Builder()
    for name in sorted(environ, key=_natural):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES or name in pointed_to:
            continue
        found = find_key(name)
        if found is None:
            if _SERVICE_LINK.fullmatch(name) is None:
                builder.findings.append((name, _unknown(name)))
            continue
        path, shape = found
        if path in builder.origins:
            message = f"is set by {builder.origins[path]} already: keep one of the two"
            builder.findings.append((name, Finding(path=path, code="set_twice", message=message)))
            continue
        builder.values.append((path, convert_value(environ[name], shape.kind)))
        builder.origins[path] = name
    return Overlay(
        values=tuple(builder.values),
        origins=builder.origins,
        findings=tuple(builder.findings),
    )


def find_key(name: str) -> tuple[KeyPath, Shape] | None:
    """Return the path that a variable's name stands for, or None."""
    parts = name.removeprefix(PREFIX).lower().split("__")
    shape = layout()
    path: list[str | int] = []
    position = 0
    while position < len(parts):
        below = shape.keys.get(parts[position])
        if below is None:
            return None
        path.append(parts[position])
        position += 1
        if below.kind is Kind.TABLES:
            index = 0
            if position < len(parts) and re.fullmatch(r"[0-9]{1,4}", parts[position]):
                index = int(parts[position])
                position += 1
            if index > INDEX_MAX:
                return None
            path.append(index)
        shape = below
    return None if shape.is_table else (tuple(path), shape)


def convert_value(text: str, kind: Kind) -> object:
    """Give text the type of its key; what does not fit stays text and is refused by the model."""
    match kind:
        case Kind.NUMBER if re.fullmatch(r"-?[0-9]{1,9}", text):
            return int(text)
        case Kind.FLAG if text in {_TRUE, _FALSE}:
            return text == _TRUE
        case Kind.TEXTS:
            return [item.strip() for item in text.split(",")]
        case _:
            return text


def apply_overlay(tree: Tree, overlay: Overlay) -> list[Finding]:
    """Write the values into the tree; return what has no place there.

    A value whose table is not a table in the file is left out: that fault is reported anyway.
    """
    findings: list[Finding] = []
    for path, value in overlay.values:
        table: object = tree
        for part, after in pairwise(path):
            table = _enter(table, part, is_array=isinstance(after, int))
        if isinstance(table, dict):
            table[path[-1]] = value
        elif table is _GAP:
            index = next(part for part in path if isinstance(part, int))
            message = f"there is no {path[0]} {index - 1} before it: number them 0, 1, 2 and so on"
            findings.append(Finding(path=path, code="gap", message=message))
    return findings


_GAP = object()


def _enter(table: object, part: str | int, *, is_array: bool) -> object:
    if isinstance(table, dict):
        return table.setdefault(part, [] if is_array else {})
    if isinstance(table, list) and isinstance(part, int):
        if part == len(table):
            table.append({})
        return table[part] if part < len(table) else _GAP
    return table if table is _GAP else None


def variable_name(path: KeyPath) -> str:
    """Return the variable that would set a path; the inverse of `find_key`."""
    return PREFIX + "__".join(str(part).upper() for part in path if part != 0)


def pointed_to(tree: object) -> Iterator[str]:
    """Yield the variables that the file's own keys mention."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in {f"{secret}_env" for secret in SECRET_KEYS} and isinstance(value, str):
                yield value
            else:
                yield from pointed_to(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from pointed_to(item)


def _unknown(name: str) -> Finding:
    digits = re.findall(r"__([0-9]{1,4})(?=__)", name)
    # Without the prefix that all share: it would make any two names look alike.
    known = [variable_name(path)[len(PREFIX) :] for path in _all_paths(layout(), (), digits)]
    meant = closest(name[len(PREFIX) :], known)
    return Finding(
        path=(),
        code="unknown_variable",
        message="unknown variable: edged reads EDGED_TABLE__KEY, and nothing else of that name",
        hint=None if meant is None else PREFIX + meant,
    )


def _all_paths(shape: Shape, path: KeyPath, digits: list[str]) -> Iterator[KeyPath]:
    for key, below in shape.keys.items():
        if not below.is_table:
            yield (*path, key)
            continue
        yield from _all_paths(below, (*path, key), digits)
        if below.kind is Kind.TABLES:
            for index in digits:
                yield from _all_paths(below, (*path, key, int(index)), digits)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort item 2 before item 10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"__", name)]
