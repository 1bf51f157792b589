"""Bad input at a start: one sentence that a person can act on, and nothing written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import World, world

pytestmark = pytest.mark.integration

Edit = Callable[[str], str]


def started(folder: Path, edit: Edit, before: Callable[[World], None], words: str) -> str:
    """Start a daemon with an edited file; return what it says once `words` are in it."""
    with world(folder, start=False, before=before) as made:
        (file,) = folder.glob("*.toml")
        file.write_text(edit(file.read_text()))
        made.start_daemon()
        made.wait(f"it says {words!r}", lambda: words in _said(made))
        assert made.own_writes() == []
        return _said(made)


def _said(made: World) -> str:
    status = made.daemon.status()
    routers = [router["detail"] for router in status["routers"]]
    frozen = [str(found) for vip in status["vips"] for found in vip["frozen"]]
    events = [str(event["fields"]) for event in made.daemon.events()]
    return "\n".join([*routers, *frozen, *events])


def nothing(made: World) -> None:
    """Leave the world as it is."""


def test_a_wrong_password_names_the_user_and_the_routers_words(short_tmp_path: Path) -> None:
    said = started(
        short_tmp_path,
        lambda text: text,
        lambda made: _write(made.router.password_file, "wrong"),
        "refused the login",
    )
    assert "the router refused the login of 'edged': invalid user name or password (6)" in said
    assert "wrong" not in said


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def test_a_wrong_pin_shows_both_and_says_that_no_password_left(short_tmp_path: Path) -> None:
    said = started(
        short_tmp_path,
        lambda text: re.sub("sha256:..", "sha256:00", text),
        nothing,
        "not the pinned one",
    )
    assert re.search("found sha256:[0-9a-f]{64}, configured sha256:00[0-9a-f]{62}", said)
    assert "the password was not sent" in said


def test_a_router_that_nobody_answers_for_says_where_to_look(short_tmp_path: Path) -> None:
    said = started(
        short_tmp_path,
        lambda text: re.sub(r'(address = "127.0.0.1"\nport = )\d+', r"\g<1>1", text),
        nothing,
        "nothing listens there",
    )
    assert "look at /ip service print on the router: api-ssl is 8729, api 8728" in said


def test_another_table_on_routeros_6_is_refused_in_one_sentence(short_tmp_path: Path) -> None:
    said = started(
        short_tmp_path,
        lambda text: text.replace("distance = 10", 'distance = 10\nrouting_table = "wan"'),
        nothing,
        "RouterOS 7",
    )
    assert 'routing_table = "wan" needs RouterOS 7; RouterOS 6 allows "main" only' in said


def test_an_ipv6_vip_on_routeros_6_is_refused_in_one_sentence(short_tmp_path: Path) -> None:
    def ipv6(text: str) -> str:
        text = text.replace("172.30.1.7/32", "2001:db8::7/128")
        return re.sub(
            r'address = "127\.0\.20\.(\d)"',
            r'address = "127.0.20.\1"\nnext_hop = "2001:db8::\1"',
            text,
        )

    said = started(short_tmp_path, ipv6, nothing, "IPv6")
    assert "RouterOS 7" in said


def test_a_next_hop_nobody_configured_blocks_adoption(short_tmp_path: Path) -> None:
    said = started(
        short_tmp_path,
        lambda text: text.replace('"127.0.20.3"', '"127.0.20.9"'),
        nothing,
        "not_adopted",
    )
    assert "127.0.20.3" in said
