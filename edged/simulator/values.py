"""Values as RouterOS writes and reads them: yes and no, durations, addresses, ranges.

Every parser raises the trap a router answers with. Where no recorded text exists, the nearest
recorded form is used and said so.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from edged.simulator.replies import Trap

_TRUE = {"yes", "true"}
_FALSE = {"no", "false"}

_UNITS_US = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_DURATION = re.compile(r"(\d+)(ms|us|w|d|h|m|s)")
_CLOCK_DURATION = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,3}))?")

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_ipv6(value: IPAddress | IPNetwork) -> bool:
    """Tell the address family."""
    return isinstance(value, (ipaddress.IPv6Address, ipaddress.IPv6Network))


def mismatch(name: str) -> Trap:
    """Return the trap for a word outside an argument's list (recorded, category 1)."""
    return Trap(f"input does not match any value of {name}", category=1)


def invalid(name: str) -> Trap:
    """Return the trap for a value that cannot be read at all.

    No recorded text was found for routes; this is the console's general wording.
    """
    return Trap(f"invalid value for argument {name}", category=1)


def read_bool(name: str, value: str) -> bool:
    """Read yes, no, true or false."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise mismatch(name)


def write_bool(value: bool) -> str:  # noqa: FBT001 - the value itself, not a switch
    """Write a flag as the API does."""
    return "true" if value else "false"


def same_value(left: str, right: str) -> bool:
    """Compare as a query does: yes is true, no is false, the rest is text."""
    return _canonical(left) == _canonical(right)


def _canonical(value: str) -> str:
    if value in _TRUE:
        return "true"
    return "false" if value in _FALSE else value


def read_duration_us(name: str, value: str) -> int:
    """Read `1w2d3h4m5s6ms7us`, `00:00:10`, or a bare number of seconds, in microseconds."""
    if value.isdecimal():
        return int(value) * 1_000_000
    if (clock := _CLOCK_DURATION.fullmatch(value)) is not None:
        hours, minutes, seconds = (int(part) for part in clock.groups()[:3])
        fraction_us = int((clock[4] or "").ljust(6, "0"))
        return (hours * 3_600 + minutes * 60 + seconds) * 1_000_000 + fraction_us
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise invalid(name)
    return sum(int(number) * _UNITS_US[unit] for number, unit in parts)


def write_duration(microseconds: int, *, smallest: str = "s") -> str:
    """Write a duration, the units down to `smallest`; nothing at all is `0s` (or `0ms`)."""
    parts = []
    for unit, size in _UNITS_US.items():
        count, microseconds = divmod(microseconds, size)
        if count:
            parts.append(f"{count}{unit}")
        if unit == smallest:
            break
    return "".join(parts) or f"0{smallest}"


def read_network(name: str, value: str) -> IPNetwork:
    """Read a prefix; a bare address is a host, and host bits are cut off."""
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise invalid(name) from None


def read_address(name: str, value: str) -> IPAddress:
    """Read an address."""
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        raise invalid(name) from None


def check_value(name: str, value: str, kind: Mapping[str, Any]) -> None:
    """Hold a value against its entry in the grammar: a list of words, an integer, a duration."""
    if value in kind.get("values", ()):
        return
    if "integer" in kind:
        low, high = kind["integer"]
        if not value.isdecimal():
            raise invalid(name)
        if not low <= int(value) <= high:
            raise Trap(f"value of {name} out of range ({low}..{high})", category=1)
    elif "time" in kind:
        _check_time(name, value, kind["time"])
    elif "list" in kind:
        for word in value.split(","):
            if word.removeprefix("!") not in kind["list"]:
                raise mismatch(name)
    elif set(kind["values"]) == {"yes", "no"}:
        read_bool(name, value)
    else:
        raise mismatch(name)


def _check_time(name: str, value: str, bounds: list[str] | None) -> None:
    found_us = read_duration_us(name, value)
    if bounds is None:
        return
    low, high = bounds
    if not read_duration_us(name, low) <= found_us <= read_duration_us(name, high):
        raise Trap(f"value of {name} out of range ({low}..{high})", category=1)
