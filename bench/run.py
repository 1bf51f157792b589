"""`make bench`: how fast, how small, how many, on loopback, with everything a process of its own.

Times run from the system call that makes the fault (or the relay's own stamp) to the write in the
simulated router's log; both clocks are the machine's monotonic one. A trial begins only when all
three gateways are in the route and up. Numbers that decide a removal are the defaults; those that
decide a return are short, so that 50 trials take minutes. The daemon is started anew every few
trials, since more than 10 writes a minute make it wait with additions.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edged.cli.client import NoDaemon
from edged.cli.demo_gateways import (
    ADDRESSES,
    SERVER_NAME,
    envoy_gateway,
    find_envoy,
    free_port,
    stand_in_gateway,
)
from edged.cli.demo_lab import Daemon, Folder, Router, Settings
from edged.cli.demo_processes import DemoFailed, Ending
from edged.cli.demo_story import removal

HERE = Path(__file__).parent
TRIALS_PER_START = 5
RETURN = {"stable_for": "500ms", "down_interval": "250ms"}
VERSIONS = ("6.49.10", "7.16.2")
FAULTS = ("killed", "terminated", "hung", "silent")
BEHIND = {name: address.replace("127.0.20.", "127.0.22.") for name, address in ADDRESSES.items()}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Series:
    """One row of the table."""

    title: str
    written_ms: list[float] = field(default_factory=list)
    verified_ms: list[float] = field(default_factory=list)
    said: list[dict[str, object]] = field(default_factory=list)
    """What edged's own events say of each trial, to look into a slow one."""
    missed: int = 0


class Lab:
    """Three Envoys, a router and, for as long as a block runs, a daemon."""

    def __init__(
        self, folder: Path, *, routeros: str, profile: str, relayed: bool, debug: bool
    ) -> None:
        self.folder = folder
        self.debug = debug
        self.ending = Ending()
        self.profile = profile
        envoy = find_envoy()
        self.envoy = envoy is not None
        self.port = free_port([*ADDRESSES.values(), *BEHIND.values()])
        real = BEHIND if relayed else ADDRESSES
        self.gateways = {
            name: envoy_gateway(envoy, name, [address], self.port, folder)
            if envoy is not None
            else stand_in_gateway(name, address, self.port, folder)
            for name, address in real.items()
        }
        self.router = Router(folder, routeros=routeros, gateways=ADDRESSES)
        self.daemon = Daemon(folder)
        self.relay: subprocess.Popen[str] | None = None
        self.relayed = relayed

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            children = (self.router.child, *(one.child for one in self.gateways.values()))
            for child in (*children, self.daemon.child):
                stack.callback(child.end)
            for gateway in self.gateways.values():
                gateway.start(self.ending)
            self.router.start(self.ending)
            if self.relayed:
                self._start_relay(stack)
            settings = Settings(
                server_name=SERVER_NAME,
                port=self.port,
                adopt=True,
                profile=self.profile,
                hold_down="1s",
                log_level="debug" if self.debug else "info",
                probe=RETURN,
            )
            self.daemon.configure(self.router, ADDRESSES, settings)
            yield

    def _start_relay(self, stack: contextlib.ExitStack) -> None:
        pairs = [f"{ADDRESSES[name]}={BEHIND[name]}" for name in ADDRESSES]
        self.relay = subprocess.Popen(
            [sys.executable, str(HERE / "relay.py"), str(self.port), str(self.port), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        stack.callback(self.relay.wait)
        stack.callback(self.relay.terminate)
        assert self.relay.stdout is not None
        assert self.relay.stdout.readline() == "ready\n"

    def tell_relay(self, verb: str, name: str) -> int:
        assert self.relay is not None
        assert self.relay.stdin is not None
        assert self.relay.stdout is not None
        self.relay.stdin.write(f"{verb} {list(ADDRESSES).index(name)}\n")
        self.relay.stdin.flush()
        return round(float(self.relay.stdout.readline()) * 1_000_000)

    def ready(self) -> bool:
        """Tell whether all are up and in the route."""
        try:
            vips = self.daemon.status()["vips"]
        except NoDaemon:
            return False
        return all(
            not vip["frozen"]
            and vip["in_sync"]
            and all(gateway["state"] == "UP" and gateway["in_route"] for gateway in vip["gateways"])
            for vip in vips
        )

    def wait(self, what: str, done: Callable[[], bool], limit_s: float, look_s: float) -> None:
        if not self.ending.wait(done, limit_s=limit_s, look_s=look_s):
            words = self.daemon.child.last_words()
            raise DemoFailed(f"not within {limit_s:g} s: {what}\n{words}")

    def restart_daemon(self) -> None:
        self.daemon.child.end()
        self.daemon.start(self.ending)
        self.wait("all up after a start", self.ready, 30, 0.1)

    def fault(self, kind: str, name: str) -> int:
        gateway = self.gateways[name]
        match kind:
            case "killed":
                return gateway.child.send(signal.SIGKILL)
            case "terminated":
                return gateway.child.send(signal.SIGTERM)
            case "hung":
                return gateway.freeze()
            case _:
                return self.tell_relay("silent", name)

    def repair(self, kind: str, name: str) -> None:
        gateway = self.gateways[name]
        if kind == "hung":
            gateway.thaw()
        elif kind == "silent":
            self.tell_relay("serve", name)
        else:
            gateway.child.wait(10)
            gateway.start(self.ending)


def measure_fault(kind: str, *, routeros: str, profile: str, n: int, debug: bool) -> Series:
    series = Series(title=f"{kind}, RouterOS {routeros}, profile {profile}")
    rng = random.Random(kind + routeros)
    with Folder("edged-bench-") as folder:
        relayed = kind == "silent"
        lab = Lab(folder, routeros=routeros, profile=profile, relayed=relayed, debug=debug)
        with lab.running():
            for number in range(n):
                if number % TRIALS_PER_START == 0:
                    lab.restart_daemon()
                one_trial(lab, series, kind, list(ADDRESSES)[number % 3], rng)
                if sys.stdout.isatty():
                    print(f"\r  {series.title}: {number + 1} of {n}", end="", flush=True)
    print(f"\r{row(series)}" if sys.stdout.isatty() else row(series), flush=True)
    return series


def one_trial(lab: Lab, series: Series, kind: str, name: str, rng: random.Random) -> None:
    address = ADDRESSES[name]
    lab.wait("all three in the route", lab.ready, 60, 0.05)
    time.sleep(0.2 + rng.random())  # so that faults fall anywhere between two probes
    lab.wait("all three in the route, again", lab.ready, 60, 0.05)
    writes = lab.router.write_count()
    at_us = lab.fault(kind, name)
    # Nothing is asked of anybody while the clock runs.
    time.sleep(0.4 if kind in {"killed", "terminated"} else 1.0)
    wrote = removal(lab.router.writes(writes), address)
    if wrote is None:
        series.missed += 1
    else:
        series.written_ms.append((wrote.at_us - at_us) / 1_000)
        series.said.append(what_edged_said(lab, name, series.written_ms[-1]))
        verified = lab.daemon.events(names="route.verified")
        if verified and name in verified[-1]["fields"].get("removed", []):
            series.verified_ms.append(float(verified[-1]["fields"]["total_ms"]))
    lab.repair(kind, name)
    lab.wait(f"{name} returns", lambda: address in lab.router.next_hops(), 90, 0.05)


def what_edged_said(lab: Lab, name: str, written_ms: float) -> dict[str, object]:
    names = "gateway.went_down,route.changed,daemon.stalled,route.write_uncertain,gateway.kept"
    events = lab.daemon.events(names=names)[-6:]
    return {
        "gateway": name,
        "written_ms": written_ms,
        "events": [{"name": event["name"], **event["fields"]} for event in events],
        "log": lab.daemon.child.last_words().splitlines()[1:] if lab.debug else [],
    }


# --- cost ---------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def queued_s(pid: int) -> float:
    """Return seconds that its main thread was ready to run and had no core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def rss_mb(pid: int) -> tuple[float, float]:
    """Return resident memory now and at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(found["VmRSS"].split()[0]) / 1_024, int(found["VmHWM"].split()[0]) / 1_024


def machine_busy() -> tuple[float, float]:
    """Return CPU seconds that all of the machine has spent busy, and in all."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return (sum(numbers) - idle) / TICKS, sum(numbers) / TICKS


class Crowd:
    """Many healthy gateways, all but the last addresses of one Envoy; the last can be killed."""

    def __init__(self, folder: Path, count: int, *, sampled: bool) -> None:
        envoy = find_envoy()
        if envoy is None:
            raise DemoFailed("the cost at many gateways needs an Envoy: stand-ins are the load")
        self.folder = folder
        self.sampled = sampled
        self.ending = Ending()
        names = [f"node{n + 1}" for n in range(count)]
        # 250 to a /24: node251 is the first of the next one.
        self.addresses = {
            name: f"127.0.{(21, 23, 24, 25, 26)[n // 250]}.{n % 250 + 1}"
            for n, name in enumerate(names)
        }
        self.last = names[-1]
        port = free_port(self.addresses.values())
        rest = [address for name, address in self.addresses.items() if name != self.last]
        alone = [self.addresses[self.last]]
        self.crowd = envoy_gateway(envoy, "crowd", rest, port, folder)
        self.victim = envoy_gateway(envoy, "victim", alone, port, folder)
        # One row for all: on 7 some hundred rows would be marked one by one, for minutes.
        self.router = Router(folder, routeros="6.49.10", gateways=self.addresses)
        self.daemon = _measured_daemon(folder, sampled=sampled)
        # `down_interval` stays: at a start all are down, and 300 would be asked 4 times a second.
        self.settings = Settings(
            server_name=SERVER_NAME,
            port=port,
            adopt=True,
            hold_down="1s",
            probe={"stable_for": RETURN["stable_for"]},
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        gateways = (self.crowd, self.victim)
        with contextlib.ExitStack() as stack:
            for child in (*(one.child for one in gateways), self.router.child, self.daemon.child):
                stack.callback(child.end)
            for gateway in gateways:
                gateway.start(self.ending)
            self.router.start(self.ending)
            self.daemon.configure(self.router, self.addresses, self.settings)
            self.restart_daemon()
            yield

    def restart_daemon(self) -> None:
        self.daemon.child.end()
        self.daemon.start(self.ending)
        _all_up(self.daemon, self.ending)

    def kill_last(self) -> float | None:
        """Kill the last gateway; return the milliseconds to the written route, and repair."""
        address = self.addresses[self.last]
        writes = self.router.write_count()
        at_us = self.victim.child.send(signal.SIGKILL)
        time.sleep(1.0)
        wrote = removal(self.router.writes(writes), address)
        self.victim.child.wait(10)
        self.victim.start(self.ending)
        if not self.ending.wait(lambda: address in self.router.next_hops(), limit_s=90, look_s=0.2):
            raise DemoFailed(f"{self.last} does not return\n{self.daemon.child.last_words()}")
        return None if wrote is None else (wrote.at_us - at_us) / 1_000


def measure_crowd(count: int, seconds: float, *, kills: int, sampled: bool) -> dict[str, float]:
    """Watch a daemon with `count` healthy gateways, then kill one of them again and again."""
    rng = random.Random(count)
    with Folder("edged-bench-") as folder:
        crowd = Crowd(folder, count, sampled=sampled)
        with crowd.running():
            time.sleep(5)
            result = _watch(crowd, seconds) if seconds > 0 else {}
            written_ms: list[float] = []
            for number in range(kills):
                if number and number % TRIALS_PER_START == 0:
                    crowd.restart_daemon()
                time.sleep(1 + rng.random())
                took_ms = crowd.kill_last()
                if took_ms is not None:
                    written_ms.append(took_ms)
            if written_ms:
                result |= {"kills": len(written_ms), **_spread(written_ms, "written")}
            if kills:
                result["missed"] = kills - len(written_ms)
            return result


def _measured_daemon(folder: Path, *, sampled: bool) -> Daemon:
    if not sampled:
        return Daemon(folder)
    os.environ["BENCH_LAG"] = str(folder / "lag.json")
    try:
        return Daemon(folder, program=(str(HERE / "sampled.py"),))
    finally:
        os.environ.pop("BENCH_LAG", None)


def _all_up(daemon: Daemon, ending: Ending) -> None:
    def up() -> bool:
        try:
            vips = daemon.status()["vips"]
        except NoDaemon:
            return False
        return all(
            not vip["frozen"] and all(g["state"] == "UP" and g["in_route"] for g in vip["gateways"])
            for vip in vips
        )

    if not ending.wait(up, limit_s=60, look_s=1.0):
        raise DemoFailed(f"not all gateways came up\n{daemon.child.last_words()}")


def _watch(crowd: Crowd, seconds: float) -> dict[str, float]:
    daemon, envoy = crowd.daemon, crowd.crowd.child.pid
    pid = daemon.child.pid
    if crowd.sampled:
        daemon.child.send(signal.SIGUSR1)
    before, busy, began = cpu_s(pid), machine_busy(), time.monotonic()
    envoy_before, queued_before = cpu_s(envoy), queued_s(pid)
    time.sleep(seconds)
    took = time.monotonic() - began
    used, busy_after = cpu_s(pid) - before, machine_busy()
    now_mb, most_mb = rss_mb(pid)
    result = {
        "cpu_percent": 100 * used / took,
        "rss_mb": now_mb,
        "rss_max_mb": most_mb,
        "envoy_percent": 100 * (cpu_s(envoy) - envoy_before) / took,
        "queued_percent": 100 * (queued_s(pid) - queued_before) / took,
        "machine_percent": 100 * (busy_after[0] - busy[0]) / (busy_after[1] - busy[1]),
    }
    if crowd.sampled:
        daemon.child.send(signal.SIGUSR2)
        time.sleep(1)
        lag = json.loads((crowd.folder / "lag.json").read_text())
        result |= {"lag_n": len(lag), **_spread(lag, "lag")}
    bad = [e for e in daemon.events() if e["name"] in {"gateway.went_down", "daemon.stalled"}]
    result["false_alarms"] = float(len(bad))
    return result


# --- words --------------------------------------------------------------------------------------


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _spread(values: list[float], name: str) -> dict[str, float]:
    return {
        f"{name}_median_ms": statistics.median(values),
        f"{name}_p99_ms": percentile(values, 0.99),
        f"{name}_max_ms": max(values),
    }


def row(series: Series) -> str:
    if not series.written_ms:
        return f"| {series.title} | 0 | - | - | - | - | {series.missed} |"
    spread = _spread(series.written_ms, "w")
    seen = f"{statistics.median(series.verified_ms):.0f}" if series.verified_ms else "-"
    return (
        f"| {series.title} | {len(series.written_ms)} | {spread['w_median_ms']:.1f} | "
        f"{spread['w_p99_ms']:.1f} | {spread['w_max_ms']:.1f} | {seen} | {series.missed} |"
    )


HEAD = (
    "| fault | n | median ms | p99 ms | max ms | first sign to read back, median ms | missed |\n"
    "|---|---|---|---|---|---|---|"
)


def say_machine() -> None:
    cpu = "unknown processor"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    print(f"machine: {os.cpu_count()} x {cpu}, {platform.platform()}")
    print(f"python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    envoy = find_envoy()
    if envoy is None:
        print("no Envoy: stand-ins")
    else:
        said = subprocess.run([envoy, "--version"], capture_output=True, text=True, check=False)
        print(said.stdout.strip().splitlines()[-1].strip())
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    print(f"load before: {os.getloadavg()[0]:.2f}; command: {command}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--n", type=int, default=50, help="trials of each kind (%(default)s)")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--routeros", nargs="*", default=VERSIONS)
    parser.add_argument("--profile", nargs="*", default=["default"])
    parser.add_argument(
        "--quiet-s", type=float, default=60.0, help="how long cost is watched; 0: not at all"
    )
    parser.add_argument("--crowds", nargs="*", type=int, default=[30, 100, 300])
    parser.add_argument("--kills", type=int, default=10, help="kills in each crowd (%(default)s)")
    parser.add_argument("--no-cost", action="store_true")
    parser.add_argument(
        "--debug", action="store_true", help="log all, and keep each trial's last lines for --json"
    )
    parser.add_argument("--json", type=Path, help="keep every single value here")
    arguments = parser.parse_args()
    # Ended in order, so that nothing that it started is left behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    say_machine()
    kept: dict[str, object] = {}
    if arguments.faults:
        print(f"\n{HEAD}")
    for profile in arguments.profile:
        for routeros in arguments.routeros:
            for kind in arguments.faults:
                series = measure_fault(
                    kind, routeros=routeros, profile=profile, n=arguments.n, debug=arguments.debug
                )
                kept[series.title] = {"written_ms": series.written_ms, "said": series.said}
                keep(kept, arguments.json)
    if not arguments.no_cost:
        print("\n| gateways | sampler | what |\n|---|---|---|")
        for count, sampled in [(3, False), *((count, True) for count in arguments.crowds)]:
            cost = measure_crowd(count, arguments.quiet_s, kills=arguments.kills, sampled=sampled)
            kept[f"{count} gateways"] = cost
            keep(kept, arguments.json)
            words = ", ".join(f"{key} {value:.1f}" for key, value in cost.items())
            print(f"| {count} | {'yes' if sampled else 'no'} | {words} |", flush=True)
    return 0


def keep(kept: dict[str, object], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    sys.exit(main())
