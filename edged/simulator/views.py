"""Read-only tables: what a router shows about itself without anybody having configured it.

Sources: recorded rows of 7.24 (services, ARP), 6.4x (BGP instance); MikroTik manual, CLI reference
of routing/route.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from edged.simulator.bgp import Bgp
from edged.simulator.links import Links, NextHop
from edged.simulator.menus import Menu
from edged.simulator.replies import Words
from edged.simulator.system import stamp
from edged.simulator.versions import Version

_ONLY_IN_IP_ROUTE = frozenset({"dynamic", "inactive", "suppress-hw-offload"})
"""Words of `/ip/route` that `/routing/route` has not."""

_INSTANCE_V6 = {
    "router-id": "0.0.0.0",  # noqa: S104 - RouterOS for: take one of your own
    "redistribute-connected": "false",
    "redistribute-static": "false",
    "redistribute-rip": "false",
    "redistribute-ospf": "false",
    "redistribute-other-bgp": "false",
    "out-filter": "",
    "client-to-client-reflection": "true",
    "ignore-as-path-len": "false",
    "routing-table": "",
    "default": "true",
    "disabled": "false",
}
"""The one BGP instance of a RouterOS 6 (recorded row)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveUser:
    """One logged-in session, as `/user/active/print` shows it."""

    name: str
    address: str
    port: int
    via: str
    since: datetime


def connection_rows(version: Version, links: Links, users: Iterable[ActiveUser]) -> list[Words]:
    """Return the open sessions as 7.24 shows them among the services."""
    if not version.at_least("7.24"):
        return []
    return [
        {
            ".id": f"*{0x100 + place:X}",
            "connection": "true",
            "disabled": "false",
            "dynamic": "true",
            "invalid": "false",
            "local": links.own_address,
            "name": user.via,
            "port": "8728" if user.via == "api" else "8729",
            "proto": "tcp",
            "remote": f"{user.address}:{user.port}",
        }
        for place, user in enumerate(users)
    ]


def active_rows(version: Version, users: Iterable[ActiveUser]) -> list[Words]:
    """Return who is logged in."""
    return [
        {
            ".id": f"*{place + 1:X}",
            "when": stamp(version, user.since),
            "name": user.name,
            "address": user.address,
            "via": user.via,
        }
        for place, user in enumerate(users)
    ]


def instance_row(bgp: Bgp, row: Words) -> Words:
    """Return the one BGP instance, with the words that were set on it."""
    if bgp.is_v6:
        return {".id": "*0", "name": "default", "as": bgp.local_as, **_INSTANCE_V6}
    fixed = {"name": "default", "as": bgp.local_as, "router-id": bgp.local_address}
    return {".id": row[".id"], **fixed, **row}


def routing_route_rows(tables: Mapping[str, Menu]) -> list[Words]:
    """Return `/routing/route` of RouterOS 7: the same routes, with where they come from."""
    return [
        {
            **{name: row[name] for name in row if name not in _ONLY_IN_IP_ROUTE},
            "afi": afi,
            "contribution": _contribution(row),
            "belongs-to": _belongs_to(row),
        }
        for menu, afi in (("/ip/route", "ip4"), ("/ipv6/route", "ip6"))
        for row in tables[menu].rows()
    ]


def _contribution(row: Words) -> str:
    if row.get("active") == "true":
        return "active"
    return "unreachable" if row.get("inactive") == "true" else "candidate"


def _belongs_to(row: Words) -> str:
    if row.get("bgp") == "true":
        return f"BGP IP routes from {row['gateway']}"
    return "Connected route" if row.get("connect") == "true" else "Static route"


def address_rows(links: Links) -> list[Words]:
    """Return the router's own addresses."""
    return [
        {
            ".id": f"*{place + 1:X}",
            "address": link.address,
            "network": str(link.network.network_address),
            "interface": link.interface,
            "actual-interface": link.interface,
            "invalid": "false",
            "dynamic": "false",
            "disabled": "false",
        }
        for place, link in enumerate(links.connected)
    ]


def interface_rows(links: Links) -> list[Words]:
    """Return the router's interfaces."""
    return [
        {".id": f"*{place + 1:X}", "name": name, "running": "true", "disabled": "false"}
        for place, name in enumerate(sorted(links.interfaces))
    ]


def arp_rows(addresses: Iterable[str], links: Links, *, is_v6: bool) -> list[Words]:
    """Return the neighbours; one that cannot be reached has no hardware address."""
    rows = []
    for place, address in enumerate(addresses):
        hop = NextHop.parse(address)
        answers = links.reachable(hop)
        row = {
            ".id": f"*{place + 1:X}",
            "address": address,
            "interface": links.interface_of(hop) or "",
            "dynamic": "true",
            "complete": "true" if answers else "false",
            "dhcp": "false",
            "disabled": "false",
            "invalid": "false",
            "published": "false",
        }
        if answers:
            row["mac-address"] = f"02:00:00:00:00:{place + 1:02X}"
        if not is_v6:
            row |= {"status": "reachable" if answers else "failed", "vrf": "main"}
        rows.append(row)
    return rows
