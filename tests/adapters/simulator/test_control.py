"""Steering from outside, and the simulator as a program."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edged.simulator import SimulatedRouter
from edged.simulator.control import Control
from edged.simulator.main import USAGE_ERROR, add_arguments, make_server, run_simulator
from tests.adapters.simulator.client import connect, serving, session

NODES = ["172.30.1.20", "172.30.1.70", "172.30.1.82"]


async def ask(control: Control, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return await control.handle(json.dumps(request))


async def test_edits_and_looks() -> None:
    async with serving() as server:
        control = Control(server)
        edit = {
            "do": "edit",
            "path": "/ip/route/set",
            "words": {".id": "*1", "gateway": "172.30.1.20"},
        }
        assert await ask(control, **edit, id=7) == {"ok": True, "id": 7}
        hops = await ask(control, do="next-hops")
        assert hops == {
            "ok": True,
            "vip": "172.30.1.7/32",
            "enabled": NODES[:1],
            "in_use": NODES[:1],
        }
        writes = await ask(control, do="writes")
        assert [one["user"] for one in writes["writes"]] == ["admin"]
        assert (await ask(control, do="writes", since=writes["next"]))["writes"] == []
        added = await ask(
            control,
            do="edit",
            path="/ip/route/add",
            words={"gateway": "172.30.1.20", "distance": "3"},
        )
        rows = (await ask(control, do="rows", menu="/ip/route"))["rows"]
        assert added["ret"] in {row[".id"] for row in rows}
        status = await ask(control, do="status")
        assert status["counters"]["writes"] == 2
        assert status["ports"] == [server.port]


async def test_the_world_can_be_changed() -> None:
    async with serving("7.23") as server:
        control, router = Control(server), server.router
        await ask(control, do="bgp", peer="node1", state="absent")
        assert len(router.rows("/routing/bgp/session")) == 2
        await ask(control, do="bgp", state="absent")
        assert router.rows("/routing/bgp/session") == []
        await ask(control, do="reachable", next_hop=NODES[0], on=False)
        assert router.forwarding_next_hops() == NODES[1:]
        await ask(control, do="ping", address=NODES[1], answers=False)
        assert router.ping_answer(NODES[1]) is None
        assert router.ping_answer(NODES[2]) is not None
        await ask(control, do="uptime", seconds=5)
        await ask(control, do="cpu-load", percent=95)
        [row] = router.rows("/system/resource")
        assert (row["uptime"], row["cpu-load"]) == ("5s", "95")
        await ask(control, do="reboot", version="7.24")
        assert router.version == "7.24"


async def test_faults_can_be_armed_and_cleared() -> None:
    async with session() as (client, server):
        control = Control(server)
        await ask(
            control,
            do="fault",
            kind="refuse",
            command="/ip/route/set",
            text="failure: no",
            times=None,
        )
        words = ("/ip/route/set", "=.id=*1", "=distance=5")
        assert (await client.talk(*words))[0] == ("!trap", "=message=failure: no")
        await ask(control, do="clear-faults")
        assert await client.talk(*words) == [("!done",)]
        await ask(control, do="accept-silently", on=True)
        assert server.accept_silently
        await ask(control, do="drop-connections")
        assert await client.ended()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("no json", "no JSON"),
        ("[]", "an object"),
        ('{"do": "dance"}', "unknown request 'dance'"),
        ('{"do": "rows", "menu": "/ip/rout"}', "missing or unknown: '/ip/rout'"),
        ('{"do": "edit"}', "missing or unknown: 'path'"),
        ('{"do": "edit", "path": "/ip/route/set", "words": {".id": "*9"}}', "trap: no such item"),
        ('{"do": "fault", "kind": "fire"}', "'fire' is not a valid FaultKind"),
        ('{"do": "bgp", "peer": "node9", "state": "idle"}', "no BGP neighbour 'node9'"),
    ],
)
async def test_a_mistake_is_answered_and_changes_nothing(line: str, error: str) -> None:
    async with serving() as server:
        answer = await Control(server).handle(line)
        assert answer["ok"] is False
        assert error in answer["error"]
        assert not server.router.write_log


async def test_the_socket_answers_lines_and_streams_next_hops(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    path.touch()
    async with serving() as server:
        async with Control(server).on_socket(path):
            assert path.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"do": "watch"}\n\n{"do": "status", "id": 1}\n')
            async with asyncio.timeout(2):
                lines = [json.loads(await reader.readline()) for _ in range(2)]
            watched = next(one for one in lines if "enabled" in one)
            assert watched["enabled"] == NODES
            server.router.edit("/ip/route/set", {".id": "*1", "gateway": NODES[2]})
            async with asyncio.timeout(2):
                changed = json.loads(await reader.readline())
            assert changed["enabled"] == changed["in_use"] == NODES[2:]
            writer.close()
        assert not path.exists()


# The program.


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_options_shape_the_router(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush hush\n", encoding="utf-8")
    server = make_server(
        options(
            "--routeros",
            "7.20.8",
            "--gateway",
            "a=127.0.20.1",
            "--gateway",
            "b=127.0.20.2",
            "--vip",
            "10.0.0.7/32",
            "--comment",
            "ECMP edged:web",
            "--distance",
            "5",
            "--identity",
            "hex",
            "--user",
            "me",
            "--password-file",
            str(secret),
            "--max-sessions",
            "4",
        )
    )
    router = server.router
    assert (router.version, router.identity, router.max_sessions) == ("7.20.8", "hex", 4)
    assert router.users.password_of("me") == "hush hush"
    rows = router.vip_rows()
    assert [row["gateway"] for row in rows] == ["127.0.20.1", "127.0.20.2"]
    assert {(row["distance"], row["comment"]) for row in rows} == {("5", "ECMP edged:web")}


def test_defaults_are_the_network_it_was_written_for() -> None:
    router = make_server(options()).router
    assert router.version == "6.49.10"
    assert router.vip_next_hops() == NODES
    assert router.network == SimulatedRouter().network


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--listen", "0.0.0.0:0"], "add --allow-remote"),
        (["--tls", "cert", "--tls-listen", "192.0.2.1:0"], "add --allow-remote"),
        (["--tls-listen", "127.0.0.1:0"], "needs --tls"),
        (["--routeros", "seven"], "not a RouterOS version"),
        (["--vip", "nonsense"], "nonsense"),
        (["--password-file", "/nonexistent/secret"], "secret"),
        (["--tls", "cert", "--cert", "/nonexistent/cert"], "No such file"),
    ],
)
async def test_options_that_do_not_fit_are_a_usage_error(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens beyond loopback by accident."""
    ended = asyncio.Event()
    ended.set()
    assert await run_simulator(options(*words), ended=ended) == USAGE_ERROR
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--listen", "8728"], ["--gateway", "x"], ["--gateway", "x=y"]])
def test_malformed_options_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        options(*words)


async def test_it_runs_until_it_is_told_to_end(
    short_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = asyncio.Event()
    words = [
        "--listen",
        "127.0.0.1:0",
        "--tls",
        "anonymous",
        "--tls-listen",
        "127.0.0.1:0",
        "--control",
        str(short_tmp_path / "c"),
        "--password",
        "pw",
    ]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_simulator(options(*words), ended=ended))
        shown = ""
        async with asyncio.timeout(2):
            while "api-ssl on" not in shown:
                shown += capsys.readouterr().out
                await asyncio.sleep(0.005)
        port = int(shown.splitlines()[0].rpartition(":")[2])
        async with connect(port) as client:
            assert await client.login(password="pw") == [("!done",)]
            ended.set()
            assert await client.ended()
    assert running.result() == 0


@contextlib.asynccontextmanager
async def process(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


async def test_as_a_process_it_takes_control_lines_and_ends_on_a_signal() -> None:
    words = ("edged.simulator.main", "--listen", "127.0.0.1:0", "--control", "-")
    async with asyncio.timeout(20), process(*words) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert b"RouterOS 6.49.10: api on 127.0.0.1:" in await running.stdout.readline()
        running.stdin.write(b'{"do": "next-hops"}\n')
        assert json.loads(await running.stdout.readline())["enabled"] == NODES
        os.kill(running.pid, signal.SIGTERM)
        assert await running.wait() == 0
