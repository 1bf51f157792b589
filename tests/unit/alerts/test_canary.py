"""The canary's judgement, as strips: `P` answered, `F` failed."""

import pytest

from edged.alerts.canary import GOOD_IN_A_ROW, CanaryWatch


def told(strip: str) -> list[tuple[int, str]]:
    """Return what is said after which request."""
    watch = CanaryWatch(vip="web")
    return [
        (at, event.name)
        for at, sign in enumerate(strip)
        for event in watch.observe("HTTP 503" if sign == "F" else "", at * 5_000)
    ]


@pytest.mark.parametrize(
    ("strip", "said"),
    [
        ("P" * 40, []),
        ("PPPPPFPPPPPPPPPPPPPPPPPPPFPPPP", []),
        ("PPPPPFPF", []),
        ("PPPPPFPPFPPF", [(11, "vip.failing")]),
        ("FFF", [(2, "vip.failing")]),
        ("FFF" + "P" * GOOD_IN_A_ROW, [(2, "vip.failing"), (12, "vip.recovered")]),
        ("FFF" + "P" * 9 + "F" + "P" * 9, [(2, "vip.failing")]),
    ],
)
def test_strips(strip: str, said: list[tuple[int, str]]) -> None:
    assert told(strip) == said


def test_it_says_how_many_fail_and_for_how_long() -> None:
    watch = CanaryWatch(vip="web")
    for at in range(2):
        watch.observe("", at)
    events = [one for at in range(3) for one in watch.observe("TLS failed", 10 + at)]
    (failing,) = events
    assert failing.get("failed_percent") == 60
    assert failing.get("detail") == "TLS failed"
    again = [one for at in range(GOOD_IN_A_ROW) for one in watch.observe("", 100 + at)]
    assert again[0].get("failed_ms") == 100 + GOOD_IN_A_ROW - 1 - 12
