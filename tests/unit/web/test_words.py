"""The sentences: none is missing, none names a field that is not there."""

import re
from enum import StrEnum

import pytest

from edged.core.events import EVENTS
from edged.core.types import (
    DeathClass,
    FrozenReason,
    GatewayState,
    KeptReason,
    ProbeReason,
    WaitReason,
)
from edged.web.event_words import EVENT_SENTENCES, event_sentence, spell_duration
from edged.web.words import BRIEF, SENTENCES, brief, sentence

CLOSED_LISTS: list[type[StrEnum]] = [
    DeathClass,
    FrozenReason,
    GatewayState,
    KeptReason,
    ProbeReason,
    WaitReason,
]


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_every_member_of_every_closed_list_has_a_sentence(language: str) -> None:
    table = SENTENCES[language]
    assert set(table) == set(CLOSED_LISTS)
    for closed in CLOSED_LISTS:
        assert set(table[closed]) == set(closed)
        assert all(table[closed].values())


@pytest.mark.parametrize("language", sorted(BRIEF))
def test_every_class_and_probe_reason_has_a_few_words_for_a_column(language: str) -> None:
    conclusive = set(ProbeReason) - {"local_error", "stalled", "cancelled"}
    assert {*conclusive, *DeathClass} <= set(BRIEF[language])
    assert all(len(words) <= 22 for words in BRIEF[language].values())


@pytest.mark.parametrize("language", sorted(EVENT_SENTENCES))
def test_every_event_has_a_sentence_that_uses_its_own_fields_only(language: str) -> None:
    table = EVENT_SENTENCES[language]
    assert set(table) == set(EVENTS)
    for name, words in table.items():
        fields = set(re.findall(r"\{(\w+)\}", words)) - {"who"}
        assert fields <= EVENTS[name][1], name


def test_a_sentence_says_what_it_is_about() -> None:
    said = sentence(KeptReason.SECOND_OPINION, router="hex")
    assert said == "hex still reaches it, so edged's own path is suspect"
    assert sentence(KeptReason.LAST) == "it is the last one that answers"


def test_a_place_that_nobody_filled_is_shown_as_unknown_rather_than_raised() -> None:
    assert "..." in sentence(KeptReason.SECOND_OPINION)


def test_braces_in_what_others_wrote_stay_as_they_are() -> None:
    said = sentence(DeathClass.ILL, detail="{router} says {0}")
    assert said == "It takes connections, but does not serve: {router} says {0}."


def test_an_unknown_reason_is_said_as_it_is_written() -> None:
    assert brief("quite_new") == "quite new"
    assert brief("refused", port=8443) == ":8443 closed"


EVENT_TABLE = [
    (
        "gateway.went_down",
        {"gateway": "node2", "class": "refused", "witness": "node1", "detect_ms": 5},
        "node2 DOWN: refused, witness node1, 5 ms after the first sign",
    ),
    ("gateway.went_down", {"gateway": "node2", "class": "silent"}, "node2 DOWN: silent"),
    (
        "route.changed",
        {
            "vip": "web",
            "router": "hex",
            "added": [],
            "removed": ["node2"],
            "in_route": ["node1", "node3"],
            "reason": "refused",
            "total_ms": 13,
        },
        "node2 out: refused. In web on hex: node1, node3. First sign to route 13 ms",
    ),
    (
        "route.changed",
        {"vip": "web", "router": "hex", "added": ("node2",), "in_route": (), "reason": "up"},
        "node2 in: up. In web on hex: nobody",
    ),
    (
        "gateway.drained",
        {"gateway": "node3", "source": "person", "owner": "kim", "reason": "kernel"},
        "node3 drained by kim: kernel",
    ),
    (
        "gateway.drained",
        {"gateway": "node3", "source": "kubernetes"},
        "node3 drained by kubernetes",
    ),
    ("thing.happened", {"a": 1, "b": ["x", "y"]}, "thing.happened a=1 b=x, y"),
]


@pytest.mark.parametrize(("name", "fields", "words"), EVENT_TABLE)
def test_an_event_is_said_without_what_it_does_not_carry(
    name: str,
    fields: dict[str, object],
    words: str,
) -> None:
    assert event_sentence(name, fields) == words


def test_whoever_reads_about_a_gateway_is_not_told_its_name_again() -> None:
    fields = {"gateway": "node2", "class": "refused"}
    assert event_sentence("gateway.went_down", fields, gateway="node2") == "DOWN: refused"


def test_brackets_in_what_others_wrote_do_not_hide_anything() -> None:
    fields = {"vip": "web", "router": "hex", "message": "failure: [x] {y}"}
    assert event_sentence("route.write_refused", fields).endswith("failure: [x] {y}")


DURATIONS = [
    (-5, "0 ms"),
    (0, "0 ms"),
    (999, "999 ms"),
    (1_000, "1 s"),
    (2_440, "2.4 s"),
    (18_000, "18 s"),
    (59_999, "59 s"),
    (60_000, "1 m"),
    (78_000, "1 m 18 s"),
    (3_600_000, "1 h"),
    (11_100_000, "3 h 5 m"),
    (86_400_000, "1 d"),
    (100_000_000, "1 d 3 h"),
    (12 * 86_400_000 + 5_000_000, "12 d"),
]


@pytest.mark.parametrize(("duration_ms", "words"), DURATIONS)
def test_durations_are_said_with_the_units_that_matter(duration_ms: int, words: str) -> None:
    assert spell_duration(duration_ms) == words
