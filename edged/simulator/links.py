"""The router's interfaces, and which next hops it can reach through them."""

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from edged.simulator.values import IPAddress, IPNetwork

PARSED_KEPT = 4_096
"""Parsed texts kept: with hundreds of gateways, parsing is what a print would spend its time on."""


@functools.lru_cache(maxsize=PARSED_KEPT)
def _interface(address: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    return ipaddress.ip_interface(address)


@dataclass(frozen=True, slots=True)
class Connected:
    """One address of the router, with its interface."""

    interface: str
    address: str

    @property
    def network(self) -> IPNetwork:
        """The network on the link."""
        return _interface(self.address).network

    @property
    def host(self) -> str:
        """The router's own address on the link."""
        return str(_interface(self.address).ip)


@dataclass(frozen=True, slots=True)
class NextHop:
    """A next hop as it is written: `172.30.1.20`, `fe80::1%ether1`, `10.0.0.1@main`, `ether1`."""

    written: str
    address: IPAddress | None
    interface: str | None
    key: str
    """The address without interface and table, or the interface's name."""

    @staticmethod
    def parse(written: str) -> "NextHop":
        """Take a next hop apart; what is no address is an interface name."""
        return _next_hop(written)


@functools.lru_cache(maxsize=PARSED_KEPT)
def _next_hop(written: str) -> NextHop:
    bare = written.partition("@")[0]
    host, _, interface = bare.partition("%")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return NextHop(written, None, bare, bare)
    return NextHop(written, address, interface or None, str(address))


@functools.lru_cache(maxsize=PARSED_KEPT)
def _on_link(address: IPAddress, link: "Connected") -> bool:
    return address in link.network


class Links:
    """The interfaces of the router and the state of its neighbours."""

    def __init__(self, connected: Iterable[Connected]) -> None:
        self.connected = list(connected)
        self.unreachable: set[str] = set()

    @property
    def interfaces(self) -> set[str]:
        """Names of all interfaces."""
        return {link.interface for link in self.connected}

    @property
    def own_address(self) -> str:
        """The router's first address."""
        return self.connected[0].host if self.connected else "0.0.0.0"  # noqa: S104 - none at all

    def interface_of(self, hop: NextHop) -> str | None:
        """Return the interface a next hop is reached through, or None without one."""
        if hop.address is None:
            return hop.interface if hop.interface in self.interfaces else None
        for link in self.connected:
            fits = hop.interface in {None, link.interface}
            if fits and _on_link(hop.address, link):
                return link.interface
        return hop.interface if hop.address.is_link_local and hop.interface else None

    def reachable(self, hop: NextHop) -> bool:
        """Tell whether the router can send through a next hop now."""
        return hop.key not in self.unreachable and self.interface_of(hop) is not None
