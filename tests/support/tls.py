"""Certificates for tests: a CA of our own, and contexts of both sides."""

import ssl

import trustme

from edged.router.session import certificate_fingerprint


def issued_by_a_test_ca(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext, trustme.CA]:
    """Return a server for these names, a client that trusts it, and the CA."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client, authority


def with_fingerprint(*names: str) -> tuple[ssl.SSLContext, str]:
    """Return a server context and the pin of its certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = trustme.CA().issue_cert(*names)
    issued.configure_cert(server)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    return server, certificate_fingerprint(der)
