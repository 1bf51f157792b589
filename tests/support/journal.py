"""A journal that listens on a datagram socket and decodes what it is sent."""

import socket
from pathlib import Path


def decode(entry: bytes) -> dict[str, str]:
    """Decode one entry of the native protocol; a malformed one raises ValueError."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, separator, value = line.partition(b"=")
        if not separator:
            size = int.from_bytes(rest[:8], "little")
            value, end, entry = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            if len(value) != size or end != b"\n":
                raise ValueError(f"the length of {name!r} is wrong")
        else:
            entry = rest
        fields[name.decode("ascii")] = value.decode(errors="ignore")
    return fields


class FakeJournal:
    """Collects entries until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind(str(path))

    def receive(self) -> dict[str, str]:
        """Wait for one entry."""
        return decode(self._socket.recv(1 << 20))

    def close(self) -> None:
        """Go away, as a journal that is restarted does."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
