"""RouterOS values as text: what is spelled in many ways is read in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.core.errors import RouterProtocolError
from edged.router import text
from tests.support import recorded


@pytest.mark.parametrize(
    ("spelled", "milliseconds"),
    [
        ("29s", 29_000),
        ("1w4d23h26m9s", 1_034_769_000),
        ("3d14h20m55s640ms", 310_855_640),
        ("9ms445us", 9),
        ("114us", 0),
        ("0s", 0),
        ("1d11:55:45", 129_345_000),
        ("00:00:05", 5_000),
        ("", None),
        ("infinity", None),
        ("5", None),
        ("5m junk", None),
        ("-5s", None),
        ("9" * 70 + "s", None),
    ],
)
def test_a_duration_is_read_whole_or_not_at_all(spelled: str, milliseconds: int | None) -> None:
    assert text.duration_ms(spelled) == milliseconds


def test_a_ping_time_keeps_its_microseconds() -> None:
    assert text.duration_us("9ms445us") == 9_445


@given(
    st.integers(0, 900), st.integers(0, 6), st.integers(0, 23), st.integers(0, 59),
    st.integers(0, 59), st.integers(0, 999),
)  # fmt: skip
def test_parse_after_render_is_the_identity(
    w: int, d: int, h: int, m: int, s: int, ms: int
) -> None:
    parts = ((w, "w"), (d, "d"), (h, "h"), (m, "m"), (s, "s"), (ms, "ms"))
    spelled = "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"
    expected = (((((w * 7 + d) * 24) + h) * 60 + m) * 60 + s) * 1_000 + ms
    assert text.duration_ms(spelled) == expected


@pytest.mark.parametrize(
    ("spelled", "major", "bare"),
    [
        ("6.49.10 (long-term)", 6, "6.49.10"),
        ("7.4 (stable)", 7, "7.4"),
        ("7.24rc2", 7, "7.24rc2"),
        ("7.1beta4 (development)", 7, "7.1beta4"),
        ("10.2.1 (stable)", 10, "10.2.1"),
        ("", None, ""),
        ("seven", None, "seven"),
    ],
)
def test_a_version_is_its_numbers(spelled: str, major: int | None, bare: str) -> None:
    assert text.major_version(spelled) == major
    assert text.bare_version(spelled) == bare


def test_every_recorded_resource_row_tells_version_uptime_and_load() -> None:
    rows = [row for one in recorded.replies("/system/resource/print") for row in one["rows"]]
    assert len(rows) >= 8
    for row in rows:
        assert text.major_version(row["version"]) in {6, 7}
        assert text.duration_ms(row["uptime"]) is not None
        assert text.percent(row.get("cpu-load", "0")) is not None


@pytest.mark.parametrize(
    ("row", "expected"),
    [({}, False), ({"x": "true"}, True), ({"x": "yes"}, True), ({"x": "false"}, False),
     ({"x": ""}, False), ({"x": "True"}, False)],
)  # fmt: skip
def test_a_flag_is_true_only_by_a_true_word(row: text.Row, expected: bool) -> None:  # noqa: FBT001
    assert text.flag(row, "x") is expected


@pytest.mark.parametrize(
    ("row", "expected"), [({}, False), ({"x": ""}, True), ({"x": "no"}, False), ({"x": "1"}, True)]
)
def test_a_switch_counts_by_being_there(row: text.Row, expected: bool) -> None:  # noqa: FBT001
    assert text.switch(row, "x") is expected


@pytest.mark.parametrize(
    ("spelled", "bare"),
    [
        ("172.30.1.20", "172.30.1.20"),
        ("172.30.1.20/32", "172.30.1.20"),
        ("172.30.1.20%bridge@vrf1", "172.30.1.20"),
        ("111.111.11.11@vrf1", "111.111.11.11"),
        ("fe80::de2c:6eff:fec5:a7ff%sfp-sfpplus1", "fe80::de2c:6eff:fec5:a7ff"),
        ("2001:DB8:0::1/128", "2001:db8::1"),
        ("172.30.1.0/24", "172.30.1.0/24"),
        ("pppoe-out1", "pppoe-out1"),
        ("", ""),
    ],
)
def test_an_address_is_bare_and_spelled_in_one_way(spelled: str, bare: str) -> None:
    assert text.bare_address(spelled) == bare


@pytest.mark.parametrize("bad", ["", "1", "*", "*1,*2", "*1;", "*G", "*" + "1" * 20])
def test_a_row_without_a_usable_id_voids_the_reply(bad: str) -> None:
    with pytest.raises(RouterProtocolError):
        text.row_id({".id": bad})


@given(st.text())
def test_cleaned_text_is_one_printable_bounded_line(raw: str) -> None:
    cleaned = text.clean(raw)
    assert cleaned.isprintable()
    assert len(cleaned) <= 200


@given(st.text(max_size=40))
def test_no_text_breaks_a_reader(raw: str) -> None:
    text.duration_ms(raw)
    text.major_version(raw)
    text.percent(raw)
    text.small_number(raw)
    text.bare_address(raw)
