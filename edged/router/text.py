"""RouterOS values as text: flags, durations, versions, row ids, addresses. Pure.

Every value on the wire is text, and its spelling depends on the release: a false flag may be sent
or left out, a duration may end in milliseconds, a version may carry a channel. What cannot be read
is `None`, never a guess.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from edged.core.errors import RouterProtocolError

Row = Mapping[str, str]
"""One reply row: attribute words without the leading `=`."""

_TRUE: Final = frozenset({"true", "yes"})
_FALSE: Final = frozenset({"false", "no"})

_UNIT_US: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_PART: Final = re.compile(r"(\d{1,9})(ms|us|w|d|h|m|s)")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})$")
_DURATION_LENGTH_MAX: Final = 64

_VERSION: Final = re.compile(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?:(?:alpha|beta|rc)\d{0,3})?")
_ROW_IDS: Final = re.compile(r"\*[0-9A-Fa-f]{1,16}(?:,\*[0-9A-Fa-f]{1,16})*")

DISTANCE_DEFAULT: Final = 1
"""What RouterOS gives a static route; nearly bare rows (disabled ones on 7.23) leave it out."""

_CLEAN_LENGTH_MAX: Final = 200


def flag(row: Row, word: str) -> bool:
    """Return a flag; a missing one is false (live 7.23 leaves most of them out)."""
    return row.get(word, "") in _TRUE


def switch(row: Row, word: str) -> bool:
    """Return a switch, which counts by being there (`stopped=`), unless it says no."""
    return word in row and row[word] not in _FALSE


def duration_us(text: str) -> int | None:
    """Read `1w4d23h26m9s`, `3d14h20m55s640ms`, `114us` or `1d11:55:45` as microseconds."""
    if not 0 < len(text) <= _DURATION_LENGTH_MAX:
        return None
    total = 0
    if clock := _CLOCK.search(text):
        hours, minutes, seconds = (int(part) for part in clock.groups())
        total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
        text = text[: clock.start()]
    position = 0
    for part in _PART.finditer(text):
        if part.start() != position:
            return None
        total += int(part[1]) * _UNIT_US[part[2]]
        position = part.end()
    return total if position == len(text) else None


def duration_ms(text: str) -> int | None:
    """Read a duration as whole milliseconds."""
    microseconds = duration_us(text)
    return None if microseconds is None else microseconds // 1_000


def major_version(text: str) -> int | None:
    """Read the major number of `6.49.10 (long-term)`, `7.24rc2` or `7.1beta4 (development)`."""
    match = _VERSION.match(text)
    return int(match[1]) if match else None


def bare_version(text: str) -> str:
    """Cut the channel: `6.49.10 (long-term)` is `6.49.10`."""
    match = _VERSION.match(text)
    return match[0] if match else clean(text)


def is_at_least(version: str, wanted: str) -> bool:
    """Compare `7.21.1` with `7.21`; a version that cannot be read is below any."""
    return _numbers(version) >= _numbers(wanted)


def _numbers(text: str) -> tuple[int, ...]:
    match = _VERSION.match(text)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def percent(text: str) -> int | None:
    """Read `53` or `53%`."""
    digits = text.removesuffix("%")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 3 else None  # noqa: PLR2004 - 100


def small_number(text: str) -> int | None:
    """Read a number of at most nine digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None  # noqa: PLR2004 - nine


def is_row_ids(text: str) -> bool:
    """Whether `text` is what `.id` takes: `*1`, or `*1,*80000060`."""
    return _ROW_IDS.fullmatch(text) is not None


def row_id(row: Row) -> str:
    """Return a row's id; a row without one cannot be told from others, so the reply is void.

    Raises:
        RouterProtocolError: The row has no usable `.id`.
    """
    text = row.get(".id", "")
    if "," in text or not is_row_ids(text):
        raise RouterProtocolError(f"a row without a usable .id: {clean(text)!r}")
    return text


def distance(row: Row) -> int:
    """Return a route's distance; RouterOS' default where it is left out."""
    number = small_number(row.get("distance", ""))
    return DISTANCE_DEFAULT if number is None else number


def bare_address(text: str) -> str:
    """Cut `%interface`, `@table` and a full-length prefix; spell the address in its usual form."""
    address = text.split("@", 1)[0].split("%", 1)[0].strip()
    try:
        return str(ipaddress.ip_interface(address).ip) if _is_host(address) else address
    except ValueError:
        return address


def _is_host(address: str) -> bool:
    interface = ipaddress.ip_interface(address)
    return interface.network.prefixlen == interface.max_prefixlen


def is_ipv6(destination: str) -> bool:
    """Whether a destination belongs into `/ipv6/route`."""
    return ":" in destination


def clean(text: str) -> str:
    """Make the router's text fit for a log line: one line, printable, bounded."""
    line = "".join(sign if sign.isprintable() else " " for sign in text[:_CLEAN_LENGTH_MAX])
    return " ".join(line.split())
