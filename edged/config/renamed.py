"""Keys that have another name now: the old one works for one more minor version, with a warning.

A release that renames a key writes it here, and the release after the next takes it out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from edged.config.findings import Findings, KeyPath, Tree

Renames: TypeAlias = Mapping[tuple[str, ...], str]
"""Where the key stood, tables first and without numbers, and what it is called there now."""

RENAMED: Renames = MappingProxyType({})
"""None yet: this is the first version."""


def apply_renames(tree: Tree, findings: Findings, renamed: Renames = RENAMED) -> None:
    """Give old keys their new names; say so, and refuse a key that is there by both."""
    for (*tables, old), new in renamed.items():
        for path, table in _tables(tree, tables, ()):
            if old not in table:
                continue
            if new in table:
                message = f'is called "{new}" now, which is set, too: keep that one'
                findings.error((*path, old), "set_twice", message)
            else:
                table[new] = table[old]
                message = f'is called "{new}" now: the old name goes with the next version'
                findings.warn((*path, old), "renamed", message)
            del table[old]


def _tables(node: object, names: list[str], path: KeyPath) -> Iterator[tuple[KeyPath, Tree]]:
    """Yield every table at a path, each of an array of them."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _tables(item, names, (*path, index))
    elif isinstance(node, dict) and names:
        yield from _tables(node.get(names[0]), names[1:], (*path, names[0]))
    elif isinstance(node, dict):
        yield path, node
