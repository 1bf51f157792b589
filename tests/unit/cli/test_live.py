"""The live view: drawn in place on a terminal, printed once elsewhere, and always tidied up."""

import io

import pytest

from edged.cli.live import CLEAR_LINE, CLEAR_TO_END, HIDE_CURSOR, SHOW_CURSOR, LiveView
from edged.cli.render import Terminal

LIVE = Terminal(live=True)
PLAIN = Terminal(live=False)


def test_a_terminal_is_drawn_over() -> None:
    out = io.StringIO()
    with LiveView(out, LIVE) as view:
        view.update("one\ntwo")
        view.update("three")
    drawn = out.getvalue()
    first = f"\rone{CLEAR_LINE}\ntwo{CLEAR_LINE}\n{CLEAR_TO_END}"
    second = f"\x1b[2A\rthree{CLEAR_LINE}\n{CLEAR_TO_END}"
    assert drawn == HIDE_CURSOR + first + second + SHOW_CURSOR


def test_what_is_said_stays_above_the_view() -> None:
    out = io.StringIO()
    with LiveView(out, LIVE) as view:
        view.update("view")
        view.say(["node2 is dead"])
        view.update("view")
    assert f"\x1b[1A\r{CLEAR_TO_END}node2 is dead\n\rview" in out.getvalue()


def test_a_view_that_is_too_tall_is_cut_so_that_it_can_be_drawn_over() -> None:
    out = io.StringIO()
    with LiveView(out, LIVE) as view:
        view.update("\n".join(f"line {number}" for number in range(100)))
        view.update("end")
    assert out.getvalue().count(CLEAR_LINE) == 24
    assert "\x1b[23A" in out.getvalue()


def test_the_cursor_comes_back_after_ctrl_c() -> None:
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt), LiveView(out, LIVE):
        raise KeyboardInterrupt
    assert out.getvalue() == HIDE_CURSOR + SHOW_CURSOR


def test_a_pipe_gets_plain_lines_and_only_what_is_new() -> None:
    out = io.StringIO()
    with LiveView(out, PLAIN) as view:
        view.update("03:12 UP", key="UP")
        view.update("03:13 UP", key="UP")
        view.update("03:14 DOWN", key="DOWN")
        view.say(["told"])
    assert out.getvalue() == "03:12 UP\n\n03:14 DOWN\ntold\n"
