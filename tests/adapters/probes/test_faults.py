"""The table of errors: whose fault is what."""

import errno
import ssl

import pytest

from edged.core.types import INCONCLUSIVE_REASONS, ProbeReason
from edged.probes.faults import (
    GATEWAY_ERRNOS,
    Phase,
    clean,
    closed_reason,
    describe,
    reason_for,
    timeout_reason,
)

OURS = [
    errno.EMFILE,
    errno.ENFILE,
    errno.EADDRNOTAVAIL,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EACCES,
    errno.EPERM,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EINVAL,
    errno.EAFNOSUPPORT,
    errno.EBADF,
    4_242,
]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("code", OURS)
def test_our_own_trouble_is_never_the_gateways_fault(code: int, phase: Phase) -> None:
    assert reason_for(OSError(code, "x"), phase) is ProbeReason.LOCAL_ERROR


def test_an_error_without_a_number_is_ours() -> None:
    assert reason_for(OSError("timed out, or so"), Phase.TCP) is ProbeReason.LOCAL_ERROR


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        (errno.ECONNREFUSED, "refused tls_reset http_closed"),
        (errno.ECONNRESET, "refused tls_reset http_closed"),
        (errno.EPIPE, "refused tls_reset http_closed"),
        (errno.EHOSTUNREACH, "unreachable tls_timeout http_timeout"),
        (errno.ETIMEDOUT, "connect_timeout tls_timeout http_timeout"),
    ],
)
def test_the_gateways_errors_are_named_by_when_they_come(code: int, reasons: str) -> None:
    found = [reason_for(OSError(code, "x"), phase).value for phase in Phase]

    assert found == reasons.split()


def test_the_table_holds_no_inconclusive_reason() -> None:
    listed = {reason for reasons in GATEWAY_ERRNOS.values() for reason in reasons}

    assert listed.isdisjoint(INCONCLUSIVE_REASONS)


@pytest.mark.parametrize(
    ("error", "phase", "reason"),
    [
        (ssl.SSLEOFError(8, "EOF"), Phase.TLS, ProbeReason.TLS_RESET),
        (ssl.SSLZeroReturnError(6, "closed"), Phase.HTTP, ProbeReason.HTTP_CLOSED),
        (ssl.SSLSyscallError(errno.ECONNRESET, "reset"), Phase.TLS, ProbeReason.TLS_RESET),
        (ssl.SSLSyscallError(errno.ENOMEM, "memory"), Phase.TLS, ProbeReason.LOCAL_ERROR),
        (ssl.SSLError(1, "alert"), Phase.TLS, ProbeReason.TLS_ALERT),
        (ssl.SSLError(1, "alert"), Phase.HTTP, ProbeReason.TLS_ALERT),
    ],
)
def test_errors_of_openssl_are_sorted(
    error: ssl.SSLError, phase: Phase, reason: ProbeReason
) -> None:
    assert reason_for(error, phase) is reason


def test_a_deadline_and_an_end_are_named_by_the_phase() -> None:
    assert [timeout_reason(phase).value for phase in Phase] == [
        "connect_timeout",
        "tls_timeout",
        "http_timeout",
    ]
    assert [closed_reason(phase).value for phase in Phase] == [
        "refused",
        "tls_reset",
        "http_closed",
    ]


def test_an_error_is_described_by_its_symbolic_name() -> None:
    assert describe(OSError(errno.EMFILE, "Too many open files")) == "EMFILE: Too many open files"


def test_untrusted_text_is_cut_and_made_printable() -> None:
    cleaned = clean(b"\x1b[31mred\r\n\xff" + b"x" * 1_000)

    assert cleaned.isprintable()
    assert cleaned.startswith("?[31mred")
    assert len(cleaned) == 120
