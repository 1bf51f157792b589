"""Label selectors as `kubectl -l` takes them, matched on our side.

All nodes are watched, so that drain marks on configured gateways are seen whatever the selector
says; the selector only chooses which nodes are discovered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edged.kube.raw import Json, items, labels, text, texts

_SET: Final = re.compile(r"(?P<key>\S+)\s+(?P<how>in|notin)\s+\((?P<values>[^()]*)\)")
_EQUAL: Final = re.compile(r"(?P<key>[^!=\s]+)\s*(?P<how>==|!=|=)\s*(?P<value>[^!=\s]*)")
_EXISTS: Final = re.compile(r"(?P<not>!?)\s*(?P<key>[^!=()\s]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One label and what it must be; `values` None asks only whether it is there."""

    key: str
    wanted: bool
    values: frozenset[str] | None

    def matches(self, found: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; a label that is absent differs from every value."""
        if self.values is None:
            return (self.key in found) is self.wanted
        return (found.get(self.key, None) in self.values) is self.wanted


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
        return Requirement(found["key"], found["how"] == "in", values)
    if found := _EQUAL.fullmatch(part):
        return Requirement(found["key"], found["how"] != "!=", frozenset({found["value"]}))
    if found := _EXISTS.fullmatch(part):
        return Requirement(found["key"], not found["not"], None)
    raise ValueError(f'"{part}" is not understood in a label selector')


_OPERATORS: Final = {"In": True, "NotIn": False, "Exists": True, "DoesNotExist": False}


def object_selector(raw: Json) -> Selector:
    """Read the `matchLabels` and `matchExpressions` of an object; an empty one matches all."""
    equal = [
        Requirement(key, wanted=True, values=frozenset({value}))
        for key, value in labels(raw, "matchLabels").items()
    ]
    sets = [
        Requirement(
            text(one, "key"),
            _OPERATORS[text(one, "operator")],
            frozenset(texts(one, "values")) if text(one, "operator").endswith("In") else None,
        )
        for one in items(raw, "matchExpressions")
        if text(one, "operator") in _OPERATORS
    ]
    return Selector((*equal, *sets))
