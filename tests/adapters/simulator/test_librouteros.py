"""The client library edged uses, against the simulator: two independent readings of the wire."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from librouteros import async_connect
from librouteros.exceptions import FatalError, TrapError
from librouteros.login import async_plain, async_token

from edged.simulator import ApiServer, SimulatedRouter, TlsMode
from edged.simulator.tls import make_tls_context
from tests.adapters.simulator.client import PASSWORD, USER, serving


@asynccontextmanager
async def library(server: ApiServer, **options: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - untyped library
    api = await async_connect(
        host="127.0.0.1",
        username=USER.name,
        password=options.pop("password", PASSWORD),
        port=options.pop("port", server.port),
        timeout=1,
        encoding="utf-8",
        **options,
    )
    try:
        yield api
    finally:
        await api.close()


async def test_a_v6_route_is_read_and_set() -> None:
    async with serving() as server, library(server) as api:
        rows = [row async for row in api("/ip/route/print")]
        assert rows[0]["gateway"] == "172.30.1.20,172.30.1.70,172.30.1.82"
        words = {".id": rows[0][".id"], "gateway": "172.30.1.70"}
        assert [row async for row in api("/ip/route/set", **words)] == []
        assert server.router.vip_next_hops() == ["172.30.1.70"]


async def test_v7_rows_are_toggled() -> None:
    async with serving("7.23") as server, library(server) as api:
        rows = [row async for row in api.rawCmd("/ip/route/print", "?static=true")]
        listed = ",".join(row[".id"] for row in rows[:2])
        done = api("/ip/route/set", **{".id": listed, "disabled": "yes"})
        assert [row async for row in done] == []
        assert server.router.vip_next_hops() == ["172.30.1.82"]


async def test_korean_comments_and_empty_prints_arrive() -> None:
    async with serving("7.20") as server, library(server) as api:
        server.router.add_route({"gateway": "172.30.1.20", "comment": "게이트웨이"})
        rows = [row async for row in api.rawCmd("/ip/route/print", "?comment=게이트웨이")]
        assert [row["comment"] for row in rows] == ["게이트웨이"]
        assert [row async for row in api.rawCmd("/ip/route/print", "?comment=none")] == []


async def test_a_trap_becomes_the_librarys_exception() -> None:
    async with serving() as server, library(server) as api:
        with pytest.raises(TrapError) as caught:
            [row async for row in api("/ip/route/set", **{".id": "*77", "distance": "5"})]
        assert caught.value.message == "no such item"
        assert len([row async for row in api("/system/identity/print")]) == 1


async def test_a_wrong_password_and_a_quit_become_exceptions() -> None:
    async with serving() as server:
        with pytest.raises(TrapError, match="invalid user name"):
            async with library(server, password="wrong"):
                pass
        async with library(server) as api:
            with pytest.raises(FatalError, match="session terminated on request"):
                [row async for row in api("/quit")]


async def test_the_old_login_works_with_a_token() -> None:
    async with (
        serving("6.42") as server,
        library(server, login_method=async_token) as api,
    ):
        assert [row async for row in api("/system/identity/print")] == [{"name": "MikroTik"}]


@pytest.mark.parametrize("mode", [TlsMode.CERTIFICATE, TlsMode.ANONYMOUS])
async def test_the_library_connects_with_tls(mode: TlsMode) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if mode is TlsMode.ANONYMOUS:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ADH:@SECLEVEL=0")
    server = ApiServer(SimulatedRouter(), users=[USER])
    await server.start(tls=make_tls_context(mode))
    try:
        async with library(server, login_method=async_plain, ssl_wrapper=context) as api:
            rows = [row async for row in api("/ip/route/print")]
            assert len(rows) == 5
    finally:
        await server.stop()
