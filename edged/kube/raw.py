"""Looking into raw JSON: an object that is not as documented reads as if the field were absent.

The API server checks what it stores, but a proxy, a broken webhook or a newer version may hand us
anything; no shape of answer may raise.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

Json = Mapping[str, object]

EMPTY: Final[Json] = {}
MAX_TEXT: Final = 200
"""The longest text that is carried into an event: names fit, novels do not."""


def child(raw: Json, *path: str) -> Json:
    """Return the object at a path, or an empty one."""
    found: object = raw
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else EMPTY


def text(raw: Json, *path: str) -> str:
    """Return the text at a path, or an empty one."""
    found = child(raw, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) else ""


def number(raw: Json, *path: str) -> int | None:
    """Return the whole number at a path."""
    found = child(raw, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def items(raw: Json, *path: str) -> Iterator[Json]:
    """Yield the objects in the list at a path."""
    found = child(raw, *path[:-1]).get(path[-1])
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, Mapping))


def texts(raw: Json, *path: str) -> tuple[str, ...]:
    """Return the texts in the list at a path."""
    found = child(raw, *path[:-1]).get(path[-1])
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def labels(raw: Json, *path: str) -> dict[str, str]:
    """Return the text values of the object at a path."""
    return {key: value for key, value in child(raw, *path).items() if isinstance(value, str)}


def condition(raw: Json, kind: str, *path: str) -> Json:
    """Return the condition of a type; the default path is `status.conditions`."""
    for found in items(raw, *(path or ("status", "conditions"))):
        if found.get("type") == kind:
            return found
    return EMPTY


def key_of(raw: Json) -> str:
    """Return `namespace/name`, or the name of a cluster-scoped object."""
    namespace, name = text(raw, "metadata", "namespace"), text(raw, "metadata", "name")
    return f"{namespace}/{name}" if namespace else name


def address(word: str) -> str:
    """Return an IP address in its canonical form, or nothing."""
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return ""


def stamp(at: datetime) -> str:
    """Write a time as Kubernetes' MicroTime: exactly six digits of a second."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def cut(words: str) -> str:
    """Return foreign text as one short printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words[: 4 * MAX_TEXT]).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
