"""The network a simulated router starts in: VIP, gateways, links, port forwards."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.simulator.links import Connected
from edged.simulator.values import is_ipv6

DEFAULT_GATEWAYS = {"node1": "172.30.1.20", "node2": "172.30.1.70", "node3": "172.30.1.82"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the router starts with."""

    vip: str = "172.30.1.7/32"
    gateways: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_GATEWAYS))
    comment: str = "ECMP to Gateway VIP"
    distance: int = 10
    bgp_distance: int = 20
    router_address: str = ""
    """Address with prefix on the gateways' link; empty takes one beside the first gateway."""
    interface: str = "bridge"
    public_address: str = "203.0.113.10"
    local_as: str = "64512"
    remote_as: str = "64513"
    with_route: bool = True
    with_bgp: bool = True

    @property
    def is_ipv6(self) -> bool:
        """Whether the VIP is an IPv6 address."""
        return is_ipv6(ipaddress.ip_network(self.vip))

    @property
    def destination(self) -> str:
        """The VIP as a route's destination shows it."""
        return str(ipaddress.ip_network(self.vip))

    def connected(self) -> list[Connected]:
        """Return the router's addresses, so that each gateway stands on a link."""
        hosts = [ipaddress.ip_address(one) for one in self.gateways.values()]
        addresses = [self.router_address] if self.router_address else []
        for host in hosts:
            if not any(host in ipaddress.ip_interface(one).network for one in addresses):
                addresses.append(_beside(host))
        names = [self.interface, *(f"{self.interface}{n}" for n in range(2, len(addresses) + 1))]
        return [Connected(name, one) for name, one in zip(names, addresses, strict=False)]


def _beside(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address on the same link: the first of the network, or the last but one."""
    network = ipaddress.ip_network((host, 64 if is_ipv6(host) else 24), strict=False)
    chosen = network[1] if network[1] != host else network[-2]
    return f"{chosen}/{network.prefixlen}"
