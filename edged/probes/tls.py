"""TLS settings of the probes. No socket, no verdict."""

import hashlib
import ssl
from typing import Final

ANY_CIPHER: Final = "DEFAULT:@SECLEVEL=0"
"""A gateway with a weak key still serves its clients; distributions raise the level to 2."""


def routine_context() -> ssl.SSLContext:
    """Return the settings of routine handshakes: a full one each time, nothing verified.

    Who serves the wrong certificate still serves; `certificate.py` warns about it. Sessions are
    not resumed, since Python resumes only when it is handed a session: a broken key shows at once.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ANY_CIPHER)
    return context


def digest_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate in hexadecimal."""
    return hashlib.sha256(der).hexdigest()
