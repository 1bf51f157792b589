"""The last look before a router is changed."""

from dataclasses import replace

import pytest

from edged.core.types import (
    CreateRow,
    RouteRow,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    VipConfig,
)
from edged.router.reconcile import objection

VIP = VipConfig(name="web", destination="172.30.1.7/32", routers=(), checks=())
HOPS = ("172.30.1.20", "172.30.1.70")
OURS = RouteRow(row_id="*1", next_hops=HOPS, comment="x edged:web")
OURS_V7 = replace(OURS, row_id="*2", next_hops=HOPS[:1])
FOREIGN = RouteRow(row_id="*3", next_hops=HOPS, comment="x edged:webmail")
LEARNED = RouteRow(row_id="*4", next_hops=HOPS, static=False, dynamic=True, bgp=True)
ROWS = (OURS, OURS_V7, FOREIGN, LEARNED)


@pytest.mark.parametrize(
    "step",
    [
        SetNextHops(row_id="*1", before=HOPS, after=HOPS[:1]),
        SetDisabled(row_ids=("*1", "*2"), next_hops=(*HOPS, HOPS[0]), disabled=True),
        SetComment(row_id="*3", before="x edged:webmail", after="x edged:webmail edged:web"),
        CreateRow(next_hops=("172.30.1.82",), comment="edged:web", disabled=True),
    ],
)
def test_a_step_that_fits_the_rows_is_sent(step: Step) -> None:
    assert objection(step, ROWS, VIP) == ""


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (SetNextHops(row_id="*1", before=HOPS, after=()), "empty"),
        (SetNextHops(row_id="*1", before=HOPS[:1], after=HOPS[:1]), "now holds"),
        (SetNextHops(row_id="*9", before=HOPS, after=HOPS[:1]), "gone"),
        (SetNextHops(row_id="*3", before=HOPS, after=HOPS[:1]), "mark"),
        (SetNextHops(row_id="*4", before=HOPS, after=HOPS[:1]), "static"),
        (SetDisabled(row_ids=(), next_hops=(), disabled=True), "no row"),
        (SetDisabled(row_ids=("*2", "*3"), next_hops=(HOPS[0], *HOPS), disabled=True), "mark"),
        (SetDisabled(row_ids=("*2",), next_hops=HOPS[1:], disabled=True), "now hold"),
        (SetDisabled(row_ids=("*4",), next_hops=HOPS, disabled=True), "static"),
        (SetComment(row_id="*3", before="y", after="y edged:web"), "changed"),
        (SetComment(row_id="*9", before="y", after="y edged:web"), "gone"),
        (SetComment(row_id="*4", before="", after="edged:web"), "static"),
        (CreateRow(next_hops=HOPS[:1], comment="edged:web", disabled=True), "already"),
    ],
)
def test_a_step_that_does_not_is_held_back(step: Step, says: str) -> None:
    assert says in objection(step, ROWS, VIP)
