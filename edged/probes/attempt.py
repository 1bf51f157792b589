"""One attempt that somebody waits for: off the hot path, for certificates and for `--trace`.

Owns the waiting and the time stamps. Uses the same connection as the runner, so that what a person
is shown is what the daemon does.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edged.probes.connection import Connection, Fault, own_fault
from edged.probes.exchanges import Exchange
from edged.probes.faults import timeout_reason
from edged.probes.target import Target
from edged.system import clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What TLS agreed on. `certificate` is empty unless the context verifies."""

    version: str
    cipher: str
    alpn: str
    der: bytes
    certificate: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt's instants, from the SYN on, as far as it came."""

    started_us: int
    connected_us: int | None
    secured_us: int | None
    ended_us: int
    session: Session | None
    fault: Fault | None


class _Waiter:
    """The owner of a connection whose end is awaited."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self.over = asyncio.Event()
        self.connected_us: int | None = None
        self.secured_us: int | None = None
        self.session: Session | None = None
        self.fault: Fault | None = None

    def on_connected(self, connection: Connection) -> None:
        self.connected_us = self._clock_us()
        connection.start_tls()

    def on_secured(self, connection: Connection) -> None:
        self.secured_us = self._clock_us()
        self.session = _session(connection.tls)

    def on_ended(self, connection: Connection, fault: Fault | None) -> None:
        self.fault = fault
        connection.close()
        self.over.set()


async def attempt(
    target: Target,
    *,
    context: ssl.SSLContext,
    exchange: Exchange | None,
    deadline_ms: int,
    clock_us: Callable[[], int] = clock.monotonic_us,
) -> Attempt:
    """Make one attempt of at most `deadline_ms`; without an exchange it ends with TLS."""
    waiter = _Waiter(clock_us)
    connection = Connection(
        waiter,
        loop=asyncio.get_running_loop(),
        address=target.address,
        port=target.port,
        server_name=target.server_name,
        context=context,
        exchange=exchange,
    )
    started_us = clock_us()
    try:
        connection.open()
    except OSError as error:
        waiter.fault = own_fault(error)
    else:
        await _wait_for(waiter, connection, deadline_ms)
    return Attempt(
        started_us=started_us,
        connected_us=waiter.connected_us,
        secured_us=waiter.secured_us,
        ended_us=clock_us(),
        session=waiter.session,
        fault=waiter.fault,
    )


async def _wait_for(waiter: _Waiter, connection: Connection, deadline_ms: int) -> None:
    try:
        async with asyncio.timeout(deadline_ms / 1_000):
            await waiter.over.wait()
    except TimeoutError:
        waiter.fault = Fault(reason=timeout_reason(connection.phase))
    finally:
        connection.close()


def _session(tls: ssl.SSLSocket) -> Session:
    cipher = tls.cipher()
    return Session(
        version=tls.version() or "",
        cipher=cipher[0] if cipher is not None else "",
        alpn=tls.selected_alpn_protocol() or "",
        der=tls.getpeercert(binary_form=True) or b"",
        certificate=dict(tls.getpeercert() or {}),
    )


def verify_error(fault: Fault | None) -> ssl.SSLCertVerificationError | None:
    """Return what was wrong with the certificate, if that is what the attempt failed by."""
    error = None if fault is None else fault.error
    return error if isinstance(error, ssl.SSLCertVerificationError) else None
