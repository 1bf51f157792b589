"""RouterOS 6: one route with a list of gateways. Pure; rows in, rows out, sentences made.

A change of the set is one `set` of one row. What the kernel does between the old list and the new
one is not on record, and any change of the table may move live flows (route cache), so the core
writes only on a difference.

Refused here: routing tables other than `main` (a `routing-mark` is something else on 6),
`check-gateway` (it belongs to the gateway's address on 6 and would change other people's routes,
MikroTik manual, "Moving from ROSv6 to v7") and IPv6 (its kernel has no multipath for it).
"""

from collections.abc import Iterable
from typing import Final, assert_never

from edged.core.errors import ConfigError
from edged.core.types import (
    CreateRow,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    VipConfig,
)
from edged.router.sentences import Request, request
from edged.router.text import Row, distance, flag, is_ipv6, row_id, switch

SHAPE: Final = RouteShape.LIST

_MAIN: Final = "main"
_STATES: Final = frozenset({"reachable", "unreachable", "recursive", "inactive"})
_KINDS_WITHOUT_GATEWAY: Final = ("blackhole", "unreachable", "prohibit")


def check_vip(vip: VipConfig) -> None:
    """Refuse what RouterOS 6 cannot do, or cannot do without touching other routes.

    Raises:
        ConfigError: With the sentence for the person who configured it.
    """
    if is_ipv6(vip.destination):
        raise ConfigError(
            f"vip {vip.name}: {vip.destination} is IPv6, and RouterOS 6 has no ECMP for it; "
            "allowed from RouterOS 7 on",
        )
    if vip.routing_table != _MAIN:
        raise ConfigError(
            f'vip {vip.name}: routing_table = "{vip.routing_table}" needs RouterOS 7; '
            'RouterOS 6 allows "main" only',
        )
    if vip.check_gateway != "none":
        raise ConfigError(
            f'vip {vip.name}: check_gateway = "{vip.check_gateway}" needs RouterOS 7; on '
            "RouterOS 6 it belongs to the gateway's address and would change other routes",
        )


def read_request(vip: VipConfig) -> Request:
    """Ask for every row of the destination; the routing table is sorted out in `parse_rows`."""
    return request("v6_ip_read", dst_address=vip.destination)


def parse_rows(rows: Iterable[Row], vip: VipConfig) -> tuple[RouteRow, ...]:
    """Return all rows of the VIP's destination and table, static, BGP and disabled ones."""
    return tuple(
        _parse(row)
        for row in rows
        if row.get("dst-address", vip.destination) == vip.destination
        and row.get("routing-mark", "") in {"", _MAIN}
    )


def _parse(row: Row) -> RouteRow:
    next_hops = tuple(hop.strip() for hop in row.get("gateway", "").split(",") if hop.strip())
    disabled = flag(row, "disabled")
    unreachable = unreachable_hops(next_hops, row.get("gateway-status", ""))
    return RouteRow(
        row_id=row_id(row),
        next_hops=next_hops,
        disabled=disabled,
        static=flag(row, "static"),
        dynamic=flag(row, "dynamic"),
        bgp=flag(row, "bgp"),
        active=flag(row, "active"),
        blackhole=row.get("type", "") in _KINDS_WITHOUT_GATEWAY
        or any(switch(row, kind) for kind in _KINDS_WITHOUT_GATEWAY),
        # A disabled row calls every next hop inactive, which says nothing about them.
        unreachable=() if disabled else unreachable,
        distance=distance(row),
        comment=row.get("comment", ""),
        check_gateway=row.get("check-gateway", ""),
    )


def unreachable_hops(next_hops: tuple[str, ...], status: str) -> tuple[str, ...]:
    """Read the free text of `gateway-status`: which next hops does the router call unreachable?

    One part for each next hop, in the row's order, `<gw>[ on <table>] <state>[ via <ip>,…][ <if>]`,
    separated by commas; but a `via` can hold a comma list of its own, which may even name another
    next hop. So a part begins at a comma that is followed by the next known next hop and a state.
    Text in another form says nothing, which is what it then counts as.

    Source: recorded rows, RouterOS 6 (`185.138.116.222 unreachable,185.138.116.223 reachable via
    pppoe-out1`, some with two blanks behind `via`).
    """
    found: list[str] = []
    position = 0
    for number, hop in enumerate(next_hops):
        start = _part_start(status, hop, position, first=number == 0)
        if start is None:
            return ()
        state = _state(status[start + len(hop) :])
        if state in {"unreachable", "inactive"}:
            found.append(hop)
        position = start + len(hop)
    return tuple(dict.fromkeys(found))


def _part_start(status: str, hop: str, position: int, *, first: bool) -> int | None:
    if first:
        return 0 if status.startswith(f"{hop} ") and _state(status[len(hop) :]) else None
    start = status.find(f",{hop} ", position)
    while start >= 0:
        if _state(status[start + 1 + len(hop) :]):
            return start + 1
        start = status.find(f",{hop} ", start + 1)
    return None


def _state(rest: str) -> str:
    words = rest[:_STATE_WITHIN].split(maxsplit=3)
    if len(words) > 2 and words[0] == "on":  # noqa: PLR2004 - `on <table> <state>`
        words = words[2:]
    state = words[0].split(",", 1)[0] if words else ""
    return state if state in _STATES else ""


_STATE_WITHIN: Final = 128
"""A state stands right behind the next hop and perhaps a table's name."""


def render(step: Step, vip: VipConfig) -> Request:
    """Turn a step into the one sentence that carries it out.

    Raises:
        ConfigError: The step asks for what RouterOS 6 cannot do.
    """
    check_vip(vip)
    match step:
        case SetNextHops(row_id=target, after=after):
            return request("v6_ip_set_gateway", {".id": target, "gateway": _list(after)})
        case SetDisabled(row_ids=row_ids, disabled=disabled):
            values = {".id": ",".join(row_ids), "disabled": "yes" if disabled else "no"}
            return request("v6_ip_set_disabled", values)
        case SetComment(row_id=target, after=comment):
            return request("v6_ip_set_comment", {".id": target, "comment": comment})
        case CreateRow():
            return _add(step, vip)
        case _:
            assert_never(step)


def _add(step: CreateRow, vip: VipConfig) -> Request:
    if step.check_gateway != "none":
        raise ConfigError(f"vip {vip.name}: check-gateway is not set on RouterOS 6")
    return request(
        "v6_ip_add",
        {
            "dst-address": vip.destination,
            "gateway": _list(step.next_hops),
            "distance": str(vip.distance),
            "comment": step.comment,
            "disabled": "yes" if step.disabled else "no",
        },
    )


def _list(next_hops: tuple[str, ...]) -> str:
    assert next_hops, "the list is never emptied"
    assert all(hop and not set(hop) & {",", " "} for hop in next_hops)
    return ",".join(next_hops)
