"""edged's own entries in the race: one daemon and one simulated router for each profile."""

from typing import Final

from contestants import VICTIM, Contestant, Stage
from ear import Heard
from netlab import NODES, entered

from edged.cli.client import NoDaemon
from edged.cli.demo_gateways import SERVER_NAME
from edged.cli.demo_lab import Daemon, Router, Settings
from edged.cli.demo_processes import Ending
from edged.cli.demo_story import removal
from edged.config.profiles import PROFILES
from edged.config.types import Profile

RETURN: Final = {"stable_for": "500ms", "down_interval": "250ms"}
"""Numbers of the return, not of the removal: the next trial comes sooner."""


class Edged(Contestant):
    measured = "its event `gateway.went_down`, 1 ms"
    route = "the accepted write in the simulated router's log; read back as in `route.verified`"
    check = "a new connection, and PINGs on a kept one"

    def __init__(self, stage: Stage, profile: Profile, ending: Ending) -> None:
        self.name = f"edged {profile}"  # type: ignore[misc] # one class, three entries
        super().__init__(stage)
        self._ending = ending
        self._router = Router(self.folder, routeros="7.16.2", gateways=NODES)
        self._daemon = Daemon(self.folder)
        self._profile = profile
        self._writes = 0
        numbers = PROFILES[profile]
        self.pings_per_s = 3 * 1_000 / numbers.heartbeat_interval_ms
        self.settings = f'profile = "{profile}", RouterOS 7.16.2; else defaults'

    def start(self) -> None:
        with entered(self.namespace):
            self._router.start(self._ending)
        settings = Settings(
            server_name=SERVER_NAME,
            port=443,
            adopt=True,
            profile=self._profile,
            hold_down="1s",
            probe=RETURN,
        )
        self._daemon.configure(self._router, NODES, settings)

    def refresh(self) -> None:
        """Start the daemon anew: with more than 10 writes a minute it waits with additions."""
        self._daemon.child.end()
        with entered(self.namespace):
            self._daemon.start(self._ending)

    def rest(self) -> None:
        """Watch nothing until the next refresh."""
        self._daemon.child.end()

    def end(self) -> None:
        self._daemon.child.end()
        self._router.child.end()

    def up(self) -> bool:
        try:
            vips = self._daemon.status()["vips"]
        except NoDaemon:
            return False
        self._writes = self._router.write_count()
        return all(
            not vip["frozen"]
            and vip["in_sync"]
            and all(one["state"] == "UP" and one["in_route"] for one in vip["gateways"])
            for vip in vips
        )

    def verdict_us(self, fault_us: int) -> int | None:
        for event in self._daemon.events(names="gateway.went_down"):
            fields = event["fields"]
            at_us = (int(fields["first_failure_at_ms"]) + int(fields["detect_ms"])) * 1_000
            if fields["gateway"] == VICTIM and at_us >= fault_us - 1_000:
                return at_us
        return None

    def route_us(self, fault_us: int) -> int | None:
        del fault_us
        wrote = removal(self._router.writes(self._writes), NODES[VICTIM])
        return None if wrote is None else wrote.at_us

    def read_back_us(self, fault_us: int) -> int | None:
        """Return when the row was read back as written."""
        first_ms = 0
        for event in self._daemon.events(names="route.changed,route.verified"):
            fields = event["fields"]
            if event["name"] == "route.changed":
                first_ms = int(fields.get("first_failure_at_ms") or 0)
            elif VICTIM in fields["removed"] and first_ms * 1_000 >= fault_us - 1_000:
                return (first_ms + int(fields["total_ms"])) * 1_000
        return None

    def pids(self) -> list[int]:
        return [self._daemon.child.pid]

    def says(self, heard: Heard) -> bool | None:
        raise NotImplementedError

    def last_words(self) -> str:
        return self._daemon.child.last_words()
