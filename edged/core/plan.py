"""Plan: from the observed rows to the desired set in steps that are safe to interrupt.

Theory. A plan is an ordered list of router commands. Growing comes before shrinking, so that no
set in between is smaller than both ends. A step assumes only what was read. Any prefix of a plan,
re-planned from the rows it leaves, ends at the same set: so a crash, a cut or a refusal at any
point costs time, never the route.

Invariant. Every row named in a step carries our mark for this VIP; nothing else is ever named,
except by `adoption_steps`, which a person has asked for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from edged.core.types import (
    CreateRow,
    GatewayConfig,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    VipConfig,
)

MAX_STEPS: Final = 64
"""Longest plan: more rows than this for one VIP means that something else is wrong."""


def address_of(next_hop: str) -> str:
    """Cut a router's next hop word to its address: `172.30.1.20%bridge` -> `172.30.1.20`."""
    return re.split("[%@]", next_hop, maxsplit=1)[0]


def carries_mark(comment: str, vip: str) -> bool:
    """Whether a comment carries `edged:<vip>` as a whole word."""
    return f"edged:{vip}" in comment.split()


def marked(comment: str, vip: str) -> str:
    """Add our mark to a comment; a person's words stay as they are."""
    if carries_mark(comment, vip):
        return comment
    return f"{comment} edged:{vip}" if comment else f"edged:{vip}"


def unmarked(comment: str, vip: str) -> str:
    """Take our mark out of a comment; what is left is byte for byte what was there."""
    words = list(re.finditer(rf"(?<!\S)edged:{re.escape(vip)}(?!\S)", comment))
    if not words:
        return comment
    start, end = words[-1].span()
    if start > 0:
        start -= 1
    elif end < len(comment):
        end += 1
    return comment[:start] + comment[end:]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """The rows of one VIP, sorted by whose they are and who is in them."""

    shape: RouteShape
    ours: tuple[RouteRow, ...]
    foreign: tuple[RouteRow, ...]
    bgp: tuple[RouteRow, ...]
    members: tuple[str, ...]
    inactive: frozenset[str]
    unknown: tuple[str, ...]
    disabled: frozenset[str]
    rows: frozenset[str]
    duplicates: tuple[str, ...]

    @property
    def blocking_foreign(self) -> tuple[RouteRow, ...]:
        """Enabled foreign rows that would share or win the route."""
        if not self.ours:
            return tuple(row for row in self.foreign if not row.disabled)
        ours = min(row.distance for row in self.ours)
        return tuple(r for r in self.foreign if not r.disabled and r.distance <= ours)


def sort_rows(
    rows: Iterable[RouteRow],
    shape: RouteShape,
    vip: VipConfig,
    gateways: Mapping[str, GatewayConfig],
) -> OwnRows:
    """Sort a read's rows into ours, foreign and BGP, and name the members.

    Args:
        rows: all rows for the destination and table.
        shape: how this router keeps the set.
        vip: whose mark counts.
        gateways: address of the next hop -> gateway, in configured order.
    """
    ours, foreign, bgp = [], [], []
    for row in rows:
        if row.bgp:
            bgp.append(row)
        elif row.dynamic or not row.static:
            continue
        elif carries_mark(row.comment, vip.name):
            ours.append(row)
        else:
            foreign.append(row)
    present: set[str] = set()
    disabled: set[str] = set()
    inactive: set[str] = set()
    unknown: list[str] = []
    seen: list[str] = []
    for row in ours:
        for next_hop in row.next_hops:
            gateway = gateways.get(address_of(next_hop))
            if gateway is None:
                if shape is RouteShape.LIST or not row.disabled:
                    unknown.append(next_hop)  # a disabled row of its own hurts nobody
                continue
            seen.append(gateway.name)
            (disabled if row.disabled else present).add(gateway.name)
            if next_hop in row.unreachable and not row.disabled:
                inactive.add(gateway.name)
    twice = sorted({name for name in seen if seen.count(name) > 1 and shape is RouteShape.ROWS})
    if shape is RouteShape.LIST and len(ours) > 1:
        twice = [row.row_id for row in ours]
    return OwnRows(
        shape=shape,
        ours=tuple(ours),
        foreign=tuple(foreign),
        bgp=tuple(bgp),
        members=tuple(g.name for g in gateways.values() if g.name in present),
        inactive=frozenset(inactive),
        unknown=tuple(dict.fromkeys(unknown)),
        disabled=frozenset(disabled - present),
        rows=frozenset(disabled | present),
        duplicates=tuple(twice),
    )


def diff(
    own: OwnRows,
    desired: tuple[str, ...],
    vip: VipConfig,
    gateways: Mapping[str, GatewayConfig],
    *,
    drop: frozenset[str] = frozenset(),
    rowless: frozenset[str] = frozenset(),
) -> tuple[Step, ...]:
    """Return the steps from the observed rows to the desired set.

    `drop` names unknown next hops that a person wants gone; others are carried along. `rowless`
    gateways get no row of their own now (v7: all others have one, disabled or not). An empty
    `desired` never comes here: a route is emptied by nobody but a person's hand-over.
    """
    if not own.ours or not desired:
        return ()
    if own.shape is RouteShape.LIST:
        return _diff_list(own, desired, gateways, drop)
    return _diff_rows(own, desired, vip, gateways, drop, rowless)


def _diff_list(
    own: OwnRows,
    desired: tuple[str, ...],
    gateways: Mapping[str, GatewayConfig],
    drop: frozenset[str],
) -> tuple[Step, ...]:
    row = own.ours[0]
    words = {
        gateways[address_of(hop)].name: hop for hop in row.next_hops if address_of(hop) in gateways
    }
    spelled = {g.name: words.get(g.name, g.next_hop) for g in gateways.values()}
    carried = [hop for hop in own.unknown if hop not in drop]
    after = tuple(spelled[name] for name in desired) + tuple(carried)
    steps: list[Step] = []
    if set(after) != set(row.next_hops):
        steps.append(SetNextHops(row_id=row.row_id, before=row.next_hops, after=after))
    if row.disabled:
        steps.append(SetDisabled(row_ids=(row.row_id,), next_hops=after, disabled=False))
    return tuple(steps)


def _diff_rows(
    own: OwnRows,
    desired: tuple[str, ...],
    vip: VipConfig,
    gateways: Mapping[str, GatewayConfig],
    drop: frozenset[str],
    rowless: frozenset[str],
) -> tuple[Step, ...]:
    by_name: dict[str, RouteRow] = {}
    for row in own.ours:
        for hop in row.next_hops:
            gateway = gateways.get(address_of(hop))
            if gateway is not None:
                by_name[gateway.name] = row
    comment = marked(vip.comment, vip.name) if vip.comment else own.ours[0].comment
    without_row = [g for g in gateways.values() if g.name not in by_name]
    wanted_rows = [g for g in without_row if g.name not in rowless]
    entering = [g for g in wanted_rows if g.name in desired]
    spare = [g for g in wanted_rows if g.name not in desired]
    may_shrink = all(name in by_name for name in desired)
    enable = [n for n in desired if n in by_name and by_name[n].disabled]
    disable = [n for n in own.members if n not in desired]
    gone = [r for r in own.ours if not r.disabled and any(h in drop for h in r.next_hops)]
    steps: list[Step] = [_create(gateway, comment, vip) for gateway in entering]
    if enable:
        steps.append(_toggle([by_name[name] for name in enable], disabled=False))
    if may_shrink and (disable or gone):
        steps.append(_toggle([*(by_name[name] for name in disable), *gone], disabled=True))
    steps.extend(_create(gateway, comment, vip) for gateway in spare)
    return tuple(steps[:MAX_STEPS])


def _toggle(rows: list[RouteRow], *, disabled: bool) -> SetDisabled:
    return SetDisabled(
        row_ids=tuple(row.row_id for row in rows),
        next_hops=tuple(hop for row in rows for hop in row.next_hops),
        disabled=disabled,
    )


def _create(gateway: GatewayConfig, comment: str, vip: VipConfig) -> CreateRow:
    return CreateRow(
        next_hops=(gateway.next_hop,),
        comment=comment,
        disabled=True,
        check_gateway=vip.check_gateway,
    )


def hand_over(own: OwnRows) -> tuple[Step, ...]:
    """Return the step that disables every row of ours; `diff` takes the VIP back."""
    enabled = [row for row in own.ours if not row.disabled]
    return (_toggle(enabled, disabled=True),) if enabled else ()


def after_step(rows: tuple[RouteRow, ...], step: Step) -> frozenset[tuple[str, bool]]:
    """Return what our rows would look like once `step` was applied; see `shape_of`."""
    view = set(shape_of(rows))
    match step:
        case SetNextHops(row_id=row_id, before=before, after=after):
            disabled = any(row.disabled for row in rows if row.row_id == row_id)
            view = {(hop, state) for hop, state in view if hop not in before}
            view |= {(hop, disabled) for hop in after}
        case SetDisabled(next_hops=hops, disabled=disabled):
            view -= {(hop, not disabled) for hop in hops}
            view |= {(hop, disabled) for hop in hops}
        case CreateRow(next_hops=hops, disabled=disabled):
            view |= {(hop, disabled) for hop in hops}
        case SetComment():
            pass
        case _:
            assert_never(step)
    return frozenset(view)


def shape_of(rows: Iterable[RouteRow]) -> frozenset[tuple[str, bool]]:
    """Return what a person would compare of our rows: each next hop, and whether it is disabled.

    Row ids are left out on purpose: nothing says that they survive a reboot.
    """
    return frozenset((hop, row.disabled) for row in rows for hop in row.next_hops)


def adoption_steps(own: OwnRows, vip: VipConfig) -> tuple[SetComment, ...]:
    """Return the comment changes that mark the matching foreign rows as ours.

    A row beside one of ours joins it only where each next hop has a row of its own; a second row
    for the same next hop stays foreign, so that adoption never makes a duplicate.
    """
    if own.ours and own.shape is RouteShape.LIST:
        return ()
    taken = {hop for row in own.ours for hop in row.next_hops}
    return tuple(
        SetComment(row_id=row.row_id, before=row.comment, after=marked(row.comment, vip.name))
        for row in own.foreign
        if row.distance == vip.distance and taken.isdisjoint(row.next_hops)
    )


def release_steps(own: OwnRows, vip: VipConfig) -> tuple[SetComment, ...]:
    """Return the comment changes that take our mark off again."""
    return tuple(
        SetComment(row_id=row.row_id, before=row.comment, after=unmarked(row.comment, vip.name))
        for row in own.ours
    )


def creation_steps(
    shape: RouteShape,
    vip: VipConfig,
    members: tuple[GatewayConfig, ...],
    spare: tuple[GatewayConfig, ...],
) -> tuple[CreateRow, ...]:
    """Return the rows of a route that a person asked edged to create."""
    comment = marked(vip.comment, vip.name)
    if shape is RouteShape.LIST:
        hops = tuple(gateway.next_hop for gateway in members)
        return (CreateRow(next_hops=hops, comment=comment, disabled=False),)
    return tuple(
        CreateRow(
            next_hops=(gateway.next_hop,),
            comment=comment,
            disabled=gateway not in members,
            check_gateway=vip.check_gateway,
        )
        for gateway in (*members, *spare)
    )


def undo_lines(rows: tuple[RouteRow, ...], vip: VipConfig, shape: RouteShape) -> tuple[str, ...]:
    """Return RouterOS lines a person can paste to put rows back as they were at adoption."""
    path = "/ipv6 route" if ":" in vip.destination else "/ip route"
    lines = []
    for row in rows:
        hops = ",".join(row.next_hops)
        now = _quoted(marked(row.comment, vip.name))
        find = f'dst-address="{vip.destination}" comment="{now}"'
        values = f'comment="{_quoted(row.comment)}" disabled={"yes" if row.disabled else "no"}'
        if shape is RouteShape.ROWS:
            find += f' gateway="{hops}"'
        else:
            values += f' gateway="{hops}"'
        lines.append(f"{path} set [find {find}] {values}")
    return tuple(lines)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
