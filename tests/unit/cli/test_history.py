"""Time lines and summaries, as a person and as a post-mortem gets them."""

from typing import Any

from edged.cli.history import counted, markdown, plain, timeline
from edged.cli.render import Terminal, terminal_of


class _Paper:
    """A stream that is no terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Tell that it is none."""
        return False


def terminal() -> Terminal:
    made = terminal_of(_Paper(), {"COLUMNS": "79"})  # type: ignore[arg-type] # enough of one
    return made.at("Asia/Seoul")


def happened(seq: int, time: str, name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "seq": seq,
        "time": f"2026-05-01T18:12:{time}Z",
        "name": name,
        "severity": "info",
        "fields": {key.rstrip("_"): value for key, value in fields.items()},
    }


STORY = [
    happened(1, "44.208", "gateway.went_down", gateway="node2", class_="refused", detect_ms=5),
    happened(
        2,
        "44.211",
        "route.changed",
        vip="web",
        router="hex",
        removed=["node2"],
        added=[],
        in_route=["node1", "node3"],
        reason="refused",
    ),
    happened(3, "46.208", "alert.opened", incident="7k2", title="🔴 web: node2 out | <b>"),
    happened(4, "46.300", "alert.delivered", incident="7k2", channel="team", step="open"),
    happened(5, "56.000", "alert.resolved", incident="7k2", open_ms=252_000),
]


def test_offsets_count_from_the_first_sign() -> None:
    moments = timeline(STORY)
    assert [one.offset_ms for one in moments] == [0, 5, 8, 2_005, 2_097, 11_797]
    assert moments[0].text == "first sign of trouble"
    assert moments[1].text.startswith("node2 DOWN")


def test_events_are_told_in_the_order_they_happened() -> None:
    assert timeline(list(reversed(STORY))) == timeline(STORY)


def test_the_plain_form_has_a_heading_and_fits_the_width() -> None:
    lines = plain("7k2", STORY, timeline(STORY), terminal())
    assert lines[0].startswith("Incident 7k2: ")
    assert "2026-05-02 KST, over after 4 m 12 s" in lines[1]
    assert any("03:12:44.211" in line and "+8 ms" in line for line in lines)
    assert max(len(line) for line in lines) <= 79


def test_the_markdown_form_is_a_table_that_names_cannot_break() -> None:
    lines = markdown("7k2", STORY, timeline(STORY), terminal())
    rows = [line for line in lines if line.startswith("| 03:12")]
    assert len(rows) == len(STORY) + 1
    assert all(row.replace("\\|", "").count("|") == 4 for row in rows)
    assert "<b>" not in "\n".join(lines).replace("\\<b\\>", "")


def test_an_open_incident_says_so() -> None:
    assert "not resolved" in plain("7k2", STORY[:4], timeline(STORY[:4]), terminal())[1]


def test_a_summary_counts_events_and_lists_incidents() -> None:
    found = counted(STORY)
    assert found["counts"]["alert.opened"] == 1
    assert found["incidents"] == [
        {
            "incident": "7k2",
            "opened": "2026-05-01T18:12:46.208Z",
            "title": "🔴 web: node2 out | <b>",
            "open_ms": 252_000,
            "over": True,
        }
    ]
    assert counted([]) == {"since": None, "counts": {}, "incidents": []}
