"""The journal's wire format, read back by a decoder written from the protocol's description."""

from hypothesis import given
from hypothesis import strategies as st

from edged.system.journal import ENTRY_BYTES_MAX, encode, field_name, is_journal, message_id
from tests.support.journal import decode

NAMES = st.from_regex(r"EDGED_[A-Z0-9_]{1,20}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text(max_size=60), max_size=12))
def test_reading_what_was_written_gives_the_same_fields(fields: dict[str, str]) -> None:
    assert decode(encode(fields)) == fields


@given(st.dictionaries(NAMES, st.integers(0, 60_000), min_size=1, max_size=6))
def test_an_entry_always_fits_into_a_datagram(sizes: dict[str, int]) -> None:
    entry = encode({name: "x" * size for name, size in sizes.items()})
    assert len(entry) <= ENTRY_BYTES_MAX
    fields = decode(entry)
    assert fields.keys() == sizes.keys()
    if sum(sizes.values()) < ENTRY_BYTES_MAX // 2:
        assert {name: len(value) for name, value in fields.items()} == sizes


def test_the_longest_value_is_cut_and_the_short_ones_stay_whole() -> None:
    fields = decode(encode({"MESSAGE": "x" * 100_000, "EDGED_GATEWAY": "node1"}))
    assert fields["EDGED_GATEWAY"] == "node1"
    assert 40_000 < len(fields["MESSAGE"]) < ENTRY_BYTES_MAX


def test_a_message_id_is_stable_because_a_catalog_names_it() -> None:
    assert message_id("gateway.went_down") == "46fc7ed27cf35243b778c254046bab8f"
    assert message_id("gateway.came_up") != message_id("gateway.went_down")


def test_a_field_name_is_one_that_the_journal_takes() -> None:
    assert field_name("first_failure_at_ms") == "EDGED_FIRST_FAILURE_AT_MS"
    assert field_name("größe-x") == "EDGED_GR_SSE_X"
    assert len(field_name("x" * 200)) == 64


def test_a_stream_is_the_journal_only_if_device_and_inode_match() -> None:
    assert not is_journal(2, {})
    assert not is_journal(2, {"JOURNAL_STREAM": "1:2"})
    assert not is_journal(2, {"JOURNAL_STREAM": "nonsense"})
    assert not is_journal(-1, {"JOURNAL_STREAM": "1:2"})
