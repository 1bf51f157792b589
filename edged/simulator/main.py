"""`edged simulator`: a simulated router by itself, on loopback unless told otherwise."""

import argparse
import asyncio
import contextlib
import ipaddress
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from edged.simulator.control import MAX_LINE_BYTES, Control
from edged.simulator.network import DEFAULT_GATEWAYS, Network
from edged.simulator.router import SimulatedRouter
from edged.simulator.server import ApiServer
from edged.simulator.tls import TlsMode, make_tls_context
from edged.simulator.users import User

USAGE_ERROR = 2
"""Exit code for options that do not fit together."""


class UsageError(ValueError):
    """The options do not fit together; the text says which."""


def _listen_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _named_gateway(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=ADDRESS")
    try:
        return name, str(ipaddress.ip_address(address))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser."""
    network = Network()
    parser.add_argument(
        "--routeros", default="6.49.10", metavar="VERSION", help="RouterOS version (%(default)s)"
    )
    parser.add_argument(
        "--listen",
        type=_listen_address,
        default=("127.0.0.1", 8728),
        metavar="HOST:PORT",
        help="where the plain API listens (127.0.0.1:8728; port 0 takes a free one)",
    )
    parser.add_argument(
        "--tls-listen",
        type=_listen_address,
        metavar="HOST:PORT",
        help="where the API with TLS listens (not at all; 127.0.0.1:8729 with --tls)",
    )
    parser.add_argument(
        "--tls",
        choices=[mode.value for mode in TlsMode],
        default=TlsMode.OFF.value,
        help="cert: the demo certificate or --cert; anonymous: as without one (%(default)s)",
    )
    parser.add_argument("--cert", type=Path, help="PEM certificate for --tls cert")
    parser.add_argument("--key", type=Path, help="PEM key for --tls cert")
    parser.add_argument("--user", default="edged", help="user with read, write, test and api")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--password", default="", help="its password (empty)")
    secret.add_argument("--password-file", type=Path, help="file with its password")
    parser.add_argument(
        "--gateway",
        type=_named_gateway,
        action="append",
        metavar="NAME=ADDRESS",
        help="a gateway; repeat for more (three of 172.30.1.0/24)",
    )
    parser.add_argument("--vip", default=network.vip, help="the VIP's prefix (%(default)s)")
    parser.add_argument("--comment", default=network.comment, help="comment of its route")
    parser.add_argument("--distance", type=int, default=network.distance, help="(%(default)s)")
    parser.add_argument("--identity", default="MikroTik", help="the router's name (%(default)s)")
    parser.add_argument("--max-sessions", type=int, default=20, help="(%(default)s)")
    parser.add_argument(
        "--control",
        metavar="PATH",
        help="Unix socket for JSON lines that steer faults and edits; - reads standard input",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="permit addresses beyond loopback"
    )


def _check_loopback(host: str, *, allow_remote: bool) -> None:
    loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    if not loopback and not allow_remote:
        raise UsageError(f"{host} is beyond loopback: add --allow-remote if that is meant")


def make_server(arguments: argparse.Namespace) -> ApiServer:
    """Build the router and its server from the options.

    Raises:
        UsageError: A version, prefix or file in the options is no good.
    """
    password = arguments.password
    try:
        if arguments.password_file is not None:
            text = arguments.password_file.read_text(encoding="utf-8")
            password = text.rstrip("\n")
        router = SimulatedRouter(
            version=arguments.routeros,
            identity=arguments.identity,
            network=Network(
                vip=arguments.vip,
                gateways=dict(arguments.gateway or DEFAULT_GATEWAYS.items()),
                comment=arguments.comment,
                distance=arguments.distance,
            ),
        )
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    router.max_sessions = arguments.max_sessions
    return ApiServer(router, users=[User(name=arguments.user, password=password)])


def _listeners(
    arguments: argparse.Namespace,
) -> list[tuple[str, int, ssl.SSLContext | None]]:
    """Return host, port and TLS of each listener."""
    mode = TlsMode(arguments.tls)
    secured = arguments.tls_listen
    if secured is not None and mode is TlsMode.OFF:
        raise UsageError("--tls-listen needs --tls cert or --tls anonymous")
    wanted: list[tuple[str, int, ssl.SSLContext | None]] = [(*arguments.listen, None)]
    if mode is not TlsMode.OFF:
        context = make_tls_context(mode, certificate=arguments.cert, key=arguments.key)
        host, port = secured or ("127.0.0.1", 8729)
        wanted.append((host, port, context))
    for host, _, _ in wanted:
        _check_loopback(host, allow_remote=arguments.allow_remote)
    return wanted


async def run_simulator(
    arguments: argparse.Namespace, *, ended: asyncio.Event | None = None
) -> int:
    """Run until `ended` is set, or SIGINT or SIGTERM arrives without one; return the exit code."""
    try:
        server = make_server(arguments)
        wanted = _listeners(arguments)
    except (UsageError, OSError, ssl.SSLError) as error:
        print(f"edged simulator: {error}", file=sys.stderr)  # noqa: T201 - a program's own output
        return USAGE_ERROR
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        for host, port, tls in wanted:
            await server.start(host=host, port=port, tls=tls)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        if arguments.control not in {None, "-"}:
            await stack.enter_async_context(Control(server).on_socket(Path(arguments.control)))
        ended = ended or _ended_by_signals()
        if arguments.control == "-":
            lines = group.create_task(_serve_standard_input(Control(server)))
            stack.callback(lines.cancel)
        _say_where(server, wanted)
        await ended.wait()
    return 0


def _ended_by_signals() -> asyncio.Event:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    return ended


async def _serve_standard_input(control: Control) -> None:
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await control.serve_lines(reader, None)


def _say_where(server: ApiServer, wanted: Sequence[tuple[str, int, ssl.SSLContext | None]]) -> None:
    for (host, _, tls), port in zip(wanted, server.ports, strict=True):
        name = "api" if tls is None else "api-ssl"
        print(f"RouterOS {server.router.version}: {name} on {host}:{port}", flush=True)  # noqa: T201 - its output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator as a program."""
    parser = argparse.ArgumentParser(prog="edged simulator", description=__doc__)
    add_arguments(parser)
    return asyncio.run(run_simulator(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
