"""What a router's ping says: silence means something only where an answer is known to come."""

import pytest

from edged.core.types import Opinion
from edged.router.opinion import LEARNED_FOR_MS, PingMemory, judge
from edged.router.text import Row
from tests.support import recorded

LOST = {"host": "172.30.1.20", "seq": "0", "status": "timeout", "sent": "1", "received": "0"}
BACK = {"host": "172.30.1.20", "seq": "0", "time": "114us", "sent": "1", "received": "1"}


def test_every_recorded_ping_is_read() -> None:
    for one in recorded.replies("/ping", "/tool/ping"):
        rows = [row for row in one["rows"] if "seq" in row]
        lost = all(row.get("status") for row in rows)
        opinion, _ = judge(rows, count=len(rows), vouched=True)
        assert opinion is (Opinion.DEAD if lost else Opinion.ALIVE)


@pytest.mark.parametrize(
    ("rows", "vouched", "opinion"),
    [
        ([LOST, LOST, LOST], True, Opinion.DEAD),
        ([LOST, LOST, LOST], False, Opinion.UNKNOWN),
        ([LOST, LOST, BACK], True, Opinion.ALIVE),
        ([BACK, LOST, LOST], False, Opinion.ALIVE),
        ([LOST, LOST], True, Opinion.UNKNOWN),
        ([], True, Opinion.UNKNOWN),
        ([LOST | {"status": "host unreachable", "time": "3ms"}] * 3, True, Opinion.DEAD),
        ([{"sent": "3", "received": "0"}], True, Opinion.UNKNOWN),
    ],
)
def test_only_whole_silence_of_an_address_that_answers_is_death(
    rows: list[Row],
    vouched: bool,  # noqa: FBT001
    opinion: Opinion,
) -> None:
    assert judge(rows, count=3, vouched=vouched)[0] is opinion


def test_an_answer_vouches_for_an_hour() -> None:
    memory = PingMemory()
    assert not memory.vouches("172.30.1.20", 0)
    memory.observe("172.30.1.20", Opinion.ALIVE, 1_000)
    memory.observe("172.30.1.20", Opinion.DEAD, 2_000)
    assert memory.vouches("172.30.1.20", 1_000 + LEARNED_FOR_MS)
    assert not memory.vouches("172.30.1.20", 1_001 + LEARNED_FOR_MS)
    assert not memory.vouches("172.30.1.70", 2_000)


def test_an_address_that_is_no_gateway_any_more_is_forgotten() -> None:
    memory = PingMemory()
    memory.observe("172.30.1.20", Opinion.ALIVE, 0)
    memory.keep_only(["172.30.1.70"])
    assert not memory.vouches("172.30.1.20", 0)
