"""TLS settings of the probes. No socket, no verdict."""

import hashlib
import ssl
from typing import Final

ANY_CIPHER: Final = "DEFAULT:@SECLEVEL=0"
"""A gateway with a weak key still serves its clients; distributions raise the level to 2."""


class ConnectedSocket(ssl.SSLSocket):
    """An `SSLSocket` made of a socket that is known to have been connected.

    `wrap_socket` asks for the peer's name to learn that. Where a reset has come meanwhile, the
    question fails, and CPython 3.11 leaves a half-made object with an open descriptor behind. The
    handshake meets the same reset and reports it as one.
    """

    def getpeername(self) -> None:
        """Say that there is a peer."""


def for_connected_sockets(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context wrap sockets that are connected already, and those only."""
    context.sslsocket_class = ConnectedSocket
    return context


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
    return for_connected_sockets(context)


def digest_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate in hexadecimal."""
    return hashlib.sha256(der).hexdigest()
