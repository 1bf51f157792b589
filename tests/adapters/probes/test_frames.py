"""Our few frames against a protocol library, and against whatever else a peer may send."""

import itertools

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.probes.frames import (
    ACK,
    ALLOWANCE,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    MAX_FRAME,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameError,
    NotHttp2,
    Pinging,
    frame,
)


def library() -> h2.connection.H2Connection:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    return peer


def greeted() -> Pinging:
    """Return a connection whose first PING is answered."""
    pinging, peer = Pinging(), library()
    peer.receive_data(pinging.opening())
    pinging.receive(peer.data_to_send())
    assert pinging.acked == 1
    return pinging


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def test_the_library_understands_our_opening() -> None:
    pinging, peer = Pinging(), library()

    events = peer.receive_data(pinging.opening())

    kinds = [type(event) for event in events]
    assert h2.events.RemoteSettingsChanged in kinds
    assert h2.events.PingReceived in kinds
    assert peer.remote_settings.enable_push == 0


@given(cuts=st.lists(st.integers(0, 10_000), max_size=12), beats=st.integers(1, 20))
def test_every_ping_is_answered_however_the_bytes_are_cut(cuts: list[int], beats: int) -> None:
    pinging, peer = Pinging(), library()
    peer.receive_data(pinging.opening())
    for beat in range(1, beats + 1):
        reply = b"".join(pinging.receive(part) for part in cut(peer.data_to_send(), cuts))
        assert pinging.acked == beat
        peer.receive_data(reply + pinging.ping())


@given(opaque=st.binary(min_size=8, max_size=8), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_the_peers_own_ping_and_settings_are_acknowledged(opaque: bytes, cuts: list[int]) -> None:
    pinging, peer = Pinging(), library()
    peer.receive_data(pinging.opening())
    peer.ping(opaque)

    replies = b"".join(pinging.receive(part) for part in cut(peer.data_to_send(), cuts))
    events = peer.receive_data(replies)

    kinds = [type(event) for event in events]
    assert kinds.count(h2.events.SettingsAcknowledged) == 1
    (acked,) = [event for event in events if isinstance(event, h2.events.PingAckReceived)]
    assert acked.ping_data == opaque


def test_a_goodbye_is_noticed_and_pings_are_still_answered() -> None:
    pinging, peer = Pinging(), library()
    peer.receive_data(pinging.opening())
    answer = peer.data_to_send()
    peer.close_connection()

    pinging.receive(answer + peer.data_to_send())

    assert (pinging.goaway, pinging.acked) == (True, 1)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(frame(WINDOW_UPDATE, payload=b"\0\0\xff\xff"), id="WINDOW_UPDATE"),
        pytest.param(frame(SETTINGS, ACK), id="SETTINGS acknowledged"),
        pytest.param(frame(RST_STREAM, payload=bytes(4), stream=1), id="RST_STREAM"),
        pytest.param(frame(0xC, payload=b"origin"), id="ORIGIN"),
        pytest.param(frame(0xFE, 0xFF, b"grease", stream=7), id="a type nobody defined"),
        pytest.param(frame(SETTINGS, payload=b"\0\x0a\0\0\0\1"), id="an unknown setting"),
    ],
)
def test_what_a_peer_may_send_changes_nothing(extra: bytes) -> None:
    pinging = greeted()
    ping = pinging.ping()

    pinging.receive(extra + frame(PING, ACK, ping[9:]))

    assert (pinging.acked, pinging.goaway) == (2, False)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(frame(kind, stream=stream), id=f"type {kind} on stream {stream}")
        for kind in (DATA, HEADERS, PRIORITY, PUSH_PROMISE, CONTINUATION)
        for stream in (0, 1)
    ]
    + [
        pytest.param(frame(PING, payload=b"short"), id="a short PING"),
        pytest.param(frame(PING, payload=bytes(8), stream=1), id="PING on a stream"),
        pytest.param(frame(PING, ACK, b"\xff" * 8), id="an answer to a PING never sent"),
        pytest.param(frame(PING, ACK, b"\0" * 7 + b"\1"), id="the same answer again"),
        pytest.param(frame(SETTINGS, payload=b"short"), id="a short SETTINGS"),
        pytest.param(frame(SETTINGS, ACK, bytes(6)), id="an acknowledgement with settings"),
        pytest.param(frame(SETTINGS, stream=3), id="SETTINGS on a stream"),
        pytest.param(frame(GOAWAY, payload=b"short"), id="a short GOAWAY"),
        pytest.param(frame(GOAWAY, payload=bytes(8), stream=1), id="GOAWAY on a stream"),
        pytest.param(frame(WINDOW_UPDATE, payload=bytes(4)), id="a window of nothing"),
        pytest.param(frame(WINDOW_UPDATE, payload=b"1"), id="a short WINDOW_UPDATE"),
        pytest.param(frame(RST_STREAM, payload=bytes(4)), id="RST_STREAM without a stream"),
        pytest.param(frame(0xFE, payload=bytes(MAX_FRAME + 1)), id="an oversized frame"),
        pytest.param(b"\xff" * 9, id="an oversized frame's head"),
        pytest.param(frame(SETTINGS) * (ALLOWANCE // 64 + 1), id="a flood"),
    ],
)
def test_what_a_peer_may_not_send_ends_the_connection(extra: bytes) -> None:
    pinging = greeted()

    with pytest.raises(FrameError):
        pinging.receive(extra)


def test_a_flood_is_counted_between_two_pings_only() -> None:
    """A connection may stand for weeks: what is allowed is renewed by each PING."""
    pinging = greeted()
    for _ in range(100):
        pinging.receive(frame(SETTINGS) * 200 + frame(PING, ACK, pinging.ping()[9:]))

    assert pinging.acked == 101


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.0 505 x\r\n", b"HTTP/1."]
)
def test_an_http1_server_is_recognised(answer: bytes) -> None:
    with pytest.raises(NotHttp2):
        Pinging().receive(answer)


@given(data=st.binary(max_size=200))
def test_no_bytes_do_worse_than_end_the_connection(data: bytes) -> None:
    for pinging in (Pinging(), greeted()):
        before = pinging.acked
        try:
            reply = pinging.receive(data)
        except FrameError:
            continue
        assert pinging.acked == before
        assert len(reply) <= len(data) + 9


@given(st.lists(st.sampled_from([PREFACE, frame(SETTINGS), frame(PING, payload=bytes(8))])))
def test_what_is_kept_of_a_frame_in_parts_is_bounded(parts: list[bytes]) -> None:
    pinging = greeted()
    try:
        for part in parts * 50:
            pinging.receive(part)
    except FrameError:
        pass
    assert len(pinging._buffer) <= MAX_FRAME + 9
