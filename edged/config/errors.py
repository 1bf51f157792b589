"""What is wrong with a configuration, all of it, in the order of the file.

Owns the form of an error, as text and as JSON. It finds nothing itself and never holds a secret:
whoever makes an error hides the source line first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ENVIRONMENT = "environment"
"""Stands for the file where a value came from a variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigError:
    """One fault, or one warning: a sentence and the place it is about."""

    file: str
    line: int
    """From 1; 0 where there is no line, as for the environment."""
    col: int
    key: str
    """Dotted, such as ``gateway[1].address``; empty for the file as a whole."""
    code: str
    """Stable word for machines."""
    message: str
    hint: str | None = None
    """The word that was probably meant."""
    source_line: str | None = None

    def render(self, *, severity: str = "error") -> str:
        """Write it as compilers do, so that editors jump to the place."""
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        meant = f' - did you mean "{self.hint}"?' if self.hint else ""
        text = f"{place}: {severity}: {key}{self.message}{meant}"
        if self.source_line is None:
            return text
        number = f"{self.line:>7}" if self.line else " " * 7
        return f"{text}\n{number} | {self.source_line}"

    def to_json(self) -> dict[str, str | int | None]:
        """Return the fields that editors and CI annotate with."""
        return {
            "file": self.file,
            "line": self.line,
            "col": self.col,
            "key": self.key,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


class ConfigErrors(Exception):
    """The configuration cannot be used, for each of these reasons."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=_place))
        assert self.errors, "an exception without a reason"
        super().__init__(self.render())

    def render(self) -> str:
        """Write every error, then how many there are."""
        count = len(self.errors)
        lines = [error.render() for error in self.errors]
        return "\n".join([*lines, "1 error" if count == 1 else f"{count} errors"])

    def to_json(self) -> list[dict[str, str | int | None]]:
        """Return every error as `ConfigError.to_json` does."""
        return [error.to_json() for error in self.errors]


def _place(error: ConfigError) -> tuple[bool, int, int]:
    """Order by place in the file; what has no line comes last."""
    return (error.line == 0, error.line, error.col)
