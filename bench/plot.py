"""Draws bars on a logarithmic axis as SVG, for the documents; no library is needed.

One panel under the other, one bar a contestant: as long as the median, with a line from the least
to the greatest value. Who has no value gets words instead of a bar.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
LEFT: Final = 232
RIGHT: Final = 96
ROW: Final = 22
BAR: Final = 13
PANEL_HEAD: Final = 44
PANEL_FOOT: Final = 30
TOP: Final = 58
LEAST_MS: Final = 1.0
PAPER: Final = "#ffffff"
INK: Final = "#1c2733"
FAINT: Final = "#5b6875"
GRID: Final = "#d9dfe5"
OURS: Final = "#0a7d53"
THEIRS: Final = "#8a97a6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One contestant's values, in milliseconds; `instead` is said where there are none."""

    name: str
    values: Sequence[float]
    ours: bool
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn."""

    title: str
    note: str
    panels: Sequence[tuple[str, Sequence[Bar]]]


def draw(chart: Chart) -> str:
    """Return the chart as an SVG document."""
    greatest = max((v for _, bars in chart.panels for bar in bars for v in bar.values), default=10)
    decades = max(1, math.ceil(math.log10(max(greatest, 10 * LEAST_MS) / LEAST_MS)))
    parts: list[str] = []
    y = float(TOP)
    for title, bars in chart.panels:
        parts += _panel(title, bars, y, decades)
        y += PANEL_HEAD + ROW * len(bars) + PANEL_FOOT
    height = round(y)
    head = [
        _tag(
            "svg",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {height}",
            width=f"{WIDTH}",
            height=f"{height}",
            role="img",
        ),
        f"<title>{escape(chart.title)}</title>",
        f"<desc>{escape(_in_words(chart))}</desc>",
        _tag("rect", width=f"{WIDTH}", height=f"{height}", fill=PAPER, end="/"),
        _text(16, 26, chart.title, size=16, weight=600),
        _text(16, 46, f"{chart.note}; milliseconds, logarithmic", size=12, ink=FAINT),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _panel(title: str, bars: Sequence[Bar], top: float, decades: int) -> list[str]:
    first = top + PANEL_HEAD
    last = first + ROW * len(bars)
    parts = [_text(16, top + 26, title, size=14, weight=600)]
    for decade in range(decades + 1):
        ms = LEAST_MS * 10**decade
        x = _x(ms, decades)
        parts.append(_line(x, first - 6, x, last, GRID))
        parts.append(_text(x, last + 14, f"{ms:,.0f}", size=11, ink=FAINT, anchor="middle"))
    for number, bar in enumerate(bars):
        parts += _bar(bar, first + ROW * number, decades)
    return parts


def _bar(bar: Bar, top: float, decades: int) -> list[str]:
    middle = top + BAR / 2
    name = _text(
        LEFT - 10, middle + 4, bar.name, size=12, anchor="end", weight=600 if bar.ours else 400
    )
    if not bar.values:
        return [name, _text(LEFT + 6, middle + 4, bar.instead, size=12, ink=FAINT, italic=True)]
    median = statistics.median(bar.values)
    end, low, high = (_x(ms, decades) for ms in (median, min(bar.values), max(bar.values)))
    size = {"width": f"{max(1.0, end - LEFT):.1f}", "height": f"{BAR}"}
    ink = OURS if bar.ours else THEIRS
    return [
        name,
        _tag("rect", x=f"{LEFT}", y=f"{top:.1f}", **size, fill=ink, end="/"),
        _line(low, middle, high, middle, INK),
        _text(max(high, end) + 6, middle + 4, _ms(median), size=12),
    ]


def _x(ms: float, decades: int) -> float:
    share = math.log10(max(ms, LEAST_MS) / LEAST_MS) / decades
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _ms(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 100 else f"{ms:,.0f} ms"


def _in_words(chart: Chart) -> str:
    def said(bar: Bar) -> str:
        return f"{bar.name} {_ms(statistics.median(bar.values)) if bar.values else bar.instead}"

    return ". ".join(
        f"{title}: {', '.join(said(bar) for bar in bars)}" for title, bars in chart.panels
    )


def _line(x1: float, y1: float, x2: float, y2: float, ink: str) -> str:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return _tag("line", **{key: f"{at:.1f}" for key, at in ends.items()}, stroke=ink, end="/")


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int,
    ink: str = INK,
    anchor: str = "start",
    weight: int = 400,
    italic: bool = False,
) -> str:
    look = {
        "font-family": "system-ui, sans-serif",
        "font-size": f"{size}",
        "font-weight": f"{weight}",
        "font-style": "italic" if italic else "normal",
        "text-anchor": anchor,
    }
    return f"{_tag('text', x=f'{x:.1f}', y=f'{y:.1f}', fill=ink, **look)}{escape(words)}</text>"


def _tag(name: str, *, end: str = "", **attributes: str) -> str:
    said = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f"<{name} {said}{end}>"
