"""The journal's native protocol: one datagram an entry, fields that `journalctl` can match.

Owns the encoding and the socket. Must not choose what is logged.

Source: systemd, docs/JOURNAL_NATIVE_PROTOCOL.md; tried with systemd 252.
"""

import os
import re
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")

ENTRY_BYTES_MAX: Final = 48 * 1024
"""Datagrams stay below every default `net.core.wmem_max`, so no memory file has to be passed."""

FIELD_NAME_BYTES_MAX: Final = 64
"""Longer names are dropped by the journal without a word."""

SEND_TIMEOUT_S: Final = 1.0
"""A journal that reads nothing for so long is treated as gone; the caller falls back."""

_NAMESPACE: Final = uuid.UUID("5e0bdb0f-55a3-5c0e-9d0a-6f2b1c8ad4e7")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Z0-9_]")


def message_id(event: str) -> str:
    """Return the MESSAGE_ID of an event name: always the same, so that a catalog can explain it."""
    return uuid.uuid5(_NAMESPACE, event).hex


def is_journal(stream: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the file descriptor `stream` is connected to the journal.

    Source: sd_journal_stream_fd and $JOURNAL_STREAM in systemd.exec(5).
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def field_name(key: str) -> str:
    """Return the name a log field has in the journal: `first_failure_ms` → `EDGED_FIRST_…`."""
    return ("EDGED_" + _NOT_IN_A_NAME.sub("_", key.upper()))[:FIELD_NAME_BYTES_MAX]


def encode(fields: Mapping[str, str]) -> bytes:
    """Return one entry. Values are cut, the longest first, so that it fits into a datagram."""
    values = {name: value.encode(errors="backslashreplace") for name, value in fields.items()}
    room = ENTRY_BYTES_MAX - sum(len(name) + len(b"=\n") + 8 for name in values)
    assert room > 0, "more field names than an entry can hold"
    ration = room // max(len(values), 1)
    spare = room - sum(min(len(value), ration) for value in values.values())
    entry = bytearray()
    for name, value in values.items():
        limit = max(ration, min(len(value), ration + spare))
        spare -= max(0, min(len(value), limit) - ration)
        entry += _encode_field(name.encode("ascii"), value[:limit])
    return bytes(entry)


def _encode_field(name: bytes, value: bytes) -> bytes:
    if b"\n" not in value:
        return name + b"=" + value + b"\n"
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


class JournalSocket:
    """The way to the journal; opened when first needed and again after each failure."""

    __slots__ = ("_path", "_socket")

    def __init__(self, path: Path = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send one entry; False where the journal did not take it."""
        try:
            if self._socket is None:
                self._socket = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
                )
                self._socket.settimeout(SEND_TIMEOUT_S)
                self._socket.connect(str(self._path))
            self._socket.send(encode(fields))
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the socket; a later `send` opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
