"""HTML that cannot be broken by what others wrote: every text is escaped as it is put in.

Owns escaping and nothing else. A string that is not `Html` already is text, whatever it holds.
"""

import re
from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset({"meta", "link", "br"})
_NOT_SHOWN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control signs, and signs that reorder or hide what stands beside them."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Html | Iterable["Child"] | None


def h(tag: str, *children: Child, **attributes: object) -> Html:
    """Return an element; a trailing underscore of an attribute is dropped, others become dashes.

    An attribute that is None or False is left out; True stands without a value.
    """
    words = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{clean(str(value))}"')
    opened = f"<{' '.join(words)}>"
    if tag in _VOID:
        assert not children, tag
        return Html(opened)
    return Html(f"{opened}{join(children)}</{tag}>")


def join(children: Child) -> Html:
    """Return children one after the other, each text escaped."""
    match children:
        case None:
            return Html("")
        case Html():
            return children
        case str():
            return Html(clean(children))
        case _:
            return Html("".join(join(child) for child in children))


def clean(text: str) -> str:
    """Escape a text for content and for attributes; signs that hide or reorder are dropped."""
    return escape(_NOT_SHOWN.sub("", text), quote=True)
