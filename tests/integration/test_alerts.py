"""Alerts of a whole edged: delivered over kills and outages, and never at the route's cost."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.cli.demo_lab import Folder
from edged.cli.demo_processes import Child
from tests.support.chat import Chat, Trouble
from tests.support.chat_thread import chat_thread
from tests.support.daemon import World, world

HOOK = """
[[channel]]
name = "hook"
type = "webhook"
url = "{url}"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with Folder("edged-alerts-") as path:
        yield path


@pytest.fixture
def chat() -> Iterator[Chat]:
    with chat_thread() as running:
        yield running


def start(made: World, chat: Chat) -> None:
    """Give the daemon a webhook, start it and wait until all is well."""
    with made.daemon.config.open("a", encoding="utf-8") as file:
        file.write(HOOK.format(url=chat.url("webhook")))
    made.start_daemon()
    made.wait_settled()


def steps(chat: Chat) -> list[tuple[str, str]]:
    """Return what arrived: incident and step."""
    found = [one.document for one in chat.of("webhook")]
    return [(one["incident"], one["data"]["step"]) for one in found]


def delivered(chat: Chat, step: str) -> bool:
    return any(found == step for _, found in steps(chat))


def kill(made: World) -> None:
    _killed(made.daemon.child)
    made.start_daemon()


def _killed(child: Child) -> None:
    child.send(signal.SIGKILL)
    child.wait(5)


def test_an_alert_that_could_not_be_sent_outlives_a_kill_and_comes_before_its_end(
    folder: Path, chat: Chat
) -> None:
    chat.always["webhook"] = Trouble(status=503)
    with world(folder, start=False) as made:
        start(made, chat)
        _killed(made["node2"].child)
        made.wait("the message is tried", lambda: len(chat.asked) >= 1)
        first = chat.asked[0].headers["webhook-id"]
        kill(made)
        chat.always.clear()
        made.wait("the opening arrives", lambda: delivered(chat, "open"), 15)
        assert chat.of("webhook")[0].headers["webhook-id"] == first
        made["node2"].start(made.ending)
        made.wait("the resolve arrives", lambda: delivered(chat, "resolve"), 20)
        ((opened, _), (resolved, _)) = steps(chat)
        assert opened == resolved
        secret = "secret-path"
        assert secret not in made.daemon.child.log.read_text(encoding="utf-8")


def test_a_kill_before_anybody_was_told_loses_nothing(folder: Path, chat: Chat) -> None:
    with world(folder, start=False) as made:
        start(made, chat)
        _killed(made["node2"].child)
        made.wait("out", lambda: made.in_route() == ["node1", "node3"])
        time.sleep(0.3)  # inside the window of two seconds
        assert steps(chat) == []
        kill(made)
        made.wait("the opening arrives", lambda: delivered(chat, "open"), 20)
        made["node2"].start(made.ending)
        made.wait("the resolve arrives", lambda: delivered(chat, "resolve"), 20)
        assert [step for _, step in steps(chat)] == ["open", "resolve"]


def test_kills_and_a_failing_service_leave_every_incident_in_order(
    folder: Path, chat: Chat
) -> None:
    rng = random.Random(11)
    kinds = [Trouble(status=503), Trouble(reset=True), Trouble(status=429)]
    with world(folder, start=False) as made:
        start(made, chat)
        for _ in range(2):
            chat.trouble("webhook", *(rng.choice(kinds) for _ in range(rng.randint(0, 2))))
            _killed(made["node2"].child)
            made.wait("out", lambda: made.in_route() == ["node1", "node3"], 15)
            time.sleep(rng.uniform(0, 3))  # anywhere in an alert's life
            kill(made)
            made["node2"].start(made.ending)
            made.wait_settled()
        made.wait("nothing is open", lambda: _calm(made), 30)
        by_incident: dict[str, list[str]] = {}
        for incident, step in steps(chat):
            by_incident.setdefault(incident, []).append(step)
        assert by_incident
        for incident, found in by_incident.items():
            assert found in (["open", "resolve"], ["resolve"]), f"{incident}: {found}"


def _calm(made: World) -> bool:
    alerts = made.daemon.status()["alerts"]
    return bool(alerts["open"] == 0 and alerts["pending"] == 0)


def test_a_test_message_shows_what_the_service_said(folder: Path, chat: Chat) -> None:
    with world(folder, start=False) as made:
        start(made, chat)
        (answer,) = made.daemon.client.post("alerts", {"do": "test"})["channels"]
        assert (answer["delivered"], answer["detail"]) == (True, "200 ok")
        chat.trouble("webhook", Trouble(status=404, body="no_service"))
        (answer,) = made.daemon.client.post("alerts", {"do": "test"})["channels"]
        assert (answer["delivered"], answer["detail"]) == (False, "404 no_service")
