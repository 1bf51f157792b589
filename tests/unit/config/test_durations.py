"""Durations have one form, and lose nothing on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0ms", 0),
        ("150ms", 150),
        ("2s", 2_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("90d", 7_776_000_000),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "1.5s",
        "1s500ms",
        " 1s",
        "1s\n",
        "-1s",
        "1 s",
        "1S",
        "1w",
        "٣s",
        "9" * 13 + "s",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(min_value=0, max_value=10**12))
def test_reading_what_was_written_gives_the_same_time(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


def test_the_largest_fitting_unit_is_written() -> None:
    shown = [format_duration(one) for one in (0, 150, 1_500, 2_000, 120_000, 7_200_000, 86_400_000)]
    assert shown == ["0s", "150ms", "1500ms", "2s", "2m", "2h", "1d"]
