"""Faults on request: what goes wrong between a sentence and its answer."""

from dataclasses import dataclass
from enum import Enum

MAX_DELAY_S = 3_600.0
"""A delay above an hour is a typing error, not a test."""


class FaultKind(Enum):
    """What happens to a command."""

    DELAY = "delay"
    HANG = "hang"
    CUT_BEFORE = "cut-before"
    CUT_AFTER = "cut-after"
    CUT_MID_REPLY = "cut-mid-reply"
    REFUSE = "refuse"
    GARBAGE = "garbage"
    FLOOD = "flood"


@dataclass(eq=False, slots=True, kw_only=True)
class Fault:
    """One fault that waits for its command."""

    kind: FaultKind
    command: str = ""
    times: int | None = 1
    seconds: float = 0.0
    text: str = ""
    category: int | None = None
    payload: bytes = b""
    applied: bool = False

    def fits(self, command: str) -> bool:
        """Tell whether the fault is meant for this command."""
        return command.startswith(self.command)


GARBAGE = bytes([0xFF, 0xFE, 0xFD]) + b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""Starts with a reserved control byte, which no client may take for a length."""


class Faults:
    """The faults of one server: a sentence takes the oldest that fits, and all delays."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Arm a fault.

        Raises:
            ValueError: Its numbers make no sense.
        """
        if fault.times is not None and fault.times < 1:
            raise ValueError("a fault happens at least once")
        if not 0 <= fault.seconds <= MAX_DELAY_S:
            raise ValueError(f"a delay lies between 0 and {MAX_DELAY_S:.0f} s")
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault back, also one that has happened already."""
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Take all faults back."""
        self._faults.clear()

    def take(self, command: str) -> Fault | None:
        """Return the first fault for a command that is no delay, and count it."""
        fitting = (one for one in self._faults if one.fits(command))
        fault = next((one for one in fitting if one.kind is not FaultKind.DELAY), None)
        if fault is not None:
            self._count(fault)
        return fault

    def take_delay_s(self, command: str) -> float:
        """Return the delays for a command, added up, and count them."""
        delays = [one for one in self._faults if one.fits(command) and one.kind is FaultKind.DELAY]
        for one in delays:
            self._count(one)
        return sum(one.seconds for one in delays)

    def _count(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self._faults.remove(fault)

    def delay(self, seconds: float, *, command: str = "", times: int | None = 1) -> Fault:
        """Answer late."""
        return self.add(Fault(kind=FaultKind.DELAY, seconds=seconds, command=command, times=times))

    def hang(self, *, command: str = "", times: int | None = 1, applied: bool = False) -> Fault:
        """Take the sentence and never answer; `applied` says whether the change is made."""
        return self.add(Fault(kind=FaultKind.HANG, command=command, times=times, applied=applied))

    def cut_before(self, *, command: str = "", times: int | None = 1) -> Fault:
        """Drop the connection before anything is applied."""
        return self.add(Fault(kind=FaultKind.CUT_BEFORE, command=command, times=times))

    def cut_after(self, *, command: str = "", times: int | None = 1) -> Fault:
        """Apply the change, drop the connection before the reply."""
        return self.add(Fault(kind=FaultKind.CUT_AFTER, command=command, times=times))

    def cut_mid_reply(self, *, command: str = "", times: int | None = 1) -> Fault:
        """Apply the change, drop the connection in the middle of the reply's bytes."""
        return self.add(Fault(kind=FaultKind.CUT_MID_REPLY, command=command, times=times))

    def refuse(
        self,
        text: str,
        *,
        command: str = "",
        times: int | None = 1,
        category: int | None = None,
    ) -> Fault:
        """Answer with a trap of this text; nothing is applied."""
        return self.add(
            Fault(kind=FaultKind.REFUSE, text=text, command=command, times=times, category=category)
        )

    def refuse_logins(self, *, times: int | None = None) -> Fault:
        """Refuse logins with the text the version has for a wrong password."""
        return self.add(Fault(kind=FaultKind.REFUSE, command="/login", times=times))

    def garbage(
        self, payload: bytes = GARBAGE, *, command: str = "", times: int | None = 1
    ) -> Fault:
        """Send these bytes in place of an answer; nothing is applied."""
        return self.add(
            Fault(kind=FaultKind.GARBAGE, payload=payload, command=command, times=times)
        )

    def flood(self, *, command: str = "", times: int | None = 1) -> Fault:
        """Answer with rows without end, as fast as the client reads them."""
        return self.add(Fault(kind=FaultKind.FLOOD, command=command, times=times))
