"""What is wrong, collected by path; `edged.config.load` puts line and column to it.

Owns the small values that pass between the checks of this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from edged.config.durations import parse_duration

KeyPath: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault at one path."""

    path: KeyPath
    code: str
    message: str
    hint: str | None = None


@dataclass(slots=True)
class Findings:
    """All that was found so far."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def error(self, path: KeyPath, code: str, message: str, *, hint: str | None = None) -> None:
        """Note a fault."""
        self.errors.append(Finding(path=path, code=code, message=message, hint=hint))

    def warn(self, path: KeyPath, code: str, message: str) -> None:
        """Note what is allowed, and probably not meant."""
        self.warnings.append(Finding(path=path, code=code, message=message))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A table as far as it parsed: what is missing or already known to be wrong reads as None."""

    path: KeyPath
    raw: Tree
    bad: frozenset[KeyPath]

    def at(self, *keys: str) -> KeyPath:
        """Return the place to blame: the first of these keys that is set, else the table."""
        return next(((*self.path, key) for key in keys if key in self.raw), self.path)

    def has(self, key: str) -> bool:
        """Tell whether the key is set, well or badly."""
        return key in self.raw

    def is_bad(self, key: str) -> bool:
        """Tell whether the key's value has been refused already."""
        return (*self.path, key) in self.bad

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return text."""
        value = self._value(key, default)
        return value if isinstance(value, str) else None

    def number(self, key: str, default: int | None = None) -> int | None:
        """Return a whole number."""
        value = self._value(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, key: str) -> bool | None:
        """Return a switch; every switch the checks ask for is off by default."""
        value = self._value(key, default=False)
        return value if isinstance(value, bool) else None

    def duration(self, key: str, default_ms: int) -> int | None:
        """Return milliseconds."""
        if key not in self.raw:
            return default_ms
        text = self.text(key)
        return None if text is None else parse_duration(text)

    def texts(self, key: str) -> list[str] | None:
        """Return a list, or None if any item is wrong."""
        value = self._value(key, None)
        if not isinstance(value, list):
            return None
        items = [item for item in value if isinstance(item, str)]
        wrong = any((*self.path, key, index) in self.bad for index in range(len(value)))
        return None if wrong or len(items) != len(value) else items

    def table(self, key: str) -> View | None:
        """Return a table below, or None if there is none."""
        value = self.raw.get(key)
        return self._view((*self.path, key), value) if isinstance(value, dict) else None

    def tables(self, key: str) -> list[View]:
        """Return the tables of an array."""
        value = self.raw.get(key)
        items = enumerate(value) if isinstance(value, list) else ()
        return [
            self._view((*self.path, key, index), item)
            for index, item in items
            if isinstance(item, dict)
        ]

    def _view(self, path: KeyPath, raw: Tree) -> View:
        return View(path=path, raw=raw, bad=self.bad)

    def _value(self, key: str, default: object) -> object:
        return None if self.is_bad(key) else self.raw.get(key, default)
