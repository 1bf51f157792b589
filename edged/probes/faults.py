"""Which fault is whose: errors of sockets and TLS, sorted into the closed list of reasons.

Owns the one table of error numbers. An error number that is not in it is our own trouble, so that
a fault nobody thought of can never be held against a gateway.
"""

import errno
import ssl
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from edged.core.types import ProbeReason

DETAIL_LENGTH: Final = 120
"""Longest untrusted text that leaves this package."""


class Phase(Enum):
    """How far an attempt has come."""

    TCP = 0
    TLS = 1
    HTTP = 2


_CLOSED: Final = (ProbeReason.REFUSED, ProbeReason.TLS_RESET, ProbeReason.HTTP_CLOSED)
_SILENT: Final = (ProbeReason.CONNECT_TIMEOUT, ProbeReason.TLS_TIMEOUT, ProbeReason.HTTP_TIMEOUT)
_NO_HOST: Final = (ProbeReason.UNREACHABLE, ProbeReason.TLS_TIMEOUT, ProbeReason.HTTP_TIMEOUT)

GATEWAY_ERRNOS: Final[Mapping[int, tuple[ProbeReason, ProbeReason, ProbeReason]]] = (
    MappingProxyType(
        {
            errno.ECONNREFUSED: _CLOSED,
            # A dying listener may accept and reset once, before our first byte: also refused.
            errno.ECONNRESET: _CLOSED,
            errno.ECONNABORTED: _CLOSED,
            errno.EPIPE: _CLOSED,
            errno.ENOTCONN: _CLOSED,
            errno.ESHUTDOWN: _CLOSED,
            # Our own kernel says so after 3 s of unanswered ARP, a router when it feels like it.
            errno.EHOSTUNREACH: _NO_HOST,
            errno.EHOSTDOWN: _NO_HOST,
            errno.ETIMEDOUT: _SILENT,
        },
    )
)
"""Error number -> reason while connecting, in the TLS handshake, after it."""


def timeout_reason(phase: Phase) -> ProbeReason:
    """Name the deadline that passed."""
    return _SILENT[phase.value]


def closed_reason(phase: Phase) -> ProbeReason:
    """Name an EOF by when it came."""
    return _CLOSED[phase.value]


def reason_for(error: OSError, phase: Phase) -> ProbeReason:
    """Sort one error of a socket or of OpenSSL.

    Source: OpenSSL reports a received alert, and an answer that is not TLS, as a protocol error;
    both mean that something answers and does not serve TLS.
    """
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return closed_reason(phase)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLSyscallError):
        return ProbeReason.TLS_ALERT
    reasons = GATEWAY_ERRNOS.get(error.errno or 0)
    return ProbeReason.LOCAL_ERROR if reasons is None else reasons[phase.value]


def describe(error: OSError) -> str:
    """Put an error into few clean words, its symbolic name first."""
    if isinstance(error, ssl.SSLError):
        return clean(error.reason or error.strerror or type(error).__name__)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return clean(f"{name}: {error.strerror}" if error.strerror else name)


def clean(text: str | bytes) -> str:
    """Cut untrusted text and replace whatever is not printable."""
    if isinstance(text, bytes):
        text = text.decode("ascii", errors="replace")
    cut = text[:DETAIL_LENGTH]
    return "".join(sign if sign.isprintable() else "?" for sign in cut)
