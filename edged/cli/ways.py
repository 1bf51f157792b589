"""How this host reaches another: the address it uses, and whether a router lies in between."""

import ipaddress
import socket
from pathlib import Path
from typing import Final

ROUTES: Final = Path("/proc/net/route")
_FIELDS_LEAST: Final = 8


def own_address(target: str) -> str:
    """Return the address this host uses towards another; nothing is sent, empty is unknown."""
    try:
        family, _, _, _, where = socket.getaddrinfo(target, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect(where)
            return str(way.getsockname()[0])
    except OSError:
        return ""


def passes_a_router(target: str, routes: Path = ROUTES) -> bool:
    """Tell whether an IPv4 address is reached through a next hop; what cannot be told is no."""
    try:
        wanted = int(ipaddress.IPv4Address(target))
        lines = routes.read_text("ascii").splitlines()[1:]
    except (OSError, ValueError):
        return False
    if ipaddress.IPv4Address(wanted).is_loopback:
        return False
    best, through = -1, False
    for line in lines:
        fields = line.split()
        if len(fields) < _FIELDS_LEAST:
            continue
        destination, next_hop, mask = (_address(fields[place]) for place in (1, 2, 7))
        length = mask.bit_count()
        if wanted & mask == destination and length > best:
            best, through = length, next_hop != 0
    return through


def _address(text: str) -> int:
    """Read an address as the kernel writes it: hexadecimal, its bytes turned round."""
    return int.from_bytes(bytes.fromhex(text)[::-1], "big")
