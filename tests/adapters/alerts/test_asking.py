"""The dead-man's switch and the canary against a real server."""

import asyncio

from edged.alerts.canary import Canary
from edged.alerts.deadman import DeadMansSwitch
from edged.alerts.sending import Client
from edged.core.events import Event
from tests.support.alerts import secret
from tests.support.chat import Chat, Trouble, chat_server


def switch(chat: Chat, client: Client, obstacles: list[str], hidden: list[str]) -> DeadMansSwitch:
    return DeadMansSwitch(
        secret(chat.url("deadman")),
        30_000,
        client=client,
        hide=hidden.append,
        obstacle=lambda: obstacles[0] if obstacles else "",
    )


async def test_the_switch_is_held_while_edged_works_and_let_go_when_it_cannot() -> None:
    obstacles: list[str] = []
    hidden: list[str] = []
    async with chat_server() as chat, Client(total_s=0.3) as client:
        made = switch(chat, client, obstacles, hidden)
        await made.ask()
        assert (made.state, len(chat.asked)) == ("ok", 1)
        assert hidden == [chat.url("deadman")]
        obstacles.append("no session with hex")
        await made.ask()
        assert (made.state, len(chat.asked)) == ("held back: no session with hex", 1)
        obstacles.clear()
        await made.ask()
        assert made.state == "ok"


async def test_one_lost_request_is_asked_again_and_a_dead_service_is_said() -> None:
    async with chat_server() as chat, Client(total_s=0.3) as client:
        made = switch(chat, client, [], [])
        chat.trouble("deadman", Trouble(status=502))
        await made.ask()
        assert made.state == "ok"
        chat.always["deadman"] = Trouble(status=404)
        await made.ask()
        assert made.state == "answers 404"


async def test_the_canary_asks_the_vip_whatever_the_name_and_tells() -> None:
    said: list[Event] = []
    async with chat_server() as chat:
        canary = Canary(
            vip="web",
            address="127.0.0.1",
            url=f"http://grafana.example.test:{chat.port}/grafana/health",
            interval_ms=1,
            publish=said.append,
        )
        chat.always["grafana"] = Trouble(status=503)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(canary.run())
            await chat.wait(lambda: bool(said))
            chat.always.clear()
            await chat.wait(lambda: len(said) == 2)
            task.cancel()
    assert [one.name for one in said] == ["vip.failing", "vip.recovered"]
    assert said[0].get("detail") == "HTTP 503"
    assert chat.asked[0].headers["host"].startswith("grafana.example.test")
