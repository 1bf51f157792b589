"""The demo's story: what is done to the gateways, what has to follow, and what was measured.

Each step waits for what edged should do and fails with a sentence where that does not come. Times
from a fault to the written route are the simulator's write log against the demo's own clock, both
the machine's monotonic one; times after the first sign are edged's own, out of its events.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edged.cli.demo_gateways import ADDRESSES, Gateway
from edged.cli.demo_lab import Daemon, Router, Write
from edged.cli.demo_processes import DemoFailed, Ending
from edged.cli.demo_show import Show, first_event
from edged.cli.render import Cell, Column, Terminal, table
from edged.cli.screens import adoption_screen, undo_screen
from edged.system import clock

WARM_S: Final = 15.0
OUT_S: Final = 5.0
BACK_S: Final = 25.0
KEPT_S: Final = 1.5
"""How long the route is watched while nobody answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One change of the route, in milliseconds; None where there is no such instant."""

    what: str
    seen_as: str
    written_ms: float
    verdict_ms: int | None
    first_to_written_ms: int | None
    first_to_read_ms: int | None


class Story:
    """Runs the steps one after the other."""

    def __init__(
        self,
        *,
        gateways: Sequence[Gateway],
        router: Router,
        daemon: Daemon,
        show: Show,
        ending: Ending,
        terminal: Terminal,
    ) -> None:
        self._gateways = {gateway.name: gateway for gateway in gateways}
        self._router = router
        self._daemon = daemon
        self._show = show
        self._ending = ending
        self._terminal = terminal
        self.measured: list[Measured] = []

    # --- the steps

    def adopt(self) -> None:
        """A person says yes; before that edged writes nothing."""
        show = self._show
        show.heading("1. edged asks before it touches the route")
        show.say(
            "It probes the gateways and reads the router, but no row carries its mark yet, so it "
            "writes nothing. This is what it would mark, and how to undo it:"
        )
        self._wait("edged reads the route", self._route_read, WARM_S)
        show.command("edged adopt web")
        offer = self._daemon.client.post("adopt", {"owner": "demo"})
        show.lines(f"  {line}" for line in adoption_screen(offer, self._terminal))
        show.lines(f"  {line}" for line in undo_screen(offer, self._terminal))
        if self._router.write_count():
            raise DemoFailed("edged wrote to the router before anybody said yes")
        show.command("edged adopt web --yes")
        done = self._daemon.client.post("adopt", {"owner": "demo", "confirmed": True})
        if not all(route["done"] for route in done["routes"]):
            raise DemoFailed(f"adoption was not carried out: {done['routes']}")
        self._wait("three gateways pass and the warm-up ends", self._all_up, WARM_S)
        show.result("the route is edged's now; its next hops are unchanged: " + self._route())

    def kill(self, name: str) -> None:
        """An Envoy dies and comes back."""
        gateway = self._gateways[name]
        self._show.heading(f"2. {gateway.child.name} is killed (SIGKILL)")
        self._measure(f"{name} killed", name, gateway.kill)
        self._show.say(
            "It is started again, and returns by itself: three good probes in a row, two seconds "
            "without a failure, then the hold-down."
        )
        self._return(name, lambda: gateway.start(self._ending))

    def freeze(self, name: str) -> None:
        """An Envoy hangs and goes on."""
        gateway = self._gateways[name]
        self._show.heading(f"3. {gateway.child.name} hangs (SIGSTOP)")
        self._show.say("Its kernel still accepts connections: a TCP check would call it healthy.")
        self._measure(f"{name} hangs", name, gateway.freeze)
        self._show.say("It goes on (SIGCONT).")
        self._return(name, gateway.thaw)

    def drain(self, name: str) -> None:
        """A person takes one out and lets it return."""
        client = self._daemon.client
        self._show.heading(f"4. A person drains {name}, to reboot it")
        self._show.command(f'edged drain {name} --reason "kernel update"')

        def drain() -> int:
            at_us = clock.monotonic_us()
            client.post("drain", {"gateway": name, "owner": "demo", "reason": "kernel update"})
            return at_us

        self._measure(f"{name} drained", name, drain)
        self._show.command(f"edged undrain {name}")
        self._return(name, lambda: client.post("undrain", {"gateway": name, "owner": "demo"}))

    def kill_all(self) -> None:
        """All die; the route is never emptied."""
        self._show.heading("5. All three are killed at once")
        for gateway in self._gateways.values():
            gateway.child.send(signal.SIGKILL)
        until_ms = clock.monotonic_ms() + round(KEPT_S * 1_000)
        self._ending.wait(
            lambda: clock.monotonic_ms() > until_ms, limit_s=2 * KEPT_S, between=self._show.tick
        )
        for gateway in self._gateways.values():
            gateway.child.wait(OUT_S)
        if not self._router.next_hops():
            raise DemoFailed("the route was emptied")
        self._show.result(f"a route is never emptied. It holds {self._route()}, and waits")
        for gateway in self._gateways.values():
            gateway.start(self._ending)
        self._wait("all three return", self._all_in, BACK_S)
        self._show.result(f"they are started again, and the route holds {self._route()}")

    # --- what the steps are made of

    def _measure(self, what: str, name: str, fault: Callable[[], int]) -> None:
        """Do something to a gateway, wait until the route is without it, and note the times."""
        address = self._gateways[name].address
        writes = self._router.write_count()
        seen = len(self._show.events)
        at_us = fault()
        self._wait(
            f"{what}: the route is written without it",
            lambda: address not in self._router.next_hops(),
            OUT_S,
        )
        wrote = removal(self._router.writes(writes), address)
        if wrote is None:
            raise DemoFailed(f"{what}: the router's log shows no write that took it out")
        self._wait(
            f"{what}: the route is read back",
            lambda: (
                first_event(self._show.events[seen:], "route.verified", removed=name) is not None
            ),
            OUT_S,
        )
        events = self._show.events[seen:]
        changed = first_event(events, "route.changed", removed=name)
        verified = first_event(events, "route.verified", removed=name)
        assert changed is not None
        assert verified is not None
        fields = changed["fields"]
        measured = Measured(
            what=what,
            seen_as=str(fields.get("class") or "a person's wish"),
            written_ms=(wrote.at_us - at_us) / 1_000,
            verdict_ms=fields.get("detect_ms"),
            first_to_written_ms=fields.get("total_ms"),
            first_to_read_ms=verified["fields"].get("total_ms"),
        )
        self.measured.append(measured)
        self._show.result(
            f"{measured.written_ms:.1f} ms later the router had a route without {name}: "
            + self._route()
        )

    def _return(self, name: str, back: Callable[[], object]) -> None:
        at_ms = clock.monotonic_ms()
        back()
        address = self._gateways[name].address
        self._wait(
            f"{name} returns to the route", lambda: address in self._router.next_hops(), BACK_S
        )
        self._wait("three gateways are up", self._all_up, BACK_S)
        took_s = (clock.monotonic_ms() - at_ms) / 1_000
        self._show.result(f"{name} is back after {took_s:.1f} s: {self._route()}")

    def _wait(self, what: str, done: Callable[[], bool], limit_s: float) -> None:
        if not self._ending.wait(done, limit_s=limit_s, between=self._show.tick):
            raise DemoFailed(f"this did not happen within {limit_s:g} s: {what}")
        self._show.catch_up()

    def _route_read(self) -> bool:
        routes = [route for vip in self._daemon.status()["vips"] for route in vip["routes"]]
        return bool(routes) and all(route["adopted"] is not None for route in routes)

    def _all_up(self) -> bool:
        vips = self._daemon.status()["vips"]
        return all(
            not vip["frozen"]
            and vip["in_sync"]
            and all(gateway["state"] == "UP" and gateway["in_route"] for gateway in vip["gateways"])
            for vip in vips
        )

    def _all_in(self) -> bool:
        return len(self._router.next_hops()) == len(self._gateways) and self._all_up()

    def _route(self) -> str:
        names = {address: name for name, address in ADDRESSES.items()}
        return ", ".join(names.get(hop, hop) for hop in self._router.next_hops())


def removal(writes: Sequence[Write], address: str) -> Write | None:
    """Return the write that took an address out of the route."""
    return next((one for one in writes if address in one.before and address not in one.after), None)


COLUMNS: Final = (
    Column(title="WHAT", keep=9),
    Column(title="SEEN AS", keep=5),
    Column(title="ROUTE WRITTEN", keep=8),
    Column(title="| VERDICT", keep=3),
    Column(title="WRITTEN", keep=3),
    Column(title="READ BACK", keep=3),
)


def measured_table(measured: Sequence[Measured], terminal: Terminal) -> list[str]:
    """Lay out what was measured."""
    rows = [
        [
            Cell(one.what),
            Cell(one.seen_as),
            Cell(f"{one.written_ms:.1f} ms"),
            Cell(f"| {_ms(one.verdict_ms)}"),
            Cell(_ms(one.first_to_written_ms)),
            Cell(_ms(one.first_to_read_ms)),
        ]
        for one in measured
    ]
    return [
        *table(COLUMNS, rows, terminal),
        "",
        "  ROUTE WRITTEN: from the deed to the router's write log, by the demo's clock.",
        "  Right of the bar: after the first sign of trouble, by edged's own clock.",
    ]


def _ms(value: int | None) -> str:
    return "" if value is None else f"{value} ms"
