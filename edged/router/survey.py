"""What a router shows of itself while edged is being set up: forwards, services, its own account.

Only reads, by `edged init --from-router` and `edged doctor`. The daemon needs none of it, so what a
router refuses to show is None here and nobody fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edged.core.errors import RouterRefused
from edged.core.types import RouterFacts
from edged.router.sentences import TABLE, V7, request
from edged.router.session import Session
from edged.router.text import Row, clean, duration_us, is_at_least, switch

NEEDED_POLICIES: Final = ("read", "write", "api", "test")
"""For routes (`write` does not include `read`), the API itself, and ping as second opinion."""
HASTY_US: Final = 20_000
"""A ping on a quiet LAN takes 0.5 ms; a node under load may take ten or more."""
API_SERVICES: Final = ("api", "api-ssl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One enabled dst-nat rule of the chain dstnat."""

    dst_address: str
    dst_port: str
    to_address: str
    to_port: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of the router's services; an empty `address` lets everybody in."""

    name: str
    port: str
    address: str
    certificate: str
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user edged logs in as, as far as the router shows it."""

    group: str
    address: str
    policies: frozenset[str]

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the policies that edged needs and the group does not have."""
        return tuple(p for p in NEEDED_POLICIES if p not in self.policies)

    @property
    def superfluous(self) -> tuple[str, ...]:
        """Return the policies that edged never uses."""
        return tuple(sorted(self.policies - set(NEEDED_POLICIES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that was asked; None is what the router did not show."""

    forwards: tuple[Forward, ...] | None = None
    services: tuple[Service, ...] | None = None
    account: Account | None = None
    hash_policy: str | None = None
    logins: tuple[str, ...] | None = None
    """Where this user's API sessions come from, one address each."""


async def survey(session: Session, *, major: int, username: str) -> Survey:
    """Ask for all of it.

    Raises:
        RouterError: The session is lost; a refusal is no error here.
    """
    services = await _rows(session, "v7_services" if major >= V7 else "v6_services")
    forwards = await _rows(session, "forwards", chain="dstnat")
    settings = await _rows(session, "v7_ip_settings") if major >= V7 else None
    return Survey(
        forwards=None if forwards is None else parse_forwards(forwards),
        services=None if services is None else parse_services(services),
        account=await _account(session, username),
        logins=await _logins(session, username),
        hash_policy=settings[0].get("ipv4-multipath-hash-policy") if settings else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """How often the router pings next hops for check-gateway; empty where it is fixed."""

    interval: str = ""
    timeout: str = ""
    count: str = ""

    @property
    def settable(self) -> bool:
        """Whether the router shows them."""
        return bool(self.interval)

    @property
    def hasty(self) -> bool:
        """Whether a node has less time to answer than a busy one may need."""
        timeout_us = duration_us(self.timeout)
        return timeout_us is not None and timeout_us < HASTY_US

    def __str__(self) -> str:
        """Say it in a sentence's middle."""
        return f"every {self.interval}, {self.count} misses of {self.timeout}"


async def read_timers(session: Session, facts: RouterFacts) -> Timers:
    """Ask for the timers of check-gateway where they can be set.

    Raises:
        RouterError: The session is lost; a refusal is no error here.
    """
    if not is_at_least(facts.version, TABLE["v7_routing_settings"].since):
        return Timers()
    rows = await _rows(session, "v7_routing_settings")
    row = rows[0] if rows else {}
    return Timers(
        interval=clean(row.get("check-gateway-ping-interval", "")),
        timeout=clean(row.get("check-gateway-ping-timeout", "")),
        count=clean(row.get("check-gateway-ping-count", "")),
    )


async def _account(session: Session, username: str) -> Account | None:
    users = await _rows(session, "user", name=username)
    if not users:
        return None
    group = users[0].get("group", "")
    groups = await _rows(session, "user_group", name=group)
    if not groups:
        return None
    return Account(
        group=clean(group),
        address=clean(users[0].get("address", "")),
        policies=parse_policies(groups[0].get("policy", "")),
    )


async def _logins(session: Session, username: str) -> tuple[str, ...] | None:
    rows = await _rows(session, "logins", name=username)
    if rows is None:
        return None
    return tuple(clean(row.get("address", "")) for row in rows if "api" in row.get("via", "api"))


async def _rows(session: Session, sentence: str, /, **query: str) -> tuple[Row, ...] | None:
    try:
        return (await session.ask(request(sentence, None, **query))).rows
    except RouterRefused:
        return None


def parse_forwards(rows: Iterable[Row]) -> tuple[Forward, ...]:
    """Return the enabled rules that send connections elsewhere."""
    return tuple(
        Forward(
            dst_address=clean(row.get("dst-address", "")),
            dst_port=clean(row.get("dst-port", "")),
            to_address=clean(row.get("to-addresses", "")),
            to_port=clean(row.get("to-ports", "")) or clean(row.get("dst-port", "")),
            comment=clean(row.get("comment", "")),
        )
        for row in rows
        if row.get("action") == "dst-nat"
        and row.get("protocol", "tcp") in {"tcp", "6"}
        and not switch(row, "disabled")
        and row.get("to-addresses")
    )


def parse_services(rows: Iterable[Row]) -> tuple[Service, ...]:
    """Return the two API services; newer versions list open connections among them."""
    found: dict[str, Service] = {}
    for row in rows:
        name = row.get("name", "")
        if name in API_SERVICES and row.get("port"):
            found.setdefault(
                name,
                Service(
                    name=name,
                    port=clean(row["port"]),
                    address=clean(row.get("available-from", row.get("address", ""))),
                    certificate=clean(row.get("certificate", "")),
                    disabled=switch(row, "disabled"),
                ),
            )
    return tuple(found.values())


def parse_policies(text: str) -> frozenset[str]:
    """Read a group's policies: `!ssh` is one that it does not have."""
    words = (clean(word).strip() for word in text.split(","))
    return frozenset(word for word in words if word and not word.startswith("!"))
