"""A switch, nodes and observers as network namespaces; root only, and gone at the end.

Every node and every observer has a namespace of its own and one port on the switch, so that each
observer has an address of its own by which its connections are counted. Nothing leaves them.

A node falls silent when its port on the switch goes down: nobody else's carrier changes, and
nothing answers, not even with an ICMP message.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PREFIX: Final = "edrace"
NETWORK: Final = "10.98.0"
NODES: Final[Mapping[str, str]] = {f"node{n}": f"{NETWORK}.{10 + n}" for n in (1, 2, 3)}
FIRST_OBSERVER: Final = 101

CLONE_NEWNET: Final = 0x4000_0000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Let this thread, and what it starts, live in a namespace while the block runs."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(before)
    finally:
        os.close(before)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Port:
    """A port of the switch, moved by one system call."""

    def __init__(self, switch: str, device: str) -> None:
        self._device = device.encode()
        with entered(switch):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def set(self, *, up: bool) -> int:
        """Set it up or down, and return when (monotonic microseconds)."""
        asked = struct.pack("16sH14x", self._device, 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(self._socket, SIOCGIFFLAGS, asked), 16)
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        at_us = time.monotonic_ns() // 1_000
        fcntl.ioctl(self._socket, SIOCSIFFLAGS, struct.pack("16sH14x", self._device, flags))
        return at_us

    def close(self) -> None:
        self._socket.close()


class NetLab:
    """The namespaces; use it as a context manager."""

    def __init__(self) -> None:
        self._tag = f"{PREFIX}{os.getpid()}"
        self._made: list[str] = []
        self._observers: dict[str, str] = {}
        self.ports: dict[str, Port] = {}
        self.switch = f"{self._tag}-switch"

    def namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def __enter__(self) -> Self:
        remove_stale()
        try:
            self._add(self.switch)
            run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "br0", "up")
            for name, address in NODES.items():
                self._plug_in(name, address, device=name)
                self.ports[name] = Port(self.switch, name)
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

    def observer(self, name: str) -> str:
        """Make an observer's namespace and return its name; its devices are `lo` and `eth0`."""
        number = FIRST_OBSERVER + len(self._observers)
        self._observers[name] = f"{NETWORK}.{number}"
        return self._plug_in(name, self._observers[name], device=f"observer{number}")

    def address(self, name: str) -> str:
        return NODES.get(name) or self._observers[name]

    def count_connections(self, node: str) -> None:
        """Begin to count each observer's SYNs at a node."""
        rules = "\n".join(
            f"    ip saddr {address} tcp flags & (syn | ack) == syn counter"
            for address in self._observers.values()
        )
        table = (
            "table ip race {\n  chain seen {\n"
            f"    type filter hook prerouting priority -300;\n{rules}\n  }}\n}}\n"
        )
        with entered(self.namespace(node)):
            subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True, timeout=10)

    def connections(self, node: str) -> dict[str, int]:
        """Return how many SYNs each observer has sent to a node."""
        with entered(self.namespace(node)):
            said = json.loads(run("nft", "-j", "list", "chain", "ip", "race", "seen"))
        rules = [one["rule"]["expr"] for one in said["nftables"] if "rule" in one]
        counts = {
            rule[0]["match"]["right"]: rule[-1]["counter"]["packets"]
            for rule in rules
            if "counter" in rule[-1]
        }
        return {name: counts[address] for name, address in self._observers.items()}

    def _add(self, namespace: str) -> None:
        run("ip", "netns", "add", namespace)
        self._made.append(namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")

    def _plug_in(self, name: str, address: str, *, device: str) -> str:
        namespace = self.namespace(name)
        self._add(namespace)
        run(
            *("ip", "-n", self.switch, "link", "add", device, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        )
        run("ip", "-n", self.switch, "link", "set", device, "master", "br0", "up")
        run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        return namespace

    def _tear_down(self) -> None:
        for port in self.ports.values():
            port.close()
        for namespace in self._made:
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "delete", namespace)
        self._made.clear()


def remove_stale() -> None:
    """Remove what a race that was killed has left."""
    folder = Path("/run/netns")
    for path in folder.glob(f"{PREFIX}*") if folder.is_dir() else ():
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            run("ip", "netns", "delete", path.name)
