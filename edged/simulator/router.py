"""One simulated router: its state, and what each command does to it. It knows no sockets.

A command is a generator of steps (rows, waits, an end), so that the caller decides how waiting is
done. Everything a command changes happens at its first step, in one piece: as on a real router
nobody can see half a sentence applied.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edged.simulator import clock as clocks
from edged.simulator import views
from edged.simulator.bgp import (
    Bgp,
    BgpState,
    ConnectionMenu,
    Peer,
    PeerMenu,
    SessionMenu,
)
from edged.simulator.grammar import PRINT_VERBS, Grammar, Request, read_request
from edged.simulator.links import Links, NextHop
from edged.simulator.menus import ComputedRows, Menu, SingleObject, WordTable
from edged.simulator.network import Network
from edged.simulator.ping import PingAnswer, run_ping
from edged.simulator.query import matches, select
from edged.simulator.replies import Done, Empty, Follow, Pause, Row, Step, Trap, Words
from edged.simulator.routes import Dialect, Route, RouteSource, RouteTable
from edged.simulator.system import (
    IP_SETTINGS,
    ROUTING_SETTINGS,
    AddressList,
    ServiceMenu,
    nat_rows,
    resource_row,
    service_row,
    stamp,
)
from edged.simulator.users import User, UserBook, require
from edged.simulator.values import read_duration_us
from edged.simulator.versions import Version
from edged.simulator.views import ActiveUser

WRITE_LOG_ROWS = 100_000
"""Most writes kept; a test or a demo makes thousands at most."""

LOG_ROWS = 1_000
"""The router's own log, as its default memory target keeps it."""

MIN_PRINT_INTERVAL = ("200ms", 200_000)
"""The least `interval` of a print (console grammar), as written and in microseconds."""

_VOLATILE = frozenset({"uptime", "timeout"})
"""Words that run by themselves: a row that differs in them alone has not changed."""

_ROUTE_MENUS = ("/ip/route", "/ipv6/route")
_BGP_MENUS = ("/routing/bgp/peer", "/routing/bgp/session")

Listener = Callable[[str, Words, bool], None]
"""Called with the menu, the row, and whether the row is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord:
    """One accepted write: who, what, and the rows that changed by it."""

    at_s: float
    uptime_s: float
    user: str
    sentence: tuple[str, ...]
    before: tuple[Words, ...]
    after: tuple[Words, ...]


@dataclass(slots=True, kw_only=True)
class Counters:
    """What happened since the router was made."""

    sentences: int = 0
    logins: int = 0
    logins_refused: int = 0
    traps: int = 0
    writes: int = 0


class SimulatedRouter:
    """The state of one router; see the package's docstring for how it is used."""

    def __init__(
        self,
        *,
        version: str = "6.49.10",
        identity: str = "MikroTik",
        network: Network | None = None,
        users: Iterable[User] = (),
        clock: Callable[[], float] = clocks.monotonic_s,
        now: Callable[[], datetime] = clocks.wall,
        uptime_s: float = 86_400.0,
    ) -> None:
        self.network = network or Network()
        self.clock = clock
        self.now = now
        self.cpu_load = 3
        self.writes_since_boot = 0
        self.writes_total = 1_000
        self.max_sessions = 20
        self.write_log: deque[WriteRecord] = deque(maxlen=WRITE_LOG_ROWS)
        self.counters = Counters()
        self.users = UserBook(users)
        self.active: dict[str, ActiveUser] = {}
        self.ping_answer: PingAnswer = self._default_ping_answer
        self.ping_lost_after_s: float | None = None
        self.applies_before_bad_id = False
        """Whether a list of ids is worked off up to one that does not exist; not recorded."""
        self.renumbers_on_reboot = True
        """Whether static routes get new ids by a reboot; nothing says that they keep them."""
        self._version = Version.parse(version)
        self._booted_s = clock() - uptime_s
        self._ping_overrides: dict[str, float | None] = {}
        self._listeners: list[Listener] = []
        self._log: deque[Words] = deque(maxlen=LOG_ROWS)
        self._identity = SingleObject({"name": identity})
        self.links = Links(self.network.connected())
        self.bgp = self._make_bgp()
        self.routes = {
            "/ip/route": self._make_route_table(ipv6=False),
            "/ipv6/route": self._make_route_table(ipv6=True),
        }
        self._address_list = AddressList(clock=clock, now=now, version=lambda: self._version)
        self._menus = self._make_menus()
        if self.network.with_route:
            self._make_static_route()

    # What it is made of.

    def _make_bgp(self) -> Bgp:
        network = self.network
        bgp = Bgp(
            clock=self.clock,
            version=lambda: self._version,
            local_as=network.local_as,
            local_address=self.links.own_address,
        )
        if network.with_bgp:
            for name, address in network.gateways.items():
                bgp.add_peer(name, address, network.remote_as)
        return bgp

    def _make_route_table(self, *, ipv6: bool) -> RouteTable:
        return RouteTable(
            links=self.links,
            dialect=lambda: Dialect(version=self._version, ipv6=ipv6),
            learned=lambda: self._learned_routes(ipv6=ipv6),
            multipath=lambda: self.bgp.multipath and self._version.at_least("7.22"),
            tables={"main"},
        )

    def _learned_routes(self, *, ipv6: bool) -> Iterator[Route]:
        if self.network.is_ipv6 is not ipv6:
            return
        for peer in self.bgp.peers:
            if self.bgp.brings_routes(peer):
                yield self._bgp_route(peer)

    def _bgp_route(self, peer: Peer) -> Route:
        return Route(
            id=peer.route_id,
            destination=self.network.destination,
            gateways=(peer.remote_address,),
            distance=self.network.bgp_distance,
            scope=40,
            target_scope=10,
            source=RouteSource.BGP,
            words={
                "bgp-as-path": peer.remote_as,
                "bgp-origin": "igp",
                "received-from": peer.name,
            },
        )

    def _make_static_route(self) -> None:
        words = {
            "dst-address": self.network.destination,
            "distance": str(self.network.distance),
            "comment": self.network.comment,
        }
        gateways = list(self.network.gateways.values())
        for gateway in [",".join(gateways)] if self.is_v6 else gateways:
            self._vip_table.add({**words, "gateway": gateway})

    def _make_menus(self) -> dict[str, Menu]:
        services = ServiceMenu(
            render=lambda row: service_row(self._version, self._with_limit(row)),
            connections=lambda: views.connection_rows(
                self._version, self.links, self.active.values()
            ),
        )
        nat = WordTable(
            nat_rows(
                public_address=self.network.public_address,
                vip=self.network.destination.partition("/")[0],
                first_node=next(iter(self.network.gateways.values()), ""),
            ),
            required=("chain", "action"),
            defaults={"dynamic": "false", "disabled": "false", "invalid": "false"},
        )
        return {
            **self.routes,
            "/routing/route": ComputedRows(lambda: views.routing_route_rows(self.routes)),
            "/routing/settings": self._settings("/routing/settings", ROUTING_SETTINGS),
            "/routing/bgp/peer": PeerMenu(self.bgp),
            "/routing/bgp/connection": ConnectionMenu(self.bgp),
            "/routing/bgp/session": SessionMenu(self.bgp),
            "/routing/bgp/instance": WordTable(
                render=lambda row: views.instance_row(self.bgp, row), rows=[{}]
            ),
            "/ip/settings": self._settings("/ip/settings", IP_SETTINGS),
            "/ip/service": services,
            "/ip/firewall/address-list": self._address_list,
            "/ip/firewall/nat": nat,
            "/ip/firewall/filter": WordTable(
                required=("chain",),
                defaults={
                    "action": "accept",
                    "dynamic": "false",
                    "disabled": "false",
                    "invalid": "false",
                },
            ),
            "/ip/address": ComputedRows(lambda: views.address_rows(self.links)),
            "/ip/arp": ComputedRows(
                lambda: views.arp_rows(self.network.gateways.values(), self.links, is_v6=self.is_v6)
            ),
            "/certificate": WordTable(),
            "/interface": ComputedRows(lambda: views.interface_rows(self.links)),
            "/log": ComputedRows(lambda: list(self._log)),
            "/user": self.users.menu,
            "/user/group": self.users.groups,
            "/user/active": ComputedRows(
                lambda: views.active_rows(self._version, self.active.values())
            ),
            "/system/identity": self._identity,
            "/system/resource": ComputedRows(self._resource_rows, single=True),
        }

    def _settings(self, menu: str, words: Words) -> SingleObject:
        """Return a settings object that shows the words its version can set."""
        return SingleObject(dict(words), shown=lambda name: self.grammar.knows(menu, "set", name))

    def _with_limit(self, row: Words) -> Words:
        return {**row, "max-sessions": str(self.max_sessions)}

    def _resource_rows(self) -> list[Words]:
        return [
            resource_row(
                self._version,
                uptime_s=self.uptime_s,
                cpu_load=self.cpu_load,
                writes_since_boot=self.writes_since_boot,
                writes_total=self.writes_total,
            )
        ]

    # Looking.

    @property
    def version(self) -> str:
        """The version as a text, `6.49.10`."""
        return self._version.text

    @property
    def is_v6(self) -> bool:
        """Whether this is RouterOS 6."""
        return self._version.is_v6

    @property
    def old_login(self) -> bool:
        """Whether logins use the challenge of the versions before 6.43."""
        return not self._version.at_least("6.43")

    @property
    def grammar(self) -> Grammar:
        """The words this version knows."""
        return Grammar.for_version(self._version)

    @property
    def identity(self) -> str:
        """The router's name."""
        return self._identity.words["name"]

    @property
    def uptime_s(self) -> float:
        """Seconds since the last boot."""
        return self.clock() - self._booted_s

    @property
    def vip_menu(self) -> str:
        """The route menu the VIP lives in."""
        return "/ipv6/route" if self.network.is_ipv6 else "/ip/route"

    @property
    def _vip_table(self) -> RouteTable:
        return self.routes[self.vip_menu]

    def rows(self, menu: str) -> list[Words]:
        """Return the rows of a menu as `print` would send them."""
        return self._menus[menu].rows()

    def vip_rows(self) -> list[Words]:
        """Return the static rows of the VIP."""
        return [
            row
            for row in self.rows(self.vip_menu)
            if row.get("static") == "true" and row["dst-address"] == self.network.destination
        ]

    def vip_next_hops(self) -> list[str]:
        """Return the next hops in the VIP's enabled static rows, reachable or not."""
        return [
            gateway
            for route in self._vip_table.static
            if route.destination == self.network.destination
            and not route.disabled
            and not route.blackhole
            for gateway in route.gateways
        ]

    def forwarding_next_hops(self) -> list[str]:
        """Return the next hops that traffic for the VIP takes now, BGP's included."""
        return self._vip_table.forwarding(self.network.destination)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call a function on each change of a row; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # The world around it.

    def edit(self, path: str, words: Words | None = None, *, user: str = "admin") -> str | None:
        """Run a writing command as a person would, and return its `=ret=`.

        Raises:
            Trap: The router refuses it.
        """
        sentence = (path, *(f"={name}={value}" for name, value in (words or {}).items()))
        request = read_request(sentence)
        self.grammar.check(request)
        done = [step for step in self._run(request, user) if isinstance(step, Done)]
        return done[-1].ret

    def add_route(self, words: Words, *, user: str = "admin") -> str:
        """Add a row to the VIP's route menu and return its id; `dst-address` may be left out."""
        wanted = {"dst-address": self.network.destination, **words}
        added = self.edit(f"{self.vip_menu}/add", wanted, user=user)
        assert added is not None
        return added

    def set_bgp(self, name: str, state: BgpState) -> None:
        """Put the session of a neighbour, by name or address, into a state."""
        with self._world_changes():
            self.bgp.set_state(self.bgp.peer(name), state)

    def drop_bgp(self, state: BgpState = BgpState.IDLE) -> None:
        """Take all sessions down at once."""
        with self._world_changes():
            for peer in self.bgp.peers:
                self.bgp.set_state(peer, state)

    def set_reachable(self, next_hop: str, reachable: bool) -> None:  # noqa: FBT001 - either form
        """Say whether a next hop (an address, or an interface) can be reached."""
        with self._world_changes():
            if reachable:
                self.links.unreachable.discard(next_hop)
            else:
                self.links.unreachable.add(next_hop)

    def set_ping(self, address: str, *, answers: bool, rtt_s: float = 0.0004) -> None:
        """Say whether an address answers the router's ping, and how fast."""
        self._ping_overrides[address] = rtt_s if answers else None

    def _default_ping_answer(self, address: str) -> float | None:
        """A reachable gateway answers, and so does whatever a test has said."""
        if address in self._ping_overrides:
            return self._ping_overrides[address]
        known = {peer.remote_address for peer in self.bgp.peers}
        known.update(self.network.gateways.values())
        there = address in known and self.links.reachable(NextHop.parse(address))
        return 0.0004 if there else None

    def set_uptime(self, seconds: float) -> None:
        """Set the uptime; one smaller than before looks like a reboot."""
        self._booted_s = self.clock() - seconds

    def reboot(self, *, version: str | None = None, uptime_s: float = 0.0) -> None:
        """Restart: uptime, sessions and what lives in memory; with another version if given.

        From 6 to 7 a row with a list of gateways becomes one row per gateway.
        """
        with self._world_changes():
            was_v6 = self.is_v6
            if version is not None:
                self._version = Version.parse(version)
            self.set_uptime(uptime_s)
            self.writes_since_boot = 0
            self._address_list.restart()
            self._log.clear()
            self.active.clear()
            self.bgp.restart()
            crossed = was_v6 is not self.is_v6
            for table in self.routes.values():
                if was_v6 and not self.is_v6:
                    table.split_lists()
                if crossed or self.renumbers_on_reboot:
                    table.renumber()
            if crossed:
                for peer in self.bgp.peers:
                    peer.config.clear()

    def log(self, topics: str, message: str) -> None:
        """Write a line into the router's own log."""
        self._log.append(
            {
                ".id": f"*{self.counters.sentences + len(self._log) + 1:X}",
                "time": stamp(self._version, self.now()),
                "topics": topics,
                "message": message,
            }
        )

    # Commands.

    def execute(self, sentence: tuple[str, ...], *, user: str) -> Iterator[Step]:
        """Run one sentence for a user.

        Raises:
            Trap: The sentence is refused; nothing was changed.
        """
        self.counters.sentences += 1
        try:
            request = read_request(sentence)
            self.grammar.check(request)
            require(self.users.policies(user), request.menu, request.verb, request.path)
            yield from self._run(request, user)
        except Trap:
            self.counters.traps += 1
            raise

    def _run(self, request: Request, user: str) -> Iterator[Step]:
        if request.path in {"/ping", "/tool/ping"}:
            yield from self._ping(request)
            return
        menu = self._menus.get(request.menu)
        if menu is None:
            raise Trap(f"failure: not simulated: {request.menu}")
        if request.verb in PRINT_VERBS:
            yield from self._print(menu, request, user)
        elif request.verb == "get":
            yield Done(self._get(menu, request))
        elif request.verb == "find":
            yield Done(";".join(row[".id"] for row in menu.rows()))
        elif request.menu == "/log":
            self.log(f"script,{request.verb}", request.arguments.get("message", ""))
            yield Done()
        else:
            yield Done(self._write(menu, request, user))

    def _ping(self, request: Request) -> Iterator[Step]:
        for step in run_ping(
            request.arguments,
            is_v6=self.is_v6,
            answer=self.ping_answer,
            lost_after_s=self.ping_lost_after_s,
        ):
            yield Row(select(step.words, request.proplist)) if isinstance(step, Row) else step

    def _print(self, menu: Menu, request: Request, user: str) -> Iterator[Step]:
        asked = request.arguments
        proplist = request.proplist
        if "proplist" in asked:
            proplist = tuple(asked["proplist"].split(","))
        if unknown := asked.keys() & {"append", "file", "on-event", "group-by", "order-by"}:
            raise Trap(f"failure: not simulated: {', '.join(sorted(unknown))}")
        only_changes = request.verb == "listen" or "follow-only" in asked
        follow = Follow(request.menu, request.queries, proplist)
        if only_changes:
            yield follow
            return
        if "count-only" in asked:
            yield Done(str(len(self._selected(menu, request, user))))
            return
        if "interval" in asked:
            yield from self._repeated(menu, request, user, proplist)
            return
        rows = self._selected(menu, request, user)
        yield from (Row(select(row, proplist)) for row in rows)
        if "follow" in asked:
            yield follow
            return
        if not rows and self._version.at_least("7.18"):
            yield Empty()
        yield Done()

    def _repeated(
        self, menu: Menu, request: Request, user: str, proplist: Sequence[str] | None
    ) -> Iterator[Step]:
        """Print the whole table again and again, until the command is cancelled."""
        written, least_us = MIN_PRINT_INTERVAL
        interval_us = read_duration_us("interval", request.arguments["interval"])
        if interval_us < least_us:
            raise Trap(f"value of interval out of range ({written}..)", category=1)
        while True:
            for row in self._selected(menu, request, user):
                yield Row(select(row, proplist))
            yield Pause(interval_us / 1_000_000)

    def _selected(self, menu: Menu, request: Request, user: str) -> list[Words]:
        rows = menu.rows()
        if "from" in request.arguments:
            wanted = menu.resolve(request.arguments["from"].split(","))
            rows = [row for row in rows if row[".id"] in wanted]
        if "sensitive" not in self.users.policies(user):
            rows = [_without_secrets(row) for row in rows]
        return [row for row in rows if matches(row, request.queries)]

    @staticmethod
    def _get(menu: Menu, request: Request) -> str:
        rows = menu.rows()
        if not menu.single:
            listed = request.ids() or [request.arguments.get("number", "")]
            wanted = menu.resolve(listed)
            rows = [row for row in rows if row[".id"] in wanted]
        return rows[0].get(request.arguments.get("value-name", ""), "")

    def _write(self, menu: Menu, request: Request, user: str) -> str | None:
        self._check_ids(menu, request, user)
        touches_bgp = request.menu.startswith("/routing/bgp")
        also = (*_ROUTE_MENUS, *_BGP_MENUS) if touches_bgp else ()
        before = self._snapshot(dict.fromkeys((request.menu, *also)))
        ret = self._apply(menu, request)
        self._after_write(request)
        changed = self._announce(before)
        self.counters.writes += 1
        self.writes_since_boot += 1
        self.writes_total += 1
        self.write_log.append(
            WriteRecord(
                at_s=self.clock(),
                uptime_s=self.uptime_s,
                user=user,
                sentence=request.sentence,
                before=tuple(old for _, old, _ in changed if old is not None),
                after=tuple(new for _, _, new in changed if new is not None),
            )
        )
        self.log("system,info", f"{request.path.lstrip('/').replace('/', ' ')} by {user}")
        return ret

    def _check_ids(self, menu: Menu, request: Request, user: str) -> None:
        """Refuse ids that do not exist; if told so, after the ones before have been changed."""
        ids = request.ids()
        if menu.single or not ids:
            return
        for place, one in enumerate(ids):
            try:
                menu.resolve([one])
            except Trap:
                if self.applies_before_bad_id and place:
                    arguments = {**request.changes(), ".id": ",".join(ids[:place])}
                    self.edit(request.path, arguments, user=user)
                raise

    def _apply(self, menu: Menu, request: Request) -> str | None:
        ids = [] if menu.single else menu.resolve(request.ids())
        arguments = request.changes()
        match request.verb:
            case "add":
                return menu.add(arguments)
            case "set":
                menu.set(ids, arguments)
            case "comment":
                menu.set(ids, {"comment": arguments.get("comment", "")})
            case "enable" | "disable":
                menu.set(ids, {"disabled": "no" if request.verb == "enable" else "yes"})
            case "remove":
                menu.remove(ids)
            case "unset":
                menu.unset(ids, arguments.get("value-name", "").split(","))
            case verb:
                menu.act(verb, ids, arguments)
        return None

    def _after_write(self, request: Request) -> None:
        """Carry over what a written word means elsewhere."""
        if request.menu == "/ip/service" and "max-sessions" in request.arguments:
            self.max_sessions = int(request.arguments["max-sessions"])
        if request.menu == "/routing/bgp/instance" and "multipath" in request.arguments:
            self.bgp.multipath = request.arguments["multipath"] not in {"", "no", "false"}

    # Changes and who hears of them.

    @contextlib.contextmanager
    def _world_changes(self) -> Iterator[None]:
        before = self._snapshot((*_ROUTE_MENUS, *_BGP_MENUS))
        yield
        self._announce(before)

    def _snapshot(self, menus: Iterable[str]) -> dict[str, list[Words]]:
        return {menu: self._menus[menu].rows() for menu in menus}

    def _announce(
        self, before: Mapping[str, list[Words]]
    ) -> list[tuple[str, Words | None, Words | None]]:
        changed = [
            (menu, old, new)
            for menu, rows in before.items()
            for old, new in _differences(rows, self._menus[menu].rows())
        ]
        for menu, old, new in changed:
            for listener in list(self._listeners):
                if new is not None:
                    listener(menu, new, False)  # noqa: FBT003 - the listener's fixed form
                else:
                    assert old is not None
                    listener(menu, old, True)  # noqa: FBT003 - the listener's fixed form
        return changed


def _differences(
    before: Sequence[Words], after: Sequence[Words]
) -> Iterator[tuple[Words | None, Words | None]]:
    """Pair the rows that differ; a row that is new or gone stands alone."""
    old = {row.get(".id", ""): row for row in before}
    new = {row.get(".id", ""): row for row in after}
    for row_id in {**old, **new}:
        was, now = old.get(row_id), new.get(row_id)
        if was is None or now is None or _lasting(was) != _lasting(now):
            yield was, now


def _lasting(row: Words) -> Words:
    return {name: value for name, value in row.items() if name not in _VOLATILE}


_SECRET_WORDS = frozenset({"tcp-md5-key", "password"})


def _without_secrets(row: Words) -> Words:
    """Hide secrets from users without the policy `sensitive`, as recorded for a peer's key."""
    return {
        name: "*****" if name in _SECRET_WORDS and value else value for name, value in row.items()
    }
