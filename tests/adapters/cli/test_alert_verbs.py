"""`edged alerts` and `edged silence` against a control socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.main import main
from edged.core.errors import CommandRefused
from edged.web.control import ControlServer
from tests.support.control import NotingApi
from tests.support.documents import healthy, status_of

LISTED: dict[str, Any] = {
    "schema": "edged.alerts/v1",
    "time": "2026-05-01T18:12:44.000Z",
    "open": [
        {
            "incident": "7k2",
            "kind": "gateway_out",
            "severity": "warning",
            "title": "web: node2 out\x1b[31m",
            "since": "2026-05-01T18:10:00.000Z",
            "told": True,
        }
    ],
    "channels": [
        {"name": "team", "type": "slack", "state": "ok", "pending": 0, "oldest_ms": 0},
        {"name": "phone", "type": "telegram", "state": "no answer", "pending": 1, "oldest_ms": 9},
    ],
    "outbox": [
        {
            "number": 3,
            "channel": "phone",
            "incident": "7k2",
            "step": "open",
            "since": "2026-05-01T18:10:02.000Z",
            "tries": 2,
            "given_up": False,
            "error": "no answer within 10 s",
        }
    ],
    "silences": [
        {
            "owner": "kim",
            "reason": "disk",
            "gateway": "node3",
            "vip": None,
            "until": "2026-05-01T19:00:00.000Z",
        }
    ],
}


class Desk:
    """A daemon that notes, and a command line that asks it."""

    def __init__(self, api: NotingApi, socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self._socket = socket
        self._capsys = capsys

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Run `edged` in a thread; returns its exit code and what it said."""
        code = await asyncio.to_thread(main, [*words, "--socket", str(self._socket)])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def last(self, verb: str) -> dict[str, Any]:
        """Return the words of the last call of a verb."""
        return dict([words for name, words in self.api.calls if name == verb][-1])


@pytest.fixture
async def desk(
    short_tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setenv("SUDO_USER", "kim")
    api = NotingApi()
    api.answers["status"] = {**status_of(healthy()), "timezone": "UTC"}
    server = ControlServer(api, short_tmp_path / "c.sock")
    await server.start()
    try:
        yield Desk(api, short_tmp_path / "c.sock", capsys)
    finally:
        await server.stop()


async def test_what_is_open_and_unsent_is_listed_without_control_signs(desk: Desk) -> None:
    desk.api.answers["alerts"] = LISTED
    code, out, _ = await desk.run("alerts")
    assert code == 0
    assert "7k2" in out
    assert "\x1b[31m" not in out
    assert "phone (telegram): no answer, 1 waiting" in out
    assert "no answer within 10 s" in " ".join(out.split())
    assert "Silence about node3 until 19:00:00 by kim: disk" in " ".join(out.split())
    code, out, _ = await desk.run("alerts", "list", "--json")
    assert json.loads(out) == LISTED


@pytest.mark.parametrize(("delivered", "expected"), [(True, 0), (False, 1)])
async def test_a_test_prints_the_services_answer_and_ends_by_it(
    desk: Desk,
    delivered: bool,  # noqa: FBT001 - a table
    expected: int,
) -> None:
    desk.api.answers["alerts_test"] = {
        "schema": "edged.alerts-test/v1",
        "channels": [
            {"name": "team", "delivered": delivered, "detail": "404 no_service", "took_ms": 12}
        ],
    }
    code, out, _ = await desk.run("alerts", "test", "--channel", "team")
    assert code == expected
    assert "team: the service said after 12 ms: 404 no_service" in out
    assert desk.last("alerts_test") == {"channel": "team"}


@pytest.mark.parametrize("what", ["retry", "drop"])
async def test_messages_are_retried_and_dropped_by_channel_and_number(
    desk: Desk, what: str
) -> None:
    desk.api.answers["alerts_change"] = {"schema": "edged.alerts-x/v1", "messages": 2}
    code, out, _ = await desk.run("alerts", what, "--channel", "team", "--number", "3")
    assert code == 0
    assert out.startswith("2 message(s)")
    assert desk.last("alerts_change") == {"what": what, "channel": "team", "number": 3}


async def test_a_silence_says_until_when_and_that_edged_goes_on(desk: Desk) -> None:
    desk.api.answers["silence"] = {
        "schema": "edged.silence/v1",
        "until": "2026-05-01T19:00:00.000Z",
        "gateway": "node2",
        "vip": None,
    }
    code, out, _ = await desk.run("silence", "--for", "2h", "--gateway", "node2")
    assert code == 0
    assert "edged goes on acting" in " ".join(out.split())
    assert desk.last("silence") == {
        "owner": "kim",
        "reason": "",
        "for_ms": 7_200_000,
        "gateway": "node2",
        "vip": None,
    }


async def test_a_silence_is_ended(desk: Desk) -> None:
    desk.api.answers["silence"] = {"schema": "edged.silence/v1", "ended": 1}
    code, out, _ = await desk.run("silence", "--end")
    assert (code, out) == (0, "1 silence(s) ended.\n")
    assert desk.last("silence")["for_ms"] is None


async def test_an_unknown_channel_is_the_daemons_sentence(desk: Desk) -> None:
    desk.api.answers["alerts_test"] = CommandRefused('there is no channel "x"; known are team')
    assert await desk.run("alerts", "test", "--channel", "x") == (
        1,
        "",
        'edged: there is no channel "x"; known are team\n',
    )
