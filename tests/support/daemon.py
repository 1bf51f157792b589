"""A whole edged in its own process, between gateways and a simulated router in theirs.

Built from what `edged demo` ships. Everything is asked from outside: the control socket, the
router's write log, signals.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from edged.cli.client import NoDaemon
from edged.cli.demo_gateways import ADDRESSES, SERVER_NAME, Gateway, three_gateways
from edged.cli.demo_lab import Daemon, Router, Settings, Write
from edged.cli.demo_processes import Ending

QUICK_RETURN: Final = {"stable_for": "500ms", "down_interval": "250ms"}
"""Numbers that decide how soon a gateway returns; those that decide a removal are the defaults."""

OUT_S: Final = 15.0
"""Long enough for a busy machine: these waits are bounds, not promises of speed."""
BACK_S: Final = 30.0


class World:
    """Three gateways, a router and a daemon."""

    def __init__(self, folder: Path, *, routeros: str, envoy: str | None = None) -> None:
        self.folder = folder
        self.ending = Ending()
        self.gateways = {one.name: one for one in three_gateways(envoy, folder)}
        self.router = Router(folder, routeros=routeros, gateways=ADDRESSES)
        self.daemon = Daemon(folder)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Settings
        """Write the daemon's configuration."""
        port = next(iter(self.gateways.values())).port
        given: dict[str, Any] = {
            "adopt": True,
            "hold_down": "1s",
            "probe": QUICK_RETURN,
            "router": {"reconcile_interval": "1s"},
        }
        settings = Settings(server_name=SERVER_NAME, port=port, **(given | changes))
        self.daemon.configure(self.router, ADDRESSES, settings)

    def start_daemon(self) -> None:
        """Start the daemon and wait until its control socket answers."""
        self.daemon.start(self.ending)

    def __getitem__(self, name: str) -> Gateway:
        return self.gateways[name]

    # --- looking

    def in_route(self) -> list[str]:
        """Return the names of the gateways in the route."""
        names = {address: name for name, address in ADDRESSES.items()}
        return [names[hop] for hop in self.router.next_hops()]

    def settled(self, *names: str) -> bool:
        """Tell whether exactly these (default: all) are in the route, up, with nothing frozen."""
        wanted = set(names or ADDRESSES)
        try:
            vips = self.daemon.status()["vips"]
        except NoDaemon:
            return False
        return all(
            not vip["frozen"]
            and vip["in_sync"]
            and {one["name"] for one in vip["gateways"] if one["in_route"]} == wanted
            and {one["name"] for one in vip["gateways"] if one["state"] == "UP"} >= wanted
            for vip in vips
        )

    def event(self, name: str, **fields: object) -> dict[str, Any] | None:
        """Return the newest event with this name and these fields."""
        for event in reversed(self.daemon.events(names=name)):
            found = event["fields"]
            if all(_holds(found.get(key), value) for key, value in fields.items()):
                return event
        return None

    def own_writes(self, since: int = 0) -> list[Write]:
        """Return what edged wrote."""
        return [one for one in self.router.writes(since) if one.user == "edged"]

    # --- waiting

    def wait(self, what: str, done: Callable[[], bool], limit_s: float = OUT_S) -> None:
        """Wait until `done`, or fail with what was waited for and what edged said last."""
        if not self.ending.wait(done, limit_s=limit_s):
            words = self.daemon.child.last_words()
            raise AssertionError(f"not within {limit_s:g} s: {what}\n{words}")

    def wait_settled(self, *names: str) -> None:
        """Wait until exactly these (default: all) are in the route and nothing is frozen."""
        self.wait(f"settled with {names or 'all'}", lambda: self.settled(*names), BACK_S)

    def stays(self, what: str, holds: Callable[[], bool], for_s: float) -> None:
        """Look for a while whether something goes on to hold."""
        broke = self.ending.wait(lambda: not holds(), limit_s=for_s)
        assert not broke, f"no longer: {what}\n{self.daemon.child.last_words()}"


def _holds(found: object, wanted: object) -> bool:
    return wanted in found if isinstance(found, list) else found == wanted


@contextmanager
def world(
    folder: Path,
    *,
    routeros: str = "6.49.10",
    envoy: str | None = None,
    before: Callable[[World], None] = lambda _: None,
    settings: dict[str, Any] | None = None,
    start: bool = True,
    without: Sequence[str] = (),
) -> Iterator[World]:
    """Start a world; whatever of it runs at the end of the block is ended.

    Args:
        folder: where everything goes; short, for it holds Unix sockets.
        routeros: the router's version.
        envoy: an Envoy's path; stand-ins without it.
        before: done when the router runs, before the daemon starts.
        settings: what differs in the daemon's configuration.
        start: whether the daemon is started.
        without: gateways that are not started.
    """
    made = World(folder, routeros=routeros, envoy=envoy)
    with ExitStack() as stack:
        children = (made.router.child, *(one.child for one in made.gateways.values()))
        for child in (*children, made.daemon.child):
            stack.callback(child.end)
        for gateway in made.gateways.values():
            if gateway.name not in without:
                gateway.start(made.ending)
        made.router.start(made.ending)
        before(made)
        made.configure(**(settings or {}))
        if start:
            made.start_daemon()
        yield made
