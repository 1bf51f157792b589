"""The menus about the router itself: resources, services, settings, address lists, NAT.

Sources: recorded rows of 6.48.6, 7.4, 7.12.2, 7.24rc2 (resource) and 7.24.3 (service, list).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from edged.simulator.menus import IdList, WordTable, refuse_dynamic
from edged.simulator.replies import Trap, Words
from edged.simulator.values import read_duration_us, read_network, write_duration
from edged.simulator.versions import Version


def resource_row(
    version: Version, *, uptime_s: float, cpu_load: int, writes_since_boot: int, writes_total: int
) -> Words:
    """Return the one row of `/system/resource/print`, of a hEX S."""
    row = {
        "uptime": write_duration(int(uptime_s) * 1_000_000),
        "version": version.shown,
        "build-time": "2023-08-31 13:55:47" if version.at_least("7.10") else "Aug/31/2023 13:55:47",
    }
    row["minimum-version" if version.at_least("7.24") else "factory-software"] = "6.44.6"
    return row | {
        "free-memory": "195035136",
        "total-memory": "268435456",
        "cpu": "MIPS 1004Kc V2.15",
        "cpu-count": "4",
        "cpu-frequency": "880",
        "cpu-load": str(cpu_load),
        "free-hdd-space": "4263936",
        "total-hdd-space": "16777216",
        "write-sect-since-reboot": str(writes_since_boot),
        "write-sect-total": str(writes_total),
        "bad-blocks": "0",
        "architecture-name": "mmips",
        "board-name": "hEX S",
        "platform": "MikroTik",
    }


def stamp(version: Version, now: datetime) -> str:
    """Write a time for people as the version does."""
    if version.at_least("7.10"):
        return now.strftime("%Y-%m-%d %H:%M:%S")
    month = now.strftime("%b").lower()
    return f"{month}/{now:%d}/{now:%Y} {now:%H:%M:%S}"


class AddressList(WordTable):
    """`/ip/firewall/address-list`: an entry with a time-out lives in memory and runs out.

    Adding an entry twice is refused, which makes the list a lock; a disabled static entry does
    not stand in the way (recorded). Whether RouterOS 6 renews a time-out by `set` is not known:
    it is refused there.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        version: Callable[[], Version],
    ) -> None:
        super().__init__(required=("list", "address"))
        self._clock = clock
        self._now = now
        self._version = version
        self._ends_s: dict[str, float] = {}

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        self._expire()
        rows = super().rows()
        for row in rows:
            if row[".id"] in self._ends_s:
                left_s = max(0, int(self._ends_s[row[".id"]] - self._clock()))
                row["timeout"] = write_duration(left_s * 1_000_000)
        return rows

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        self._expire()
        words = dict(arguments)
        timeout = words.pop("timeout", None)
        words["address"] = _entry_address(words["address"]) if "address" in words else ""
        if any(self._clash(row, words) for row in self.raw()):
            raise Trap("failure: already have such entry")
        words |= {
            "creation-time": stamp(self._version(), self._now()),
            "dynamic": "false" if timeout is None else "true",
        }
        words.setdefault("disabled", "false")
        row_id = super().add(words)
        if timeout is not None:
            self._start(row_id, timeout)
        return row_id

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        self._expire()
        words = dict(arguments)
        timeout = words.pop("timeout", None)
        if words:
            super().set(ids, words)
        if timeout is None:
            return
        if self._version().is_v6:
            raise Trap("failure: can not change dynamic entry")
        for row_id in ids:
            self._start(row_id, timeout)

    def remove(self, ids: IdList) -> None:
        """Remove the rows with these ids."""
        self._expire()
        for row in [row for row in self.raw() if row[".id"] in ids]:
            self.raw().remove(row)
            self._ends_s.pop(row[".id"], None)

    def unset(self, ids: IdList, names: Sequence[str]) -> None:
        """Take words away from the rows with these ids."""
        self._expire()
        super().unset(ids, names)

    def restart(self) -> None:
        """Forget what lives in memory only."""
        self.remove(list(self._ends_s))

    def _start(self, row_id: str, timeout: str) -> None:
        seconds = read_duration_us("timeout", timeout) / 1_000_000
        self._ends_s[row_id] = self._clock() + seconds

    def _expire(self) -> None:
        now_s = self._clock()
        gone = [row_id for row_id, end_s in self._ends_s.items() if end_s <= now_s]
        for row in [row for row in self.raw() if row[".id"] in gone]:
            self.raw().remove(row)
        for row_id in gone:
            del self._ends_s[row_id]

    @staticmethod
    def _clash(row: Words, words: Words) -> bool:
        same = all(row.get(name) == words.get(name) for name in ("list", "address"))
        return same and row["disabled"] != "true"


def _entry_address(written: str) -> str:
    """Return an address as the list shows it: a host without its mask."""
    if "-" in written:
        return written
    network = read_network("address", written)
    host = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if host else str(network)


SERVICES = (
    ("telnet", "23"),
    ("ftp", "21"),
    ("www", "80"),
    ("ssh", "22"),
    ("www-ssl", "443"),
    ("api", "8728"),
    ("winbox", "8291"),
    ("api-ssl", "8729"),
)


class ServiceMenu(WordTable):
    """`/ip/service`: fixed services, and on new versions the open connections among them."""

    def __init__(
        self, *, render: Callable[[Words], Words], connections: Callable[[], list[Words]]
    ) -> None:
        super().__init__(_service_rows(), render=render)
        self._connections = connections

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return [*super().rows(), *self._connections()]

    def resolve(self, ids: Iterable[str]) -> list[str]:
        """Return the ids of the named rows."""
        wanted = super().resolve(ids)
        if any(row[".id"] in wanted for row in self._connections()):
            raise refuse_dynamic("change")
        return wanted


def _service_rows() -> list[Words]:
    """Return the services a router comes with, in neutral words."""
    return [
        {
            "name": name,
            "port": port,
            "address": "",
            **({"certificate": "none", "tls-version": "any"} if "ssl" in name else {}),
            "max-sessions": "20",
            "invalid": "false",
            "disabled": "false",
        }
        for name, port in SERVICES
    ]


def service_row(version: Version, row: Words) -> Words:
    """Shape a service row for a version.

    `max-sessions` came with 7.16; 7.24 calls `address` `available-from` and shows more.
    """
    shown = dict(row)
    limit = shown.pop("max-sessions")
    source = shown.pop("available-from", shown.pop("address", ""))
    if version.is_v6:
        return {**shown, "address": source}
    shown["vrf"] = "main"
    if version.at_least("7.16"):
        shown["max-sessions"] = limit
    if not version.at_least("7.24"):
        return {**shown, "address": source}
    return {**shown, "available-from": source, "dynamic": "false", "proto": "tcp"}


IP_SETTINGS = {
    "ip-forward": "true",
    "send-redirects": "true",
    "accept-source-route": "false",
    "accept-redirects": "false",
    "secure-redirects": "true",
    "rp-filter": "no",
    "tcp-syncookies": "false",
    "tcp-timestamps": "random-offset",
    "max-neighbor-entries": "16384",
    "arp-timeout": "30s",
    "icmp-rate-limit": "10",
    "icmp-rate-mask": "0x1818",
    "route-cache": "true",
    "allow-fast-path": "true",
    "ipv4-multipath-hash-policy": "l3",
}
ROUTING_SETTINGS = {
    "single-process": "false",
    "check-gateway-ping-interval": "10s",
    "check-gateway-ping-timeout": "1s",
    "check-gateway-ping-count": "2",
    "policy-rules": "mangle,vrf-lookup,vrf-unreach,local,user,main",
}


def nat_rows(*, public_address: str, vip: str, first_node: str) -> list[Words]:
    """Return the port forwards of the default network."""
    wanted = (
        ("Gateway API HTTP (VIP)", "80", vip),
        ("Gateway API HTTPS (VIP)", "443", vip),
        ("K8s API", "6443", first_node),
    )
    return [
        {
            "chain": "dstnat",
            "action": "dst-nat",
            "to-addresses": target,
            "to-ports": port,
            "protocol": "tcp",
            "dst-address": public_address,
            "dst-port": port,
            "log": "false",
            "log-prefix": "",
            "bytes": "0",
            "packets": "0",
            "invalid": "false",
            "dynamic": "false",
            "disabled": "false",
            "comment": comment,
        }
        for comment, port, target in wanted
    ]
