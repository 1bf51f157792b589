"""TLS for the simulator's listeners, and the files that ship with it."""

import ssl
from enum import Enum
from importlib import resources
from pathlib import Path


class TlsMode(Enum):
    """How a listener is secured."""

    OFF = "off"
    CERTIFICATE = "cert"
    ANONYMOUS = "anonymous"
    """What api-ssl offers without a certificate: Diffie-Hellman with nobody's name on it."""


def data_path(name: str) -> Path:
    """Return the path of a file that ships with the simulator."""
    return Path(str(resources.files("edged.simulator").joinpath("data", name)))


def make_tls_context(
    mode: TlsMode, *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext | None:
    """Return the server side of a listener's TLS, or None for a plain one.

    Args:
        mode: How the listener is secured.
        certificate: PEM file; without one the demo certificate is used.
        key: PEM file; without one the demo key is used.
    """
    match mode:
        case TlsMode.OFF:
            return None
        case TlsMode.CERTIFICATE:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(
                certificate or data_path("demo-cert.pem"), key or data_path("demo-key.pem")
            )
            return context
        case TlsMode.ANONYMOUS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ADH:@SECLEVEL=0")
            context.load_dh_params(str(data_path("ffdhe2048.pem")))
            return context
