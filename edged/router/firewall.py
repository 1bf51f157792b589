"""Firewall rules of the router that count new connections, and may so shut edged out.

For `edged doctor` alone, and only read. edged holds two sessions to the API and makes new ones when
they break, after 1 to 30 s; a rule that counts new connections and drops what is too many, or puts
their source on a list that another rule drops, can lock it out in the middle of an outage. Plain
drops are no danger: whoever asks here has just come through them.

What a rule matches is told in three values, for much of it (interfaces, marks, contents) cannot be
seen from here. Source: MikroTik manual, "Filter" (matchers, actions, order; 7.24).
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edged.core.errors import RouterRefused
from edged.router.sentences import TABLE, request
from edged.router.session import Session
from edged.router.text import Row, clean, switch

COUNTING: Final = (
    "connection-limit",
    "connection-rate",
    "dst-limit",
    "limit",
    "nth",
    "psd",
    "random",
)
"""Matchers that let some connections through and not others, by how many there are."""
DROPS: Final = frozenset({"drop", "reject", "tarpit"})
LISTS: Final = "add-src-to-address-list"

_NO_MATCHERS: Final = frozenset(
    {".id", "chain", "action", "disabled", "comment", "jump-target", "address-list"}
)
MATCHERS: Final = tuple(w for w in TABLE["filters"].proplist if w not in _NO_MATCHERS)
_TCP: Final = frozenset({"tcp", "6"})
_JUMPS_MAX: Final = 8
"""Chains may call each other; RouterOS refuses no loop, and ours must end."""


class Match(IntEnum):
    """Whether a rule takes a new connection of ours."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One enabled rule; `matchers` holds the words that narrow it down."""

    row_id: str
    chain: str
    action: str
    comment: str
    jump_target: str
    address_list: str
    matchers: Row

    @property
    def counts(self) -> bool:
        """Whether it lets some connections through and not others."""
        return any(word in self.matchers for word in COUNTING)

    def __str__(self) -> str:
        """Name it as a person finds it on the router."""
        words = [f"{self.action} {self.address_list}".rstrip()]
        words += [f"{word}={self.matchers[word]}" for word in COUNTING if word in self.matchers]
        name = f'{self.row_id} "{self.comment}"' if self.comment else self.row_id
        return f"{name} ({', '.join(words)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Connections that edged opens again and again: `chain` is where the router judges them."""

    chain: str
    source: str
    target: str
    port: int
    at_once: int
    """How many of them may be open at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A list that holds our address, and the rule that drops what is on it."""

    list_name: str
    left: str
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """The rules in their order, and the lists that hold one address, each with its time left."""

    rules: tuple[Rule, ...]
    listed: dict[str, str]

    def bans(self) -> Iterator[Ban]:
        """Yield each rule that drops what comes from that address now."""
        for rule in self.rules:
            name = rule.matchers.get("src-address-list", "")
            if rule.action in DROPS and name in self.listed:
                yield Ban(list_name=name, left=self.listed[name], rule=rule)

    def threats(self, way: Way) -> list[Rule]:
        """Return the rules that may turn these connections away for being many."""
        found: dict[str, Rule] = {}
        _walk(self, way, way.chain, found, _JUMPS_MAX)
        return list(found.values())


async def read_firewall(session: Session, address: str) -> Firewall | None:
    """Read the filter's rules and the lists that hold an IPv4 address; None is "not shown".

    Raises:
        RouterError: The session is lost; a refusal is no error here.
    """
    try:
        rules = (await session.ask(request("filters"))).rows
        listed = (await session.ask(request("address_lists", None, address=address))).rows
    except RouterRefused:
        return None
    return Firewall(
        rules=parse_rules(rules),
        listed={
            clean(row.get("list", "")): clean(row.get("timeout", ""))
            for row in listed
            if not switch(row, "disabled")
        },
    )


def parse_rules(rows: Iterable[Row]) -> tuple[Rule, ...]:
    """Return the enabled rules."""
    return tuple(
        Rule(
            row_id=clean(row.get(".id", "")),
            chain=clean(row.get("chain", "")),
            action=clean(row.get("action", "accept")),
            comment=clean(row.get("comment", "")),
            jump_target=clean(row.get("jump-target", "")),
            address_list=clean(row.get("address-list", "")),
            matchers={word: clean(row[word]) for word in MATCHERS if row.get(word)},
        )
        for row in rows
        if not switch(row, "disabled")
    )


# --- what a new connection of ours meets --------------------------------------------------------


def _walk(
    firewall: Firewall, way: Way, chain: str, found: dict[str, Rule], jumps_left: int
) -> bool:
    """Follow a chain; tell whether the connection certainly ends in it."""
    limited: Rule | None = None
    for rule in firewall.rules:
        if rule.chain != chain:
            continue
        match = matches(rule, way, firewall)
        if match is Match.NO:
            continue
        sure = match is Match.YES and not rule.counts
        if rule.action == "return" and sure:
            return False
        if rule.action == "jump" and jumps_left:
            ended = _walk(firewall, way, rule.jump_target, found, jumps_left - 1)
            if ended and sure:
                return True
        if rule.action == LISTS or (rule.action in DROPS and rule.counts):
            found[rule.row_id] = rule
        if rule.action in DROPS and limited is not None:
            found[limited.row_id] = limited
        if rule.action == "accept" and rule.counts:
            limited = rule
        if sure and rule.action in {"accept", *DROPS}:
            return True
    return False


def matches(rule: Rule, way: Way, firewall: Firewall) -> Match:
    """Tell whether a rule takes a new connection on this way."""
    return min((_one(word, rule, way, firewall) for word in rule.matchers), default=Match.YES)


def _one(word: str, rule: Rule, way: Way, firewall: Firewall) -> Match:
    text = rule.matchers[word]
    negated = text.startswith("!")
    bare = text.removeprefix("!")
    match word:
        case "protocol":
            found = _sure(bare in _TCP)
        case "dst-port" | "port":
            found = _sure(_has_port(bare, way.port))
        case "src-address":
            found = _covers(bare, way.source)
        case "dst-address":
            found = _covers(bare, way.target)
        case "connection-state":
            found = _sure("new" in bare.split(","))
        case "src-address-list":
            # A list may hold our address by a network, too, which was not asked for.
            found = Match.YES if bare in firewall.listed else Match.MAYBE
        case "connection-limit":
            return Match.NO if _is_roomy(bare, way.at_once) else Match.MAYBE
        case counting if counting in COUNTING:
            return Match.YES
        case _:
            return Match.MAYBE
    return Match(Match.YES - found) if negated else found


def _sure(found: bool) -> Match:  # noqa: FBT001 - the value itself, not a switch
    return Match.YES if found else Match.NO


def _has_port(text: str, port: int) -> bool:
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and int(first) <= port <= int(last if last.isdecimal() else first):
            return True
    return False


def _covers(text: str, address: str) -> Match:
    """Tell whether `10.0.0.0/8`, `10.0.0.1-10.0.0.9` or one address holds an address."""
    first, dash, last = text.partition("-")
    try:
        wanted = ipaddress.ip_address(address)
        if not dash:
            return _sure(wanted in ipaddress.ip_network(first, strict=False))
        return _sure(int(ipaddress.ip_address(first)) <= int(wanted) <= int(_address(last)))
    except ValueError:
        return Match.MAYBE


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)


def _is_roomy(text: str, at_once: int) -> bool:
    """Tell whether `connection-limit=count,mask` is above what edged ever holds open."""
    count = text.partition(",")[0]
    return count.isdecimal() and int(count) > at_once
