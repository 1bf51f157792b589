"""What a reload would change, key by key.

Owns the comparison and the list of keys that need a restart. Tables with a name are matched by it,
not by their place, so that a gateway put in the middle shows as one gateway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum

from edged.config.durations import format_duration
from edged.config.secret import HIDDEN, SecretSource
from edged.config.types import Config, ListenAddress, QuietHours

NEEDS_RESTART = frozenset({"web.listen", "control_socket", "state_dir", "log.format"})
"""Opened, bound or chosen once at the start."""
KUBE_KEYS = frozenset({"kube_service", "kube_gateway"})
"""As all of ``[kubernetes]``: the watches are chosen once at the start."""

_TABLE_NAMES = {
    "routers": "router",
    "gateways": "gateway",
    "vips": "vip",
    "channels": "channel",
}
_KEYS = {"source": "from"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key that differs, as it would stand in the file. None: not there."""

    key: str
    old: str | None
    new: str | None
    live: bool
    """Whether a running edged can apply it."""


def diff(old: Config, new: Config) -> list[Change]:
    """Return every key that differs, in the order of the file; secrets show as ``***``."""
    before, after = dict(_flatten(old, "")), dict(_flatten(new, ""))
    return [
        Change(
            key=_shown(key),
            old=_text(key, before),
            new=_text(key, after),
            live=not _needs_restart(key),
        )
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def _needs_restart(key: str) -> bool:
    kube = key.startswith("kubernetes.") or key.rpartition(".")[2] in KUBE_KEYS
    return kube or key in NEEDS_RESTART


def _shown(key: str) -> str:
    """Return the key as the file has it: durations carry their unit in the value."""
    return key.removesuffix("_ms")


def _flatten(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield every value below, with its dotted key; a named table begins with its name."""
    if isinstance(value, SecretSource | ListenAddress | QuietHours):
        yield key, value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            name = _KEYS.get(field.name, field.name)
            below = getattr(value, field.name)
            if not key and field.name in _TABLE_NAMES:
                for item in below:
                    yield from _flatten(item, f'{_TABLE_NAMES[field.name]} "{item.name}"')
            else:
                yield from _flatten(below, f"{key}.{name}".removeprefix("."))
    else:
        yield key, value


def _text(key: str, values: Mapping[str, object]) -> str | None:
    value = values.get(key)
    match value:
        case None:
            return None
        case SecretSource():
            return HIDDEN
        case ListenAddress(host=host, port=port):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case QuietHours():
            return _quiet_hours(value)
        case bool():
            return "true" if value else "false"
        case Enum():
            return str(value.value)
        case tuple():
            items = [format_duration(one) if key.endswith("_ms") else str(one) for one in value]
            return "[" + ", ".join(items) + "]"
        case int() if key.endswith("_ms"):
            return format_duration(value)
        case _:
            return str(value)


def _quiet_hours(value: QuietHours) -> str:
    start, end = (
        f"{minute // 60:02}:{minute % 60:02}" for minute in (value.start_minute, value.end_minute)
    )
    return f"{start}-{end} {value.timezone}" if value.timezone else f"{start}-{end}"
