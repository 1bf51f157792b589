"""Real BGP speakers: BIRD in network namespaces, a router's and one for each node.

The nodes are AS 64513 and peer with the router, AS 64512, as on the network edged is for. Nothing
leaves the namespaces that are made here, and they are gone at the end.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROUTER_AS: Final = 64_512
NODE_AS: Final = 64_513
ROUTER_ADDRESS: Final = "10.99.0.1"
VIP: Final = "172.30.1.7/32"
HOLD_S: Final = 3
ANSWER_S: Final = 5.0

_COMMON: Final = """
log stderr all;
router id {address};
protocol device {{ scan time 1; }}
"""
_TIMERS: Final = (
    "connect delay time 1; connect retry time 1; error wait time 1, 4; "
    f"hold time {HOLD_S}; keepalive time 1; direct;"
)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=ANSWER_S)
    return done.stdout


class Speaker:
    """One BIRD in one namespace."""

    def __init__(self, bird: str, folder: Path, *, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address
        self._bird = bird
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def write(self, text: str) -> None:
        """Write the configuration."""
        config = _COMMON.format(address=self.address) + text
        (self._folder / "bird.conf").write_text(config, encoding="utf-8")

    @property
    def _socket(self) -> str:
        return str(self._folder / "bird.ctl")

    def start(self) -> None:
        """Start it in the foreground, so that its process id is BIRD's."""
        with (self._folder / "bird.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.namespace),
                    *(self._bird, "-f", "-c", str(self._folder / "bird.conf"), "-s", self._socket),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the speaker."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it without warning, frozen or not; its TCP connections close at once."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(ANSWER_S)

    def reconfigure(self, text: str) -> None:
        """Take another configuration."""
        self.write(text)
        _run("birdc", "-s", self._socket, "configure")

    def protocols(self) -> Mapping[str, str]:
        """Return what it says of each BGP protocol: `Established`, `Active`, `Connect`, ..."""
        states: dict[str, str] = {}
        for line in _run("birdc", "-s", self._socket, "show", "protocols").splitlines():
            words = line.split()
            if len(words) > 5 and words[1] == "BGP":  # name, type, table, state, since, info
                states[words[0]] = words[-1] if words[3] == "up" else words[5]
        return states


def _node(address: str) -> str:
    return f"""
protocol static {{ ipv4; route {VIP} blackhole; }}
protocol bgp upstream {{
  local {address} as {NODE_AS};
  neighbor {ROUTER_ADDRESS} as {ROUTER_AS};
  {_TIMERS}
  ipv4 {{ import none; export all; }};
}}
"""


def _router(addresses: Mapping[str, str]) -> str:
    return "".join(
        f"""
protocol bgp {name} {{
  local {ROUTER_ADDRESS} as {ROUTER_AS};
  neighbor {address} as {NODE_AS};
  passive on;
  {_TIMERS}
  ipv4 {{ import all; export none; }};
}}
"""
        for name, address in addresses.items()
    )


class SpeakerLab:
    """A router's speaker and one for each node, peering; use it as a context manager."""

    def __init__(self, bird: str, folder: Path, names: tuple[str, ...]) -> None:
        self._prefix = f"edg{os.getpid() % 100_000}"
        self._addresses = {name: f"10.99.0.{10 + i}" for i, name in enumerate(names)}
        self._namespaces: list[str] = []
        self.router = Speaker(
            bird, folder / "router", namespace=f"{self._prefix}r", address=ROUTER_ADDRESS
        )
        self.nodes = {
            name: Speaker(bird, folder / name, namespace=f"{self._prefix}{name}", address=address)
            for name, address in self._addresses.items()
        }

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tear_down()

    def _build(self) -> None:
        router = self.router.namespace
        for speaker in (self.router, *self.nodes.values()):
            _run("ip", "netns", "add", speaker.namespace)
            self._namespaces.append(speaker.namespace)
            _run("ip", "-n", speaker.namespace, "link", "set", "lo", "up")
        _run("ip", "-n", router, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", router, "address", "add", f"{ROUTER_ADDRESS}/24", "dev", "br0")
        _run("ip", "-n", router, "link", "set", "br0", "up")
        for name, node in self.nodes.items():
            _run(
                *("ip", "-n", router, "link", "add", name, "type", "veth"),
                *("peer", "name", "eth0", "netns", node.namespace),
            )
            _run("ip", "-n", router, "link", "set", name, "master", "br0", "up")
            _run("ip", "-n", node.namespace, "address", "add", f"{node.address}/24", "dev", "eth0")
            _run("ip", "-n", node.namespace, "link", "set", "eth0", "up")
        self.router.write(_router(self._addresses))
        self.router.start()
        for node in self.nodes.values():
            node.write(_node(node.address))
            node.start()

    def _tear_down(self) -> None:
        for speaker in (self.router, *self.nodes.values()):
            speaker.kill()
        for namespace in self._namespaces:
            _run("ip", "netns", "delete", namespace)
        self._namespaces.clear()

    def forget(self, name: str) -> None:
        """Take a node's peer out of the router's configuration."""
        rest = {other: address for other, address in self._addresses.items() if other != name}
        self.router.reconfigure(_router(rest))

    def wait_established(self, limit_s: float = 20.0) -> None:
        """Wait until every session is up."""
        give_up = time.monotonic() + limit_s
        while time.monotonic() < give_up:
            try:
                states = self.router.protocols()
            except subprocess.CalledProcessError:
                states = {}
            if states and all(state == "Established" for state in states.values()):
                return
            time.sleep(0.05)
        raise AssertionError(f"sessions after {limit_s:g} s: {self.router.protocols()}")
