"""What is said over a fresh connection, byte by byte and without a socket."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import __version__
from edged.probes.exchanges import (
    MAX_HEAD,
    FullExchange,
    Http1Only,
    InvalidAnswer,
    LightExchange,
)

HEADS = st.sampled_from(
    [
        b"HTTP/1.1 404 Not Found\r\nserver: envoy\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 503 x\r\n\r\nno healthy upstream",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
    ],
)


def asked() -> FullExchange:
    exchange = FullExchange(server_name="edged-probe.example.test", path="/.well-known/edged")
    exchange.opening()
    return exchange


def test_the_request_names_us_and_the_server() -> None:
    opening = FullExchange(server_name="edged-probe.example.test", path="/p").opening()
    server = h11.Connection(h11.SERVER)
    server.receive_data(opening)
    request = server.next_event()

    assert isinstance(request, h11.Request)
    assert (request.method, request.target, request.http_version) == (b"GET", b"/p", b"1.1")
    assert sorted(request.headers) == [
        (b"host", b"edged-probe.example.test"),
        (b"user-agent", f"edged/{__version__}".encode()),
    ]
    assert isinstance(server.next_event(), h11.EndOfMessage)


@given(head=HEADS, cuts=st.lists(st.integers(0, 200), max_size=10))
def test_it_does_not_matter_how_a_head_is_cut(head: bytes, cuts: list[int]) -> None:
    whole, parts = asked(), asked()
    whole.receive(head)
    places = [0, *sorted(cut % len(head) for cut in cuts), len(head)]
    for begin, end in itertools.pairwise(places):
        if begin < end and not parts.answered:
            parts.receive(head[begin:end])

    assert whole.answered
    assert parts.answered
    assert whole.http_status == parts.http_status
    assert whole.headers == parts.headers


@given(data=st.lists(st.binary(min_size=1, max_size=100), max_size=8))
def test_no_bytes_do_worse_than_be_invalid(data: list[bytes]) -> None:
    light = LightExchange()
    light.opening()
    for exchange in (asked(), light):
        try:
            for part in data:
                exchange.receive(part)
        except InvalidAnswer:
            continue
        assert exchange.answered is False


@given(start=st.sampled_from([b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 ", b"x"]))
def test_a_head_without_an_end_is_given_up_at_its_bound(start: bytes) -> None:
    def flood() -> None:
        exchange = asked()
        exchange.receive(start)
        for _ in range(MAX_HEAD // 1_000 + 1):
            exchange.receive(b"y" * 1_000)

    with pytest.raises(InvalidAnswer):
        flood()


@pytest.mark.parametrize(("more", "passes"), [(0, True), (1, False)])
def test_a_head_may_be_16_kib_long_and_no_longer(more: int, *, passes: bool) -> None:
    start, end = b"HTTP/1.1 200 OK\r\nx: ", b"\r\n\r\n"
    head = start + b"y" * (MAX_HEAD - len(start) - len(end) + more) + end
    exchange = asked()
    try:
        exchange.receive(head + b"and a body")
    except InvalidAnswer:
        assert not passes
    else:
        assert exchange.answered is passes


def test_an_answer_in_http1_to_the_preface_is_told_apart() -> None:
    with pytest.raises(Http1Only, match="505"):
        LightExchange().receive(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")
