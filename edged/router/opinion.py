"""The second opinion: the router's own ping of a suspect.

Three pings 100 ms apart. An answer means *alive*. Silence means *dead* only if this router's ping
reached that address within the last hour, for some nodes filter ICMP; else, and for a refused,
late or lost question, the answer is *unknown*, which confirms nothing.

Source: MikroTik manual, "Ping" (`interval` 10ms..5s since RouterOS 2.4, `count`); reply rows as
recorded on 6.x and 7.24.3: one row for each ping, `status=timeout` and no `time` where it was lost.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from edged.core.types import Opinion, OpinionRequest, OpinionResult
from edged.router.sentences import V7, request
from edged.router.session import Reply, Session, TrapRefused
from edged.router.text import Row, small_number

PING_COUNT: Final = 3
PING_INTERVAL_MS: Final = 100
PING_GRACE_MS: Final = 1_000
LEARNED_FOR_MS: Final = 3_600_000
"""How long an answered ping vouches that this address answers pings at all."""
LEARN_EVERY_MS: Final = 900_000


class PingMemory:
    """When this router's ping last reached each address."""

    __slots__ = ("_reached_ms",)

    def __init__(self) -> None:
        self._reached_ms: dict[str, int] = {}

    def observe(self, address: str, opinion: Opinion, now_ms: int) -> None:
        """Remember an answer."""
        if opinion is Opinion.ALIVE:
            self._reached_ms[address] = now_ms

    def vouches(self, address: str, now_ms: int) -> bool:
        """Whether silence of this address means something."""
        reached_ms = self._reached_ms.get(address)
        return reached_ms is not None and now_ms - reached_ms <= LEARNED_FOR_MS

    def keep_only(self, addresses: Iterable[str]) -> None:
        """Forget addresses that are no gateways any more."""
        wanted = set(addresses)
        self._reached_ms = {a: ms for a, ms in self._reached_ms.items() if a in wanted}


def judge(rows: Iterable[Row], *, count: int, vouched: bool) -> tuple[Opinion, str]:
    """Turn ping rows into an opinion and a few words for a person."""
    sent = answered = 0
    for row in rows:
        if "seq" in row or "host" in row:
            sent += 1
            answered += _answered(row)
    # Releases differ in what rides on a row; the running totals, where they do, are the better
    # count of what came back.
    if answered:
        return Opinion.ALIVE, f"{answered} of {sent} pings answered"
    if sent < count:
        return Opinion.UNKNOWN, f"only {sent} of {count} pings reported"
    if not vouched:
        return Opinion.UNKNOWN, "no answer, but it has not answered a ping within the hour either"
    return Opinion.DEAD, f"none of {sent} pings answered"


def _answered(row: Mapping[str, str]) -> int:
    if row.get("status", ""):
        return 0  # timeout, host unreachable, … : whatever it says, it is no answer
    return 1 if row.get("time", "") or (small_number(row.get("received", "")) or 0) > 0 else 0


async def ping(
    session: Session,
    memory: PingMemory,
    *,
    address: str,
    major: int,
    count: int,
) -> tuple[Opinion, str, Reply]:
    """Have the router ping an address, and remember an answer.

    Raises:
        TrapRefused: No `test` policy, no route, no such address.
        RouterUncertain, RouterUnreachable: The session is gone.
    """
    sentence = request(
        "v7_ping" if major >= V7 else "v6_ping",
        {"address": address, "count": str(count), "interval": f"{PING_INTERVAL_MS}ms"},
    )
    reply = await session.ask(sentence, deadline_ms=count * PING_INTERVAL_MS + PING_GRACE_MS)
    answered_ms = reply.answered_us // 1_000
    vouched = memory.vouches(address, answered_ms)
    found, detail = judge(reply.rows, count=count, vouched=vouched)
    memory.observe(address, found, answered_ms)
    return found, detail, reply


async def ask(
    session: Session, memory: PingMemory, wanted: OpinionRequest, *, major: int, now_ms: int
) -> OpinionResult:
    """Ask for an opinion on one suspect; a `!trap` is an *unknown*.

    Raises:
        RouterUncertain, RouterUnreachable: The session is gone.
    """
    try:
        found, detail, reply = await ping(
            session, memory, address=wanted.address, major=major, count=PING_COUNT
        )
    except TrapRefused as error:
        return unknown(wanted, now_ms, error.message)
    return OpinionResult(
        router=wanted.router,
        gateway=wanted.gateway,
        opinion=found,
        asked_ms=reply.sent_us // 1_000,
        answered_ms=reply.answered_us // 1_000,
        detail=detail,
    )


def unknown(wanted: OpinionRequest, now_ms: int, detail: str) -> OpinionResult:
    """Return the opinion that confirms nothing."""
    return OpinionResult(
        router=wanted.router,
        gateway=wanted.gateway,
        opinion=Opinion.UNKNOWN,
        asked_ms=now_ms,
        answered_ms=now_ms,
        detail=detail,
    )
