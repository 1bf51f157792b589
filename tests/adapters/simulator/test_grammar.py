"""The words each RouterOS version knows, held against the crawl they came from."""

from typing import Any

import pytest

from edged.simulator.grammar import Grammar, read_request
from edged.simulator.replies import Trap
from edged.simulator.versions import Version
from tests.adapters.simulator.client import schema

CRAWL = schema()
CRAWLED = CRAWL["_meta"]["versions_crawled"]
MENUS = {name: entry for name, entry in CRAWL.items() if not name.startswith("_")}


def grammar(version: str) -> Grammar:
    return Grammar.for_version(Version.parse(version))


def trapped(version: str, *sentence: str) -> list[list[str]]:
    with pytest.raises(Trap) as caught:
        grammar(version).check(read_request(sentence))
    return caught.value.sentences()


def _there(span: list[str], version: str) -> bool:
    first, last = (CRAWLED.index(one) for one in span)
    return bool(first <= CRAWLED.index(version) <= last)


def _expected(entry: dict[str, Any], version: str) -> dict[str, frozenset[str]]:
    return {
        verb: frozenset(
            name for name, span in spans.items() if name != "_command" and _there(span, version)
        )
        for verb, spans in entry.items()
        if _there(spans["_command"], version)
    }


@pytest.mark.parametrize("version", CRAWLED)
def test_every_crawled_version_has_exactly_its_own_words(version: str) -> None:
    """Menu, command and argument, all of them, in each version."""
    known = grammar(version).menus
    for menu, entry in MENUS.items():
        assert dict(known.get(menu, {})) == _expected(entry, version), menu


def test_a_version_between_two_crawls_answers_like_the_older_one() -> None:
    assert grammar("7.20.3").menus == grammar("7.20.2").menus
    assert grammar("7.4").menus == grammar("7.9").menus
    assert grammar("7.99").menus == grammar("7.24").menus


@pytest.mark.parametrize(
    ("version", "sentence", "message"),
    [
        ("7.12.2", ("/routing/bgp/peer/print",), "no such command prefix"),
        ("6.49.10", ("/routing/bgp/session/print",), "no such command prefix"),
        ("6.49.10", ("/ip/rout/print",), "no such command prefix"),
        ("7.19.6", ("/routing/bgp/instance/print",), "no such command prefix"),
        ("7.23", ("/ping", "=address=127.0.0.1"), "no such command"),
        ("7.17", ("/ip/route/check", "=dst-ip=10.0.0.1"), "no such command"),
        ("6.49.10", ("/ip/route/prnt",), "no such command"),
        (
            "7.20",
            ("/routing/settings/set", "=check-gateway-ping-interval=1s"),
            "unknown parameter check-gateway-ping-interval",
        ),
        (
            "7.15",
            ("/ip/settings/set", "=ipv4-multipath-hash-policy=l4"),
            "unknown parameter ipv4-multipath-hash-policy",
        ),
        (
            "7.21",
            ("/ip/route/set", "=.id=*1", "=suppress-hw-offload=no"),
            "unknown parameter suppress-hw-offload",
        ),
        (
            "7.12.2",
            ("/ip/route/set", "=.id=*1", "=routing-mark=x"),
            "unknown parameter routing-mark",
        ),
        (
            "6.49.10",
            ("/ip/route/set", "=.id=*1", "=routing-table=main"),
            "unknown parameter routing-table",
        ),
        ("6.49.10", ("/ip/route/set", "=.id=*1", "=blackhole="), "unknown parameter blackhole"),
        ("6.49.10", ("/ip/route/add", "=.id=*1"), "unknown parameter .id"),
        ("6.49.10", ("/ip/route/print", "=.id=*1"), "unknown parameter .id"),
        ("6.49.10", ("/ip/route/print", "=where="), "unknown parameter where"),
        ("7.12.2", ("/system/resource/listen",), "unknown parameter follow-only"),
        ("7.12.2", ("/ip/route/set", "=disabled=yes"), "missing =.id="),
        ("7.12.2", ("/ip/route/remove",), "missing =.id="),
        ("7.12.2", ("/ip/route/enable", "=.id="), "missing =.id="),
        (
            "7.12.2",
            ("/ip/route/set", "=.id=*1", "?disabled=yes"),
            "unknown parameter ?disabled=yes",
        ),
    ],
)
def test_what_a_version_does_not_know_is_refused(
    version: str, sentence: tuple[str, ...], message: str
) -> None:
    assert trapped(version, *sentence) == [["!trap", f"=message={message}"]]


@pytest.mark.parametrize(
    ("version", "sentence", "message"),
    [
        ("7.12.2", "=disabled=maybe", "input does not match any value of disabled"),
        ("7.12.2", "=check-gateway=bfd", "input does not match any value of check-gateway"),
        ("6.49.10", "=check-gateway=none", "input does not match any value of check-gateway"),
        ("6.49.10", "=type=drop", "input does not match any value of type"),
        ("7.12.2", "=distance=0", "value of distance out of range (1..255)"),
        ("6.49.10", "=distance=256", "value of distance out of range (0..255)"),
        ("7.12.2", "=distance=ten", "invalid value for argument distance"),
    ],
)
def test_a_value_outside_its_list_or_range_is_refused(
    version: str, sentence: str, message: str
) -> None:
    expected = [["!trap", "=category=1", f"=message={message}"]]
    assert trapped(version, "/ip/route/set", "=.id=*1", sentence) == expected


@pytest.mark.parametrize(
    ("version", "distance"), [("6.49.10", "0"), ("6.49.10", "255"), ("7.9", "1"), ("7.24", "255")]
)
def test_a_range_includes_its_ends(version: str, distance: str) -> None:
    words = ("/ip/route/set", "=.id=*1", f"=distance={distance}")
    grammar(version).check(read_request(words))


def test_a_duration_outside_its_range_is_refused() -> None:
    expected = [
        [
            "!trap",
            "=category=1",
            "=message=value of check-gateway-ping-interval out of range (100ms..10m)",
        ]
    ]
    words = ("/routing/settings/set", "=check-gateway-ping-interval=99ms")
    assert trapped("7.21", *words) == expected
    grammar("7.21").check(read_request((words[0], "=check-gateway-ping-interval=100ms")))


def test_old_routers_answer_a_misspelt_path_with_two_traps() -> None:
    """Recorded: one sentence can draw two traps."""
    assert trapped("6.40", "/ip/adress/print") == [
        ["!trap", "=category=0", "=message=no such command or directory (adress)"],
        ["!trap", "=message=no such command prefix"],
    ]


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        (("/ip/route/set", "=.id=*1", "=gateway=a", "=gateway=b"), "unknown parameter gateway"),
        (("/ip/route/set", "disabled=yes"), "unknown parameter disabled=yes"),
    ],
)
def test_a_malformed_sentence_is_refused(sentence: tuple[str, ...], message: str) -> None:
    with pytest.raises(Trap, match=message):
        read_request(sentence)


def test_numbers_may_stand_for_id() -> None:
    grammar("7.12.2").check(read_request(("/ip/route/disable", "=numbers=*1,*2")))
    assert read_request(("/ip/route/disable", "=.id=*1,*2")).ids() == ["*1", "*2"]


def test_versions_sort_as_they_were_released() -> None:
    released = ["6.43", "6.49.10", "7.1beta4", "7.9", "7.9.2", "7.10.2", "7.24rc2", "7.24"]
    assert sorted(released, key=Version.parse) == released
    assert [Version.parse(one).shown for one in released[-2:]] == ["7.24rc2", "7.24 (stable)"]
    with pytest.raises(ValueError, match="not a RouterOS version"):
        Version.parse("seven")
