"""What the store keeps and says: plain values, with wall times, since they outlive the process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from edged.core.events import Scalar, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedDrain:
    """A person's wish that a gateway stays out; `until` None means until undrained."""

    gateway: str
    owner: str
    reason: str
    since: datetime
    until: datetime | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPause:
    """A pause; `until` None means until resumed."""

    owner: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAdoption:
    """The rows of one VIP on one router as they were when edged adopted them.

    A row is the router's own reply: words and their values as text.
    """

    router: str
    vip: str
    rows: tuple[Mapping[str, str], ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedGateway:
    """A gateway that Kubernetes told of and that was UP once; it counts after a restart, too."""

    name: str
    address: str
    node: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedIncident:
    """An incident; `document` is the alerts' own, of which the store knows nothing."""

    incident: str
    number: int
    kind: str
    severity: Severity
    opened: datetime
    closed: datetime | None
    title: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMessage:
    """A message that has not been delivered to one channel; `failed`: not tried by itself again."""

    seq: int
    message: str
    channel: str
    incident: str
    created: datetime
    tries: int = 0
    failed: bool = False
    error: str = ""
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSilence:
    """A person's wish for quiet, about one gateway, one VIP, or everything."""

    number: int
    owner: str
    reason: str
    gateway: str | None
    vip: str | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBatch:
    """What is kept in one transaction."""

    incidents: tuple[SavedIncident, ...] = ()
    messages: tuple[SavedMessage, ...] = ()
    removed: tuple[int, ...] = ()
    """Numbers of messages that have left, or stand in a newer one."""
    events: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Incidents to the numbers of the events that are theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its number and its wall time."""

    seq: int
    at: datetime
    name: str
    severity: Severity
    fields: Mapping[str, Scalar]

    def document(self) -> dict[str, object]:
        """Return the JSON form that commands, page and stream share."""
        return {
            "seq": self.seq,
            "time": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "name": self.name,
            "severity": str(self.severity),
            "fields": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in self.fields.items()
            },
        }


class Saved(StrEnum):
    """How far a write got before its deadline."""

    ON_DISK = "on_disk"
    IN_MEMORY = "in_memory"
    PENDING = "pending"


class NoticeKind(StrEnum):
    """What people have to be told about the store."""

    SET_ASIDE = "set_aside"
    MEMORY = "memory"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell people: which kind, and a sentence."""

    kind: NoticeKind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """What a start finds. `must_pause`: drains or the pause could not be read, so write nothing."""

    drains: tuple[SavedDrain, ...] = ()
    pause: SavedPause | None = None
    adoptions: tuple[SavedAdoption, ...] = ()
    gateways: tuple[SavedGateway, ...] = ()
    incidents: tuple[SavedIncident, ...] = ()
    """The open ones."""
    outbox: tuple[SavedMessage, ...] = ()
    silences: tuple[SavedSilence, ...] = ()
    must_pause: bool = False
    notices: tuple[Notice, ...] = ()
