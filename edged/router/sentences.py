"""Every sentence edged can send, one row each, and the only form in which one can be sent.

`Session.ask` takes a `Request`, and a `Request` can only be made of a row of this table, of words
that the row allows, and of values that the word can carry. So this table is the whole of what edged
can do to a router. Two words never occur in it: `blackhole`, whose mere presence makes a route
drop its traffic (RouterOS 7), and `remove`.

Source: MikroTik manual, "API" (words, queries, `.proplist`), "CLI reference /ip/route" (2026, 7.24)
and, for RouterOS 6, the same grammar published under `dude/ros/route`. The tests hold each word
against the console grammar of every stable release from 7.9 to 7.24; words that no record covers
stand in docs/unverified.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edged.router.text import is_row_ids


class Policy(StrEnum):
    """The RouterOS user policy a sentence needs; `api` is needed for all of them."""

    READ = "read"
    WRITE = "write"
    TEST = "test"


V6: Final = 6
V7: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One row: where the sentence goes and which words it may carry."""

    name: str
    dialects: tuple[int, ...]
    path: str
    policy: Policy
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    proplist: tuple[str, ...] = ()
    since: str = ""
    """The first version that it is sent to; empty is any of its dialects."""

    @property
    def is_write(self) -> bool:
        """Whether it can change the router."""
        return self.policy is Policy.WRITE


_V7_ROUTE_WORDS: Final = (
    ".id",
    "dst-address",
    "routing-table",
    "gateway",
    "distance",
    "disabled",
    "static",
    "dynamic",
    "bgp",
    "active",
    "inactive",
    "blackhole",
    "check-gateway",
    "comment",
)
_V6_ROUTE_WORDS: Final = (
    ".id",
    "dst-address",
    "routing-mark",
    "gateway",
    "gateway-status",
    "distance",
    "disabled",
    "static",
    "dynamic",
    "bgp",
    "active",
    "type",
    "blackhole",
    "unreachable",
    "prohibit",
    "check-gateway",
    "comment",
)


# What a filter rule can match on; a word that is not asked for would make a rule look wider.
_FILTER_WORDS: Final = (
    *(".id", "chain", "action", "disabled", "comment", "jump-target", "address-list"),
    *("connection-state", "dst-address", "dst-port", "port", "protocol"),
    *("src-address", "src-address-list"),
    *("connection-limit", "connection-rate", "dst-limit", "limit", "nth", "psd", "random"),
    *("connection-bytes", "connection-mark", "connection-nat-state", "connection-type", "content"),
    *("dst-address-list", "dst-address-type", "in-bridge-port", "in-bridge-port-list"),
    *("in-interface", "in-interface-list", "layer7-protocol", "out-interface"),
    *("out-interface-list", "packet-mark", "packet-size", "routing-mark", "src-address-type"),
    *("src-mac-address", "src-port", "tcp-flags", "tcp-mss", "time", "ttl"),
)


def _v7_routes(family: str, menu: str) -> tuple[Sentence, ...]:
    return (
        Sentence(
            name=f"v7_{family}_read",
            dialects=(V7,),
            path=f"{menu}/print",
            policy=Policy.READ,
            query=("dst-address",),
            proplist=_V7_ROUTE_WORDS,
        ),
        # `set` with a list of ids is on record for both `set` and `remove`; for `enable` and
        # `disable`, whose argument is `numbers`, it is not.
        Sentence(
            name=f"v7_{family}_set_disabled",
            dialects=(V7,),
            path=f"{menu}/set",
            policy=Policy.WRITE,
            needed=(".id", "disabled"),
        ),
        Sentence(
            name=f"v7_{family}_set_comment",
            dialects=(V7,),
            path=f"{menu}/set",
            policy=Policy.WRITE,
            needed=(".id", "comment"),
        ),
        Sentence(
            name=f"v7_{family}_add",
            dialects=(V7,),
            path=f"{menu}/add",
            policy=Policy.WRITE,
            needed=("dst-address", "routing-table", "gateway", "distance", "comment", "disabled"),
            optional=("check-gateway",),
        ),
    )


_ROWS: Final = (
    Sentence(
        name="resource",
        dialects=(V6, V7),
        path="/system/resource/print",
        policy=Policy.READ,
        proplist=("version", "uptime", "cpu-load", "board-name"),
    ),
    # --- RouterOS 6: one row with a list of gateways ---
    Sentence(
        name="v6_ip_read",
        dialects=(V6,),
        path="/ip/route/print",
        policy=Policy.READ,
        query=("dst-address",),
        proplist=_V6_ROUTE_WORDS,
    ),
    Sentence(
        name="v6_ip_set_gateway",
        dialects=(V6,),
        path="/ip/route/set",
        policy=Policy.WRITE,
        needed=(".id", "gateway"),
    ),
    Sentence(
        name="v6_ip_set_disabled",
        dialects=(V6,),
        path="/ip/route/set",
        policy=Policy.WRITE,
        needed=(".id", "disabled"),
    ),
    Sentence(
        name="v6_ip_set_comment",
        dialects=(V6,),
        path="/ip/route/set",
        policy=Policy.WRITE,
        needed=(".id", "comment"),
    ),
    Sentence(
        name="v6_ip_add",
        dialects=(V6,),
        path="/ip/route/add",
        policy=Policy.WRITE,
        needed=("dst-address", "gateway", "distance", "comment", "disabled"),
    ),
    # --- RouterOS 7: one row per gateway ---
    *_v7_routes("ip", "/ip/route"),
    *_v7_routes("ipv6", "/ipv6/route"),
    # --- BGP, read only ---
    Sentence(
        name="v6_bgp_peers",
        dialects=(V6,),
        path="/routing/bgp/peer/print",
        policy=Policy.READ,
        proplist=("name", "remote-address", "disabled", "state", "established", "uptime"),
    ),
    Sentence(
        name="v7_bgp_sessions",
        dialects=(V7,),
        path="/routing/bgp/session/print",
        policy=Policy.READ,
        proplist=(
            "name",
            "remote.address",
            "established",
            "stopped",
            "limit-exceeded",
            "uptime",
        ),
    ),
    Sentence(
        name="v7_bgp_connections",
        dialects=(V7,),
        path="/routing/bgp/connection/print",
        policy=Policy.READ,
        proplist=("name", "remote.address", "disabled"),
    ),
    # --- set-up, read only: `edged init --from-router` and `edged doctor`, never the daemon ---
    Sentence(
        name="forwards",
        dialects=(V6, V7),
        path="/ip/firewall/nat/print",
        policy=Policy.READ,
        query=("chain",),
        proplist=(
            "action",
            "protocol",
            "dst-address",
            "dst-port",
            "to-addresses",
            "to-ports",
            "disabled",
            "comment",
        ),
    ),
    Sentence(
        name="v6_services",
        dialects=(V6,),
        path="/ip/service/print",
        policy=Policy.READ,
        proplist=("name", "port", "address", "certificate", "disabled"),
    ),
    Sentence(
        name="v7_services",
        dialects=(V7,),
        path="/ip/service/print",
        policy=Policy.READ,
        # 7.24 calls `address` `available-from`.
        proplist=("name", "port", "address", "available-from", "certificate", "disabled"),
    ),
    Sentence(
        name="user",
        dialects=(V6, V7),
        path="/user/print",
        policy=Policy.READ,
        query=("name",),
        proplist=("group", "address", "disabled"),
    ),
    Sentence(
        name="user_group",
        dialects=(V6, V7),
        path="/user/group/print",
        policy=Policy.READ,
        query=("name",),
        proplist=("policy",),
    ),
    Sentence(
        name="logins",
        dialects=(V6, V7),
        path="/user/active/print",
        policy=Policy.READ,
        query=("name",),
        proplist=("address", "via"),
    ),
    Sentence(
        name="filters",
        dialects=(V6, V7),
        path="/ip/firewall/filter/print",
        policy=Policy.READ,
        proplist=_FILTER_WORDS,
    ),
    Sentence(
        name="address_lists",
        dialects=(V6, V7),
        path="/ip/firewall/address-list/print",
        policy=Policy.READ,
        query=("address",),
        proplist=("list", "timeout", "disabled"),
    ),
    Sentence(
        name="v7_ip_settings",
        dialects=(V7,),
        path="/ip/settings/print",
        policy=Policy.READ,
        proplist=("ipv4-multipath-hash-policy",),
    ),
    Sentence(
        name="v7_routing_settings",
        dialects=(V7,),
        since="7.21",  # the timers of check-gateway were fixed before
        path="/routing/settings/print",
        policy=Policy.READ,
        proplist=(
            "check-gateway-ping-interval",
            "check-gateway-ping-timeout",
            "check-gateway-ping-count",
        ),
    ),
    # --- second opinion: root `/ping` leaves the tree in 7.23, `/tool/ping` stays ---
    Sentence(
        name="v6_ping",
        dialects=(V6,),
        path="/ping",
        policy=Policy.TEST,
        needed=("address", "count", "interval"),
    ),
    Sentence(
        name="v7_ping",
        dialects=(V7,),
        path="/tool/ping",
        policy=Policy.TEST,
        needed=("address", "count", "interval"),
    ),
)

TABLE: Final[Mapping[str, Sentence]] = MappingProxyType({row.name: row for row in _ROWS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A row of the table with its values: the only thing a session sends after its login."""

    sentence: Sentence
    values: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the words to the row; a fault here is a bug of ours and nothing is sent."""
        row = self.sentence
        assert TABLE.get(row.name) is row, f"{row.name} is not a row of the table"
        assert self.values.keys() <= {*row.needed, *row.optional}, f"{row.name}: word not allowed"
        assert self.values.keys() >= set(row.needed), f"{row.name}: word missing"
        assert self.query.keys() == set(row.query), f"{row.name}: wrong query"
        assert is_row_ids(self.values.get(".id", "*0")), f"{row.name}: not a row id"
        assert self.values.get("disabled", "yes") in {"yes", "no"}

    def words(self) -> tuple[str, ...]:
        """Return the words after the path, in a steady order."""
        row = self.sentence
        arguments = (
            f"={word}={self.values[word]}"
            for word in (*row.needed, *row.optional)
            if word in self.values
        )
        proplist = (f"=.proplist={','.join(row.proplist)}",) if row.proplist else ()
        queries = (f"?{word}={self.query[word]}" for word in row.query)
        return (*arguments, *proplist, *queries)


def request(name: str, /, values: Mapping[str, str] | None = None, **query: str) -> Request:
    """Build a request by the row's name; `dst_address` in a keyword is `dst-address`."""
    return Request(
        sentence=TABLE[name],
        values=MappingProxyType(dict(values or {})),
        query=MappingProxyType({key.replace("_", "-"): value for key, value in query.items()}),
    )
