"""`make race`: edged and others watch the same gateways, and the same fault hits them all at once.

Real Envoys in network namespaces; every contestant has a namespace and an address of its own. A
trial begins when all of them call the victim up, at a random moment after that. Each one's verdict
is its own word, timed from the system call that makes the fault, on the machine's monotonic clock;
nothing is asked of anybody while the clock runs. Root only; what is not installed is left out, with
the reason (make race-parts installs all).

A killed Envoy is noticed within a few milliseconds of computing, so that edged's profiles would
race each other for the cores: there each profile has a heat of its own, against all the peers.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from contestants import (
    PORT,
    VICTIM,
    Bird,
    Contestant,
    EnvoyChecks,
    ExaBgp,
    Frr,
    HAProxy,
    Keepalived,
    KeepalivedSsl,
    NodeBfd,
    Nothing,
    Stage,
    program,
)
from ear import Ear
from edged_entry import Edged
from netlab import NODES, NetLab, entered
from plot import Bar, Chart, draw
from programs import cpu_s, rss_mb
from run import percentile, say_machine

from edged.cli.demo_gateways import envoy_gateway, find_envoy
from edged.cli.demo_lab import Folder
from edged.cli.demo_processes import DemoFailed, Ending, Interrupted
from edged.config.types import Profile

FAULTS: Final = ("killed", "silent", "hung")
LEAST_S: Final = 1.0
MOST_S: Final = {"killed": 3.0, "silent": 12.0, "hung": 6.0}
"""How long a trial waits for the slowest of those that can see the fault."""
TRIALS_PER_START: Final = 5
READY_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Times:
    """One contestant's times for one fault, in milliseconds from the fault."""

    verdict_ms: list[float] = field(default_factory=list)
    route_ms: list[float] = field(default_factory=list)
    read_back_ms: list[float] = field(default_factory=list)
    missed: int = 0


@dataclass(slots=True, kw_only=True)
class Cost:
    cpu_percent: float
    rss_mb: float
    checks_per_s: float

    @property
    def cpu_per_1000_s(self) -> float | None:
        return self.cpu_percent * 10 / self.checks_per_s if self.checks_per_s else None


class Race:
    """The nodes, their Envoys and everybody who watches them."""

    def __init__(self, folder: Path, lab: NetLab, envoy: str, leave_out: list[str]) -> None:
        folder.chmod(0o755)  # FRR runs as a user of its own
        self.ending = Ending()
        self.lab = lab
        self.ear = Ear()
        offset_us = (time.time_ns() - time.monotonic_ns()) // 1_000
        self.stage = Stage(lab=lab, ear=self.ear, folder=folder, wall_offset_us=offset_us)
        self.gateways = {
            name: envoy_gateway(envoy, name, [address], PORT, folder)
            for name, address in NODES.items()
        }
        self.left_out: dict[str, str] = {}
        self.entries = [Edged(self.stage, profile, self.ending) for profile in Profile]
        self.contestants: list[Contestant] = [*self.entries]
        self._resting: list[Edged] = []
        for kind in (HAProxy, Keepalived, KeepalivedSsl, ExaBgp, Bird, Frr, Nothing):
            reason = "left out by --without" if kind.__name__ in leave_out else kind.missing()
            if reason:
                self.left_out[kind.name] = reason
            else:
                self.contestants.append(kind(self.stage))
        if "EnvoyChecks" not in leave_out:
            self.contestants.insert(4, EnvoyChecks(self.stage, envoy))
        self._bfd: list[NodeBfd] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.callback(self.ear.close)
            peers = [one.key for one in self.contestants if isinstance(one, (Bird, Frr))]
            if peers and program("bird"):
                self._bfd = [NodeBfd(self.stage, node, peers) for node in NODES]
            for one in (*self.contestants, *self._bfd):
                stack.callback(one.end)
            for gateway in self.gateways.values():
                stack.callback(gateway.child.end)
            # Watched before they are there, so that everybody says in its own words: up.
            for one in (*self._bfd, *self.contestants):
                one.start()
            time.sleep(1.5)
            for name in NODES:
                self.start_gateway(name)
            self.refresh()
            for node in NODES:
                self.lab.count_connections(node)
            yield

    def start_gateway(self, name: str) -> None:
        with entered(self.lab.namespace(name)):
            self.gateways[name].start(self.ending)

    def heats(self, kind: str) -> list[list[Edged]]:
        """Return which of edged's entries run together."""
        return [[one] for one in self.entries] if kind == "killed" else [self.entries]

    def enter(self, heat: list[Edged]) -> None:
        """Let only these of edged's entries run from now on."""
        self._resting = [one for one in self.entries if one not in heat]
        for one in self._resting:
            one.rest()

    @property
    def active(self) -> list[Contestant]:
        return [one for one in self.contestants if one not in self._resting]

    def refresh(self) -> None:
        for one in self.active:
            one.refresh()

    def wait_ready(self) -> None:
        late: list[Contestant] = []

        def ready() -> bool:
            late[:] = [one for one in self.active if not one.up()]
            return not late

        if not self.ending.wait(ready, limit_s=READY_S, look_s=0.1):
            words = "\n".join(f"{one.name}:\n{one.last_words()}" for one in late)
            raise DemoFailed(f"not all call {VICTIM} up within {READY_S:g} s\n{words}")

    def fault(self, kind: str) -> int:
        gateway = self.gateways[VICTIM]
        match kind:
            case "killed":
                return gateway.kill()
            case "hung":
                return gateway.freeze()
            case _:
                return self.lab.ports[VICTIM].set(up=False)

    def repair(self, kind: str) -> None:
        if kind == "killed":
            self.start_gateway(VICTIM)
        elif kind == "hung":
            self.gateways[VICTIM].thaw()
        else:
            self.lab.ports[VICTIM].set(up=True)

    # --- one trial

    def trial(self, kind: str, times: dict[str, Times], rng: random.Random) -> None:
        self.wait_ready()
        time.sleep(0.5 + rng.random())
        self.wait_ready()
        at_us = self.fault(kind)
        # The ear is a thread of its own and the clock runs: nothing is asked before it is over.
        time.sleep(LEAST_S)
        watching = [
            one
            for one in self.contestants
            if kind not in one.sees_not and not isinstance(one, Edged)
        ]
        give_up = at_us / 1_000_000 + MOST_S[kind]
        while time.monotonic() < give_up and any(one.verdict_us(at_us) is None for one in watching):
            time.sleep(0.1)
        for one in self.active:
            note(times[one.name], one, at_us)
        self.repair(kind)

    # --- the price

    def measure_cost(self, seconds: float) -> dict[str, Cost]:
        self.wait_ready()
        time.sleep(2)
        before, checks = self._spent(), self._checks()
        began = time.monotonic()
        memory: dict[str, list[float]] = {one.name: [] for one in self.contestants}
        while time.monotonic() < began + seconds:
            time.sleep(1)
            for one in self.contestants:
                memory[one.name].append(sum(rss_mb(pid) for pid in one.pids()))
        took = time.monotonic() - began
        after, checks_after = self._spent(), self._checks()
        return {
            one.name: Cost(
                cpu_percent=100 * (after[one.name] - before[one.name]) / took,
                rss_mb=statistics.median(memory[one.name]),
                checks_per_s=(checks_after[one.name] - checks[one.name]) / took
                if one.checks_per_s is None
                else one.checks_per_s,
            )
            for one in self.contestants
        }

    def _spent(self) -> dict[str, float]:
        return {one.name: sum(cpu_s(pid) for pid in one.pids()) for one in self.contestants}

    def _checks(self) -> dict[str, float]:
        seen = [self.lab.connections(node) for node in NODES]
        now_s = time.monotonic()
        counts: dict[str, float] = {}
        for one in self.contestants:
            counts[one.name] = sum(node[one.key] for node in seen)
            if isinstance(one, EnvoyChecks):
                counts[one.name] = one.attempts()
            elif isinstance(one, Edged):
                counts[one.name] += one.pings_per_s * now_s
        return counts


def note(times: Times, one: Contestant, at_us: int) -> None:
    verdict_us = one.verdict_us(at_us)
    if verdict_us is None:
        times.missed += 1
        return
    # A stamp in whole milliseconds may lie just before the fault.
    times.verdict_ms.append(max(0, verdict_us - at_us) / 1_000)
    route_us = one.route_us(at_us)
    if route_us is not None:
        times.route_ms.append((route_us - at_us) / 1_000)
    if isinstance(one, Edged):
        read_us = one.read_back_us(at_us)
        if read_us is not None:
            times.read_back_ms.append((read_us - at_us) / 1_000)


# --- words --------------------------------------------------------------------------------------


def spread(values: list[float]) -> str:
    if not values:
        return "| - | - | - "
    return (
        f"| {short(statistics.median(values))} | {short(percentile(values, 0.99))} "
        f"| {short(max(values))} "
    )


def short(ms: float) -> str:
    return f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def table(kind: str, entries: list[Contestant], times: dict[str, Times]) -> str:
    lines = [
        f"**{kind}**, ms",
        "",
        "| who | seen | verdict: median | p99 | max | route: median | p99 | max | read back |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in entries:
        found = times[one.name]
        n = len(found.verdict_ms) + found.missed
        seen = f"{len(found.verdict_ms)} of {n}"
        if not found.verdict_ms and kind in one.sees_not:
            seen = f"0 of {n}: does not see it"
        back = short(statistics.median(found.read_back_ms)) if found.read_back_ms else "-"
        lines.append(
            f"| {one.name} | {seen} {spread(found.verdict_ms)}{spread(found.route_ms)}| {back} |"
        )
    lines += ["", lead(entries, times)]
    return "\n".join(lines)


def lead(entries: list[Contestant], times: dict[str, Times]) -> str:
    """Say how far ahead edged is: verdict against verdict, and its written route against a verdict.

    The second is in the peers' favour: those that write a route need longer for it.
    """
    words: dict[str, str] = {}
    for title, skip in (("Best peer", ()), ("Best peer that also sees a dead Envoy", (Bird, Frr))):
        theirs = {
            one.name: statistics.median(times[one.name].verdict_ms)
            for one in entries
            if not isinstance(one, (Edged, *skip)) and times[one.name].verdict_ms
        }
        if theirs:
            best = min(theirs, key=lambda name: theirs[name])
            ratios = ", ".join(
                f"{one.name} {theirs[best] / statistics.median(found.verdict_ms):.1f} and "
                f"{theirs[best] / statistics.median(found.route_ms):.1f}"
                for one in entries
                if isinstance(one, Edged) and (found := times[one.name]).route_ms
            )
            words.setdefault(
                best,
                f"{title}: {best}, {short(theirs[best])} ms to its verdict. That divided by "
                f"edged's time to the verdict, and to the written route: {ratios}.",
            )
    return "\n".join(words.values())


def cost_table(entries: list[Contestant], costs: dict[str, Cost]) -> str:
    lines = [
        "| who | a check is | checks/s | CPU, % of one core | CPU s / 1,000 checks | RSS, MB |",
        "|---|---|---|---|---|---|",
    ]
    for one in entries:
        cost = costs[one.name]
        if not one.pids():
            continue
        price = "-" if cost.cpu_per_1000_s is None else f"{cost.cpu_per_1000_s:.2f}"
        lines.append(
            f"| {one.name} | {one.check} | {cost.checks_per_s:.1f} | {cost.cpu_percent:.1f} "
            f"| {price} | {cost.rss_mb:.1f} |"
        )
    return "\n".join(lines)


def chart(entries: list[Contestant], times: dict[str, dict[str, Times]], n: int) -> Chart:
    def bar(one: Contestant, kind: str) -> Bar:
        found = times[kind][one.name]
        values = found.route_ms if isinstance(one, Edged) else found.verdict_ms
        words = "never" if kind in one.sees_not else "not seen in time"
        return Bar(name=one.name, values=values, ours=isinstance(one, Edged), instead=words)

    panels = [(f"Envoy {kind}" if kind != "silent" else "node silent", kind) for kind in times]
    return Chart(
        title="From the fault until it is noticed (edged: until the route is written)",
        note=f"median and range of {n} trials, all watching the same Envoys, the same fault",
        panels=[(title, [bar(one, kind) for one in entries]) for title, kind in panels],
    )


def versions(envoy: str) -> Iterator[str]:
    asked = {
        "haproxy": ["-v"],
        "keepalived": ["-v"],
        "exabgp": ["--version"],
        "bird": ["--version"],
        "bfdd": ["--version"],
        "curl": ["--version"],
    }
    for name, words in {envoy: ["--version"], **asked}.items():
        found = program(name)
        if found:
            said = subprocess.run([found, *words], capture_output=True, text=True, check=False)
            lines = (said.stdout + said.stderr).strip().splitlines()
            yield f"{Path(name).name}: {lines[0].strip() if lines else '?'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/race.py", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="trials of each fault (%(default)s)")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--quiet-s", type=float, default=30.0, help="how long cost is watched")
    parser.add_argument("--without", nargs="*", default=[], help="classes of bench/contestants.py")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="keep every single value here")
    parser.add_argument("--svg", type=Path, help="draw the plot here")
    arguments = parser.parse_args()
    envoy = find_envoy()
    reason = "root" if os.geteuid() != 0 else "an Envoy (make test installs it)" * (envoy is None)
    for name in ("ip", "nft"):
        reason = reason or f"{name} (make race-parts)" * (program(name) is None)
    if reason or envoy is None:
        print(f"race: not run: it needs {reason}", file=sys.stderr)
        return 2
    say_machine()
    print("\n".join(versions(envoy)))
    with Folder("edged-race-") as folder, NetLab() as lab:
        race = Race(folder, lab, envoy, arguments.without)
        try:
            with race.ending.watching(), race.running():
                return compete(race, arguments)
        except (Interrupted, DemoFailed) as error:
            print(f"race: {error}", file=sys.stderr)
            return error.exit_code if isinstance(error, Interrupted) else 1


def compete(race: Race, arguments: argparse.Namespace) -> int:
    entries = race.contestants
    print("\n| who | settings | its verdict is | its route is |\n|---|---|---|---|")
    for one in entries:
        print(f"| {one.name} | {one.settings} | {one.measured} | {one.route} |")
    for name, reason in race.left_out.items():
        print(f"left out: {name}: {reason}")
    costs: dict[str, Cost] = {}
    if arguments.quiet_s > 0:
        costs = race.measure_cost(arguments.quiet_s)
        print(f"\nload: {os.getloadavg()[0]:.2f}\n\n{cost_table(entries, costs)}", flush=True)
    times: dict[str, dict[str, Times]] = {}
    rng = random.Random(arguments.seed)
    for kind in arguments.faults:
        times[kind] = {one.name: Times() for one in entries}
        for heat in race.heats(kind):
            race.enter(heat)
            for number in range(arguments.n):
                if number % TRIALS_PER_START == 0:
                    race.refresh()
                race.trial(kind, times[kind], rng)
                if sys.stdout.isatty():
                    print(f"\r  {kind}: {number + 1} of {arguments.n}", end="", flush=True)
        print(f"\n{table(kind, entries, times[kind])}", flush=True)
        print(f"load: {os.getloadavg()[0]:.2f}", flush=True)
        keep(arguments.json, times)
    if arguments.svg is not None and times:
        arguments.svg.write_text(draw(chart(entries, times, arguments.n)))
    return 0


def keep(path: Path | None, times: dict[str, dict[str, Times]]) -> None:
    if path is None:
        return
    document = {
        kind: {
            name: {
                "verdict_ms": one.verdict_ms,
                "route_ms": one.route_ms,
                "read_back_ms": one.read_back_ms,
                "missed": one.missed,
            }
            for name, one in found.items()
        }
        for kind, found in times.items()
    }
    path.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    sys.exit(main())
