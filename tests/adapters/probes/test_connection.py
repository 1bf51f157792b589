"""Addresses and descriptors of one attempt."""

import socket

import pytest

from edged.core.types import ProbeReason
from edged.probes.attempt import attempt
from edged.probes.connection import open_socket, socket_address
from edged.probes.tls import routine_context
from tests.support.probing import target_at


def test_a_plain_address_is_used_as_it_is() -> None:
    assert socket_address("192.0.2.1", 443) == ("192.0.2.1", 443)
    assert socket_address("2001:db8::1", 443) == ("2001:db8::1", 443)


@pytest.mark.parametrize("scope", ["lo", str(socket.if_nametoindex("lo"))])
def test_a_link_local_address_keeps_its_interface(scope: str) -> None:
    index = socket.if_nametoindex("lo")

    assert socket_address(f"fe80::1%{scope}", 443) == ("fe80::1", 443, 0, index)


def test_an_interface_that_does_not_exist_is_our_own_trouble() -> None:
    with pytest.raises(OSError, match="no interface"):
        open_socket("fe80::1%nowhere", 443)


async def test_an_attempt_that_cannot_begin_says_why() -> None:
    tried = await attempt(
        target_at(443, address="224.0.0.1"),
        context=routine_context(),
        exchange=None,
        deadline_ms=1_000,
    )

    assert tried.fault is not None
    assert tried.fault.reason is ProbeReason.LOCAL_ERROR
    assert tried.connected_us is None
