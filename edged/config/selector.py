"""Label selectors as `kubectl -l` takes them, matched on our side.

All nodes are watched, so that drain marks on configured gateways are seen whatever the selector
says; the selector only chooses which nodes are discovered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SET: Final = re.compile(r"(?P<key>[^!=()\s]+)\s+(?P<how>in|notin)\s+\((?P<values>[^()]*)\)")
_EQUAL: Final = re.compile(r"(?P<key>[^!=()\s]+)\s*(?P<how>==|!=|=)\s*(?P<value>[^!=()\s]*)")
_EXISTS: Final = re.compile(r"(?P<not>!?)\s*(?P<key>[^!=()\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One label and what it must be; `values` None asks only whether it is there."""

    key: str
    wanted: bool
    values: frozenset[str] | None

    def matches(self, found: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; a label that is absent differs from every value."""
        if self.values is None:
            return (self.key in found) is self.wanted
        return (found.get(self.key) in self.values) is self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all be met."""

    requirements: tuple[Requirement, ...]

    def matches(self, found: Mapping[str, str]) -> bool:
        """Tell whether labels meet every requirement."""
        return all(requirement.matches(found) for requirement in self.requirements)


def parse_selector(words: str) -> Selector:
    """Parse `a=b, c!=d, e in (f,g), h, !i`.

    Raises:
        ValueError: with the part that is not understood.
    """
    parts = re.split(r",\s*(?![^()]*\))", words.strip())
    return Selector(tuple(_requirement(part.strip()) for part in parts))


def _requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(key=found["key"], wanted=found["how"] == "in", values=values)
    if found := _EQUAL.fullmatch(part):
        values = frozenset({found["value"]})
        return Requirement(key=found["key"], wanted=found["how"] != "!=", values=values)
    if found := _EXISTS.fullmatch(part):
        return Requirement(key=found["key"], wanted=not found["not"], values=None)
    raise ValueError(f'"{part}" is not understood in a label selector')
