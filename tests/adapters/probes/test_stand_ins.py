"""The stand-ins themselves: what the tests of the probes rely on."""

import select
import socket

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.certificates import pair
from tests.support.gateways import (
    Conductor,
    StandIn,
    auto,
    http1,
    over_tls,
    raw,
    refused_port,
    reset,
    talk_to,
    unanswering_port,
)


def test_a_stand_in_serves_its_certificate_and_answers() -> None:
    with StandIn(over_tls(http1(b"HTTP/1.1 200 OK\r\n\r\n"))) as gateway, talk_to(gateway) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")

        assert tls.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
        assert tls.getpeercert(binary_form=True) == pair().leaf_der


def test_a_healthy_stand_in_tells_both_protocols_apart() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.ping(b"12345678")
    with StandIn(over_tls(auto())) as gateway:
        with talk_to(gateway) as tls:
            tls.sendall(client.data_to_send())
            events: list[h2.events.Event] = []
            while not any(isinstance(event, h2.events.PingAckReceived) for event in events):
                events += client.receive_data(tls.recv(1_000))
        with talk_to(gateway) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert tls.recv(100).startswith(b"HTTP/1.1 404")
        assert gateway.accepted == 2


def test_a_reset_is_a_reset() -> None:
    with StandIn(reset) as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.settimeout(2)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_a_port_that_does_not_answer_does_not() -> None:
    with unanswering_port() as port, socket.socket() as sock:
        sock.settimeout(0)
        sock.connect_ex(("127.0.0.1", port))

        assert select.select([], [sock], [], 0.04) == ([], [], [])


def test_a_refused_port_refuses() -> None:
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(("127.0.0.1", refused_port()))


def test_a_script_that_fails_fails_the_test() -> None:
    def script(_tls: object) -> None:
        raise ValueError("of the script")

    gateway = StandIn(over_tls(script))
    gateway.__enter__()
    with talk_to(gateway) as tls:
        assert tls.recv(1) == b""

    with pytest.raises(AssertionError, match="of the script"):
        gateway.close()


def test_the_end_does_not_wait_for_connections_that_stand() -> None:
    with StandIn(over_tls(raw())) as gateway:
        tls = talk_to(gateway)
    with tls:
        assert tls.recv(1) == b""


def test_a_conductor_goes_silent_and_speaks_again() -> None:
    conductor = Conductor()
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.ping(b"12345678")
    conductor.speaking.clear()
    with StandIn(over_tls(conductor)) as gateway, talk_to(gateway) as tls:
        tls.sendall(client.data_to_send())
        tls.settimeout(0.04)
        with pytest.raises(TimeoutError):
            tls.recv(1)
        tls.settimeout(2)
        conductor.speaking.set()
        while not conductor.pings:
            client.receive_data(tls.recv(1_000))
        assert conductor.connections == 1
