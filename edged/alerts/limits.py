"""Cutting text to what a service takes, in the unit in which that service counts.

Escaping makes text longer, so a limit is held against the escaped form while whole signs of the
plain one are taken: no entity, no surrogate pair and no UTF-8 sequence is ever cut in two.
"""

from collections.abc import Callable
from typing import Final

MORE: Final = "…"
JOINERS: Final = frozenset("\u200d\ufe0f")

Measure = Callable[[str], int]


def characters(text: str) -> int:
    """Return the length in code points."""
    return len(text)


def utf16_units(text: str) -> int:
    """Return the length in UTF-16 code units, in which Telegram and Discord count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf8_bytes(text: str) -> int:
    """Return the length in UTF-8 bytes: a Hangul syllable is three."""
    return len(text.encode("utf-8", "surrogatepass"))


def unescaped(text: str) -> str:
    """Return the text as it is, for a service that interprets nothing."""
    return text


def fit(
    text: str,
    limit: int,
    measure: Measure = characters,
    escape: Callable[[str], str] = unescaped,
) -> str:
    """Return `text` escaped, cut so that it measures at most `limit`; three dots say so.

    `escape` has to work sign by sign.
    """
    whole = escape(text)
    if measure(whole) <= limit:
        return whole
    room = limit - measure(MORE)
    kept: list[str] = []
    for sign in text:
        room -= measure(escape(sign))
        if room < 0:
            break
        kept.append(sign)
    while kept and kept[-1] in JOINERS:
        kept.pop()
    return escape("".join(kept).rstrip()) + MORE if limit >= measure(MORE) else ""


def escape_signs(signs: str) -> Callable[[str], str]:
    """Return an escape that puts a backslash before each of `signs`."""
    table = {ord(sign): f"\\{sign}" for sign in signs}
    return lambda text: text.translate(table)
