"""The router's BGP: configured neighbours, their sessions, and the routes they bring.

RouterOS 6 shows one row per peer, with its state. RouterOS 7 shows connections and, apart from
them, sessions: a session that was up stays in the list for a while as a cache, without the word
`established`, and its routes stay with it; one that never came up has no row at all.

Sources: recorded rows of 6.4x, 7.19.4 and 7.21.5; MikroTik manual, page "peering sessions".
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from edged.simulator.menus import IdList, Menu
from edged.simulator.replies import Trap, Words
from edged.simulator.values import read_bool, write_bool, write_duration
from edged.simulator.versions import Version

SESSION_CACHE_S = 30.0
"""How long RouterOS 7 shows a lost session and keeps its routes; the real figure is not known."""


class BgpState(Enum):
    """How a session stands; the first six are RouterOS 6 words, the last four RouterOS 7 cases.

    On the other major version a down state shows as that version's plainest way to be down:
    `state=idle` on 6, no row on 7.
    """

    ESTABLISHED = "established"
    IDLE = "idle"
    CONNECT = "connect"
    ACTIVE = "active"
    OPENSENT = "opensent"
    OPENCONFIRM = "openconfirm"
    ABSENT = "absent"
    CACHED = "cached"
    STOPPED = "stopped"
    LIMIT_EXCEEDED = "limit-exceeded"


_V6_STATES = {
    BgpState.ESTABLISHED,
    BgpState.IDLE,
    BgpState.CONNECT,
    BgpState.ACTIVE,
    BgpState.OPENSENT,
    BgpState.OPENCONFIRM,
}
_V7_ROWS = {
    BgpState.ESTABLISHED,
    BgpState.CACHED,
    BgpState.STOPPED,
    BgpState.LIMIT_EXCEEDED,
}


class Peer:
    """One neighbour, with the state of its session."""

    __slots__ = (
        "config",
        "id",
        "name",
        "remote_address",
        "remote_as",
        "route_id",
        "session_id",
        "since_s",
        "state",
    )

    def __init__(
        self, *, peer_id: str, name: str, remote_address: str, remote_as: str, since_s: float
    ) -> None:
        self.id = peer_id
        self.name = name
        self.remote_address = remote_address
        self.remote_as = remote_as
        self.config: Words = {}
        self.state = BgpState.ESTABLISHED
        self.since_s = since_s
        self.session_id = ""
        self.route_id = ""

    @property
    def disabled(self) -> bool:
        """Whether the neighbour is switched off in the configuration."""
        return self.config.get("disabled") == "true"


class Bgp:
    """All neighbours of one router."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        version: Callable[[], Version],
        local_as: str,
        local_address: str,
    ) -> None:
        self._clock = clock
        self._version = version
        self.local_as = local_as
        self.local_address = local_address
        self.peers: list[Peer] = []
        self.cache_s = SESSION_CACHE_S
        self.prefix_count = 1
        self.multipath = False
        self._numbers = iter(range(1, 1 << 24))
        self._peer_numbers = iter(range(1 << 24))

    @property
    def is_v6(self) -> bool:
        """Whether the router speaks the RouterOS 6 dialect now."""
        return self._version().is_v6

    def add_peer(self, name: str, remote_address: str, remote_as: str) -> Peer:
        """Add a neighbour whose session is up."""
        peer = Peer(
            peer_id=f"*{next(self._peer_numbers):X}",
            name=name,
            remote_address=remote_address,
            remote_as=remote_as,
            since_s=self._clock(),
        )
        self._open(peer)
        self.peers.append(peer)
        return peer

    def peer(self, name: str) -> Peer:
        """Return the neighbour with this name or remote address.

        Raises:
            ValueError: There is none.
        """
        for peer in self.peers:
            if name in {peer.name, peer.remote_address}:
                return peer
        raise ValueError(f"no BGP neighbour {name!r}")

    def set_state(self, peer: Peer, state: BgpState) -> None:
        """Put a session into a state; its time counts from now."""
        came_up = state is BgpState.ESTABLISHED and peer.state is not BgpState.ESTABLISHED
        peer.state = state
        peer.since_s = self._clock()
        if came_up:
            self._open(peer)

    def restart(self) -> None:
        """Do what a reboot does: the sessions that were up come up anew, caches are gone."""
        for peer in self.peers:
            was_up = self.state_of(peer) is BgpState.ESTABLISHED
            peer.state = BgpState.IDLE
            if was_up:
                self.set_state(peer, BgpState.ESTABLISHED)

    def state_of(self, peer: Peer) -> BgpState:
        """Return the state as it is shown now, after caches have run out."""
        if peer.disabled:
            return BgpState.IDLE if self.is_v6 else BgpState.ABSENT
        if self.is_v6:
            return peer.state if peer.state in _V6_STATES else BgpState.IDLE
        expired = self._clock() - peer.since_s >= self.cache_s
        if peer.state not in _V7_ROWS or (peer.state is BgpState.CACHED and expired):
            return BgpState.ABSENT
        return peer.state

    def brings_routes(self, peer: Peer) -> bool:
        """Tell whether routes of this neighbour are in the table now."""
        return self.state_of(peer) in {BgpState.ESTABLISHED, BgpState.CACHED}

    def _open(self, peer: Peer) -> None:
        number = next(self._numbers)
        peer.session_id = f"*{0x2800000 + number:X}"
        peer.route_id = f"*{0x30000000 + number:X}"

    def uptime(self, peer: Peer) -> str:
        """Return how long the session has been in its state."""
        elapsed_us = int((self._clock() - peer.since_s) * 1_000_000)
        return write_duration(elapsed_us, smallest="s" if self.is_v6 else "ms")

    def peer_row(self, peer: Peer) -> Words:
        """Return a row of `/routing/bgp/peer/print` (RouterOS 6)."""
        state = self.state_of(peer)
        row = {
            ".id": peer.id,
            "name": peer.name,
            "instance": "default",
            "remote-address": peer.remote_address,
            "remote-as": peer.remote_as,
            "tcp-md5-key": "",
            "nexthop-choice": "default",
            "multihop": "false",
            "route-reflect": "false",
            "hold-time": "3m",
            "ttl": "default",
            "in-filter": "",
            "out-filter": "",
            "address-families": "ip",
            "default-originate": "never",
            "remove-private-as": "false",
            "as-override": "false",
            "passive": "false",
            "use-bfd": "false",
            **peer.config,
        }
        if state is BgpState.ESTABLISHED:
            row |= self._established_words(peer)
        row["state"] = state.value
        row.setdefault("disabled", "false")
        return row

    def _established_words(self, peer: Peer) -> Words:
        return {
            "remote-id": peer.remote_address,
            "local-address": self.local_address,
            "uptime": self.uptime(peer),
            "prefix-count": str(self.prefix_count),
            "updates-sent": "0",
            "updates-received": "1",
            "withdrawn-sent": "0",
            "withdrawn-received": "0",
            "remote-hold-time": "1m30s",
            "used-hold-time": "1m30s",
            "used-keepalive-time": "30s",
            "refresh-capability": "true",
            "as4-capability": "true",
            "established": "true",
        }

    def connection_row(self, peer: Peer) -> Words:
        """Return a row of `/routing/bgp/connection/print` (RouterOS 7)."""
        version = self._version()
        row = {".id": self._connection_id(peer), "name": peer.name}
        if version.at_least("7.20"):
            row["instance"] = "default"
        row["as"] = self.local_as
        if not version.at_least("7.20"):
            row["router-id"] = self.local_address
        row |= {
            "routing-table": "main",
            "remote.address": peer.remote_address,
            "remote.as": peer.remote_as,
            "local.address": self.local_address,
            "local.role": "ebgp",
            **peer.config,
        }
        return row

    @staticmethod
    def _connection_id(peer: Peer) -> str:
        return f"*{int(peer.id[1:], 16) + 1:X}"

    def session_rows(self) -> list[Words]:
        """Return the rows of `/routing/bgp/session/print` (RouterOS 7)."""
        shown = (peer for peer in self.peers if self.state_of(peer) in _V7_ROWS)
        return [self._session_row(peer) for peer in shown]

    def _session_row(self, peer: Peer) -> Words:
        state = self.state_of(peer)
        row = {".id": peer.session_id, "name": f"{peer.name}-1"}
        if self._version().at_least("7.20"):
            row["instance"] = "default"
        row |= {"remote.address": peer.remote_address, "remote.as": peer.remote_as}
        if state is BgpState.ESTABLISHED:
            row |= {
                "established": "true",
                "remote.id": peer.remote_address,
                "remote.capabilities": "mp,rr,as4",
                "remote.afi": "ip",
                "remote.messages": "5",
                "local.messages": "4",
            }
        row |= {
            "local.address": self.local_address,
            "local.as": self.local_as,
            "local.id": self.local_address,
            "ebgp": "",
        }
        match state:
            case BgpState.ESTABLISHED:
                row |= {
                    "hold-time": "1m30s",
                    "keepalive-time": "30s",
                    "uptime": self.uptime(peer),
                    "prefix-count": str(self.prefix_count),
                }
            case BgpState.STOPPED | BgpState.LIMIT_EXCEEDED:
                row |= {state.value: "", "prefix-count": "0"}
            case _:
                row |= {"prefix-count": str(self.prefix_count)}
        return row


class _PeerList(Menu):
    """What peers (6) and connections (7) have in common: settable neighbours."""

    _address_word = ""
    _as_word = ""

    def __init__(self, bgp: Bgp) -> None:
        self._bgp = bgp

    def _id_of(self, peer: Peer) -> str:
        raise NotImplementedError

    def _chosen(self, ids: IdList) -> list[Peer]:
        return [peer for peer in self._bgp.peers if self._id_of(peer) in ids]

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        for name in ("name", self._address_word, self._as_word):
            if name not in arguments:
                raise Trap(f"missing value(s) of argument(s) {name}")
        peer = self._bgp.add_peer(
            arguments["name"], arguments[self._address_word], arguments[self._as_word]
        )
        self._bgp.set_state(peer, BgpState.IDLE)
        self._change(peer, arguments)
        return self._id_of(peer)

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        for peer in self._chosen(ids):
            self._change(peer, arguments)

    def remove(self, ids: IdList) -> None:
        """Remove the rows with these ids."""
        for peer in self._chosen(ids):
            self._bgp.peers.remove(peer)

    def unset(self, ids: IdList, names: Sequence[str]) -> None:
        """Take words away from the rows with these ids."""
        for peer in self._chosen(ids):
            for name in names:
                peer.config.pop(name, None)

    def _change(self, peer: Peer, arguments: Words) -> None:
        words = dict(arguments)
        peer.name = words.pop("name", peer.name)
        peer.remote_address = words.pop(self._address_word, peer.remote_address)
        peer.remote_as = words.pop(self._as_word, peer.remote_as)
        if "disabled" in words:
            self._switch(peer, disabled=read_bool("disabled", words["disabled"]))
            words["disabled"] = write_bool(read_bool("disabled", words["disabled"]))
        peer.config |= words

    def _switch(self, peer: Peer, *, disabled: bool) -> None:
        """Switching a neighbour off ends its session; switching it on does not bring it up."""
        if disabled and not peer.disabled:
            self._bgp.set_state(peer, BgpState.IDLE)


class PeerMenu(_PeerList):
    """`/routing/bgp/peer` of RouterOS 6."""

    _address_word = "remote-address"
    _as_word = "remote-as"

    def _id_of(self, peer: Peer) -> str:
        return peer.id

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return [self._bgp.peer_row(peer) for peer in self._bgp.peers]


class ConnectionMenu(_PeerList):
    """`/routing/bgp/connection` of RouterOS 7."""

    _address_word = "remote.address"
    _as_word = "remote.as"

    def _id_of(self, peer: Peer) -> str:
        return self._bgp.connection_row(peer)[".id"]

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return [self._bgp.connection_row(peer) for peer in self._bgp.peers]


class SessionMenu(Menu):
    """`/routing/bgp/session` of RouterOS 7: nothing to set, but sessions can be stopped."""

    def __init__(self, bgp: Bgp) -> None:
        self._bgp = bgp

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return self._bgp.session_rows()

    def act(self, verb: str, ids: IdList, arguments: Words) -> None:
        """Run a command that belongs to this menu alone."""
        for peer in [peer for peer in self._bgp.peers if peer.session_id in ids]:
            match verb:
                case "stop":
                    self._bgp.set_state(peer, BgpState.STOPPED)
                case "clear":
                    self._clear(peer, arguments.get("flag", "").split(","))
                case "refresh" | "resend":
                    pass
                case _:
                    super().act(verb, ids, arguments)

    def _clear(self, peer: Peer, flags: Iterable[str]) -> None:
        if self._bgp.state_of(peer).value in flags:
            self._bgp.set_state(peer, BgpState.ESTABLISHED)
