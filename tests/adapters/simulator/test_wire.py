"""The simulator's own wire format: what is encoded comes back, however it is cut up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.simulator.wire import (
    Limits,
    SentenceDecoder,
    WireError,
    decode_length,
    encode_length,
    encode_sentence,
)

WORDS = st.binary(min_size=1, max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=8).map(tuple), max_size=6)


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8080"),
        (0x3FFF, "bfff"),
        (0x4000, "c04000"),
        (0x1FFFFF, "dfffff"),
        (0x200000, "e0200000"),
        (0xFFFFFFF, "efffffff"),
        (0x10000000, "f010000000"),
        (0xFFFFFFFF, "f0ffffffff"),
    ],
)
def test_each_length_form_begins_where_the_one_before_ends(length: int, encoded: str) -> None:
    """The vendor's table, at both ends of each form."""
    assert encode_length(length).hex() == encoded
    assert decode_length(bytes.fromhex(encoded)) == (length, len(encoded) // 2)


@given(length=st.integers(min_value=0, max_value=2**32 - 1), ahead=st.binary(max_size=3))
def test_a_length_survives_the_wire(length: int, ahead: bytes) -> None:
    data = ahead + encode_length(length)
    assert decode_length(data, len(ahead)) == (length, len(data))
    assert decode_length(data[:-1], len(ahead)) is None


@given(sentences=SENTENCES, cuts=st.lists(st.integers(min_value=1, max_value=50), min_size=1))
def test_sentences_survive_any_chunking(sentences: list[tuple[str, ...]], cuts: list[int]) -> None:
    """decode(encode(x)) == x, and bytes that are no UTF-8 are kept as well."""
    data = b"".join(encode_sentence(one) for one in sentences)
    decoder = SentenceDecoder()
    found = []
    place = 0
    while data:
        size = cuts[place % len(cuts)]
        found += decoder.feed(data[:size])
        data = data[size:]
        place += 1
    assert found == sentences
    assert decoder.idle


def test_an_empty_sentence_is_passed_over() -> None:
    assert SentenceDecoder().feed(b"\0\0" + encode_sentence(["/quit"]) + b"\0") == [("/quit",)]


@pytest.mark.parametrize("first", [0xF1, 0xF8, 0xFF])
def test_a_reserved_control_byte_is_no_length(first: int) -> None:
    with pytest.raises(WireError, match="control byte"):
        SentenceDecoder().feed(bytes([first, 0, 0]))


@pytest.mark.parametrize(
    "words",
    [["x" * 11], ["x" * 10, "y" * 10, "z"], ["a", "b", "c", "d"]],
    ids=["word", "sentence", "words"],
)
def test_a_sender_cannot_fill_the_memory(words: list[str]) -> None:
    decoder = SentenceDecoder(Limits(word_bytes=10, sentence_bytes=20, sentence_words=3))
    assert decoder.feed(encode_sentence(["x" * 10, "y" * 10])) == [("x" * 10, "y" * 10)]
    with pytest.raises(WireError):
        decoder.feed(encode_sentence(words))


def test_a_huge_announced_word_is_refused_before_it_arrives() -> None:
    with pytest.raises(WireError, match="4294967295"):
        SentenceDecoder().feed(encode_length(0xFFFFFFFF))
