"""BGP as the router sees it: its sessions to the gateways, and its BGP routes for a VIP.

RouterOS 6 lists peers with their state. RouterOS 7 lists sessions apart from the configured
connections: a connection that never came up has no session, and one that went down may stay in the
list for a while as a cache, without `established`. So a peer is up only by a row that says so.
Parsing is pure; `read_sessions` asks. Nothing is ever written to BGP.

Source: recorded rows of 6.4x, 7.19.4 and 7.21.5; MikroTik manual, "Peering sessions".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edged.core.types import RouteRow
from edged.router.sentences import V7, request
from edged.router.session import Session
from edged.router.text import Row, bare_address, clean, duration_ms, flag, switch


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpPeer:
    """One configured peer; `address` is bare, `uptime_ms` how long the session has been up."""

    address: str
    name: str
    established: bool
    uptime_ms: int | None = None
    disabled: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpRead:
    """What one poll showed; `peers` is None when the list cannot be read, which means nothing."""

    router: str
    peers: tuple[BgpPeer, ...] | None
    sent_ms: int
    answered_ms: int
    detail: str = ""


def parse_peers(rows: Iterable[Row]) -> tuple[BgpPeer, ...]:
    """Read RouterOS 6' `/routing/bgp/peer`: configuration and state in one row."""
    return tuple(
        BgpPeer(
            address=bare_address(row["remote-address"]),
            name=clean(row.get("name", "")),
            established=flag(row, "established"),
            uptime_ms=duration_ms(row.get("uptime", "")) if flag(row, "established") else None,
            disabled=flag(row, "disabled"),
            detail=clean(row.get("state", "")),
        )
        for row in rows
        if row.get("remote-address")
    )


def parse_sessions(sessions: Iterable[Row], connections: Iterable[Row]) -> tuple[BgpPeer, ...]:
    """Join RouterOS 7' sessions to its connections by remote address.

    A session without a connection (one that a listening range accepted) is a peer, too. Of several
    sessions with one address an established one counts.
    """
    peers: dict[str, BgpPeer] = {}
    for row in connections:
        if address := bare_address(row.get("remote.address", "")):
            peers[address] = BgpPeer(
                address=address,
                name=clean(row.get("name", "")),
                established=False,
                disabled=flag(row, "disabled"),
                detail="no session",
            )
    for row in sessions:
        session = _session(row)
        if not session.address:
            continue
        known = peers.get(session.address)
        if known is None or not known.established:
            peers[session.address] = _joined(session, known)
    return tuple(peers.values())


def _session(row: Row) -> BgpPeer:
    held_down = [word for word in ("stopped", "limit-exceeded") if switch(row, word)]
    established = flag(row, "established") and not held_down
    return BgpPeer(
        address=bare_address(row.get("remote.address", "")),
        name=clean(row.get("name", "")),
        established=established,
        uptime_ms=duration_ms(row.get("uptime", "")) if established else None,
        detail="established" if established else (held_down or ["not established"])[0],
    )


def _joined(session: BgpPeer, connection: BgpPeer | None) -> BgpPeer:
    if connection is None:
        return session
    return BgpPeer(
        address=session.address,
        name=connection.name or session.name,
        established=session.established,
        uptime_ms=session.uptime_ms,
        disabled=connection.disabled,
        detail=session.detail,
    )


def bgp_routes(rows: Iterable[RouteRow]) -> tuple[RouteRow, ...]:
    """Return the BGP rows among a VIP's rows: what would carry the VIP without ours."""
    return tuple(row for row in rows if row.bgp and not row.disabled)


async def read_sessions(session: Session, router: str, major: int) -> BgpRead:
    """Ask for all peers: one sentence on RouterOS 6, two on 7.

    Raises:
        RouterError: As `Session.ask`.
    """
    if major < V7:
        reply = await session.ask(request("v6_bgp_peers"))
        peers, first = parse_peers(reply.rows), reply
    else:
        first = await session.ask(request("v7_bgp_connections"))
        reply = await session.ask(request("v7_bgp_sessions"))
        peers = parse_sessions(reply.rows, first.rows)
    return BgpRead(
        router=router,
        peers=peers,
        sent_ms=first.sent_us // 1_000,
        answered_ms=reply.answered_us // 1_000,
    )
