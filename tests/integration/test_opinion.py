"""The router's second opinion, end to end: silent gateways, and a router that pings them.

The gateways' packets are dropped by the kernel; what the router's ping says is set on the simulated
router, so that both can agree, or not. Judged by events and by the router's rows.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from edged.cli.demo_gateways import ADDRESSES
from tests.support.daemon import World, world
from tests.support.parts import require_part
from tests.support.silence import Silence, own_network

pytestmark = pytest.mark.integration

FIRST, SECOND, THIRD = ADDRESSES
VERSIONS: Final = ("6.49.10", "7.21.5")
LOOK_S: Final = 3.0
"""Long enough for burst, opinion and its patience of 1.5 s."""
LAPSE_S: Final = 7.0
"""Longer than an opinion holds: it has to be asked for again while all are silent."""
DOWN_S: Final = 4

both = pytest.mark.parametrize("routeros", VERSIONS)


class Lab:
    """A settled world whose gateways can fall silent."""

    def __init__(self, made: World, silence: Silence) -> None:
        self.world = made
        self._silence = silence

    def silent(self, *names: str) -> None:
        """Make exactly these silent."""
        self._silence(*(ADDRESSES[name] for name in names))

    def ping(self, *names: str, answers: bool) -> None:
        """Say what the router's ping finds."""
        for name in names:
            self.world.router.ask(do="ping", address=ADDRESSES[name], answers=answers)

    def opinion(self, name: str) -> str | None:
        """Return what the router said last of a gateway; what confirms nothing is no event."""
        known = self.world.daemon.gateway(name)["known"]
        return next((str(one["said"]) for one in known if one["fact"] == "ping"), None)

    def kept(self, name: str) -> str | None:
        """Return why a gateway stays in the route."""
        held = self.world.daemon.gateway(name)["kept"]
        return None if held is None else str(held["reason"])

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until `done`."""
        self.world.wait(what, done)

    def drain_third(self) -> None:
        """Drain one of three: the floor of two now holds each of the others."""
        self.world.daemon.client.post("drain", {"gateway": THIRD, "owner": "test"})
        self.wait("drained", lambda: self.world.in_route() == [FIRST, SECOND])


@contextmanager
def lab(
    folder: Path, routeros: str, before: Callable[[World], None] = lambda _: None
) -> Iterator[Lab]:
    """Start a world in a network of its own, and wait until its router has learned to ping."""
    require_part("root-netns")
    settings: dict[str, Any] = {"log_level": "debug"}
    with (
        own_network() as silence,
        world(folder, routeros=routeros, settings=settings, before=before) as made,
    ):
        made.wait_settled()
        time.sleep(1.0)  # each address is pinged once at the start
        yield Lab(made, silence)


def ping_command(routeros: str) -> str:
    """Return the ping of a version, as the simulated router hears it."""
    return "/ping" if routeros.startswith("6") else "/tool/ping"


@contextmanager
def rebooting(made: World) -> Iterator[None]:
    """Have the router away for the block; it answers the request when it is back."""
    reboot = threading.Thread(target=lambda: made.router.ask(do="reboot", down_s=DOWN_S))
    reboot.start()
    try:
        yield
    finally:
        reboot.join()


def never_pinged(made: World) -> None:
    """Have every node filter ICMP, from the start on."""
    for address in ADDRESSES.values():
        made.router.ask(do="ping", address=address, answers=False)


# --- one silent, another drained: the floor would keep it ----------------------------------------


@both
def test_a_silent_one_at_the_floor_leaves_when_the_router_agrees(
    short_tmp_path: Path, routeros: str
) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.drain_third()
        made.ping(SECOND, answers=False)
        made.silent(SECOND)
        made.wait("out", lambda: made.world.in_route() == [FIRST])
        assert made.opinion(SECOND) == "dead"
        assert made.world.event("router.opinion_given", gateway=SECOND, opinion="dead") is not None
        changed = made.world.event("route.changed", removed=SECOND)
        assert changed is not None
        assert changed["fields"]["reason"] == "silent"
        assert "ping from hex: dead" in str(made.world.daemon.client.get("why", {"name": SECOND}))


@both
def test_a_silent_one_at_the_floor_stays_while_the_router_reaches_it(
    short_tmp_path: Path, routeros: str
) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.drain_third()
        made.silent(SECOND)
        made.wait("asked", lambda: made.opinion(SECOND) == "alive")
        stays(made, FIRST, SECOND)
        assert made.kept(SECOND) == "floor"
        made.ping(SECOND, answers=False)
        made.wait("asked again, and it is dead", lambda: made.world.in_route() == [FIRST])


@both
def test_a_node_that_filters_icmp_is_unknown_and_stays_at_the_floor(
    short_tmp_path: Path, routeros: str
) -> None:
    with lab(short_tmp_path, routeros, before=never_pinged) as made:
        made.drain_third()
        made.silent(SECOND)
        made.wait("asked", lambda: made.opinion(SECOND) == "unknown")
        stays(made, FIRST, SECOND)
        assert made.kept(SECOND) == "floor"
        log = (short_tmp_path / "edged.log").read_text(encoding="utf-8")
        assert "not answered a ping within the hour" in log


@both
def test_a_router_that_may_not_ping_confirms_nothing(short_tmp_path: Path, routeros: str) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.drain_third()
        words = {"kind": "refuse", "text": "not enough permissions (9)", "times": 100}
        made.world.router.ask(do="fault", command=ping_command(routeros), **words)
        made.ping(SECOND, answers=False)
        made.silent(SECOND)
        made.wait("asked", lambda: made.opinion(SECOND) == "unknown")
        stays(made, FIRST, SECOND)
        made.world.router.ask(do="clear-faults")
        made.wait("asked again, and it is dead", lambda: made.world.in_route() == [FIRST])


@both
def test_a_ping_that_takes_too_long_confirms_nothing(short_tmp_path: Path, routeros: str) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.drain_third()
        words = {"kind": "delay", "seconds": 4, "times": 100}
        made.world.router.ask(do="fault", command=ping_command(routeros), **words)
        made.ping(SECOND, answers=False)
        made.silent(SECOND)
        made.wait("late", lambda: made.opinion(SECOND) == "unknown")
        stays(made, FIRST, SECOND)
        assert made.kept(SECOND) == "floor"


@both
def test_a_router_that_is_gone_is_asked_when_it_is_back(
    short_tmp_path: Path, routeros: str
) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.drain_third()
        made.ping(SECOND, answers=False)
        with rebooting(made.world):
            made.wait("lost", lambda: made.world.event("router.lost") is not None)
            made.silent(SECOND)
            made.wait("seen", lambda: made.world.event("gateway.went_down") is not None)
            assert made.world.event("route.changed", removed=SECOND) is None
        made.wait("out once it is back", lambda: made.world.in_route() == [FIRST])
        assert made.opinion(SECOND) == "dead"


# --- all silent ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("answers", [False, True], ids=["agrees", "disagrees"])
def test_while_all_are_silent_nobody_leaves(
    short_tmp_path: Path, routeros: str, *, answers: bool
) -> None:
    with lab(short_tmp_path, routeros) as made:
        made.ping(*ADDRESSES, answers=answers)
        made.silent(*ADDRESSES)
        made.wait("blind", lambda: not made.world.daemon.gateway(FIRST)["passing"])
        stays(made, *ADDRESSES, for_s=LAPSE_S)
        made.silent(SECOND, THIRD)
        made.wait("asked", lambda: made.opinion(SECOND) == ("alive" if answers else "dead"))
        if answers:
            made.wait("kept", lambda: made.kept(SECOND) == made.kept(THIRD) == "second_opinion")
            stays(made, *ADDRESSES)
        else:
            made.wait("only who answers", lambda: made.world.in_route() == [FIRST])
        made.silent()
        made.world.wait_settled()


@both
@pytest.mark.parametrize("trouble", ["filters", "slow"])
def test_after_all_were_silent_the_floor_bounds_what_an_unsure_router_allows(
    short_tmp_path: Path, routeros: str, trouble: str
) -> None:
    before = never_pinged if trouble == "filters" else lambda _: None
    with lab(short_tmp_path, routeros, before=before) as made:
        made.ping(*ADDRESSES, answers=False)
        if trouble == "slow":
            words = {"kind": "delay", "seconds": 4, "times": 100}
            made.world.router.ask(do="fault", command=ping_command(routeros), **words)
        made.silent(*ADDRESSES)
        stays(made, *ADDRESSES)
        made.silent(SECOND, THIRD)
        made.wait("one of the two left", lambda: len(made.world.in_route()) < len(ADDRESSES))
        left = made.world.in_route()
        assert len(left) == 2
        assert FIRST in left
        stays(made, *left)


def stays(made: Lab, *names: str, for_s: float = LOOK_S) -> None:
    """See the route stay for a while."""
    made.world.stays(f"{names} in the route", lambda: made.world.in_route() == [*names], for_s)
