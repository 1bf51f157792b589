"""The RouterOS API wire format: words with a length prefix, sentences that end in an empty word.

Written from the vendor's description alone and shared with nothing else in edged, so that a
misreading here cannot hide in the client as well. It knows bytes and words, never what they mean.

Words are text here. They travel as UTF-8, and bytes which are not UTF-8 survive as surrogate
escapes, so decoding and encoding again gives the same bytes (comments in the field come in
Latin-1 and in Korean code pages).

Source: MikroTik manual, API page, sections "Protocol" and "API words".
"""

from collections.abc import Iterable
from dataclasses import dataclass

Sentence = tuple[str, ...]

MAX_WORD_BYTES = 65_536
"""Longest word accepted; the longest one edged reads is a comment of a few hundred bytes."""

MAX_SENTENCE_BYTES = 262_144
"""Longest sentence accepted, so that a sender cannot fill the memory one word at a time."""

MAX_SENTENCE_WORDS = 1_024
"""Most words in one sentence; the longest recorded row has about 40."""

_LENGTH_FORMS = (
    (0x80, 1, 0x00),
    (0x4000, 2, 0x8000),
    (0x200000, 3, 0xC00000),
    (0x10000000, 4, 0xE0000000),
)
"""Upper bound (exclusive), number of bytes and marker bits of the four short length forms."""

_FIRST_BYTES = ((0x80, 1, 0x00), (0xC0, 2, 0x8000), (0xE0, 3, 0xC00000), (0xF0, 4, 0xE0000000))
"""Upper bound (exclusive) of the first byte, size and marker of the same forms when read."""

_LONG_FORM = 0xF0
"""First byte of the fifth form, four length bytes follow; above it stand reserved control bytes."""


class WireError(ValueError):
    """The byte stream is not the RouterOS API, or is larger than we are willing to hold."""


def encode_length(length: int) -> bytes:
    """Encode the length of a word in the shortest of the five forms.

    Args:
        length: Number of bytes in the word, below 2**32.
    """
    assert 0 <= length < 2**32
    for bound, size, marker in _LENGTH_FORMS:
        if length < bound:
            return (length | marker).to_bytes(size, "big")
    return bytes([_LONG_FORM]) + length.to_bytes(4, "big")


def decode_length(data: bytes | bytearray, start: int = 0) -> tuple[int, int] | None:
    """Decode the length prefix at `start`.

    Returns:
        The length and the offset of the word behind it, or None while bytes are missing.

    Raises:
        WireError: The first byte is one of the reserved control bytes.
    """
    if start >= len(data):
        return None
    first = data[start]
    if first > _LONG_FORM:
        raise WireError(f"reserved control byte 0x{first:02x}")
    size, marker = _length_form(first)
    if len(data) < start + size:
        return None
    value = int.from_bytes(data[start : start + size], "big")
    return value - marker, start + size


def _length_form(first: int) -> tuple[int, int]:
    """Return the number of prefix bytes and the marker bits that go with a first byte."""
    for first_bound, size, marker in _FIRST_BYTES:
        if first < first_bound:
            return size, marker
    return 5, _LONG_FORM << 32


def encode_word(word: str) -> bytes:
    """Encode one word with its length."""
    payload = word.encode("utf-8", "surrogateescape")
    return encode_length(len(payload)) + payload


def encode_sentence(words: Iterable[str]) -> bytes:
    """Encode words and the empty word that ends the sentence."""
    return b"".join(encode_word(word) for word in words) + b"\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a decoder is willing to hold."""

    word_bytes: int = MAX_WORD_BYTES
    sentence_bytes: int = MAX_SENTENCE_BYTES
    sentence_words: int = MAX_SENTENCE_WORDS


class SentenceDecoder:
    """Turn a byte stream into sentences, however the bytes are cut into pieces."""

    __slots__ = ("_buffer", "_limits", "_sentence_bytes", "_words")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._buffer = bytearray()
        self._words: list[str] = []
        self._sentence_bytes = 0

    @property
    def idle(self) -> bool:
        """Tell whether the stream stands between two sentences."""
        return not self._buffer and not self._words

    def set_limits(self, limits: Limits) -> None:
        """Hold what comes from here on against other limits."""
        self._limits = limits

    def feed(self, data: bytes) -> list[Sentence]:
        """Take in bytes and return the sentences they complete.

        An empty sentence is passed over, as the router does.

        Raises:
            WireError: A limit is exceeded or a reserved control byte was found; the stream
                cannot be read any further.
        """
        self._buffer += data
        sentences: list[Sentence] = []
        offset = 0
        while (found := self._word_at(offset)) is not None:
            word, offset = found
            if word:
                self._keep(word)
            elif self._words:
                sentences.append(self._finish())
        del self._buffer[:offset]
        return sentences

    def _word_at(self, offset: int) -> tuple[bytes, int] | None:
        prefix = decode_length(self._buffer, offset)
        if prefix is None:
            return None
        length, start = prefix
        if length > self._limits.word_bytes:
            raise WireError(f"word of {length} bytes, at most {self._limits.word_bytes}")
        if len(self._buffer) < start + length:
            return None
        return bytes(self._buffer[start : start + length]), start + length

    def _keep(self, word: bytes) -> None:
        self._sentence_bytes += len(word)
        if self._sentence_bytes > self._limits.sentence_bytes:
            raise WireError(f"sentence above {self._limits.sentence_bytes} bytes")
        if len(self._words) >= self._limits.sentence_words:
            raise WireError(f"sentence above {self._limits.sentence_words} words")
        self._words.append(word.decode("utf-8", "surrogateescape"))

    def _finish(self) -> Sentence:
        sentence = tuple(self._words)
        self._words.clear()
        self._sentence_bytes = 0
        return sentence
