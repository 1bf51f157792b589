"""Certificates for stand-in gateways, made once per process."""

import datetime as dt
import functools
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

SERVER_NAME = "edged-probe.example.test"
WILDCARD = "*.example.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A leaf with its key, as a server wants it."""

    chain_pem: bytes
    key_pem: bytes
    leaf_der: bytes

    def write_to(self, folder: Path, *, stem: str = "leaf") -> tuple[Path, Path]:
        """Write chain and key; return their paths."""
        chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        chain.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        return chain, key


@functools.cache
def authority() -> trustme.CA:
    """Return the issuer of every pair."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@functools.cache
def pair(name: str = WILDCARD, *, days: int = 90) -> Pair:
    """Issue a leaf that runs out in `days` days; a negative number means it has run out."""
    not_after = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    cert = authority().issue_cert(
        name,
        key_type=trustme.KeyType.ECDSA,
        not_before=not_after - dt.timedelta(days=365),
        not_after=not_after,
    )
    leaf_pem = cert.cert_chain_pems[0].bytes()
    return Pair(
        chain_pem=b"".join(blob.bytes() for blob in cert.cert_chain_pems),
        key_pem=cert.private_key_pem.bytes(),
        leaf_der=ssl.PEM_cert_to_DER_cert(leaf_pem.decode()),
    )


def authority_pem() -> bytes:
    """Return the issuer's certificate."""
    return authority().cert_pem.bytes()
