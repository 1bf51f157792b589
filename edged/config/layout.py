"""The tables and keys of the file, read off the models.

Owns the question "which keys are there, and of what kind": for variables, for "did you mean", and
for tests. The models stay the only place where a key is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from edged.config.model import Root

SECRET_KEYS = ("password", "url", "token", "routing_key", "secret")
"""Keys that have the four spellings of a secret."""


class Kind(StrEnum):
    """What may stand behind a key."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"
    TABLE = "table"
    TABLES = "tables"


_EMPTY: Mapping[str, Shape] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One key, and the keys below it if it is a table."""

    kind: Kind
    keys: Mapping[str, Shape] = field(default_factory=lambda: _EMPTY)
    examples: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Tell whether there are keys below."""
        return self.kind in {Kind.TABLE, Kind.TABLES}


@cache
def layout() -> Shape:
    """Return the whole file's shape."""
    return Shape(kind=Kind.TABLE, keys=_keys(Root))


def shape_at(path: tuple[str | int, ...]) -> Shape | None:
    """Return what may stand at a path, or None where nothing may."""
    shape: Shape | None = layout()
    for part in path:
        if isinstance(part, str):
            shape = shape.keys.get(part) if shape else None
    return shape


def is_secret(path: tuple[str | int, ...]) -> bool:
    """Tell whether the value itself is a secret (not a place where one is kept)."""
    # The canary's URL is what any client asks.
    return bool(path) and path[-1] in SECRET_KEYS and "canary" not in path


def _keys(model: type[BaseModel]) -> dict[str, Shape]:
    return {
        info.alias or name: _shape(info.annotation, tuple(str(one) for one in info.examples or ()))
        for name, info in model.model_fields.items()
    }


def _shape(annotation: Any, examples: tuple[str, ...]) -> Shape:  # noqa: ANN401 - any type at all
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0], examples)
    if origin in {Union, UnionType}:
        options = [_shape(one, examples) for one in arguments if one is not NoneType]
        # A channel has the keys of all services here; which fit together is pydantic's to say.
        keys = {key: shape for option in options for key, shape in option.keys.items()}
        return Shape(kind=options[0].kind, keys=keys, examples=examples)
    if origin is list:
        item = _shape(arguments[0], examples)
        kind = Kind.TABLES if item.is_table else Kind.TEXTS
        return Shape(kind=kind, keys=item.keys, examples=examples)
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return Shape(kind=Kind.TABLE, keys=_keys(annotation), examples=examples)
        if issubclass(annotation, bool):
            return Shape(kind=Kind.FLAG, examples=examples)
        if issubclass(annotation, int):
            return Shape(kind=Kind.NUMBER, examples=examples)
    return Shape(kind=Kind.TEXT, examples=examples)
