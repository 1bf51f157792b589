"""BGP end to end: real speakers peer, the simulated router shows what its speaker says of them.

Three BIRDs as AS 64513 and a router's BIRD as AS 64512 live in network namespaces of their own.
edged sees them only through the RouterOS API, as it would on a real network, and is judged by its
events and by the router's rows.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from edged.cli.client import Refused
from edged.cli.demo_gateways import ADDRESSES
from tests.support.daemon import World, world
from tests.support.parts import require_part
from tests.support.speakers import SpeakerLab

pytestmark = pytest.mark.integration

NAMES: Final = tuple(ADDRESSES)
QUICK: Final[dict[str, Any]] = {"bgp": {"poll_interval": "1s", "down_for": "5s"}}
MIRROR_S: Final = 0.1
WORDS: Final = {
    "Established": "established",
    "Idle": "idle",
    "Connect": "connect",
    "Active": "active",
    "Passive": "active",
    "OpenSent": "opensent",
    "OpenConfirm": "openconfirm",
}


@contextmanager
def mirrored(lab: SpeakerLab, edged: World) -> Iterator[None]:
    """Have the simulated router show what the router's speaker says, until the block ends."""
    ended = threading.Event()

    def show() -> None:
        shown: dict[str, str] = {}
        while not ended.wait(MIRROR_S):
            states = lab.router.protocols()
            for name in NAMES:
                state = WORDS[states[name]] if name in states else "removed"
                if shown.get(name) != state:
                    shown[name] = state
                    tell(edged, name, state)

    thread = threading.Thread(target=show, name="mirror")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def tell(edged: World, name: str, state: str) -> None:
    """Have the simulated router show a state; a peer that was removed goes from its table."""
    if state != "removed":
        edged.router.ask(do="bgp", peer=name, state=state)
        return
    menu = "/routing/bgp/peer"
    rows = edged.router.ask(do="rows", menu=menu)["rows"]
    address = ADDRESSES[name]
    (row,) = (row for row in rows if row["remote-address"] == address)
    edged.router.ask(do="edit", path=f"{menu}/remove", words={".id": row[".id"]})


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SpeakerLab]:
    """Three speakers that peer with a router's."""
    require_part("root-netns")
    bird = require_part("bird")
    with SpeakerLab(bird, tmp_path, NAMES) as made:
        made.wait_established()
        yield made


@contextmanager
def peering(lab: SpeakerLab, folder: Path, routeros: str = "6.49.10") -> Iterator[World]:
    """Start a world whose router mirrors the speakers, and wait until all sessions are seen."""
    with world(folder, routeros=routeros, settings=QUICK) as made, mirrored(lab, made):
        made.wait_settled()
        made.wait("all sessions seen up", lambda: bgp_of(made) == dict.fromkeys(NAMES, "up"))
        yield made


def bgp_of(edged: World) -> dict[str, str | None]:
    """Return what `status` says of each gateway's session."""
    gateways = edged.daemon.status()["vips"][0]["gateways"]
    return {one["name"]: one["bgp"] for one in gateways}


def waits(edged: World) -> dict[str, str | None]:
    """Return what each gateway waits for."""
    gateways = edged.daemon.status()["vips"][0]["gateways"]
    return {one["name"]: one["waits"] and one["waits"]["reason"] for one in gateways}


@pytest.mark.parametrize("routeros", ["6.49.10", "7.21.5"])
def test_a_killed_speaker_starts_a_burst_and_removes_nobody_who_serves(
    lab: SpeakerLab, short_tmp_path: Path, routeros: str
) -> None:
    with peering(lab, short_tmp_path, routeros) as edged:
        writes = len(edged.own_writes())
        lab.nodes["node2"].kill()
        edged.wait(
            "the loss is told", lambda: bool(edged.event("bgp.session_lost", gateway="node2"))
        )
        assert edged.event("bgp.common_cause") is None
        edged.wait(
            "node2 is degraded, since its session stays away",
            lambda: bool(edged.event("gateway.degraded", gateway="node2", cause="bgp")),
            10.0,
        )
        edged.wait("node2 leaves: two UP ones remain", lambda: "node2" not in edged.in_route())
        assert len(edged.own_writes()) == writes + 1
        lab.nodes["node2"].start()
        edged.wait(
            "its return is told",
            lambda: bool(edged.event("bgp.session_recovered", gateway="node2")),
            15.0,
        )
        edged.wait_settled()


def test_a_frozen_speaker_is_noticed_when_its_hold_time_is_over(
    lab: SpeakerLab, short_tmp_path: Path
) -> None:
    with peering(lab, short_tmp_path) as edged:
        lab.nodes["node1"].send(signal.SIGSTOP)
        edged.wait(
            "the loss is told",
            lambda: bool(edged.event("bgp.session_lost", gateway="node1")),
            10.0,
        )
        lab.nodes["node1"].send(signal.SIGCONT)
        edged.wait(
            "and the return",
            lambda: bool(edged.event("bgp.session_recovered", gateway="node1")),
            15.0,
        )
        edged.wait_settled()


def test_half_of_the_sessions_lost_at_once_degrade_nobody(
    lab: SpeakerLab, short_tmp_path: Path
) -> None:
    with peering(lab, short_tmp_path) as edged:
        writes = len(edged.own_writes())
        for name in ("node1", "node2"):
            lab.nodes[name].kill()
        edged.wait("the common cause is told", lambda: bool(edged.event("bgp.common_cause")), 10.0)
        edged.stays("nobody leaves", lambda: len(edged.in_route()) == len(NAMES), 8.0)
        assert edged.event("gateway.degraded") is None
        assert len(edged.own_writes()) == writes


def test_a_peer_taken_out_of_the_configuration_is_told_once_and_costs_nothing(
    lab: SpeakerLab, short_tmp_path: Path
) -> None:
    with peering(lab, short_tmp_path) as edged:
        lab.forget("node3")
        edged.wait(
            "it is reported", lambda: bool(edged.event("bgp.not_configured", gateway="node3"))
        )
        edged.stays("node3 stays", lambda: len(edged.in_route()) == len(NAMES), 7.0)
        assert edged.event("bgp.session_lost") is None
        assert len(edged.daemon.events(names="bgp.not_configured")) == 1


def test_a_return_waits_for_the_session(lab: SpeakerLab, short_tmp_path: Path) -> None:
    with peering(lab, short_tmp_path) as edged:
        edged["node2"].kill()
        edged.wait("node2 is out", lambda: "node2" not in edged.in_route())
        lab.nodes["node2"].kill()
        edged.wait("its session is gone", lambda: bgp_of(edged)["node2"] == "down", 10.0)
        edged["node2"].start(edged.ending)
        edged.wait(
            "it waits at the gate",
            lambda: waits(edged)["node2"] == "entry_gate",
            15.0,
        )
        lab.nodes["node2"].start()
        edged.wait_settled()


def test_a_hand_over_needs_a_live_session_and_comes_back(
    lab: SpeakerLab, short_tmp_path: Path
) -> None:
    with peering(lab, short_tmp_path) as edged:
        edged.daemon.client.post("handover", {"to": "bgp"})
        edged.wait("our rows are disabled", lambda: edged.in_route() == [])
        edged.daemon.client.post("handover", {"to": "back"})
        edged.wait_settled()
        for name in NAMES:
            lab.nodes[name].kill()
        edged.wait("no session is up", lambda: set(bgp_of(edged).values()) == {"down"}, 10.0)
        with pytest.raises(Refused, match="established"):
            edged.daemon.client.post("handover", {"to": "bgp"})
        assert len(edged.in_route()) == len(NAMES)
