"""The page's two drawings as SVG: the last ten minutes of a node, and the last day in lanes.

Shape says the same as colour: passed probes stand, failures hang from above; trouble is taller
than a quiet time. Each drawing is one image with a spoken label.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from edged.web.html import Html, h
from edged.web.page_words import Say
from edged.web.watch import CELLS, DAY_MS, Cell, Mark, Stretch

CELL_WIDTH: Final = 5
BARS_HEIGHT: Final = 22
LATENCY_STEPS_US: Final = (1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000)
"""A bar is one step taller for each of these that the slowest probe took."""

MINUTES: Final = DAY_MS // 60_000
LANE_HEIGHT: Final = 16
SHORTEST: Final = 6
"""Minutes that the shortest trouble is drawn for, or nobody would see it."""

QUIET: Final = frozenset({"UP", "free", "off", "UNKNOWN"})
TOLD_MAX: Final = 4


def bars(name: str, cells: tuple[Cell | None, ...] | None, say: Say) -> Html:
    """Draw a node's last probes."""
    known = [cell for cell in cells or () if cell is not None]
    passed, failed = sum(c.passed for c in known), sum(c.failed for c in known)
    label = say("bars", name=name, passed=passed, failed=failed) if known else None
    return h(
        "svg",
        [_bar(index, cell) for index, cell in enumerate(cells or (None,) * CELLS)],
        class_="bars",
        viewBox=f"0 0 {CELLS * CELL_WIDTH} {BARS_HEIGHT}",
        role="img",
        aria_label=label or say("bars_none", name=name),
        preserveAspectRatio="none",
    )


def _bar(index: int, cell: Cell | None) -> Html:
    x, width = index * CELL_WIDTH, CELL_WIDTH - 1
    if cell is None or not (cell.passed or cell.failed or cell.unclear):
        return h("rect", class_="none", x=x, y=BARS_HEIGHT - 2, width=width, height=2)
    if cell.failed and not cell.passed:
        return h("rect", class_="bad", x=x, y=0, width=width, height=BARS_HEIGHT)
    if cell.failed:
        half = BARS_HEIGHT // 2
        low = h("rect", class_="good", x=x, y=BARS_HEIGHT - 6, width=width, height=6)
        return Html(h("rect", class_="bad", x=x, y=0, width=width, height=half) + low)
    if not cell.passed:
        return h("rect", class_="unclear", x=x, y=BARS_HEIGHT - 4, width=width, height=4)
    steps = sum(cell.latency_us_max > step for step in LATENCY_STEPS_US)
    height = 6 + 2 * steps
    return h("rect", class_="good", x=x, y=BARS_HEIGHT - height, width=width, height=height)


def lane(
    name: str, stretches: tuple[Stretch, ...], marks: Iterable[Mark], now_ms: int, say: Say
) -> Html:
    """Draw one lane of the last day."""
    begin_ms = now_ms - DAY_MS
    told_marks = list(marks)
    quiet = [one for one in stretches if one.state in QUIET]
    loud = [one for one in stretches if one.state not in QUIET]
    return h(
        "svg",
        [_stretch(one, begin_ms, say) for one in quiet],
        [_stretch(one, begin_ms, say) for one in loud],
        [_mark(one, begin_ms, now_ms, say) for one in told_marks],
        class_="lane",
        viewBox=f"0 0 {MINUTES} {LANE_HEIGHT}",
        role="img",
        aria_label=say("lane", name=name, parts=_told(stretches, told_marks, now_ms, say)),
        preserveAspectRatio="none",
    )


def _stretch(one: Stretch, begin_ms: int, say: Say) -> Html:
    x = (one.from_ms - begin_ms) / 60_000
    width = (one.to_ms - one.from_ms) / 60_000
    inset = 5
    if one.state not in QUIET:
        width = max(width, SHORTEST)
        x = min(x, MINUTES - width)
        inset = 0
    title = f"{say('state_' + one.state)} {say.clock(one.from_ms)} – {say.clock(one.to_ms)}"
    return h(
        "rect",
        h("title", title),
        class_=f"s-{one.state.lower()}",
        x=f"{max(x, 0):.1f}",
        y=inset,
        width=f"{width:.1f}",
        height=LANE_HEIGHT - 2 * inset,
    )


def _mark(mark: Mark, begin_ms: int, now_ms: int, say: Say) -> Html:
    x = (mark.at_ms - begin_ms) / 60_000
    what = mark_words(mark, say)
    title = say("mark", time=say.moment(mark.at_ms, now_ms), router=mark.router, what=what)
    return h("rect", h("title", title), class_="mark", x=f"{x:.1f}", y=0, width=3, height=16)


def mark_words(mark: Mark, say: Say) -> str:
    """Say what a change of the route took out and put in."""
    parts = []
    if mark.removed:
        parts.append(say("mark_out", names=say.names(list(mark.removed))))
    if mark.added:
        parts.append(say("mark_in", names=say.names(list(mark.added))))
    return ", ".join(parts)


def _told(stretches: tuple[Stretch, ...], marks: list[Mark], now_ms: int, say: Say) -> str:
    """Say a lane in words: its troubles, newest first, or that there were none."""
    return ", ".join(_parts(stretches, marks, now_ms, say))


def _parts(
    stretches: tuple[Stretch, ...], marks: list[Mark], now_ms: int, say: Say
) -> Iterator[str]:
    loud = [one for one in stretches if one.state not in QUIET]
    if not loud and stretches:
        yield say("lane_all", state=say("state_" + stretches[-1].state))
    for one in loud[: -TOLD_MAX - 1 : -1]:
        begin = say.clock(one.from_ms, seconds=False)
        end = say("now") if one.to_ms >= now_ms else say.clock(one.to_ms, seconds=False)
        yield say("lane_part", state=say("state_" + one.state), to=end, **{"from": begin})
    if len(loud) > TOLD_MAX:
        yield say("lane_more", count=len(loud) - TOLD_MAX)
    if marks:
        yield say("lane_writes", count=len(marks))
