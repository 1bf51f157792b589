"""The table of sentences against what is on record: nothing is sent that no router knows."""

import itertools
from typing import Any

import pytest

from edged.router.sentences import TABLE, V6, V7, Policy, Request, Sentence, request
from tests.support import recorded

SCHEMA = recorded.schema()
VERSIONS = [v for v in SCHEMA["_meta"]["versions_crawled"] if "." in v]
ROWS = list(TABLE.values())

# Words of the API, not of the console: `.id` is the console's `numbers`; `.proplist` goes with
# every print, also with those of single objects, for which the console has none.
_API_ONLY = {".id"}

UNRECORDED_V6 = {
    # `/ping` of RouterOS 6: the path and its rows are recorded, its argument words stand in the
    # manuals of 2.4 to 2.8 only. See docs/unverified.md.
    ("/ping", "address"),
    ("/ping", "count"),
    ("/ping", "interval"),
    # Set-up only (`edged init`, `edged doctor`): in the manual, not in a record of 6.
    *(
        ("/ip/firewall/nat/print", word)
        for word in (
            *("chain", "action", "protocol", "dst-address", "dst-port"),
            *("to-addresses", "to-ports", "disabled", "comment"),
        )
    ),
    *(
        ("/ip/service/print", word)
        for word in ("name", "port", "address", "certificate", "disabled")
    ),
    ("/user/group/print", "name"),
    ("/user/group/print", "policy"),
    *(("/user/active/print", word) for word in ("name", "address", "via")),
    *(("/ip/firewall/filter/print", word) for word in TABLE["filters"].proplist if word != ".id"),
}

# No record has these menus. A filter's matchers are those of its sister, and three of its own.
FILTER = "/ip/firewall/filter"
SISTER = "/ip/firewall/nat"
UNRECORDED_V7 = {
    FILTER: {"connection-nat-state", "connection-state", "tcp-flags"},
    "/user/active": {"name", "address", "via"},
}


def _menu_and_verb(path: str) -> tuple[str, str]:
    menu, _, verb = path.rpartition("/")
    return menu or "/", verb


def _within(span: list[str], version: str) -> bool:
    key = recorded.version_key(version)
    return recorded.version_key(span[0]) <= key <= recorded.version_key(span[1])


def _reply_words(menu: str, major: int) -> set[str]:
    entry: dict[str, Any] = SCHEMA["_reply_words"].get(menu, {})
    known = entry.get(f"v{major}") or entry.get("v6+v7") or {}
    words = {w for kind in ("flags", "settable", "read_only") for w in known.get(kind, ())}
    for one in recorded.replies(f"{menu}/print"):
        if one["routeros_version"].startswith((str(major), "any")):
            words |= {word for row in one["rows"] for word in row}
    return words | {".id"}


@pytest.mark.parametrize("row", [r for r in ROWS if V7 in r.dialects], ids=lambda r: r.name)
def test_each_v7_argument_is_in_the_grammar_of_every_version(row: Sentence) -> None:
    menu, verb = _menu_and_verb(row.path)
    grammar = SCHEMA[SISTER if menu == FILTER else menu][verb]
    for version in VERSIONS:
        if row.since and recorded.version_key(version) < recorded.version_key(row.since):
            continue
        assert _within(grammar["_command"], version), f"{row.path} is not in {version}"
        for word in {*row.needed, *row.optional} - _API_ONLY:
            assert _within(grammar[word], version), f"{row.path} {word} is not in {version}"


@pytest.mark.parametrize("row", [r for r in ROWS if V7 in r.dialects], ids=lambda r: r.name)
def test_each_v7_property_asked_for_is_a_known_one(row: Sentence) -> None:
    menu, _ = _menu_and_verb(row.path)
    grammar = SCHEMA[SISTER if menu == FILTER else menu]
    settable = {w for v in ("add", "set") for w in grammar.get(v, {})}
    settable |= UNRECORDED_V7.get(menu, set())
    known = _reply_words(menu, V7) | _reply_words("/ip/route", V7) & settable | settable
    assert {*row.proplist, *row.query} <= known


@pytest.mark.parametrize("row", [r for r in ROWS if V6 in r.dialects], ids=lambda r: r.name)
def test_each_v6_word_is_recorded_or_confessed(row: Sentence) -> None:
    menu, verb = _menu_and_verb(row.path)
    known = _reply_words(menu if verb != "ping" else "/", V6)
    words = {*row.needed, *row.optional, *row.proplist, *row.query}
    unknown = {(row.path, word) for word in words - known}
    assert unknown <= UNRECORDED_V6


def test_every_confessed_word_stands_in_the_document() -> None:
    document = recorded.repository_file("docs/unverified.md")
    for path, word in UNRECORDED_V6:
        assert f"`{path}`" in document
        assert f"`{word}`" in document


def test_nothing_can_make_a_blackhole_or_remove_a_row() -> None:
    for row in ROWS:
        assert "blackhole" not in {*row.needed, *row.optional, *row.query}
        assert row.path.rpartition("/")[2] in {"print", "set", "add", "ping"}


def test_only_routes_are_ever_written() -> None:
    written = {row.path for row in ROWS if row.is_write}
    assert written == {"/ip/route/set", "/ip/route/add", "/ipv6/route/set", "/ipv6/route/add"}
    assert all(row.is_write == (row.policy is Policy.WRITE) for row in ROWS)


def test_every_print_names_its_properties() -> None:
    for row in ROWS:
        assert bool(row.proplist) == row.path.endswith("/print")


def test_reads_of_routes_ask_for_one_destination() -> None:
    reads = [row for row in ROWS if "route/print" in row.path]
    assert len(reads) == 3
    assert all(row.query == ("dst-address",) for row in reads)


def test_a_request_spells_its_words_in_the_api_form() -> None:
    made = request("v7_ip_set_disabled", {".id": "*1,*80000060", "disabled": "yes"})
    assert made.words() == ("=.id=*1,*80000060", "=disabled=yes")
    made = request("v7_ip_read", dst_address="172.30.1.7/32")
    assert made.words()[-1] == "?dst-address=172.30.1.7/32"
    assert made.words()[0].startswith("=.proplist=.id,dst-address,")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("v7_ip_set_disabled", {".id": "*1"}),
        ("v7_ip_set_disabled", {".id": "*1", "disabled": "yes", "blackhole": "no"}),
        ("v7_ip_set_disabled", {".id": "web", "disabled": "yes"}),
        ("v7_ip_set_disabled", {".id": "", "disabled": "yes"}),
        ("v7_ip_set_disabled", {".id": "*1", "disabled": "maybe"}),
        ("v6_ip_set_gateway", {".id": "*1", "gateway": "1.1.1.1", "distance": "1"}),
    ],
)
def test_a_request_outside_its_row_cannot_be_made(name: str, values: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        request(name, values)


def test_a_row_outside_the_table_cannot_be_sent() -> None:
    reboot = Sentence(name="reboot", dialects=(6,), path="/system/reboot", policy=Policy.WRITE)
    with pytest.raises(AssertionError):
        Request(sentence=reboot)
    twin = Sentence(name="resource", dialects=(6,), path="/system/reboot", policy=Policy.WRITE)
    with pytest.raises(AssertionError):
        Request(sentence=twin)


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    pairs = itertools.combinations(ROWS, 2)
    assert not any(
        a.path == b.path
        and a.needed == b.needed
        and a.dialects == b.dialects
        and a.query == b.query
        for a, b in pairs
    )
