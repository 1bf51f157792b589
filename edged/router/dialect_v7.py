"""RouterOS 7: one route for each gateway, same destination and distance. Pure.

A change of the set enables or disables rows; several ids may stand in one sentence. A list of
gateways is never sent (what 7 makes of it is not on record), nor is the word `blackhole`, whose
mere presence makes a route drop its traffic.

Source: MikroTik manual, "Routing decision" (an ECMP set is several rows) and "CLI reference
/ip/route"; rows as recorded on 7.x: older releases send every flag, newer ones leave false flags
out, and a disabled row is nearly bare.
"""

from collections.abc import Iterable
from typing import Final, assert_never

from edged.core.errors import ConfigError
from edged.core.plan import carries_mark
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
from edged.router.text import Row, distance, flag, is_ipv6, row_id

SHAPE: Final = RouteShape.ROWS

_MAIN: Final = "main"


def check_vip(_vip: VipConfig) -> None:
    """Accept everything: RouterOS 7 can do whatever a VIP can be configured to."""


def _family(vip: VipConfig) -> str:
    return "ipv6" if is_ipv6(vip.destination) else "ip"


def read_request(vip: VipConfig) -> Request:
    """Ask for every row of the destination.

    The routing table is no part of the query: a row that leaves the word out would be missed.
    """
    return request(f"v7_{_family(vip)}_read", dst_address=vip.destination)


def parse_rows(rows: Iterable[Row], vip: VipConfig) -> tuple[RouteRow, ...]:
    """Return all rows of the VIP's destination and table, static, BGP and disabled ones."""
    return tuple(
        _parse(row, vip)
        for row in rows
        if row.get("dst-address", vip.destination) == vip.destination
        and (row.get("routing-table", "") or _MAIN) == vip.routing_table
    )


def _parse(row: Row, vip: VipConfig) -> RouteRow:
    next_hop = row.get("gateway", "").strip()
    next_hops = (next_hop,) if next_hop else ()
    disabled = flag(row, "disabled")
    return RouteRow(
        row_id=row_id(row),
        next_hops=next_hops,
        disabled=disabled,
        static=flag(row, "static"),
        dynamic=flag(row, "dynamic"),
        bgp=flag(row, "bgp"),
        active=flag(row, "active"),
        blackhole="blackhole" in row,
        unreachable=next_hops if flag(row, "inactive") and not disabled else (),
        distance=_distance(row, vip),
        comment=row.get("comment", ""),
        check_gateway=row.get("check-gateway", ""),
    )


def _distance(row: Row, vip: VipConfig) -> int:
    """Return the distance; a disabled row may leave it out, and ours were made with the VIP's.

    Taken for the default 1, such a row of ours would make foreign rows look harmless: only those of
    the same or a lower distance than ours share the route.
    """
    left_out = "distance" not in row and flag(row, "disabled")
    if left_out and carries_mark(row.get("comment", ""), vip.name):
        return vip.distance
    return distance(row)


def render(step: Step, vip: VipConfig) -> Request:
    """Turn a step into the one sentence that carries it out.

    Raises:
        ConfigError: The step asks for what RouterOS 7 cannot do.
    """
    family = _family(vip)
    match step:
        case SetNextHops():
            raise ConfigError(f"vip {vip.name}: RouterOS 7 keeps one row for each gateway, no list")
        case SetDisabled(row_ids=row_ids, disabled=disabled):
            values = {".id": ",".join(row_ids), "disabled": "yes" if disabled else "no"}
            return request(f"v7_{family}_set_disabled", values)
        case SetComment(row_id=target, after=comment):
            return request(f"v7_{family}_set_comment", {".id": target, "comment": comment})
        case CreateRow():
            return request(f"v7_{family}_add", _row_values(step, vip))
        case _:
            assert_never(step)


def _row_values(step: CreateRow, vip: VipConfig) -> dict[str, str]:
    (next_hop,) = step.next_hops
    assert next_hop and not set(next_hop) & {",", " "}, "one gateway, never a list"  # noqa: PT018 - one fact
    values = {
        "dst-address": vip.destination,
        "routing-table": vip.routing_table,
        "gateway": next_hop,
        "distance": str(vip.distance),
        "comment": step.comment,
        "disabled": "yes" if step.disabled else "no",
    }
    if step.check_gateway != "none":
        values["check-gateway"] = step.check_gateway
    return values
