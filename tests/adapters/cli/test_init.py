"""`init` against a simulated router: what it proposes, what it prints, what it leaves alone."""

import asyncio
import io
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edged.cli.main import main
from edged.config.load import load
from edged.config.types import Config, Mode
from edged.simulator import ApiServer, Network, SimulatedRouter, TlsMode, User
from edged.simulator.tls import make_tls_context
from edged.simulator.users import FULL

NAME = "edged-probe.example.test"


@pytest.fixture(params=["6.49.10", "7.12.2", "7.24"])
async def router(request: pytest.FixtureRequest) -> AsyncIterator[ApiServer]:
    made = SimulatedRouter(version=request.param, network=Network())
    server = ApiServer(made, users=[User(name="admin", password="secret", policies=FULL)])
    async with server:
        await server.start()
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "admin").write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def init(server: ApiServer, *words: str) -> int:
    given = ("init", "--router", "127.0.0.1", "--port", str(server.port), "--tls", "off")
    return await asyncio.to_thread(main, [*given, "--password-file", "admin", *words])


def read(path: Path) -> Config:
    return load(path, {}, check_secrets=False).config


async def test_the_routers_own_route_becomes_the_configuration(
    router: ApiServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await init(router, "--from-router", "--server-name", NAME) == 0
    config = read(folder / "edged.toml")
    assert config.mode is Mode.OBSERVE
    assert [one.address for one in config.gateways] == ["172.30.1.20", "172.30.1.70", "172.30.1.82"]
    assert [one.name for one in config.gateways] == ["node1", "node2", "node3"]
    (vip,) = config.vips
    assert (vip.address, vip.distance) == ("172.30.1.7/32", 10)
    assert vip.probe.server_name == NAME
    assert not vip.adopt
    text = (folder / "edged.toml").read_text()
    assert "# The route's comment today: ECMP to Gateway VIP" in text
    assert "6443" not in text, "a forward that leads elsewhere is none of our business"
    assert list(router.router.write_log) == []
    said = capsys.readouterr().out
    assert "/user group add name=edged policy=read,write,api,test\n" in said
    assert "/user add name=edged group=edged address=127.0.0.1 " in said


async def test_the_printed_commands_make_a_user_with_which_the_router_can_be_read(
    router: ApiServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--from-router", "--server-name", NAME, "--edged-password-file", "edged-password")
    assert await init(router, *words) == 0
    said = capsys.readouterr().out
    for path in ("/user group add", "/user add"):
        line = next(line for line in said.splitlines() if line.startswith(path))
        values = {k: v.strip('"') for k, v in re.findall(r"([a-z]+)=(\S+)", line)}
        router.router.edit(path.replace(" ", "/"), values, user="admin")
    shell = next(line for line in said.splitlines() if line.startswith("(umask"))
    password = re.search(r"'%s' '([^']+)'", shell)
    assert password is not None
    (folder / "edged-password").write_text(password[1])
    assert await asyncio.to_thread(main, ["plan"]) == 0
    assert "node1" in capsys.readouterr().out


async def test_a_file_that_is_there_stays(
    router: ApiServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "edged.toml").write_text("mine\n")
    assert await init(router, "--from-router", "--server-name", NAME) == 1
    assert (folder / "edged.toml").read_text() == "mine\n"
    assert "is there already and stays" in capsys.readouterr().err


async def test_without_a_route_for_it_a_forward_is_no_vip(
    router: ApiServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router.router.edit("/ip/firewall/nat/set", {".id": "*2", "disabled": "yes"}, user="admin")
    rows = router.router.rows("/ip/firewall/nat")
    https = next(row[".id"] for row in rows if row["dst-port"] == "443")
    router.router.edit("/ip/firewall/nat/set", {".id": https, "disabled": "yes"}, user="admin")
    assert await init(router, "--from-router", "--server-name", NAME) == 2
    assert "name the VIP with --vip" in capsys.readouterr().err
    assert await init(router, "--from-router", "--server-name", NAME, "--vip", "172.30.1.7") == 0
    assert [vip.address for vip in read(folder / "edged.toml").vips] == ["172.30.1.7/32"]


async def test_flags_alone_do_and_no_router_is_needed(folder: Path) -> None:
    words = ["init", "--router", "127.0.0.1", "--tls", "pin", "--fingerprint", "sha256:" + "a" * 64]
    words += ["--vip", "172.30.1.7", "--gateway", "a=172.30.1.20", "--server-name", NAME]
    assert await asyncio.to_thread(main, words) == 0
    assert [one.name for one in read(folder / "edged.toml").gateways] == ["a"]


@pytest.mark.parametrize(
    ("left_out", "flag"), [("--vip", "--vip"), ("--gateway", "--gateway"), ("--router", "--router")]
)
@pytest.mark.usefixtures("folder")
def test_what_is_missing_and_cannot_be_asked_is_named(
    left_out: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "--router": "127.0.0.1",
        "--tls": "off",
        "--vip": "172.30.1.7",
        "--gateway": "a=172.30.1.20",
        "--server-name": NAME,
    }
    words = [word for key, value in given.items() if key != left_out for word in (key, value)]
    assert main(["init", *words]) == 2
    assert flag in capsys.readouterr().err


async def test_the_certificate_that_the_router_shows_is_pinned_and_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = SimulatedRouter(version="6.49.10", network=Network())
    users = [User(name="admin", password="secret", policies=FULL)]
    server = ApiServer(made, users=users)
    await server.start(tls=make_tls_context(TlsMode.CERTIFICATE))
    async with server:
        words = ["init", "--router", "127.0.0.1", "--port", str(server.port), "--from-router"]
        words += ["--password-file", "admin", "--server-name", NAME]
        assert await asyncio.to_thread(main, words) == 0
    pin = read(folder / "edged.toml").routers[0].fingerprint
    assert pin is not None
    assert f"shows the certificate {pin}" in " ".join(capsys.readouterr().out.split())


class Typed(io.StringIO):
    """A terminal at which somebody has typed all lines already."""

    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Typed("".join(f"{line}\n" for line in lines)))


PINNED = ("init", "--router", "127.0.0.1", "--fingerprint", "sha256:" + "a" * 64)


def test_several_are_asked_for_until_an_empty_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but the router is given; a slip is said, and asked for again."""
    vips = ("172.30.1.7", "172.30.1.8/32", "")
    gateways = ("node1=172.30.1.20 node2=172.30.1.70", "node3", "node3=172.30.1.82", "")
    channels = ("slack=/run/secrets/slack", "slack=/run/secrets/night", "dooray=/d", "")
    typed(monkeypatch, *vips, *gateways, NAME, *channels)
    assert main(list(PINNED)) == 0
    config = read(folder / "edged.toml")
    assert [vip.address for vip in config.vips] == ["172.30.1.7/32", "172.30.1.8/32"]
    assert [one.name for one in config.gateways] == ["node1", "node2", "node3"]
    assert [one.name for one in config.channels] == ["slack", "slack2", "dooray"]
    assert '--gateway "node3" is not of the form node1=172.30.1.20' in capsys.readouterr().err


def test_flags_that_are_given_again_add_up(folder: Path) -> None:
    words = [*PINNED, "--server-name", NAME, "--vip", "172.30.1.7", "--vip", "172.30.1.8"]
    words += ["--gateway", "a=172.30.1.20", "--gateway", "b=172.30.1.70"]
    words += ["--channel", "slack=/s", "--channel", "teams=/t"]
    assert main(words) == 0
    config = read(folder / "edged.toml")
    assert len(config.vips) == len(config.gateways) == len(config.channels) == 2


def test_a_channel_that_needs_more_than_a_url_is_sent_to_the_example(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*PINNED, "--server-name", NAME, "--vip", "172.30.1.7", "--gateway", "a=172.30.1.20"]
    assert main([*words, "--channel", "telegram=/t"]) == 2
    assert "the others stand in config.example.toml" in capsys.readouterr().err
    assert not (folder / "edged.toml").exists()


def test_a_terminal_that_is_closed_in_the_middle_ends_with_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "172.30.1.7", "")
    assert main(list(PINNED)) == 2
    assert "--gateway is missing" in capsys.readouterr().err
    assert not (folder / "edged.toml").exists()
