"""How text is laid out on a terminal: widths, wrapping, tables, colours, times.

Knows nothing of edged's documents. A line is never wider than the terminal, and never wider than
79 columns; Hangul takes two columns a sign. Text that came from elsewhere is made printable first.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import Enum
from typing import Final, TextIO

WIDTH_MAX: Final = 79
WIDTH_LEAST: Final = 20

_ASCII: Final = {
    "✓": "+",
    "✗": "x",
    "→": "->",
    "·": "-",
    "…": "~",
    "–": "-",
    "●": "*",
    "≥": ">=",
}


class Colour(Enum):
    """What a word says beside its letters."""

    GOOD = "32"
    BAD = "31"
    WARN = "33"
    FAINT = "2"
    STRONG = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What the reader's terminal can do, and where they are."""

    width: int = WIDTH_MAX
    colour: bool = False
    unicode: bool = True
    live: bool = False
    zone: tzinfo | None = None

    def at(self, zone: str | None) -> "Terminal":
        """Return the same terminal in the zone that the configuration names, if it is known."""
        if not zone:
            return self
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return replace(self, zone=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError):
            return self

    def paint(self, text: str, *colours: Colour) -> str:
        """Colour a text, where the terminal can."""
        if not self.colour or not text or not colours:
            return text
        codes = ";".join(colour.value for colour in colours)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def sign(self, text: str) -> str:
        """Return a text in signs that the terminal has."""
        return text if self.unicode else spell_ascii(text)


def terminal_of(stream: TextIO, environ: Mapping[str, str]) -> Terminal:
    """Look at a stream and the environment; ask nothing of either."""
    try:
        live = stream.isatty()
    except ValueError:
        live = False
    dumb = environ.get("TERM", "") == "dumb"
    return Terminal(
        width=_width(stream, environ) if live else WIDTH_MAX,
        colour=live and not dumb and not environ.get("NO_COLOR"),
        unicode=(stream.encoding or "").lower().replace("-", "") == "utf8",
        live=live and not dumb,
    )


def _width(stream: TextIO, environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    if not columns.isdigit() or int(columns) == 0:
        try:
            columns = str(os.get_terminal_size(stream.fileno()).columns)
        except (OSError, ValueError):
            columns = "80"
    return max(WIDTH_LEAST, min(WIDTH_MAX, int(columns) - 1))


def spell_ascii(text: str) -> str:
    """Replace what edged itself writes beyond ASCII; what others wrote becomes a question mark."""
    plain = "".join(_ASCII.get(sign, sign) for sign in text)
    return plain.encode("ascii", "replace").decode("ascii")


# --- widths -------------------------------------------------------------------------------------


def clean(text: object) -> str:
    """Make a text from elsewhere fit for a terminal: one line, nothing that steers it."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def width_of(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_sign_width(sign) for sign in text)


def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Cut a text to a number of columns; three dots (one sign) say that something is missing."""
    if width_of(text) <= width:
        return text
    kept, left = [], width - 1
    for sign in text:
        left -= _sign_width(sign)
        if left < 0:
            break
        kept.append(sign)
    return "".join(kept).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Fill a text up to a number of columns."""
    return text + " " * (width - width_of(text))


def wrap(text: str, width: int) -> list[str]:
    """Break a text at blanks into lines; a longer word is broken where it has to be."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and width_of(line) + 1 + width_of(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        pieces = _pieces(word, width)
        lines.extend(pieces[:-1])
        line = pieces[-1]
    return [*lines, line] if line else lines


def _pieces(word: str, width: int) -> list[str]:
    if width_of(word) <= width:
        return [word]
    pieces, piece = [], ""
    for sign in word:
        if piece and width_of(piece) + _sign_width(sign) > max(width, 2):
            pieces.append(piece)
            piece = ""
        piece += sign
    return [*pieces, piece]


def wrap_command(command: str, width: int) -> list[str]:
    r"""Break a shell or RouterOS command with `\` so that it can still be pasted.

    Only at blanks outside quotes: a longer part stays whole, since a broken one would be wrong.
    """
    parts = _parts(command)
    lines: list[str] = []
    line = ""
    for part in parts:
        room = width if not lines else width - len(COMMAND_INDENT)
        if line and width_of(line) + 1 + width_of(part) > room - 2:
            lines.append(line)
            line = part
        else:
            line = f"{line} {part}" if line else part
    lines.append(line)
    return _continued(lines)


COMMAND_INDENT: Final = "    "


def _continued(lines: list[str]) -> list[str]:
    last = len(lines) - 1
    return [
        f"{COMMAND_INDENT if number else ''}{line}" + (" \\" if number < last else "")
        for number, line in enumerate(lines)
    ]


def _parts(command: str) -> list[str]:
    """Split at blanks outside double quotes; brackets stay together as far as quotes do."""
    parts, part, quoted, escaped = [], "", False, False
    for sign in command:
        if sign == " " and not quoted:
            if part:
                parts.append(part)
            part = ""
            continue
        if sign == '"' and not escaped:
            quoted = not quoted
        escaped = sign == "\\" and not escaped
        part += sign
    return [*parts, part] if part else parts


# --- blocks -------------------------------------------------------------------------------------


def labelled(label: str, text: str, terminal: Terminal, *, column: int = 12) -> list[str]:
    """Lay out `label   text`, wrapped under itself; on a narrow terminal below its label."""
    indent = max(column, width_of(label) + 1) if terminal.width > 4 * column else 2
    lines = wrap(terminal.sign(clean(text)), terminal.width - indent)
    if indent < column:
        head = [terminal.paint(label, Colour.STRONG)] if label else []
        return [*head, *(" " * indent + line for line in lines)]
    start = terminal.paint(label, Colour.STRONG) + " " * (indent - width_of(label))
    return [(start if not number else " " * indent) + line for number, line in enumerate(lines)]


def listing(label: str, items: Sequence[str], terminal: Terminal, *, column: int = 12) -> list[str]:
    """Lay out several texts under one label."""
    lines: list[str] = []
    for number, item in enumerate(items):
        lines.extend(labelled("" if number else label, item, terminal, column=column))
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: `keep` says how long it stays when the terminal gets narrow."""

    title: str
    keep: int = 0
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, and what colours it."""

    text: str
    colours: tuple[Colour, ...] = ()


GAP: Final = 2
LEAST_FLEXIBLE: Final = 8


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    terminal: Terminal,
    *,
    indent: int = 2,
) -> list[str]:
    """Lay out a table; columns are dropped, least kept first, until it fits; the rest is cut."""
    cells = [[Cell(terminal.sign(clean(c.text)), c.colours) for c in row] for row in rows]
    shown = list(range(len(columns)))
    titles = [terminal.sign(column.title) for column in columns]
    widths = [
        max([width_of(titles[at]), *(width_of(row[at].text) for row in cells)]) for at in shown
    ]
    shown = [at for at in shown if any(row[at].text for row in cells)]
    room = terminal.width - indent
    while len(shown) > 1 and _needed(shown, columns, widths) > room:
        shown.remove(min(shown, key=lambda at: (columns[at].keep, -at)))
    _fit(shown, columns, widths, room)
    lines = [_line([Cell(title, (Colour.FAINT,)) for title in titles], shown, widths, terminal)]
    lines.extend(_line(row, shown, widths, terminal) for row in cells)
    return [(" " * indent + line).rstrip() for line in lines]


def _needed(shown: list[int], columns: Sequence[Column], widths: list[int]) -> int:
    least = [
        min(widths[at], LEAST_FLEXIBLE) if columns[at].flexible else widths[at] for at in shown
    ]
    return sum(least) + GAP * (len(shown) - 1)


def _fit(shown: list[int], columns: Sequence[Column], widths: list[int], room: int) -> None:
    """Shrink flexible columns first, then the widest, until the line fits."""
    while True:
        over = sum(widths[at] for at in shown) + GAP * (len(shown) - 1) - room
        if over <= 0:
            return
        soft = [at for at in shown if columns[at].flexible and widths[at] > LEAST_FLEXIBLE]
        widest = max(soft or shown, key=lambda at: widths[at])
        floor = LEAST_FLEXIBLE if soft else 1
        widths[widest] = max(floor, widths[widest] - over)


def _line(row: Sequence[Cell], shown: list[int], widths: list[int], terminal: Terminal) -> str:
    parts = []
    for at in shown:
        text = terminal.sign(cut(row[at].text, widths[at]))
        parts.append(terminal.paint(text, *row[at].colours) + " " * (widths[at] - width_of(text)))
    return (" " * GAP).join(parts).rstrip()


# --- times --------------------------------------------------------------------------------------


def read_time(text: str) -> datetime:
    """Read a document's time."""
    return datetime.fromisoformat(text)


def local(at: datetime, terminal: Terminal) -> datetime:
    """Return a time in the reader's zone."""
    return at.astimezone(terminal.zone)


def clock_time(at: datetime, terminal: Terminal, *, now: datetime, exact: bool = False) -> str:
    """Write `03:12:44`; on another day `Mon 03:12:44`, further away `10-05 03:12`."""
    here, today = local(at, terminal), local(now, terminal)
    form = "%H:%M:%S"
    text = here.strftime(form)
    if exact:
        text += f".{here.microsecond // 1_000:03d}"
    if here.date() == today.date():
        return text
    if abs(here - today) < timedelta(days=6):
        return f"{here:%a} {text}"
    return f"{here:%Y-%m-%d %H:%M}"


def zone_name(at: datetime, terminal: Terminal) -> str:
    """Write the zone as people say it: `KST`, or `+03` where it has no name."""
    return local(at, terminal).tzname() or "UTC"


def day_time(at: datetime, terminal: Terminal) -> str:
    """Write `Tue 03:14:02 KST`."""
    return f"{local(at, terminal):%a %H:%M:%S} {zone_name(at, terminal)}"


def between(earlier: datetime, later: datetime) -> int:
    """Return the milliseconds from one time to another."""
    return round((later - earlier).total_seconds() * 1_000)


# --- writing ------------------------------------------------------------------------------------


def write_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines; a sign that the stream's encoding lacks never ends the program."""
    target = stream if stream is not None else sys.stdout
    text = "".join(f"{line}\n" for line in lines)
    encoding = target.encoding or "utf-8"
    target.write(text.encode(encoding, "replace").decode(encoding, "replace"))
    target.flush()
