"""The desk: from the engine's events over the store to services, and back into events."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edged.config.load import load
from edged.config.types import ChannelConfig, ChannelType, Config
from edged.core.alerting import Levels
from edged.core.errors import CommandRefused
from edged.core.events import Event, event
from edged.daemon import alerting
from edged.daemon.alerting import AlertDesk
from edged.daemon.conversion import core_config
from edged.store.file import FILE_NAME
from edged.store.sqlite import Store
from edged.store.values import AlertBatch, Saved
from edged.system import clock
from tests.support.alerts import channel, quiet
from tests.support.chat import Chat, Trouble, chat_server

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def config_of(*channels: ChannelConfig) -> Config:
    """Return the example's configuration with channels and a short window."""
    config = load(EXAMPLE, {}, check_secrets=False).config
    return replace(config, channels=channels, alerts=replace(config.alerts, group_window_ms=50))


class Room:
    """A desk and what it said."""

    def __init__(self, desk: AlertDesk, chat: Chat, events: list[Event]) -> None:
        self.desk = desk
        self.chat = chat
        self.events = events
        self._number = 0

    def happens(self, name: str, **fields: Any) -> None:  # noqa: ANN401 - an event's fields
        """Have an event happen now."""
        self._number += 1
        self.desk.noticed(event(name, clock.monotonic_ms(), None, **fields), self._number)

    def dies(self, node: str) -> None:
        """Have a gateway go down."""
        self.happens("gateway.went_down", gateway=node, check=node, class_="refused", detect_ms=4)

    def rises(self, node: str) -> None:
        """Have a gateway come up."""
        self.happens("gateway.came_up", gateway=node, check=node)

    def named(self, name: str) -> list[Event]:
        """Return the events of a name that the desk has published."""
        return [one for one in self.events if one.name == name]


@asynccontextmanager
async def room(chat: Chat, config: Config, store: Store) -> AsyncIterator[Room]:
    core = core_config(config, random.Random(1))
    events: list[Event] = []
    desk = AlertDesk(
        config,
        core,
        store,
        await store.load(),
        host="mgmt-1",
        publish=events.append,
        look=_well,
        obstacle=lambda: "",
        hide=lambda _: None,
        rng=random.Random(1),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.run(group))
        await asyncio.sleep(0)
        try:
            yield Room(desk, chat, events)
        finally:
            desk.close()


async def until(done: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of."""
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


def _well() -> Levels | None:
    return None


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with chat_server() as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / FILE_NAME)
    yield opened
    await opened.close()


def slack(chat: Chat, **changes: Any) -> ChannelConfig:  # noqa: ANN401 - fields
    return channel(ChannelType.SLACK, url=chat.url("slack"), **changes)


async def test_a_death_is_told_and_its_end_and_both_stand_in_the_history(
    chat: Chat, store: Store
) -> None:
    async with room(chat, config_of(slack(chat)), store) as at:
        at.dies("node2")
        await chat.wait(lambda: len(chat.of("slack")) == 1)
        assert at.desk.open == 1
        at.rises("node2")
        await chat.wait(lambda: len(chat.of("slack")) == 2)
        texts = [one.document["text"] for one in chat.of("slack")]
        assert "🔴" in texts[0]
        assert "🟢" in texts[1]
    (kept,) = await store.incidents()
    assert kept.closed is not None
    assert len(at.named("alert.opened")) == len(at.named("alert.resolved")) == 1


class SlowStore:
    """A store whose disk takes its time, and notes when it was done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.saved_ms: list[int] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest is the store's
        return getattr(self._store, name)

    async def save_alerts(self, batch: AlertBatch) -> Saved:
        """Keep a batch, a little later."""
        await asyncio.sleep(0.05)
        saved = await self._store.save_alerts(batch)
        self.saved_ms.append(clock.monotonic_ms())
        return saved


async def test_nothing_leaves_before_it_is_on_disk(chat: Chat, store: Store) -> None:
    slow = SlowStore(store)
    config = config_of(slack(chat))
    async with room(chat, config, slow) as at:  # type: ignore[arg-type] # stands in for a store
        at.dies("node2")
        await until(lambda: at.desk.pending > 0)
        saved = len(slow.saved_ms)
        for sender in at.desk._senders.values():
            sender.wake()
        await chat.wait(lambda: len(chat.asked) == 1)
        assert len(slow.saved_ms) > saved


async def test_a_channel_that_leaves_the_configuration_takes_its_messages_along(
    chat: Chat, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "LOOK_MS", 50)
    chat.always["slack"] = Trouble(hang_s=5)
    config = config_of(slack(chat))
    async with room(chat, config, store) as at:
        at.dies("node2")
        await chat.wait(lambda: len(chat.asked) == 1)
        fewer = replace(config, channels=())
        at.desk.reconfigure(fewer, core_config(fewer, random.Random(1)))
        await until(lambda: bool(at.named("alert.undeliverable")))
        assert at.desk.pending == 0
        (gone,) = at.named("alert.undeliverable")
        assert gone.get("detail") == "no such channel any more"
        with pytest.raises(CommandRefused, match="no \\[\\[channel\\]\\]"):
            await at.desk.test(None)


async def test_quiet_hours_hold_a_warning_and_let_a_critical_one_pass(
    chat: Chat, store: Store
) -> None:
    now = clock.wall()
    start, end = (now + timedelta(minutes=m) for m in (-1, 5))
    hours = quiet(f"{start:%H:%M}", f"{end:%H:%M}", "UTC")
    async with room(chat, config_of(slack(chat, quiet_hours=hours)), store) as at:
        at.dies("node2")
        await until(lambda: at.desk.pending > 0)
        assert chat.asked == []
        at.happens("route.frozen", vip="web", router="hex", reason="contested")
        await chat.wait(lambda: len(chat.of("slack")) == 1)
        assert "🚨" in chat.of("slack")[0].document["text"]
        await until(lambda: at.desk.pending == 1)


async def test_a_silence_is_kept_over_a_restart_and_ends_when_asked(
    chat: Chat, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    config = config_of(slack(chat))
    first = await Store.open(path)
    async with room(chat, config, first) as at:
        await at.desk.silence(owner="kim", reason="disk", for_ms=3_600_000, gateway=None, vip="web")
        assert len(at.named("silence.set")) == 1
    await first.close()
    second = await Store.open(path)
    async with room(chat, config, second) as at:
        at.dies("node2")
        await asyncio.sleep(0.3)
        assert chat.asked == []
        assert await at.desk.end_silences() == 1
        await chat.wait(lambda: len(chat.of("slack")) == 1)
    await second.close()
    third = await Store.open(path)
    assert (await third.load()).silences == ()
    await third.close()


async def test_alertmanager_is_told_again_while_something_is_open(
    chat: Chat, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "REFRESH_S", 0.05)
    kind = ChannelType.ALERTMANAGER
    config = config_of(channel(kind, url=chat.url("alertmanager", "")))
    async with room(chat, config, store) as at:
        at.dies("node2")
        await chat.wait(lambda: len(chat.of("alertmanager")) >= 3)
        labels = [one.document[0]["labels"] for one in chat.of("alertmanager")]
        assert all(one == labels[0] for one in labels)
        at.rises("node2")
        await chat.wait(lambda: sum("🟢" in one for one in summaries(chat)) >= 3)
        assert "🟢" in summaries(chat)[-1], "the end is repeated, too"


def summaries(chat: Chat) -> list[str]:
    return [one.document[0]["annotations"]["summary"] for one in chat.of("alertmanager")]


async def test_a_refusing_channel_is_told_to_the_other(chat: Chat, store: Store) -> None:
    chat.always["slack"] = Trouble(status=404, body="no_service")
    hook = channel(ChannelType.WEBHOOK, url=chat.url("webhook"))
    async with room(chat, config_of(slack(chat), hook), store) as at:
        at.dies("node2")
        await chat.wait(lambda: len(chat.of("webhook")) == 1)
        await until(lambda: bool(at.named("alert.undeliverable")))
        given = at.named("alert.undeliverable")[0]
        at.happens(given.name, **given.fields)
        await chat.wait(lambda: len(chat.of("webhook")) == 2)
        title = chat.of("webhook")[1].document["data"]["title"]
        assert title == "[observe] 🟡 alerts do not reach channel slack"
        assert dict(at.desk.states())["slack"].startswith("404")
        assert await at.desk.drop("slack", None) == 1


async def test_messages_are_sent_from_memory_if_nothing_can_be_kept(chat: Chat) -> None:
    memory = await Store.open(None)
    async with room(chat, config_of(slack(chat)), memory) as at:
        at.dies("node2")
        await chat.wait(lambda: len(chat.of("slack")) == 1)
    await memory.close()
