"""Where in a TOML text each key stands; ``tomllib`` keeps that to itself.

Owns positions only. The text has already been accepted by ``tomllib``, so this scanner need not
judge it: it walks the same grammar and notes line and column of every key, array item and header.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_BARE_END = frozenset(" \t\r\n#,]}=.")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the text, both numbers from 1."""

    line: int
    col: int


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    table: KeyPath = ()
    found: dict[KeyPath, int] = field(default_factory=dict)
    array_items: dict[KeyPath, int] = field(default_factory=dict)

    def document(self) -> None:
        while self._skip_blank():
            if self.text[self.at] == "[":
                self._header()
            else:
                self._pair(self.table)

    def _skip_blank(self) -> bool:
        """Skip white space, line ends and comments; tell whether anything is left."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\r\n":
                self.at += 1
            else:
                return True
        return False

    def _skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1] in {" ", "\t"}:
            self.at += 1

    def _header(self) -> None:
        start = self.at
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        keys = self._keys()
        self._skip_spaces()
        self.at += 2 if is_array else 1
        parent = self._into_arrays(keys[:-1])
        name: KeyPath = (*parent, keys[-1])
        if is_array:
            index = self.array_items.get(name, -1) + 1
            self.array_items[name] = index
            self.found.setdefault(name, start)
            self.table = (*name, index)
        else:
            self.table = self._into_arrays(keys)
        self.found.setdefault(self.table, start)

    def _into_arrays(self, keys: KeyPath) -> KeyPath:
        """Enter the latest item of every array of tables on the way."""
        path: KeyPath = ()
        for key in keys:
            path = (*path, key)
            if path in self.array_items:
                path = (*path, self.array_items[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path: KeyPath = (*table, *self._keys())
        for length in range(len(table) + 1, len(path) + 1):
            self.found.setdefault(path[:length], start)
        self._skip_spaces()
        self.at += 1  # the equals sign
        self._skip_spaces()
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        keys: list[str] = []
        while True:
            self._skip_spaces()
            keys.append(self._key())
            self._skip_spaces()
            if self.text[self.at : self.at + 1] != ".":
                return tuple(keys)
            self.at += 1

    def _key(self) -> str:
        if self.text[self.at] in "\"'":
            return self._string()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in _BARE_END:
            self.at += 1
        return self.text[start : self.at]

    def _string(self) -> str:
        """Skip a string of any kind; its text matters for one-line keys only."""
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self._long_string(quote)
            return ""
        self.at += 1
        parts: list[str] = []
        while self.text[self.at] != quote:
            if quote == '"' and self.text[self.at] == "\\":
                parts.append(self._escape())
            else:
                parts.append(self.text[self.at])
                self.at += 1
        self.at += 1
        return "".join(parts)

    def _escape(self) -> str:
        letter = self.text[self.at + 1]
        digits = {"u": 4, "U": 8}.get(letter, 0)
        start = self.at + 2
        self.at = start + digits
        return chr(int(self.text[start : self.at], 16)) if digits else _ESCAPES.get(letter, letter)

    def _long_string(self, quote: str) -> None:
        self.at += 3
        while not self.text.startswith(quote * 3, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += 3
        # Up to two quotes may stand right before the closing three.
        while self.text[self.at : self.at + 1] == quote:
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        match self.text[self.at]:
            case '"' | "'":
                self._string()
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                # A date may hold one blank; the rest of it is skipped with the line's.
                while self.at < len(self.text) and self.text[self.at] not in "\r\n#,]}":
                    self.at += 1

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._skip_blank() and self.text[self.at] != "]":
            self.found.setdefault((*path, index), self.at)
            self._value((*path, index))
            index += 1
            if self._skip_blank() and self.text[self.at] == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._skip_blank() and self.text[self.at] != "}":
            self._pair(path)
            if self._skip_blank() and self.text[self.at] == ",":
                self.at += 1
        self.at += 1


def find_positions(text: str) -> dict[KeyPath, Position]:
    """Return where each key, header and array item of a valid TOML text begins."""
    scanner = _Scanner(text=text)
    scanner.document()
    starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]
    positions: dict[KeyPath, Position] = {}
    for path, at in scanner.found.items():
        line = bisect_right(starts, at)
        positions[path] = Position(line=line, col=at - starts[line - 1] + 1)
    return positions
