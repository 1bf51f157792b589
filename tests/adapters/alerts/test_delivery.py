"""Senders against services that enforce their limits and misbehave."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from edged.alerts import delivery
from edged.alerts.channels.base import Endpoint
from edged.alerts.delivery import Sender
from edged.alerts.facts import AlertFacts
from edged.alerts.outbox import Outbox, Queued
from edged.alerts.sending import Client
from edged.config.secret import SecretError
from edged.config.types import ChannelConfig, ChannelType, Language
from edged.core.alerting import AlertStep
from edged.system import clock
from tests.support.alerts import ENDPOINT, about, channel, facts
from tests.support.chat import Chat, Trouble, chat_server

KINDS = list(ChannelType)
ROOT = {ChannelType.NTFY, ChannelType.ALERTMANAGER, ChannelType.TELEGRAM}


class Notes:
    """A ledger that only notes."""

    def __init__(self) -> None:
        self.arrived: list[Queued] = []
        self.broken: list[Queued] = []
        self.news = asyncio.Event()

    async def delivered(self, queued: Queued, *, took_ms: int) -> None:
        """Note it."""
        del took_ms
        self.arrived.append(queued)
        self.news.set()

    async def failed(self, queued: Queued, *, detail: str) -> None:
        """Note it."""
        del detail
        self.broken.append(queued)
        self.news.set()

    async def wait(self, done: Callable[[], bool], limit_s: float = 5.0) -> None:
        """Wait until `done`."""
        async with asyncio.timeout(limit_s):
            while not done():
                self.news.clear()
                await self.news.wait()


class Desk:
    """Senders of several channels over one outbox."""

    def __init__(self, chat: Chat, client: Client, group: asyncio.TaskGroup) -> None:
        self.chat = chat
        self.outbox = Outbox()
        self.notes = Notes()
        self._client = client
        self._group = group
        self.senders: dict[str, Sender] = {}

    def open(self, kind: ChannelType, **changes: Any) -> Sender:  # noqa: ANN401 - fields
        """Start a channel."""
        config = channel(kind, **changes)

        def endpoint(given: ChannelConfig) -> Endpoint:
            path = "" if given.type in ROOT else "hook/secret-path"
            return replace(ENDPOINT, url=self.chat.url(str(given.type), path), thread_id="")

        sender = Sender(
            config,
            outbox=self.outbox,
            client=self._client,
            ledger=self.notes,
            endpoint=endpoint,
            about=about,
            rng=random.Random(1),
        )
        self.senders[config.name] = sender
        self._group.create_task(sender.run(), name=config.name)
        return sender

    def put(self, kind: ChannelType, **changes: Any) -> Queued:  # noqa: ANN401 - fields
        """Queue a message."""
        given: AlertFacts = facts(**changes)
        queued = self.outbox.add(kind.value, given, clock.wall()).queued
        self.senders[kind.value].wake()
        return queued


@asynccontextmanager
async def desk(*, total_s: float = 0.3) -> AsyncIterator[Desk]:
    async with chat_server() as chat, Client(total_s=total_s) as client:
        async with asyncio.TaskGroup() as group:
            made = Desk(chat, client, group)
            try:
                yield made
            finally:
                for sender in made.senders.values():
                    sender.close()
        assert chat.objections == []


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry soon: what is tested is that it is tried again, not how long a second is."""
    monkeypatch.setattr(delivery, "BACKOFF_FIRST_MS", 10)
    monkeypatch.setattr(delivery, "REFILL_MS", 10)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("kind", KINDS)
async def test_every_service_takes_an_opening_and_its_resolve(
    kind: ChannelType, language: Language
) -> None:
    async with desk() as at:
        at.open(kind, language=language)
        at.put(kind)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        at.put(kind, step=AlertStep.RESOLVE)
        await at.notes.wait(lambda: len(at.notes.arrived) == 2)
        assert len(at.chat.of(kind)) == 2
        assert at.outbox.rows() == ()


TROUBLES = {
    "unavailable": Trouble(status=503),
    "rate": Trouble(status=429, headers={"Retry-After": "0"}),
    "redirect": Trouble(status=302, headers={"Location": "/slack/elsewhere"}),
    "hang": Trouble(hang_s=2.0),
    "reset": Trouble(reset=True),
    "proxy page": Trouble(status=502, body="<html>" + "x" * 50_000),
}


@pytest.mark.parametrize("name", sorted(TROUBLES))
@pytest.mark.parametrize("kind", [ChannelType.SLACK, ChannelType.WEBHOOK, ChannelType.DOORAY])
async def test_what_fails_is_tried_again_with_the_same_id(kind: ChannelType, name: str) -> None:
    async with desk() as at:
        at.chat.trouble(kind, TROUBLES[name], TROUBLES[name])
        at.open(kind)
        queued = at.put(kind)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        assert [one.tries for one in at.notes.broken] == [1, 2]
        assert at.notes.arrived[0].facts.message_id == queued.facts.message_id
        assert at.senders[kind.value].state == "ok"
        if kind is ChannelType.WEBHOOK:
            ids = {one.headers["webhook-id"] for one in at.chat.asked}
            assert ids == {queued.facts.message_id}


async def test_a_redirect_is_not_followed() -> None:
    async with desk() as at:
        elsewhere = Trouble(status=307, headers={"Location": at.chat.url("teams")})
        at.chat.always["slack"] = elsewhere
        at.open(ChannelType.SLACK)
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.broken) == 3)
        assert {one.service for one in at.chat.asked} == {"slack"}
        assert "redirect" in at.senders["slack"].state


@pytest.mark.parametrize(
    ("kind", "trouble", "least_ms"),
    [
        (ChannelType.SLACK, Trouble(status=429, headers={"Retry-After": "1"}), 1_000),
        (ChannelType.DISCORD, Trouble(status=429, body='{"retry_after": 0.35}'), 350),
        (
            ChannelType.TELEGRAM,
            Trouble(status=429, body='{"ok":false,"parameters":{"retry_after":1}}'),
            1_000,
        ),
    ],
)
async def test_a_service_is_not_asked_before_the_time_it_named(
    kind: ChannelType, trouble: Trouble, least_ms: int
) -> None:
    async with desk() as at:
        at.chat.trouble(kind, trouble)
        at.open(kind)
        at.put(kind)
        await at.notes.wait(lambda: len(at.notes.broken) == 1)
        refused_ms = clock.monotonic_ms()
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        assert clock.monotonic_ms() - refused_ms >= least_ms - 5


async def test_a_chat_that_moved_is_followed_by_its_number() -> None:
    async with desk() as at:
        moved = '{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-1009}}'
        at.chat.trouble("telegram", Trouble(status=400, body=moved))
        at.open(ChannelType.TELEGRAM)
        at.put(ChannelType.TELEGRAM)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        assert [one.document["chat_id"] for one in at.chat.asked] == ["-1001234567890", "-1009"]


async def test_too_large_is_sent_once_more_with_its_title_alone() -> None:
    async with desk() as at:
        at.chat.trouble("slack", Trouble(status=413))
        at.open(ChannelType.SLACK)
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        first, second = at.chat.asked
        assert len(second.body) < len(first.body)
        assert "node2 out of the route" in second.document["text"]


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        (ChannelType.SLACK, Trouble(status=404, body="no_service")),
        (ChannelType.WEBHOOK, Trouble(status=410)),
        (
            ChannelType.DOORAY,
            Trouble(status=200, body='{"header":{"isSuccessful":false,"resultCode":-1}}'),
        ),
        (ChannelType.KAKAOWORK, Trouble(status=200, body='{"success":false}')),
    ],
)
async def test_a_refusal_is_given_up_and_shown_until_a_person_acts(
    kind: ChannelType, trouble: Trouble
) -> None:
    async with desk() as at:
        at.chat.trouble(kind, trouble)
        sender = at.open(kind)
        queued = at.put(kind)
        await at.notes.wait(lambda: len(at.notes.broken) == 1)
        assert at.notes.broken[0].failed
        assert sender.state != "ok"
        await asyncio.sleep(0.05)
        assert len(at.chat.asked) == 1
        at.outbox.retry(None, queued.seq)
        sender.hurry()
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)


async def test_a_hanging_service_delays_no_other() -> None:
    async with desk(total_s=2.0) as at:
        hanging = [kind for kind in KINDS if kind is not ChannelType.SLACK]
        for kind in hanging:
            at.chat.always[kind] = Trouble(hang_s=2.0)
            at.open(kind)
            at.put(kind)
        await at.chat.wait(lambda: len(at.chat.asked) == len(hanging))
        at.open(ChannelType.SLACK)
        started_ms = clock.monotonic_ms()
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        assert clock.monotonic_ms() - started_ms < 500
        for sender in at.senders.values():
            sender.close()


async def test_a_resolve_never_overtakes_its_opening_whatever_fails() -> None:
    """Each third attempt or so fails in another way; four incidents, one channel."""
    rng = random.Random(5)
    kinds = [Trouble(status=503), Trouble(reset=True), Trouble(hang_s=0.5), Trouble(status=429)]
    async with desk() as at:
        at.chat.trouble("webhook", *(rng.choice(kinds) for _ in range(6)))
        at.open(ChannelType.WEBHOOK)
        for number in range(4):
            at.put(ChannelType.WEBHOOK, incident=f"i{number}")
        await asyncio.sleep(0.02)
        for number in range(4):
            at.put(ChannelType.WEBHOOK, incident=f"i{number}", step=AlertStep.RESOLVE)
        await at.notes.wait(lambda: not at.outbox.rows(), limit_s=20)
        for number in range(4):
            steps = [
                one.document["data"]["step"]
                for one in at.chat.of("webhook")
                if one.document["incident"] == f"i{number}"
            ]
            assert steps in (["open", "resolve"], ["resolve"])


async def test_a_secret_that_cannot_be_read_is_said_and_tried_again() -> None:
    async with desk() as at:
        sender = at.open(ChannelType.SLACK)
        sender._endpoint = _unreadable
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.broken) == 1)
        assert "does not exist" in sender.state
        assert not at.notes.broken[0].failed


def _unreadable(config: ChannelConfig) -> Endpoint:
    del config
    raise SecretError('the file "/nowhere" does not exist')


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/secret-path",
        "http://no-such-host.invalid/secret-path",
        "http://[::1/secret-path",
        "ftp://127.0.0.1/secret-path",
        "not a url secret-path",
    ],
)
async def test_an_unusable_url_is_a_sentence_without_the_secret(url: str) -> None:
    async with desk() as at:
        sender = at.open(ChannelType.SLACK)
        sender._endpoint = lambda _: replace(ENDPOINT, url=url)
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.broken) == 1)
        assert sender.state
        assert "secret-path" not in sender.state


async def test_the_body_of_an_answer_is_bounded() -> None:
    async with desk(total_s=2.0) as at:
        at.chat.trouble("slack", Trouble(status=500, body="x" * 5_000_000))
        at.open(ChannelType.SLACK)
        at.put(ChannelType.SLACK)
        await at.notes.wait(lambda: len(at.notes.arrived) == 1)
        assert len(at.notes.broken[0].error) <= 300
