"""`plan`, `probe` and `check-config` without a daemon, against a simulated router."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.main import main
from edged.simulator import ApiServer, Network, SimulatedRouter, User

CONFIG = """
version = 1
timezone = "Asia/Seoul"
control_socket = "no.sock"

[[router]]
name = "hex"
address = "127.0.0.1"
port = {port}
username = "edged"
password_file = "password"
tls = "off"
insecure = true

[[gateway]]
name = "node1"
address = "127.0.0.1"
next_hop = "172.30.1.20"

[[gateway]]
name = "node2"
address = "172.30.1.70"

[[vip]]
name = "web"
address = "172.30.1.7/32"

[vip.probe]
server_name = "edged-probe.example.test"
port = 1
"""


@pytest.fixture
async def router() -> AsyncIterator[ApiServer]:
    router = SimulatedRouter(version="6.49.10", network=Network())
    server = ApiServer(router, users=[User(name="edged", password="secret")])
    async with server:
        await server.start()
        yield server


@pytest.fixture
def folder(tmp_path: Path, router: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, to be in."""
    (tmp_path / "edged.toml").write_text(CONFIG.format(port=router.port))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    for name in ("EDGED_SOCKET", "EDGED_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


async def edged(*words: str) -> int:
    return await asyncio.to_thread(main, words)


@pytest.mark.usefixtures("folder")
async def test_plan_shows_whose_the_rows_are_and_writes_nothing(
    router: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await edged("plan") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "*1 not ours node1, node2, 172.30.1.82 10 active ECMP" in said
    assert "172.30.1.82 is no configured gateway" in said
    assert "Would change not known without a daemon" in said
    assert "No daemon runs, so nothing is known of the gateways" in said
    assert not router.router.write_log
    assert await edged("plan", "--json") == 0
    document: Any = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["daemon"]) == ("edged.plan/v1", False)


@pytest.mark.usefixtures("folder")
async def test_a_router_that_refuses_the_login_is_an_error_and_no_bug(
    router: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    router.faults.refuse_logins()
    assert await edged("plan") == 1
    assert capsys.readouterr().err.startswith("edged: hex: the router refused the login")


@pytest.mark.usefixtures("folder")
async def test_probe_measures_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert await edged("probe", "node1", "--trace") == 1
    said = capsys.readouterr().out
    assert "node1 (127.0.0.1:1)  ✗ failed" in said
    assert "nothing listens on :1" in said
    assert await edged("probe", "node9") == 1
    assert 'there is no gateway or VIP "node9"' in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
async def test_check_config_shows_what_the_numbers_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await edged("check-config") == 0
    said = capsys.readouterr().out
    assert said.startswith("edged.toml: fine (observe: 1 VIP, 2 gateways, 1 router)\n")
    assert "350ms  silent: no packet comes back" in said
    assert max(len(line) for line in said.splitlines()) <= 79
    assert await edged("check-config", "--json") == 0
    document: Any = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["valid"]) == ("edged.check-config/v1", True)
    assert document["vips"][0]["worst_detection_ms"]["silent"] == 350


async def test_what_is_wrong_with_a_configuration_is_a_document_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "password").unlink()
    assert await edged("check-config", "--json") == 78
    document: Any = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    assert [error["key"] for error in document["errors"]] == ["router[0].password_file"]
    assert await edged("check-config", "--without-secrets") == 0


async def test_the_schema_is_that_of_the_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert await edged("check-config", "--print-schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "edged configuration"
