"""The few HTTP/2 frames that a light probe and a heartbeat need.

Owns bytes only: no socket, no clock. A protocol library would do, too, but at 3,000 heartbeats a
second it would fill the core that judges by them. We open no stream, so that of the peer's frames
SETTINGS, PING, GOAWAY and WINDOW_UPDATE mean something, RST_STREAM is ignored, and whatever
belongs to a stream is a fault. Types that HTTP/2 does not define are ignored, as it demands.

Source: RFC 9113, sections 3.4 (preface), 4.1 (frame format), 5.5 (unknown types), 6 (frames).
"""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16_384
"""Largest payload a peer may send as long as we do not allow more (RFC 9113, 4.2)."""
ALLOWANCE: Final = 65_536
"""Bytes, counting each frame as 64 more, that a peer may send us between two of our PINGs."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION: Final = 9
ACK: Final = 1

_HEADER = struct.Struct("!BHBBL")
_HEADER_LENGTH: Final = 9
_FRAME_COST: Final = 64
_PING_LENGTH: Final = 8
_SETTING_LENGTH: Final = 6
_GOAWAY_LEAST: Final = 8
_WORD: Final = 4
_SETTINGS_NO_PUSH: Final = struct.pack("!HL", 2, 0)
_PING_ACK_HEADER: Final = b"\x00\x00\x08\x06\x01\x00\x00\x00\x00"
_PING_ACK_FRAME: Final = _HEADER_LENGTH + _PING_LENGTH


class FrameError(Exception):
    """The peer sent what HTTP/2 does not allow here; its text says what."""


class NotHttp2(FrameError):
    """The peer answers in HTTP/1: no fault, but there will be no heartbeat."""


def frame(kind: int, flags: int = 0, payload: bytes = b"", stream: int = 0) -> bytes:
    """Build one frame."""
    length = len(payload)
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


SETTINGS_FRAME: Final = frame(SETTINGS, payload=_SETTINGS_NO_PUSH)
SETTINGS_ACK: Final = frame(SETTINGS, ACK)
_PING_HEADER: Final = frame(PING, payload=bytes(_PING_LENGTH))[:_HEADER_LENGTH]


class Pinging:
    """One HTTP/2 connection on which nothing but PINGs is said.

    PINGs are numbered, and a peer answers them in order: `acked` answers all up to it.
    """

    __slots__ = ("_allowance", "_buffer", "acked", "goaway", "greeted", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.acked = 0
        self.goaway = False
        self.greeted = False
        self._allowance = ALLOWANCE
        self._buffer = b""

    def opening(self) -> bytes:
        """Return the preface, our SETTINGS and the first PING."""
        return PREFACE + SETTINGS_FRAME + self.ping()

    def ping(self) -> bytes:
        """Return the next PING."""
        self.sent += 1
        self._allowance = ALLOWANCE
        return _PING_HEADER + self.sent.to_bytes(_PING_LENGTH, "big")

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer; return what must be answered.

        Raises:
            FrameError: the connection is of no more use.
        """
        if (
            len(data) == _PING_ACK_FRAME
            and self.greeted
            and not self._buffer
            and data.startswith(_PING_ACK_HEADER)
        ):
            self._acknowledge(data[_HEADER_LENGTH:])
            return b""
        return self._receive_any(data)

    def _receive_any(self, data: bytes) -> bytes:
        buffer = self._buffer + data
        if not self.greeted and buffer.startswith(b"HTTP/1."):
            raise NotHttp2(buffer.split(b"\r\n", 1)[0].decode("ascii", errors="replace"))
        replies = b""
        at = 0
        while len(buffer) - at >= _HEADER_LENGTH:
            high, low, kind, flags, stream = _HEADER.unpack_from(buffer, at)
            length = high << 16 | low
            if length > MAX_FRAME:
                raise FrameError(f"a frame of {length} bytes")
            if not self.greeted and (kind != SETTINGS or flags & ACK):
                raise FrameError("the first frame is not SETTINGS")
            end = at + _HEADER_LENGTH + length
            if len(buffer) < end:
                break
            payload = buffer[at + _HEADER_LENGTH : end]
            replies += self._take(kind, flags, stream & 0x7FFFFFFF, payload)
            at = end
        self._buffer = buffer[at:]
        return replies

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        length = len(payload)
        self._allowance -= length + _FRAME_COST
        if self._allowance < 0:
            raise FrameError("a flood of frames")
        match kind:
            case 4:
                return self._take_settings(flags, stream, length)
            case 6:
                _demand(stream == 0 and length == _PING_LENGTH, "PING")
                if not flags & ACK:
                    return frame(PING, ACK, payload)
                self._acknowledge(payload)
            case 7:
                _demand(stream == 0 and length >= _GOAWAY_LEAST, "GOAWAY")
                self.goaway = True
            case 8:
                _demand(length == _WORD and payload != bytes(_WORD), "WINDOW_UPDATE")
            case 3:
                _demand(length == _WORD and stream != 0, "RST_STREAM")
            case 0 | 1 | 2 | 5 | 9:
                raise FrameError(f"a frame of type {kind} without a stream")
            case _:
                pass  # types that HTTP/2 does not define are to be ignored
        return b""

    def _take_settings(self, flags: int, stream: int, length: int) -> bytes:
        _demand(stream == 0, "SETTINGS")
        if flags & ACK:
            _demand(length == 0, "SETTINGS")
            return b""
        _demand(length % _SETTING_LENGTH == 0, "SETTINGS")
        self.greeted = True
        return SETTINGS_ACK

    def _acknowledge(self, opaque: bytes) -> None:
        number = int.from_bytes(opaque, "big")
        if not self.acked < number <= self.sent:
            raise FrameError("an answer to a PING that was not sent")
        self.acked = number


def _demand(fulfilled: object, name: str) -> None:
    if not fulfilled:
        raise FrameError(f"a malformed {name}")
