"""Widths: what fits, what is cut, what a terminal without colours or UTF-8 gets."""

import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.cli.render import (
    Cell,
    Colour,
    Column,
    Terminal,
    clean,
    clock_time,
    cut,
    day_time,
    labelled,
    pad,
    table,
    terminal_of,
    width_of,
    wrap,
    wrap_command,
    zone_name,
)

TEXTS = st.text(
    alphabet=st.sampled_from("ab .·→é가나다한글노드漢①ｱﾊﾝ\u0301\u200b"), min_size=0, max_size=60
)

WIDTHS = [("node2", 5), ("노드", 4), ("\u00e9", 1), ("e\u0301", 1), ("漢字x", 5), ("ｱ", 1), ("", 0)]


@pytest.mark.parametrize(("text", "width"), WIDTHS)
def test_hangul_takes_two_columns_and_accents_none(text: str, width: int) -> None:
    assert width_of(text) == width


@given(TEXTS, st.integers(min_value=1, max_value=40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert width_of(cut(text, width)) <= width
    assert width_of(pad(cut(text, width), width)) == width


@given(TEXTS, st.integers(min_value=2, max_value=40))
def test_what_is_wrapped_fits_and_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6),
    width=st.integers(min_value=20, max_value=79),
    unicode=st.booleans(),
)
def test_a_table_is_never_wider_than_the_terminal(
    *, rows: list[tuple[str, str, str]], width: int, unicode: bool
) -> None:
    columns = (
        Column(title="NODE", keep=9),
        Column(title="노드", keep=1),
        Column(title="WHY", keep=5, flexible=True),
    )
    terminal = Terminal(width=width, unicode=unicode)
    lines = table(columns, [[Cell(text) for text in row] for row in rows], terminal)
    assert len(lines) == len(rows) + 1
    assert all(width_of(line) <= width for line in lines)


def test_the_columns_that_matter_least_go_first() -> None:
    columns = (Column(title="A", keep=2), Column(title="B", keep=1), Column(title="C", keep=3))
    rows = [[Cell("a" * 8), Cell("b" * 8), Cell("c" * 8)]]
    assert table(columns, rows, Terminal(width=22)) == [
        "  A         C",
        "  aaaaaaaa  cccccccc",
    ]


def test_an_empty_column_takes_no_room() -> None:
    columns = (Column(title="A"), Column(title="BGP"), Column(title="C"))
    lines = table(columns, [[Cell("a"), Cell(""), Cell("c")]], Terminal())
    assert lines == ["  A  C", "  a  c"]


def test_colours_take_no_room_and_are_ended() -> None:
    painted = Terminal(colour=True).paint("UP", Colour.GOOD)
    assert painted == "\x1b[32mUP\x1b[0m"
    columns = (Column(title="A"), Column(title="B"))
    rows = [[Cell("UP", (Colour.GOOD,)), Cell("x")]]
    plain = table(columns, rows, Terminal())
    coloured = table(columns, rows, Terminal(colour=True))
    for codes in ("\x1b[32m", "\x1b[2m", "\x1b[0m"):
        coloured = [line.replace(codes, "") for line in coloured]
    assert coloured == plain


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\r\nc\x07d\u202e") == "a [2Jb  c d "


def test_a_terminal_without_utf_8_gets_ascii() -> None:
    terminal = Terminal(unicode=False)
    assert terminal.sign("✓ UP → 노드…") == "+ UP -> ??~"
    assert labelled("More", "a · b", terminal) == ["More        a - b"]


def test_a_label_that_is_long_keeps_a_blank_before_its_text() -> None:
    lines = labelled("Router router", "word " * 20, Terminal(), column=13)
    assert lines[0].startswith("Router router word word")
    assert lines[1].startswith(" " * 14 + "word")
    assert max(len(line) for line in lines) <= 79


COMMANDS = [
    ("edged drain node2 --for 4h", 79, ["edged drain node2 --for 4h"]),
    (
        "kubectl -n kube-system get pod -l k8s-app=cilium-envoy",
        30,
        ["kubectl -n kube-system get \\", "    pod -l \\", "    k8s-app=cilium-envoy"],
    ),
    (
        '/ip route set *1 comment="ECMP to Gateway VIP" disabled=no',
        30,
        ["/ip route set *1 \\", '    comment="ECMP to Gateway VIP" \\', "    disabled=no"],
    ),
    ('x "a \\" b" c', 8, ["x \\", '    "a \\" b" \\', "    c"]),
]


@pytest.mark.parametrize(("command", "width", "lines"), COMMANDS)
def test_a_command_is_broken_where_it_can_still_be_pasted(
    command: str, width: int, lines: list[str]
) -> None:
    assert wrap_command(command, width) == lines


@given(st.lists(st.sampled_from(["a", "bb=1", '"c d"', "e" * 9]), min_size=1), st.integers(8, 60))
def test_a_broken_command_is_the_same_command(words: list[str], width: int) -> None:
    command = " ".join(words)
    joined = " ".join(line.removesuffix(" \\").strip() for line in wrap_command(command, width))
    assert joined == command


class Stream(io.TextIOWrapper):
    """A stream that claims to be a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        """Claim it."""
        return True


ENVIRONMENTS = [
    ({"TERM": "xterm"}, "utf-8", (True, True, True)),
    ({"TERM": "dumb"}, "UTF-8", (False, True, False)),
    ({"TERM": "xterm", "NO_COLOR": "1"}, "utf8", (False, True, True)),
    ({"TERM": "xterm", "NO_COLOR": ""}, "ANSI_X3.4-1968", (True, False, True)),
]


@pytest.mark.parametrize(("environ", "encoding", "expected"), ENVIRONMENTS)
def test_a_terminal_gets_what_it_can_show(
    environ: dict[str, str], encoding: str, expected: tuple[bool, bool, bool]
) -> None:
    terminal = terminal_of(Stream(encoding), environ)
    assert (terminal.colour, terminal.unicode, terminal.live) == expected


def test_a_pipe_gets_no_colour_and_the_whole_width() -> None:
    terminal = terminal_of(io.StringIO(), {"TERM": "xterm", "COLUMNS": "40"})
    assert (terminal.colour, terminal.live, terminal.width) == (False, False, 79)


@pytest.mark.parametrize(
    ("columns", "width"), [("40", 39), ("200", 79), ("5", 20), ("0", 79), ("?", 79)]
)
def test_no_line_is_wider_than_79_columns(columns: str, width: int) -> None:
    assert terminal_of(Stream(), {"TERM": "xterm", "COLUMNS": columns}).width == width


SEOUL = Terminal(zone=ZoneInfo("Asia/Seoul"))
NOW = datetime(2026, 10, 12, 18, 14, 2, tzinfo=UTC)
TIMES = [
    (datetime(2026, 10, 12, 18, 12, 44, 203_900, tzinfo=UTC), "03:12:44"),
    (datetime(2026, 10, 12, 14, 0, 0, tzinfo=UTC), "Mon 23:00:00"),
    (datetime(2026, 9, 1, 0, 0, 0, tzinfo=UTC), "2026-09-01 09:00"),
]


@pytest.mark.parametrize(("at", "text"), TIMES)
def test_times_are_in_the_readers_zone(at: datetime, text: str) -> None:
    assert clock_time(at, SEOUL, now=NOW) == text


def test_the_zone_is_said_as_people_say_it() -> None:
    assert day_time(NOW, SEOUL) == "Tue 03:14:02 KST"
    assert clock_time(NOW, SEOUL, now=NOW, exact=True) == "03:14:02.000"
    assert zone_name(NOW, Terminal(zone=UTC)) == "UTC"


def test_an_unknown_zone_changes_nothing() -> None:
    assert SEOUL.at("Mars/Olympus") is SEOUL
    assert SEOUL.at(None) is SEOUL
    assert Terminal().at("Asia/Seoul").zone == ZoneInfo("Asia/Seoul")
