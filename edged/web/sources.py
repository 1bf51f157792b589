"""Where each fact about a route came from, and how old it is: for `status`, `why` and `plan`.

Every part names the fact, its source, the gateway it is about (None: the route itself), what was
said, and when.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from edged.core.engine import GatewaySnapshot
from edged.core.plan import OwnRows
from edged.core.types import ProbeOutcome, RouteDecision, VipConfig
from edged.web.views import Document, rfc3339

if TYPE_CHECKING:
    from edged.web.parts import Facts

ROWS: Final = "rows"
PROBE: Final = "probe"
PING: Final = "ping"
BGP: Final = "bgp"
KUBERNETES: Final = "kubernetes"


def last_probe(snapshot: GatewaySnapshot) -> str:
    """Return `passed`, or the reason of the last failure."""
    if snapshot.last_outcome == ProbeOutcome.PASSED:
        return ProbeOutcome.PASSED.value
    return snapshot.reason or snapshot.last_outcome


def bgp_word(up: bool | None) -> str:  # noqa: FBT001 - the value itself, not an option
    """Name a session's state; None: its router's list cannot be read."""
    return {True: "up", False: "down", None: "unknown"}[up]


def known_of_route(vip: VipConfig, route: RouteDecision, facts: "Facts") -> list[Document]:
    """Return every fact that the decision about one route stands on."""
    members = facts.members(vip)
    gateways = [part for one in members for part in known_of(one, [route.router], facts)]
    return [rows_known(route, facts), *gateways]


def rows_known(route: RouteDecision, facts: "Facts") -> Document:
    """Return how many rows the router showed of a route, and when."""
    read_ms = facts.engine.read_ms(route.router, route.vip)
    own = facts.engine.own_rows(route.router, route.vip)
    count = count_rows(own) if own is not None and read_ms is not None else "not read yet"
    return _part(ROWS, route.router, None, count, facts.moment.stamp(read_ms))


def count_rows(own: OwnRows) -> str:
    """Say how many rows a read showed."""
    count = len(own.ours) + len(own.foreign) + len(own.bgp)
    return f"{count} row{'' if count == 1 else 's'}"


def known_of(snapshot: GatewaySnapshot, routers: Iterable[str], facts: "Facts") -> list[Document]:
    """Return what is known of one gateway, by whom, and since when."""
    asked = list(routers)
    return [
        *_probe(snapshot, facts),
        *_pings(snapshot.name, asked, facts),
        *_sessions(snapshot.name, asked, facts),
        *_node(snapshot.name, facts),
    ]


def _probe(snapshot: GatewaySnapshot, facts: "Facts") -> Iterator[Document]:
    at = facts.moment.stamp(snapshot.last_probe_ms)
    said = last_probe(snapshot) if at is not None else "not probed yet"
    yield _part(PROBE, "edged", snapshot.name, said.replace("_", " "), at)


def _pings(gateway: str, routers: list[str], facts: "Facts") -> Iterator[Document]:
    for opinion in facts.engine.opinions(gateway):
        if opinion.router in routers:
            at = facts.moment.stamp(opinion.answered_ms)
            yield _part(PING, opinion.router, gateway, opinion.opinion.value, at)


def _sessions(gateway: str, routers: list[str], facts: "Facts") -> Iterator[Document]:
    for session in facts.view.bgp:
        if session.gateway == gateway and session.router in routers:
            at = rfc3339(session.read) if session.read is not None else None
            yield _part(BGP, session.router, gateway, bgp_word(session.up), at)


def _node(gateway: str, facts: "Facts") -> Iterator[Document]:
    view = facts.view
    if gateway in view.nodes:
        at = rfc3339(view.nodes_heard) if view.nodes_heard is not None else None
        yield _part(KUBERNETES, view.kubernetes_source, gateway, view.nodes[gateway], at)


def _part(fact: str, source: str, gateway: str | None, said: str, at: str | None) -> Document:
    return {"fact": fact, "source": source, "gateway": gateway, "said": said, "at": at}
