"""`/ip/route` and `/ipv6/route`, in the two dialects.

RouterOS 6 keeps one row with a list of gateways, and says in a free text (`gateway-status`) how
each of them is. RouterOS 7 keeps one row per gateway; rows of one destination, table and distance
are the ECMP set, and each row carries its own flags.

Sources: recorded rows of both versions; MikroTik manual, pages "routing decision" and
"moving from ROSv6 to v7", CLI reference of ip/route.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from edged.simulator.links import Links, NextHop
from edged.simulator.menus import IdList, Menu
from edged.simulator.replies import Trap, Words
from edged.simulator.values import (
    invalid,
    is_ipv6,
    mismatch,
    read_address,
    read_bool,
    read_network,
    write_bool,
)
from edged.simulator.versions import Version


class RouteSource(Enum):
    """Who made the route; the value is the flag word."""

    STATIC = "static"
    BGP = "bgp"
    CONNECT = "connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row, as it is configured or learned."""

    id: str
    destination: str
    gateways: tuple[str, ...] = ()
    distance: int = 1
    scope: int = 30
    target_scope: int = 10
    table: str = "main"
    disabled: bool = False
    blackhole: bool = False
    comment: str = ""
    source: RouteSource = RouteSource.STATIC
    words: Words = field(default_factory=dict)

    @property
    def dynamic(self) -> bool:
        """Whether nobody configured this row."""
        return self.source is not RouteSource.STATIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between versions, apart from words."""

    version: Version
    ipv6: bool

    @property
    def is_v6(self) -> bool:
        """Whether this is RouterOS 6."""
        return self.version.is_v6

    @property
    def table_word(self) -> str:
        """The argument that names the routing table."""
        return "routing-mark" if self.is_v6 else "routing-table"

    @property
    def sends_false_flags(self) -> bool:
        """Whether flags that are off are sent.

        Older 7.x send all of them, a live 7.23.7 leaves them out; the version in between where
        that changed is not recorded, 7.20 is a guess. On 6 only `disabled` is sent.
        """
        return not self.is_v6 and not self.version.at_least("7.20")


_UNICAST_TYPE = "unicast"
_UNSETTABLE = {"comment", "pref-src", "check-gateway", "vrf-interface", "routing-mark", "route-tag"}


class RouteTable(Menu):
    """The routes of one address family."""

    def __init__(
        self,
        *,
        links: Links,
        dialect: Callable[[], Dialect],
        learned: Callable[[], Iterable[Route]],
        multipath: Callable[[], bool],
        tables: set[str],
    ) -> None:
        self._links = links
        self._dialect = dialect
        self._learned = learned
        self._multipath = multipath
        self._tables = tables
        self._numbers = itertools.count(1)
        self.static: list[Route] = []
        self.false_flags: bool | None = None
        """Overrides whether flags that are off are sent; None follows the version."""

    # Reading.

    def routes(self) -> list[Route]:
        """Return all routes, static ones first."""
        return [*self.static, *self._connected(), *self._learned()]

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        routes = self.routes()
        active = self._active_ids(routes)
        ecmp = self._ecmp_ids(routes, active)
        if self._dialect().is_v6:
            return [self._row_v6(route, active=route.id in active) for route in routes]
        return [
            self._row_v7(route, active=route.id in active, ecmp=route.id in ecmp)
            for route in routes
        ]

    def forwarding(self, destination: str) -> list[str]:
        """Return the next hops that traffic to a destination takes now, in row order."""
        routes = self.routes()
        active = self._active_ids(routes)
        chosen = [one for one in routes if one.id in active and one.destination == destination]
        return [
            gateway for route in chosen for gateway in self._usable(route) if not route.blackhole
        ]

    def _usable(self, route: Route) -> list[str]:
        usable = [one for one in route.gateways if self._links.reachable(NextHop.parse(one))]
        dialect = self._dialect()
        if dialect.is_v6 and dialect.ipv6:
            return usable[:1]  # the kernel of RouterOS 6 has no IPv6 multipath
        return usable

    def _candidate(self, route: Route) -> bool:
        return not route.disabled and (route.blackhole or bool(self._usable(route)))

    def _active_ids(self, routes: Sequence[Route]) -> set[str]:
        best: dict[tuple[str, str], list[Route]] = {}
        for route in routes:
            if not self._candidate(route):
                continue
            rivals = best.setdefault((route.destination, route.table), [])
            if rivals and route.distance > rivals[0].distance:
                continue
            if rivals and route.distance < rivals[0].distance:
                rivals.clear()
            if not rivals or self._may_share(route, rivals):
                rivals.append(route)
        return {route.id for rivals in best.values() for route in rivals}

    def _may_share(self, route: Route, rivals: Sequence[Route]) -> bool:
        """RouterOS 6 has one active row; RouterOS 7 many, but one BGP path without multipath."""
        if self._dialect().is_v6:
            return False
        first_of_bgp = rivals[-1].source is not RouteSource.BGP  # learned routes come last
        return route.source is not RouteSource.BGP or first_of_bgp or self._multipath()

    @staticmethod
    def _ecmp_ids(routes: Sequence[Route], active: set[str]) -> set[str]:
        sets: dict[tuple[str, str], list[str]] = {}
        for route in routes:
            if route.id in active:
                sets.setdefault((route.destination, route.table), []).append(route.id)
        return {one for members in sets.values() if len(members) > 1 for one in members}

    def _connected(self) -> Iterator[Route]:
        dialect = self._dialect()
        for place, link in enumerate(self._links.connected):
            if is_ipv6(link.network) is not dialect.ipv6:
                continue
            yield Route(
                id=f"*{0x40000001 + place:X}",
                destination=str(link.network),
                gateways=(link.interface,),
                distance=0,
                scope=10,
                source=RouteSource.CONNECT,
                words={"local": f"{link.host}%{link.interface}", "host": link.host},
            )

    # Rows of RouterOS 6.

    def _row_v6(self, route: Route, *, active: bool) -> Words:
        row = {".id": route.id, "dst-address": route.destination}
        if route.source is RouteSource.CONNECT:
            row["pref-src"] = route.words["host"]
        elif route.words.get("pref-src"):
            row["pref-src"] = route.words["pref-src"]
        if route.blackhole:
            row["type"] = route.words["type"]
        elif route.gateways:
            row["gateway"] = ",".join(route.gateways)
            row["gateway-status"] = self._gateway_status(route)
        if "check-gateway" in route.words:
            row["check-gateway"] = route.words["check-gateway"]
        row["distance"] = str(route.distance)
        if not route.blackhole:
            row["scope"] = str(route.scope)
        if not route.blackhole and route.source is not RouteSource.CONNECT:
            row["target-scope"] = str(route.target_scope)
        if route.table != "main":
            row["routing-mark"] = route.table
        kept = ("vrf-interface", "route-tag", "received-from")
        row |= {
            name: value
            for name, value in route.words.items()
            if name.startswith("bgp-") or name in kept
        }
        flags = {
            "active": active,
            "dynamic": route.dynamic,
            "static": route.source is RouteSource.STATIC,
        }
        row |= self._flags(flags, always_sent=self.false_flags is True)
        if route.dynamic:
            row[route.source.value] = "true"
        if route.blackhole:
            row[route.words["type"]] = "true"
        row["disabled"] = write_bool(route.disabled)
        if route.comment:
            row["comment"] = route.comment
        return row

    def _gateway_status(self, route: Route) -> str:
        """Return the free text; the two blanks after via are in the recordings."""
        return ",".join(self._status_of(one, disabled=route.disabled) for one in route.gateways)

    def _status_of(self, gateway: str, *, disabled: bool) -> str:
        if disabled:
            return f"{gateway} inactive"
        hop = NextHop.parse(gateway)
        if not self._links.reachable(hop):
            return f"{gateway} unreachable"
        if hop.address is None:
            return f"{gateway} reachable"
        return f"{gateway} reachable via  {self._links.interface_of(hop)}"

    @staticmethod
    def _flags(flags: dict[str, bool], *, always_sent: bool) -> Words:
        return {name: write_bool(on) for name, on in flags.items() if on or always_sent}

    # Rows of RouterOS 7.

    def _row_v7(self, route: Route, *, active: bool, ecmp: bool) -> Words:
        dialect = self._dialect()
        all_flags = dialect.sends_false_flags if self.false_flags is None else self.false_flags
        if route.disabled and not all_flags:
            return self._bare_row_v7(route)
        row = {".id": route.id, "dst-address": route.destination, "routing-table": route.table}
        row |= self._path_words_v7(route)
        row |= {"distance": str(route.distance), "scope": str(route.scope)}
        if route.source is not RouteSource.CONNECT:
            row["target-scope"] = str(route.target_scope)
        for name in ("check-gateway", "vrf-interface"):
            if route.words.get(name):
                row[name] = route.words[name]
        if not dialect.version.at_least("7.21"):
            row["suppress-hw-offload"] = route.words.get("suppress-hw-offload", "false")
        if route.source is RouteSource.CONNECT:
            row["local-address"] = route.words["local"]
        flags = {
            "dynamic": route.dynamic,
            "inactive": not active and not route.disabled and not self._usable_or_hole(route),
            "active": active,
            "ecmp": ecmp,
            "hw-offloaded": False,
            "disabled": route.disabled,
        }
        row |= self._flags(flags, always_sent=all_flags)
        row[route.source.value] = "true"
        if route.comment:
            row["comment"] = route.comment
        return row

    def _usable_or_hole(self, route: Route) -> bool:
        return route.blackhole or bool(self._usable(route))

    def _path_words_v7(self, route: Route) -> Words:
        words: Words = {}
        if not route.dynamic:
            words["pref-src"] = route.words.get("pref-src", "")
        if route.blackhole:
            return words | {"blackhole": ""}
        if not route.gateways:
            return words
        words["gateway"] = route.gateways[0]
        hop = NextHop.parse(route.gateways[0])
        if not route.disabled and self._links.reachable(hop):
            interface = self._links.interface_of(hop)
            words["immediate-gw"] = (
                f"{hop.key}%{interface}" if hop.address is not None else str(interface)
            )
        return words

    @staticmethod
    def _bare_row_v7(route: Route) -> Words:
        """Return a disabled row as a live 7.23.7 sends it: without distance, table and scopes."""
        row = {".id": route.id, "dst-address": route.destination}
        if route.blackhole:
            row["blackhole"] = ""
        elif route.gateways:
            row["gateway"] = route.gateways[0]
        row |= {"disabled": "true", "inactive": "false", "static": "true"}
        if route.comment:
            row["comment"] = route.comment
        return row

    # Changing.

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        wanted = dict(arguments)
        source_id = wanted.pop("copy-from", None)
        default = "::/0" if self._dialect().ipv6 else "0.0.0.0/0"
        route = Route(id=self._new_id(), destination=default)
        if source_id is not None:
            source = self._static(self.resolve([source_id])[0])
            route = dataclasses.replace(source, id=route.id)
        route = self._changed(route, wanted)
        if not route.gateways and not route.blackhole:
            raise Trap("missing value(s) of argument(s) gateway")
        self.static.append(route)
        return route.id

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        changed = {one: self._changed(self._static(one, "change"), arguments) for one in ids}
        self.static = [changed.get(route.id, route) for route in self.static]

    def remove(self, ids: IdList) -> None:
        """Remove the rows with these ids."""
        for one in ids:
            self._static(one, "remove")
        self.static = [route for route in self.static if route.id not in ids]

    def unset(self, ids: IdList, names: Sequence[str]) -> None:
        """Take words away from the rows with these ids."""
        changed = {one: self._without(self._static(one, "change"), names) for one in ids}
        self.static = [changed.get(route.id, route) for route in self.static]

    def renumber(self) -> None:
        """Give every static row a new id, as a reboot may."""
        self.static = [dataclasses.replace(route, id=self._new_id()) for route in self.static]

    def split_lists(self) -> None:
        """Do what an upgrade from 6 to 7 does: one row per gateway."""
        self.static = [
            dataclasses.replace(route, id=self._new_id(), gateways=(gateway,))
            if len(route.gateways) > 1
            else route
            for route in self.static
            for gateway in (route.gateways or ("",))
        ]

    def _new_id(self) -> str:
        """Return the next id of a static row, in the version's recorded shape."""
        number = next(self._numbers)
        return f"*{number:X}" if self._dialect().is_v6 else f"*{0x80000000 + number:X}"

    def _static(self, route_id: str, verb: str = "change") -> Route:
        for route in self.static:
            if route.id == route_id:
                return route
        raise Trap(f"failure: can not {verb} dynamic route")

    def _without(self, route: Route, names: Sequence[str]) -> Route:
        for name in names:
            if name == "blackhole" and not self._dialect().is_v6:
                route = dataclasses.replace(route, blackhole=False)
            elif name == "comment":
                route = dataclasses.replace(route, comment="")
            elif name == "routing-mark":
                route = dataclasses.replace(route, table="main")
            elif name in _UNSETTABLE:
                kept = {key: value for key, value in route.words.items() if key != name}
                route = dataclasses.replace(route, words=kept)
            else:
                raise mismatch("value-name")
        return route

    def _changed(self, route: Route, arguments: Words) -> Route:
        fields: dict[str, object] = {}
        words = dict(route.words)
        for name, value in arguments.items():
            self._read_argument(name, value, fields, words)
        changed = dataclasses.replace(route, **fields, words=words)  # type: ignore[arg-type]
        if self._dialect().is_v6 and "type" in arguments:
            hole = words["type"] != _UNICAST_TYPE
            changed = dataclasses.replace(changed, blackhole=hole)
        return changed

    def _read_argument(
        self, name: str, value: str, fields: dict[str, object], words: Words
    ) -> None:
        match name:
            case "dst-address":
                fields["destination"] = self._read_destination(value)
            case "gateway":
                fields["gateways"] = self._read_gateways(value)
            case "distance" | "scope" | "target-scope":
                fields[name.replace("-", "_")] = int(value)
            case "routing-mark":
                fields["table"] = value or "main"
            case "routing-table":
                if value not in self._tables:
                    raise mismatch(name)
                fields["table"] = value
            case "disabled":
                fields["disabled"] = read_bool(name, value)
            case "comment":
                fields["comment"] = value
            case "blackhole":
                fields["blackhole"] = True  # a switch: its presence counts, whatever its value
            case "pref-src":
                words[name] = str(read_address(name, value)) if value else ""
            case "vrf-interface":
                if value not in self._links.interfaces:
                    raise mismatch(name)
                words[name] = value
            case _:
                words[name] = value

    def _read_destination(self, value: str) -> str:
        network = read_network("dst-address", value)
        if is_ipv6(network) is not self._dialect().ipv6:
            raise invalid("dst-address")
        return str(network)

    def _read_gateways(self, value: str) -> tuple[str, ...]:
        """Read a gateway, on RouterOS 6 a list of them.

        A list on RouterOS 7 is refused as an unknown interface is: the careful reading, since no
        recording shows what a real router does with one.
        """
        gateways = tuple(value.split(",")) if self._dialect().is_v6 else (value,)
        for gateway in gateways:
            self._check_gateway(gateway)
        return gateways

    def _check_gateway(self, gateway: str) -> None:
        hop = NextHop.parse(gateway)
        interface_known = hop.interface is None or hop.interface in self._links.interfaces
        family_fits = hop.address is None or is_ipv6(hop.address) is self._dialect().ipv6
        if interface_known and family_fits and gateway:
            return
        if self._dialect().is_v6:
            raise mismatch("gateway")
        raise Trap("invalid or unexpected argument base", category=1)
