"""A real Envoy with a listener of the shape that Cilium's Gateway API gives it.

Owns the process and its configuration files. The configuration is JSON: in YAML a bare `n` or `y`
is a boolean. Listeners come from a watched file, so that they can be replaced while Envoy runs.
"""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

from tests.support.certificates import WILDCARD, Pair, pair

Json = dict[str, Any]

READY_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.02
_TYPE: Final = "type.googleapis.com/envoy"
_HCM: Final = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def free_port(address: str) -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port


def listener(
    *,
    address: str,
    port: int,
    chain: Path,
    key: Path,
    access_log: Path,
    server_names: list[str],
    codec: str = "AUTO",
    idle_timeout: str = "3600s",
) -> Json:
    """Build one listener: `tls_inspector`, one TLS chain, codec AUTO; every route is a 404.

    One path, `/ok`, answers 200 and another, `/unavailable`, 503, as routes do.
    """
    routes = [
        {"match": {"path": "/ok"}, "direct_response": {"status": 200}},
        {"match": {"path": "/unavailable"}, "direct_response": {"status": 503}},
    ]
    manager = {
        "@type": f"{_TYPE}.{_HCM}",
        "stat_prefix": "gateway",
        "codec_type": codec,
        "common_http_protocol_options": {"idle_timeout": idle_timeout},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            },
        ],
        "access_log": [_access_log(access_log)],
    }
    certificate = {
        "certificate_chain": {"filename": str(chain)},
        "private_key": {"filename": str(key)},
    }
    tls = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    inspector = f"{_TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    return {
        "@type": f"{_TYPE}.config.listener.v3.Listener",
        "name": "gateway",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "listener_filters": [{"name": "tls", "typed_config": {"@type": inspector}}],
        "filter_chains": [
            {
                "filter_chain_match": {
                    "transport_protocol": "tls",
                    "server_names": server_names,
                },
                "transport_socket": {"name": "tls", "typed_config": tls},
                "filters": [{"name": "http", "typed_config": manager}],
            },
        ],
    }


def _access_log(path: Path) -> Json:
    return {
        "name": "file",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {
                "text_format_source": {
                    "inline_string": "%REQ(:PATH)% %REQ(USER-AGENT)% %RESPONSE_CODE%\n",
                },
            },
        },
    }


class Envoy:
    """One Envoy process on one loopback address; use it as a context manager."""

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        address: str = "127.0.20.1",
        certificate: Pair | None = None,
        server_names: tuple[str, ...] = (WILDCARD,),
        codec: str = "AUTO",
        idle_timeout: str = "3600s",
        drain_time_s: int = 1,
    ) -> None:
        self.address = address
        self.port = free_port(address)
        self.access_log = folder / "access.log"
        self._binary = binary
        self._folder = folder
        self._drain_time_s = drain_time_s
        self._options: Json = {
            "codec": codec,
            "idle_timeout": idle_timeout,
            "server_names": list(server_names),
        }
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lds").mkdir(exist_ok=True)
        self.serve(certificate or pair())

    def serve(self, certificate: Pair, **options: Any) -> None:  # noqa: ANN401 - see `listener`
        """Replace the listener, or set it up before the start."""
        self._options |= options
        chain, key = certificate.write_to(self._folder, stem=f"leaf-{time.monotonic_ns()}")
        resource = listener(
            address=self.address,
            port=self.port,
            chain=chain,
            key=key,
            access_log=self.access_log,
            **self._options,
        )
        self._write_lds([resource])

    def remove_listener(self) -> None:
        """Take the listener away, as a deleted Gateway does."""
        self._write_lds([])

    def _write_lds(self, resources: list[Json]) -> None:
        # Envoy watches for a file that is moved into its place.
        document = {"version_info": str(time.monotonic_ns()), "resources": resources}
        fresh = self._folder / "lds" / "fresh.json"
        fresh.write_text(json.dumps(document))
        fresh.rename(self._folder / "lds" / "lds.json")

    def start(self) -> None:
        """Start and wait until connections are accepted."""
        bootstrap = {
            "node": {"id": "gateway", "cluster": "gateway"},
            "dynamic_resources": {
                "lds_config": {
                    "resource_api_version": "V3",
                    "path_config_source": {
                        "path": str(self._folder / "lds" / "lds.json"),
                        "watched_directory": {"path": str(self._folder / "lds")},
                    },
                },
            },
        }
        config = self._folder / "bootstrap.json"
        config.write_text(json.dumps(bootstrap))
        with (self._folder / "envoy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    *("-c", str(config), "--use-dynamic-base-id", "--concurrency", "1"),
                    *("--log-level", "warning", "--drain-time-s", str(self._drain_time_s)),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._wait_until_listening()

    def _wait_until_listening(self) -> None:
        assert self._process is not None
        give_up = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            with socket.socket() as sock:
                if sock.connect_ex((self.address, self.port)) == 0:
                    return
            time.sleep(_POLL_S)
        self.stop()
        raise RuntimeError(f"Envoy does not listen: {self.log()[-2_000:]}")

    def log(self) -> str:
        """Return what Envoy said."""
        return (self._folder / "envoy.log").read_text(errors="replace")

    def access_lines(self) -> list[str]:
        """Return the access log; Envoy flushes it every second, and when it ends."""
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """Hang: connections are still accepted by the kernel."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill without warning; does not wait."""
        os.kill(self.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Start again after whatever has happened, on the same port."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End it if it runs, and wait."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
