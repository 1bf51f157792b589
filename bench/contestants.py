"""Who takes part in the race besides edged: settings, how a verdict is heard, how the route moves.

Each peer is set as fast as it sensibly goes while three failures in a row are still needed, as
edged's own burst needs them: a single lost packet must not remove anybody. A peer's verdict is its
own word for it, in its own log, event or notification.
"""

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from ear import Ear, Heard
from netlab import NODES, NetLab, entered, run
from programs import Program

from edged.cli.demo_gateways import SERVER_NAME

HERE: Final = Path(__file__).parent
PORT: Final = 443
VICTIM: Final = "node2"
VIP: Final = "198.51.100.7"
LOG_PORT: Final = 5_140
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin:/usr/lib/frr"
NEVER_HUNG: Final = frozenset({"hung"})
HOST_ALIVE: Final = frozenset({"killed", "hung"})


def program(name: str) -> str | None:
    return shutil.which(name, path=SYSTEM_PATH)


def others() -> list[str]:
    return [address for name, address in NODES.items() if name != VICTIM]


def hops(addresses: Sequence[str]) -> str:
    return " ".join(f"nexthop via {address}" for address in addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a contestant stands."""

    lab: NetLab
    ear: Ear
    folder: Path
    wall_offset_us: int
    """Wall clock less monotonic clock, for programs that stamp their own lines."""


class Contestant:
    """One that watches the nodes and says when the victim is down."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    measured: ClassVar[str]
    """How its verdict is measured."""
    route: ClassVar[str]
    """What a route change is for it."""
    checks_per_s: float | None = None
    """Of all nodes together, where its connections cannot be counted."""
    check: ClassVar[str] = "a new connection"
    sees_not: frozenset[str] = frozenset()

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.key = self.name.split(",")[0].replace(" ", "-").replace("'", "").lower()
        self.namespace = stage.lab.observer(self.key)
        self.folder = stage.folder / self.key
        self.folder.mkdir()
        self.programs: list[Program] = []
        self.settings = ""

    @classmethod
    def missing(cls) -> str:
        """Return what it lacks on this machine; empty when it can run."""
        lacking = [name for name in cls.needs if program(name) is None]
        return f"there is no {' and no '.join(lacking)} (make race-parts)" if lacking else ""

    def start(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        for one in self.programs:
            one.end()

    def refresh(self) -> None:
        """Get ready for some more trials."""

    def says(self, heard: Heard) -> bool | None:
        """Tell whether a line says that the victim is up, or down; None if neither."""
        raise NotImplementedError

    def stamp(self, heard: Heard) -> int:
        return heard.at_us

    def up(self) -> bool:
        """Tell whether its latest word on the victim is that it is up."""
        said = [word for one in self._heard() if (word := self.says(one)) is not None]
        return bool(said) and said[-1]

    def verdict_us(self, fault_us: int) -> int | None:
        """Return when the victim was called down, if it was since the fault."""
        for one in self._heard(fault_us):
            if self.says(one) is False:
                return self.stamp(one)
        return None

    def route_us(self, fault_us: int) -> int | None:
        """Return when no new connection goes to the victim any more."""
        return self.verdict_us(fault_us)

    def pids(self) -> list[int]:
        return [one.pid for one in self.programs[:1]]

    def launch(self, *words: str, environ: dict[str, str] | None = None) -> Program:
        found = program(words[0]) or words[0]
        started = Program(
            [found, *words[1:]],
            namespace=self.namespace,
            ear=self.stage.ear,
            source=self.key,
            environ=environ,
        )
        self.programs.append(started)
        return started

    def watch_routes(self) -> None:
        """Hear of each change of this namespace's routes, as the kernel tells it."""
        self.programs.append(
            Program(
                [program("ip") or "ip", "-oneline", "monitor", "route"],
                namespace=self.namespace,
                ear=self.stage.ear,
                source=f"{self.key}-route",
            )
        )

    def kernel_route_us(self, fault_us: int) -> int | None:
        for one in self.stage.ear.heard(f"{self.key}-route", fault_us):
            now_there = VIP in one.line and not one.line.startswith("Deleted")
            if now_there and f"via {NODES[VICTIM]} " not in f"{one.line} ":
                return one.at_us
        return None

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def last_words(self) -> str:
        return "\n".join(one.line for one in self._heard()[-12:])

    def _heard(self, since_us: int = 0) -> list[Heard]:
        return self.stage.ear.heard(self.key, since_us)


class HAProxy(Contestant):
    name = "HAProxy, TLS + HTTP"
    needs = ("haproxy",)
    measured = "its log line, received over UDP"
    route = "its own balancing: from the verdict on"

    def start(self) -> None:
        with entered(self.namespace):
            log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            log.bind(("127.0.0.1", LOG_PORT))
        self.stage.ear.listen_datagrams(log, self.key)
        servers = "\n".join(
            f"  server {name} {address}:{PORT} check check-ssl verify none check-sni {SERVER_NAME}"
            for name, address in NODES.items()
        )
        self.settings = (
            "inter 200ms fastinter 50ms downinter 200ms fall 3 rise 2, GET over TLS, expect 404"
        )
        config = f"""
global
  log 127.0.0.1:{LOG_PORT} format raw local0 info
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend traffic
  bind 127.0.0.1:8080
  default_backend race
backend race
  log global
  option httpchk
  http-check send meth GET uri / ver HTTP/1.1 hdr Host {SERVER_NAME}
  http-check expect status 404
  default-server inter 200ms fastinter 50ms downinter 200ms fall 3 rise 2
{servers}
"""
        self.launch("haproxy", "-db", "-f", self.write("haproxy.cfg", config))

    def says(self, heard: Heard) -> bool | None:
        if f"Server race/{VICTIM} is " not in heard.line:
            return None
        return f"{VICTIM} is UP" in heard.line


class Keepalived(Contestant):
    name = "keepalived, TCP_CHECK"
    needs = ("keepalived",)
    measured = "its notify FIFO"
    route = "the kernel's route, by `notify_down` = `ip route replace`"
    sees_not = NEVER_HUNG
    checker = """
    TCP_CHECK {
      connect_timeout 0.2
      retry 2
      delay_before_retry 0.05
    }"""
    words = "delay_loop 0.2, connect_timeout 0.2, retry 2, delay_before_retry 0.05"

    @classmethod
    def missing(cls) -> str:
        lacking = super().missing()
        if not lacking and not _has_ipvs() and program("gcc") is None:
            return "this kernel has no IPVS, and there is no gcc to build a stand-in"
        return lacking

    def start(self) -> None:
        self.settings = self.words
        fifo = self.folder / "notify"
        servers = "".join(
            f"""
  real_server {address} {PORT} {{
    notify_down "{self._ip(n for n in NODES.values() if n != address)}"
    notify_up "{self._ip(NODES.values())}"
{self.checker}
  }}"""
            for address in NODES.values()
        )
        config = f"""
global_defs {{
  router_id race
  script_user root
  enable_script_security
  lvs_notify_fifo {fifo} root
}}
virtual_server {VIP} {PORT} {{
  delay_loop 0.2
  lvs_sched rr
  lvs_method DR
  protocol TCP{servers}
}}
"""
        environ = {} if _has_ipvs() else {"LD_PRELOAD": self._stand_in()}
        folder = self.folder
        self.launch(
            *("keepalived", "-n", "-l", "-C", "-f", self.write("keepalived.conf", config)),
            *("-p", str(folder / "parent.pid"), "-c", str(folder / "checkers.pid")),
            environ=environ,
        )
        run("mkfifo", str(fifo)) if not fifo.exists() else None
        self.programs.append(
            Program(
                ["cat", str(fifo)],
                namespace=self.namespace,
                ear=self.stage.ear,
                source=f"{self.key}-notify",
            )
        )
        self.watch_routes()

    def says(self, heard: Heard) -> bool | None:
        if not heard.line.startswith(f"RS [{NODES[VICTIM]}]"):
            return None
        return heard.line.endswith(" UP")

    def route_us(self, fault_us: int) -> int | None:
        return self.kernel_route_us(fault_us)

    def _heard(self, since_us: int = 0) -> list[Heard]:
        return self.stage.ear.heard(f"{self.key}-notify", since_us)

    def _ip(self, addresses: Iterator[str] | Sequence[str]) -> str:
        return f"{program('ip')} route replace {VIP}/32 {hops(list(addresses))}"

    def _stand_in(self) -> str:
        library = self.folder / "no_ipvs.so"
        source = str(HERE / "no_ipvs.c")
        run("gcc", "-O2", "-shared", "-fPIC", "-o", str(library), source, "-ldl")
        return str(library)


class KeepalivedSsl(Keepalived):
    name = "keepalived SSL_GET, HTTP/1.1"
    sees_not = frozenset()
    # Its GET waits for Envoy's FIN, which comes 1 s after the answer: a shorter time-out calls a
    # healthy Envoy dead.
    checker = f"""
    SSL_GET {{
      http_protocol 1.1
      enable_sni
      virtualhost {SERVER_NAME}
      url {{
        path /
        status_code 404
      }}
      connect_timeout 1.5
      retry 2
      delay_before_retry 0.05
    }}"""
    words = (
        "delay_loop 0.2, connect_timeout 1.5 (it waits for Envoy's FIN, 1 s), retry 2, "
        "delay_before_retry 0.05, expect 404"
    )


def _has_ipvs() -> bool:
    return Path("/proc/net/ip_vs").exists()


class EnvoyChecks(Contestant):
    name = "Envoy's health checks"
    measured = "its own stamp in its health check event log, 1 ms"
    route = "its own balancing: from the verdict on"
    check = "a GET on a kept connection"

    def __init__(self, stage: Stage, binary: str) -> None:
        super().__init__(stage)
        self._binary = binary
        self._events = self.folder / "events.json"

    def start(self) -> None:
        self.settings = (
            "interval 200ms, timeout 200ms, unhealthy_threshold 3, unhealthy_edge_interval 50ms, "
            "healthy_threshold 1, reuse_connection, GET over TLS, expect 404"
        )
        config = self.write("envoy.json", json.dumps(self._bootstrap()))
        self.launch(
            *(self._binary, "-c", config, "--disable-hot-restart", "--concurrency", "1"),
            *("--log-level", "warning", "--file-flush-interval-msec", "100"),
        )

    def refresh(self) -> None:
        """Let it see traffic: before, its edge intervals do not count."""
        with entered(self.namespace), socket.socket() as sock:
            sock.settimeout(1)
            sock.connect_ex(("127.0.0.1", 10_000))

    def says(self, heard: Heard) -> bool | None:
        event = json.loads(heard.line)
        if event["host"]["socket_address"]["address"] != NODES[VICTIM]:
            return None
        if "add_healthy_event" in event:
            return True
        return False if "eject_unhealthy_event" in event else None

    def _heard(self, since_us: int = 0) -> list[Heard]:
        lines = self._events.read_text().split("\n")[:-1] if self._events.exists() else []
        offset_us = self.stage.wall_offset_us
        heard = [
            Heard(at_us=_wall_us(json.loads(line)["timestamp"]) - offset_us, source="", line=line)
            for line in lines
        ]
        # Its stamps are whole milliseconds, rounded down.
        return [one for one in heard if one.at_us >= since_us - 1_000]

    def attempts(self) -> int:
        """Return how many checks it has made."""
        url = "http://127.0.0.1:9901/stats?filter=health_check.attempt"
        with entered(self.namespace), urllib.request.urlopen(url, timeout=2) as answer:
            data = answer.read()
        return int(data.rsplit(b":", 1)[1])

    def _bootstrap(self) -> dict[str, object]:
        prefix = "type.googleapis.com/envoy.extensions"

        def at(address: str, port: int) -> dict[str, object]:
            return {"socket_address": {"address": address, "port_value": port}}

        check = {
            "timeout": "0.2s",
            "interval": "0.2s",
            "no_traffic_interval": "0.2s",
            "no_traffic_healthy_interval": "0.2s",
            "unhealthy_interval": "0.2s",
            "unhealthy_edge_interval": "0.05s",
            "unhealthy_threshold": 3,
            "healthy_threshold": 1,
            "reuse_connection": True,
            "event_log_path": str(self._events),
            "http_health_check": {
                "path": "/",
                "host": SERVER_NAME,
                "expected_statuses": [{"start": 404, "end": 405}],
                "retriable_statuses": [{"start": 100, "end": 404}, {"start": 405, "end": 600}],
            },
        }
        endpoints = [
            {"endpoint": {"address": at(address, PORT)}, "health_status": "UNKNOWN"}
            for address in NODES.values()
        ]
        cluster = {
            "name": "race",
            "type": "STATIC",
            "connect_timeout": "0.2s",
            "load_assignment": {
                "cluster_name": "race",
                "endpoints": [{"lb_endpoints": endpoints}],
            },
            "health_checks": [check],
            "transport_socket": {
                "name": "tls",
                "typed_config": {
                    "@type": f"{prefix}.transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": SERVER_NAME,
                },
            },
        }
        proxy = {
            "name": "tcp",
            "typed_config": {
                "@type": f"{prefix}.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "traffic",
                "cluster": "race",
            },
        }
        listener = {
            "name": "traffic",
            "address": at("127.0.0.1", 10_000),
            "filter_chains": [{"filters": [proxy]}],
        }
        return {
            "node": {"id": "race", "cluster": "race"},
            "admin": {"address": at("127.0.0.1", 9_901)},
            "static_resources": {"clusters": [cluster], "listeners": [listener]},
        }


def _wall_us(stamp: str) -> int:
    return round(datetime.fromisoformat(stamp).timestamp() * 1_000_000)


class ExaBgp(Contestant):
    name = "ExaBGP's healthcheck"
    needs = ("exabgp-healthcheck", "curl")
    measured = "its API line (`withdraw route`), received over a pipe"
    route = "the API line; ExaBGP's own UPDATE and the router's BGP come on top"
    check = "sh and curl, a new connection; it watches one node, the others three"

    def start(self) -> None:
        url = f"https://{SERVER_NAME}/"
        command = f"curl -sk -m 0.2 -o /dev/null --resolve {SERVER_NAME}:443:{NODES[VICTIM]} {url}"
        self.settings = "interval 0.2, fast-interval 0.05, fall 3, rise 1, `curl -sk -m 0.2`"
        self.launch(
            *("exabgp-healthcheck", "--no-syslog", "--no-ack"),
            *("--interval", "0.2", "--fast-interval", "0.05", "--timeout", "1"),
            *("--rise", "1", "--fall", "3", "--command", command, "--withdraw-on-down"),
            *("--ip", f"{VIP}/32", "--no-ip-setup"),
            environ={"PYTHONUNBUFFERED": "1"},
        )

    def says(self, heard: Heard) -> bool | None:
        if heard.line.startswith("announce route"):
            return True
        return False if heard.line.startswith("withdraw route") else None


class Bird(Contestant):
    name = "BFD in BIRD, 3 × 50 ms"
    needs = ("bird",)
    measured = "its log line, received over a pipe"
    route = "the kernel's route, by BIRD's static route with `bfd`"
    check = "a BFD packet"
    sees_not = HOST_ALIVE
    checks_per_s = 60.0

    def start(self) -> None:
        self.settings = "min tx/rx interval 50 ms, multiplier 3; BIRD at the nodes, too"
        paths = "\n".join(f"    via {address} bfd" for address in NODES.values())
        config = f"""
log stderr all;
router id {self.stage.lab.address(self.key)};
protocol device {{ scan time 10; }}
protocol direct {{ ipv4; }}
protocol bfd {{
  debug {{ states, events }};
  interface "eth0" {{ min tx interval 50 ms; min rx interval 50 ms; multiplier 3; }};
}}
protocol static {{ ipv4; route {VIP}/32
{paths};
}}
protocol kernel {{ merge paths yes; ipv4 {{ import none; export where source = RTS_STATIC; }}; }}
"""
        self.watch_routes()
        self.launch_bird(config)
        self.programs.reverse()

    def launch_bird(self, config: str) -> None:
        path, control = self.write("bird.conf", config), str(self.folder / "bird.ctl")
        self.launch("bird", "-f", "-c", path, "-s", control)

    def says(self, heard: Heard) -> bool | None:
        if f"Session to {NODES[VICTIM]} changed state" not in heard.line:
            return None
        if heard.line.endswith(" to Up"):
            return True
        return False if heard.line.endswith(" to Down") else None

    def route_us(self, fault_us: int) -> int | None:
        return self.kernel_route_us(fault_us)


class Frr(Contestant):
    name = "BFD in FRR, 3 × 50 ms"
    needs = ("bfdd", "bird")
    measured = "its log line, received over a pipe"
    route = "not measured: this version's static routes do not follow BFD"
    check = "a BFD packet"
    sees_not = HOST_ALIVE
    checks_per_s = 60.0

    def start(self) -> None:
        self.settings = "transmit/receive-interval 50, detect-multiplier 3; BIRD at the nodes"
        peers = "".join(
            f" peer {address}\n  detect-multiplier 3\n  receive-interval 50\n"
            "  transmit-interval 50\n !\n"
            for address in NODES.values()
        )
        config = self.write("bfdd.conf", f"log stdout\ndebug bfd peer\nbfd\n{peers}")
        for path in (self.folder, self.folder / "bfdd.conf"):
            shutil.chown(path, "frr", "frr")
        folder = str(self.folder)
        self.launch(
            *("bfdd", "-f", config, "-z", f"{folder}/zserv.api", "-i", f"{folder}/bfdd.pid"),
            *("--vty_socket", folder, "--bfdctl", f"{folder}/bfdd.sock"),
        )

    def says(self, heard: Heard) -> bool | None:
        if "state-change" not in heard.line or f"peer:{NODES[VICTIM]} " not in heard.line:
            return None
        if heard.line.endswith("-> up"):
            return True
        return False if "up -> down" in heard.line else None

    def route_us(self, fault_us: int) -> int | None:
        del fault_us
        return None


class NodeBfd(Bird):
    """BFD at a node, for those that speak it."""

    name = "BFD at a node"

    def __init__(self, stage: Stage, node: str, peers: Sequence[str]) -> None:
        self.stage = stage
        self.key = f"bfd-{node}"
        self.namespace = stage.lab.namespace(node)
        self.folder = stage.folder / self.key
        self.folder.mkdir()
        self.programs = []
        self._node = node
        self._peers = peers

    def start(self) -> None:
        local = NODES[self._node]
        neighbors = "\n".join(
            f'  neighbor {self.stage.lab.address(peer)} dev "eth0" local {local};'
            for peer in self._peers
        )
        self.launch_bird(f"""
log stderr all;
router id {local};
protocol device {{ scan time 10; }}
protocol bfd {{
  interface "eth0" {{ min tx interval 50 ms; min rx interval 50 ms; multiplier 3; }};
{neighbors}
}}
""")


class Nothing(Contestant):
    name = "nobody: a static ECMP route"
    measured = "the kernel's route, looked at when the trial ends"
    route = "the kernel's route"
    check = "none"
    sees_not = frozenset({"killed", "hung", "silent"})
    checks_per_s = 0.0

    def start(self) -> None:
        self.settings = f"`ip route add {VIP}/32` with three next hops"
        words = f"route replace {VIP}/32 {hops(list(NODES.values()))}".split()
        with entered(self.namespace):
            run("ip", *words)

    def up(self) -> bool:
        return self._carries_victim()

    def verdict_us(self, fault_us: int) -> int | None:
        return None if self._carries_victim() else fault_us

    def _carries_victim(self) -> bool:
        said = subprocess.run(
            ["ip", "-n", self.namespace, "-oneline", "route", "show", f"{VIP}/32"],
            capture_output=True,
            text=True,
            check=True,
        )
        return f"via {NODES[VICTIM]} " in said.stdout
