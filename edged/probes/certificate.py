"""What a gateway's certificate says, and what is wrong with it: a warning, never evidence.

Owns two extra connections per new leaf and hour, off the hot path. The standard library decodes a
certificate only when it has verified it; so the first connection trusts the leaf itself, which
yields names and dates, and the second one verifies in earnest, and its error code tells the fault.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from edged.probes.attempt import Attempt, attempt, verify_error
from edged.probes.faults import clean
from edged.probes.target import Target
from edged.probes.tls import ANY_CIPHER, digest_of, for_connected_sockets

INSPECT_DEADLINE_MS: Final = 2_000
AGAIN_AFTER_S: Final = 3_600.0
RETRY_AFTER_S: Final = 60.0
"""When the gateway did not answer, or has just changed its leaf again."""
MAX_NAMES: Final = 32
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h): an expired leaf has dates, too."""


class CertificateFault(StrEnum):
    """Why a client would refuse the certificate."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER_UNKNOWN = "issuer_unknown"
    NAME_MISMATCHED = "name_mismatched"
    OTHER = "other"


FAULT_BY_CODE: Final[Mapping[int, CertificateFault]] = {
    2: CertificateFault.ISSUER_UNKNOWN,
    9: CertificateFault.NOT_YET_VALID,
    10: CertificateFault.EXPIRED,
    18: CertificateFault.ISSUER_UNKNOWN,
    19: CertificateFault.ISSUER_UNKNOWN,
    20: CertificateFault.ISSUER_UNKNOWN,
    21: CertificateFault.ISSUER_UNKNOWN,
    62: CertificateFault.NAME_MISMATCHED,
}
"""X509_V_ERR_* of openssl/x509_vfy.h; codes are stable, messages are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What is known about one leaf. All text is cut and cleaned."""

    digest: str
    names: tuple[str, ...]
    issuer: str
    not_before: dt.datetime
    not_after: dt.datetime
    fault: CertificateFault | None = None
    detail: str = ""

    def days_left(self, now: dt.datetime) -> int:
        """Return whole days until it runs out; negative once it has."""
        return (self.not_after - now).days


def leaf_context(der: bytes) -> ssl.SSLContext:
    """Return settings that trust this leaf and nothing else, whatever its dates and names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers(ANY_CIPHER)
    context.load_verify_locations(cadata=der)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return for_connected_sockets(context)


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return settings that verify as a client does: the system's issuers, or those of a file.

    Python 3.13 made its default strict, which refuses private issuers without a keyUsage; whether
    browsers would is another matter, so the flag is cleared.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return for_connected_sockets(context)


async def inspect(
    target: Target,
    der: bytes,
    *,
    verifying: ssl.SSLContext,
    deadline_ms: int = INSPECT_DEADLINE_MS,
) -> CertificateFacts | None:
    """Look at the leaf `der` that `target` serves; None if it does not answer with it now."""
    tried = await attempt(
        target,
        context=leaf_context(der),
        exchange=None,
        deadline_ms=deadline_ms,
    )
    if tried.session is None:
        return None
    verified = await attempt(target, context=verifying, exchange=None, deadline_ms=deadline_ms)
    error = verify_error(verified.fault)
    if error is None and verified.session is None:
        return None
    return read_facts(tried, error)


def read_facts(tried: Attempt, error: ssl.SSLCertVerificationError | None) -> CertificateFacts:
    """Put what both attempts have shown into words."""
    assert tried.session is not None
    certificate = tried.session.certificate
    fault = None if error is None else FAULT_BY_CODE.get(error.verify_code, CertificateFault.OTHER)
    return CertificateFacts(
        digest=digest_of(tried.session.der),
        names=_names(certificate),
        issuer=_issuer(certificate),
        not_before=_instant(certificate["notBefore"]),
        not_after=_instant(certificate["notAfter"]),
        fault=fault,
        detail="" if error is None else clean(error.verify_message),
    )


def _names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    names = [value for _, value in certificate.get("subjectAltName", ())]
    if not names:
        names = _of(certificate.get("subject", ()), "commonName")
    return tuple(clean(name) for name in names[:MAX_NAMES])


def _issuer(certificate: Mapping[str, Any]) -> str:
    issuer = certificate.get("issuer", ())
    known = _of(issuer, "commonName") or _of(issuer, "organizationName")
    return clean(known[0]) if known else ""


def _of(name: Any, wanted: str) -> list[str]:  # noqa: ANN401 - nested tuples of the library
    return [value for part in name for key, value in part if key == wanted]


def _instant(text: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), dt.UTC)


class CertificateWatch:
    """Looks at each new leaf, and at each known one once an hour; one connection at a time."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        report: Callable[[str, CertificateFacts], None],
        *,
        ca_file: Path | None = None,
    ) -> None:
        self._targets = dict(targets)
        self._report = report
        self._verifying = client_context(ca_file)
        self._leaves: dict[str, bytes] = {}
        self._due_s: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._stopped = False

    def seen(self, check: str, der: bytes) -> None:
        """Note a leaf that has not been looked at (from `ProbeSink.certificate_seen`)."""
        self._leaves[check] = der
        self._due_s[check] = 0.0
        self._changed.set()

    def reconfigure(self, targets: Mapping[str, Target]) -> None:
        """Take new targets; leaves of checks that are gone are forgotten."""
        self._targets = dict(targets)
        for check in self._leaves.keys() - targets.keys():
            del self._leaves[check], self._due_s[check]

    def stop(self) -> None:
        """Let `run` return after the connection under way."""
        self._stopped = True
        self._changed.set()

    async def run(self) -> None:
        """Look at what is due until `stop` is called."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            check = min(self._due_s, key=self._due_s.__getitem__, default=None)
            if check is not None and self._due_s[check] <= loop.time():
                await self._inspect(check)
            else:
                await self._wait(None if check is None else self._due_s[check] - loop.time())

    async def _inspect(self, check: str) -> None:
        loop = asyncio.get_running_loop()
        der = self._leaves[check]
        self._due_s[check] = loop.time() + RETRY_AFTER_S
        target = self._targets.get(check)
        if target is None:
            return
        facts = await inspect(target, der, verifying=self._verifying)
        if facts is not None and self._leaves.get(check) == der:
            self._due_s[check] = loop.time() + AGAIN_AFTER_S
            self._report(check, facts)

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
