"""One loop a router: read, ask the core, write, read again.

`RouterClient` holds the session for reads and writes of one router and never decides: each turn it
asks its sink, synchronously and right before sending, for the one step to write. What it owns is
when to connect, what was read on this connection, and that nothing is written to a row which was
not read on it. A hung, flooding or lying router costs this loop its deadline, and nobody else
anything.

Invariants. A step is sent only for a VIP whose rows were read on this connection and after the last
step for it. After an uncertain step the connection is gone, so that a read comes first. No step
names a row that the last read did not show, or, but for adoption, one without our mark.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from edged.core.errors import (
    ConfigError,
    RouterError,
    RouterProtocolError,
    RouterUncertain,
    RouterUnreachable,
)
from edged.core.plan import carries_mark
from edged.core.types import (
    CreateRow,
    PlannedStep,
    Refusal,
    RouteRead,
    RouterFacts,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    StepOutcome,
    StepResult,
    VipConfig,
)
from edged.router import dialect_v6, dialect_v7
from edged.router.companion import CompanionSink, RouterCompanion
from edged.router.link import Link, Loss, RouterTiming
from edged.router.sentences import V7, Request, request
from edged.router.session import Reply, RouterTarget, Session, TrapRefused, make_tls_context
from edged.router.text import Row, bare_version, clean, duration_ms, major_version, percent

T = TypeVar("T")

JOBS_MAX: Final = 8
"""Requests of people that may wait for one router; more means that nobody is answering."""
CPU_BUSY_PERCENT: Final = 80
SLOW_ANSWER_US: Final = 100_000
SLOW_FACTOR: Final = 4


class RouteDialect(Protocol):
    """What `dialect_v6` and `dialect_v7` both are."""

    @property
    def SHAPE(self) -> RouteShape:  # noqa: N802 - a constant of a module
        """How it keeps an ECMP set."""
        ...

    def check_vip(self, vip: VipConfig, /) -> None:
        """Raise ConfigError for what the dialect cannot do."""
        ...

    def read_request(self, vip: VipConfig, /) -> Request:
        """Return the sentence that reads the VIP's rows."""
        ...

    def parse_rows(self, rows: Iterable[Row], vip: VipConfig, /) -> tuple[RouteRow, ...]:
        """Return the rows of the VIP's destination and table."""
        ...

    def render(self, step: Step, vip: VipConfig, /) -> Request:
        """Return the sentence that carries a step out."""
        ...


class RouterSink(CompanionSink, Protocol):
    """The daemon's side: takes facts, answers what to write. Synchronous, no I/O, never raises."""

    def router_up(self, facts: RouterFacts, now_ms: int, /) -> None:
        """A session is open; nothing has been read on it yet."""

    def router_facts(self, facts: RouterFacts, now_ms: int, /) -> None:
        """A later look at uptime and load, before the rows of the same reconcile."""

    def router_lost(self, router: str, detail: str, now_ms: int, /, *, login_refused: bool) -> None:
        """The session is gone, or could not be opened; said once for each different detail."""

    def route_read(self, read: RouteRead, now_ms: int, /) -> None:
        """All rows of one VIP."""

    def read_refused(self, router: str, vip: str, detail: str, now_ms: int, /) -> None:
        """One VIP's rows cannot be read, or this router cannot serve it; others go on."""

    def next_step(self, router: str, ready: frozenset[str], now_ms: int, /) -> PlannedStep | None:
        """Return the step to write now, for one of the `ready` VIPs; a question, without effect.

        A VIP is ready when its rows were read on this connection and after its last step.
        """

    def write_wanted(self, router: str, /) -> bool:
        """Whether a write waits for this router, connected or not: it hurries the reconnect."""

    def step_finished(self, result: StepResult, now_ms: int, /) -> None:
        """What became of a step that was, or may have been, sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterStatus:
    """What `status` shows of a router's connection."""

    name: str
    connected: bool
    version: str = ""
    rtt_us: int = 0
    command_deadline_ms: int = 0
    reads_backed_off: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """A person's step: its result, and the rows after it unless the connection was lost."""

    result: StepResult
    read: RouteRead | None


def objection(step: Step, rows: Iterable[RouteRow], vip: VipConfig) -> str:
    """Say why a step must not be sent, or nothing: the last look before a router is changed.

    The core has planned by these very rows, so an objection is a bug, or a person's step that the
    rows have overtaken.
    """
    by_id = {row.row_id: row for row in rows}
    match step:
        case SetNextHops(row_id=row_id, before=before, after=after):
            if not after:
                return "the list would be empty"
            return _not_ours(by_id, (row_id,), vip) or _not_as_before(by_id[row_id], before)
        case SetDisabled(row_ids=row_ids, next_hops=next_hops):
            found = _not_ours(by_id, row_ids, vip)
            if found or not row_ids:
                return found or "no row is named"
            shown = tuple(hop for row_id in row_ids for hop in by_id[row_id].next_hops)
            return "" if shown == next_hops else f"the rows now hold {', '.join(shown)}"
        case SetComment(row_id=row_id, before=before):
            found = _not_static(by_id, (row_id,))
            if found:
                return found
            return "" if by_id[row_id].comment == before else "the comment has changed since"
        case CreateRow(next_hops=next_hops):
            ours = [row for row in by_id.values() if carries_mark(row.comment, vip.name)]
            taken = {hop for row in ours for hop in row.next_hops}.intersection(next_hops)
            return f"a row of ours holds {', '.join(sorted(taken))} already" if taken else ""


def _not_static(rows: dict[str, RouteRow], row_ids: tuple[str, ...]) -> str:
    for row_id in row_ids:
        row = rows.get(row_id)
        if row is None:
            return f"row {row_id} is gone"
        if row.dynamic or row.bgp or not row.static:
            return f"row {row_id} is not a static one"
    return ""


def _not_ours(rows: dict[str, RouteRow], row_ids: tuple[str, ...], vip: VipConfig) -> str:
    found = _not_static(rows, row_ids)
    if found:
        return found
    strange = [row_id for row_id in row_ids if not carries_mark(rows[row_id].comment, vip.name)]
    return f"row {strange[0]} does not carry the mark of vip {vip.name}" if strange else ""


def _not_as_before(row: RouteRow, before: tuple[str, ...]) -> str:
    return "" if row.next_hops == before else f"the row now holds {', '.join(row.next_hops)}"


def parse_facts(router: str, reply: Reply) -> RouterFacts:
    """Read `/system/resource`.

    Raises:
        RouterProtocolError: Version or uptime cannot be read.
    """
    row = reply.rows[0] if reply.rows else {}
    version = row.get("version", "")
    major = major_version(version)
    uptime_ms = duration_ms(row.get("uptime", ""))
    if major is None or uptime_ms is None:
        raise RouterProtocolError(
            f"{router}: version {clean(version)!r} or uptime {clean(row.get('uptime', ''))!r} "
            "cannot be read",
        )
    return RouterFacts(
        router=router,
        version=bare_version(version),
        major=major,
        uptime_ms=uptime_ms,
        cpu_load_percent=percent(row.get("cpu-load", "")),
        rtt_us=reply.answered_us - reply.sent_us,
        board=clean(row.get("board-name", "")),
    )


class _Vip:
    """What the loop knows of one VIP: its rows, if read on this connection and still good."""

    __slots__ = ("asked", "config", "due_ms", "failures", "rows", "unsupported")

    def __init__(self, config: VipConfig) -> None:
        self.config = config
        self.rows: tuple[RouteRow, ...] | None = None
        self.due_ms = 0
        self.asked = 0
        self.failures = 0
        self.unsupported = False


class _Job:
    """A person's request: run by the loop, waited for outside."""

    __slots__ = ("done", "error", "started", "work")

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.work = work
        self.done = asyncio.Event()
        self.started = False
        self.error: RouterError | None = None

    def fail(self, error: RouterError) -> None:
        """End the request without its result."""
        self.error = error
        self.done.set()


class RouterClient:
    """The loop of one router; `run` and `companion.run` are started once, in the task group."""

    def __init__(
        self,
        target: RouterTarget,
        vips: Iterable[VipConfig],
        sink: RouterSink,
        *,
        password: Callable[[], str],
        now_us: Callable[[], int],
        rng: random.Random,
        timing: RouterTiming | None = None,
        poll_bgp: bool = True,
    ) -> None:
        self._vips = {vip.name: _Vip(vip) for vip in vips}
        self._sink = sink
        self._timing = timing or RouterTiming()
        context = make_tls_context(target)
        self._link = Link(
            target, context, password=password, now_us=now_us, rng=rng, timing=self._timing
        )
        self.companion = RouterCompanion(
            target,
            context,
            sink,
            password=password,
            now_us=now_us,
            rng=rng,
            timing=self._timing,
            major=self._connected_major,
            poll_bgp=poll_bgp,
        )
        self._name = target.name
        self._jobs: deque[_Job] = deque()
        self._session: Session | None = None
        self._dialect: RouteDialect = dialect_v7
        self._facts: RouterFacts | None = None
        self._major: int | None = None
        self._reconcile_due_ms = 0
        self._last_exchange_ms = 0
        self._slow_answer = False
        self._asks = 0
        self._read_wanted = False

    # --- what the daemon calls ---

    @property
    def name(self) -> str:
        """Return the router's configured name."""
        return self._name

    def wake(self, *, read: bool = False) -> None:
        """Say that the decision may have changed, or that the rows should be read now."""
        self._read_wanted = self._read_wanted or read
        self._link.wake()

    def stop(self) -> None:
        """Let `run` end after the command in flight, the companion's too."""
        self._link.stop()
        self.companion.stop()

    def reconfigure(self, vips: Iterable[VipConfig]) -> None:
        """Take another list of VIPs; all of them are read again before anything is written."""
        self._vips = {vip.name: _Vip(vip) for vip in vips}
        self._check_vips()
        self._link.wake()

    def status(self) -> RouterStatus:
        """Return what `status` shows."""
        facts = self._facts
        loss = self._link.loss
        return RouterStatus(
            name=self.name,
            connected=self._link.connected,
            version=facts.version if facts else "",
            rtt_us=facts.rtt_us if facts else 0,
            command_deadline_ms=self._link.deadline.ms,
            reads_backed_off=self._backed_off,
            detail=loss.detail if loss is not None else "",
        )

    async def perform(self, planned: PlannedStep, *, deadline_ms: int) -> Performed:
        """Carry out a person's step on rows read just before it, and read again.

        Raises:
            RouterUnreachable: The router was not reached within `deadline_ms`; nothing was sent.
            RouterError: The rows could not be read before the step; nothing was sent.
        """
        return await self._submit(lambda: self._perform(planned), deadline_ms)

    async def read_now(self, vip: str, *, deadline_ms: int) -> RouteRead:
        """Read one VIP's rows now; the sink gets them, too."""
        return await self._submit(lambda: self._read(self._vip(vip)), deadline_ms)

    async def answer_once(self, *, deadline_ms: int) -> tuple[int, int]:
        """Return when a small question left and when its answer came: a witness of our own line."""
        facts = await self._submit(self._read_facts, deadline_ms)
        return facts.sent_us // 1_000, facts.answered_us // 1_000

    # --- the loop ---

    async def run(self) -> None:
        """Keep the router's rows as the core wants them until `stop`."""
        try:
            await self._link.run(self._serve, lost=self._observe_lost, hurried=self._hurried)
        finally:
            while self._jobs:
                self._jobs.popleft().fail(RouterUnreachable(f"{self.name}: edged is stopping"))

    def _connected_major(self) -> int | None:
        """What the companion may talk to: it follows this session."""
        return self._major if self._link.connected else None

    def _observe_lost(self, loss: Loss) -> None:
        self._sink.router_lost(
            self.name, loss.detail, self._link.now_ms(), login_refused=loss.login_refused
        )

    def _hurried(self) -> bool:
        return bool(self._jobs) or self._sink.write_wanted(self.name)

    async def _greet(self) -> None:
        """Find out what this router is, before anything else is asked."""
        reply = await self._ask(request("resource"))
        self._facts = self._parsed(lambda: parse_facts(self.name, reply))
        self._dialect = dialect_v7 if self._facts.major >= V7 else dialect_v6
        self._major = self._facts.major
        self._link.loss = None
        self.companion.wake()
        self._sink.router_up(self._facts, self._link.now_ms())
        self._reconcile_due_ms = self._link.now_ms() + self._interval_ms
        self._check_vips()

    def _check_vips(self) -> None:
        """Have all VIPs read, and sort out those that this router cannot serve."""
        if self._session is None:
            return
        for vip in self._vips.values():
            # A VIP whose reads cost us the last two connections steps back for the others.
            wait = self._timing.retry_ms << min(vip.failures, 5) if vip.failures > 1 else 0
            vip.due_ms = wait and self._link.now_ms() + wait
            try:
                self._dialect.check_vip(vip.config)
                vip.unsupported = False
            except ConfigError as error:
                vip.unsupported = True
                self._sink.read_refused(self.name, vip.config.name, str(error), self._link.now_ms())

    async def _serve(self, session: Session) -> None:
        """Take turns until the connection is lost: write before read, oldest read first."""
        self._session = session
        self._major = None
        for vip in self._vips.values():
            vip.rows = None  # what was read on another connection says nothing here
        await self._greet()
        while session.usable and not self._link.stopping:
            self._link.looked()
            now_ms = self._link.now_ms()
            if self._read_wanted:
                self._read_wanted = False
                self._make_all_due(now_ms)
            ready = frozenset(n for n, vip in self._vips.items() if vip.rows is not None)
            planned = self._sink.next_step(self.name, ready, now_ms) if ready else None
            if planned is not None:
                assert planned.vip in ready, f"{planned.vip} was not read on this connection"
                await self._write(planned, self._vips[planned.vip])
            elif (unread := self._due_vip(now_ms, unread_only=True)) is not None:
                await self._read_or_say_why_not(unread)
            elif self._jobs:
                await self._run_job(self._jobs.popleft())
            elif now_ms >= self._reconcile_due_ms:
                await self._start_reconcile(now_ms)
            elif (due := self._due_vip(now_ms, unread_only=False)) is not None:
                await self._read_or_say_why_not(due)
            elif now_ms >= self._last_exchange_ms + self._timing.keep_alive_ms:
                await self._facts_or_trap()
            else:
                await self._link.rest(self._next_due_ms())

    def _due_vip(self, now_ms: int, *, unread_only: bool) -> _Vip | None:
        due = [
            vip
            for vip in self._vips.values()
            if not vip.unsupported
            and vip.due_ms <= now_ms
            and (vip.rows is None or not unread_only)
        ]
        return min(due, key=lambda vip: (vip.due_ms, vip.asked), default=None)

    def _next_due_ms(self) -> int:
        reads = [vip.due_ms for vip in self._vips.values() if not vip.unsupported]
        keep_alive_ms = self._last_exchange_ms + self._timing.keep_alive_ms
        return min([*reads, self._reconcile_due_ms, keep_alive_ms])

    async def _start_reconcile(self, now_ms: int) -> None:
        """Look at the uptime first: rows that a reboot brought back are no person's edit."""
        await self._facts_or_trap()
        self._make_all_due(now_ms)
        self._reconcile_due_ms = now_ms + self._interval_ms

    def _make_all_due(self, now_ms: int) -> None:
        for vip in self._vips.values():
            vip.due_ms = min(vip.due_ms, now_ms)

    @property
    def _backed_off(self) -> bool:
        load = self._facts.cpu_load_percent if self._facts is not None else None
        return self._slow_answer or (load is not None and load > CPU_BUSY_PERCENT)

    @property
    def _interval_ms(self) -> int:
        factor = SLOW_FACTOR if self._backed_off else 1
        return self._timing.reconcile_interval_ms * factor

    # --- commands ---

    async def _ask(self, sentence: Request) -> Reply:
        session = self._session
        if session is None:
            raise RouterUnreachable(f"{self.name}: not connected")
        try:
            reply = await session.ask(sentence)
        finally:
            self._last_exchange_ms = self._link.now_ms()
        self._slow_answer = reply.answered_us - reply.sent_us > SLOW_ANSWER_US
        return reply

    def _parsed(self, parse: Callable[[], T]) -> T:
        """Parse a reply; one that makes no sense ends the connection."""
        try:
            return parse()
        except RouterProtocolError:
            if self._session is not None:
                self._session.abort()
            raise

    async def _read_facts(self) -> Reply:
        reply = await self._ask(request("resource"))
        self._facts = self._parsed(lambda: parse_facts(self.name, reply))
        self._sink.router_facts(self._facts, self._link.now_ms())
        return reply

    async def _facts_or_trap(self) -> None:
        try:
            await self._read_facts()
        except TrapRefused:
            return  # an answer as well: the session lives, and the rows say the rest

    async def _read(self, vip: _Vip) -> RouteRead:
        """Read one VIP's rows and hand them to the sink."""
        self._asks += 1
        vip.asked = self._asks
        vip.due_ms = (
            self._link.now_ms() + 2 * self._interval_ms
        )  # sooner: the next reconcile sets it
        dialect = self._dialect
        try:
            reply = await self._ask(dialect.read_request(vip.config))
            rows = self._parsed(lambda: dialect.parse_rows(reply.rows, vip.config))
        except RouterUncertain:
            vip.failures += 1
            raise
        vip.failures = 0
        read = RouteRead(
            router=self.name,
            vip=vip.config.name,
            shape=dialect.SHAPE,
            rows=rows,
            sent_ms=reply.sent_us // 1_000,
            answered_ms=reply.answered_us // 1_000,
        )
        vip.rows = rows
        self._sink.route_read(read, self._link.now_ms())
        return read

    async def _read_or_say_why_not(self, vip: _Vip) -> None:
        try:
            await self._read(vip)
        except TrapRefused as error:
            vip.rows = None
            vip.due_ms = self._link.now_ms() + self._interval_ms
            self._sink.read_refused(self.name, vip.config.name, error.message, self._link.now_ms())

    async def _write(self, planned: PlannedStep, vip: _Vip) -> StepResult:
        """Send one step for rows that were read, and have them read back next."""
        rows, vip.rows, vip.due_ms = vip.rows or (), None, 0
        sent_ms = self._link.now_ms()
        outcome, refusal, message = StepOutcome.DONE, None, ""
        found = objection(planned.step, rows, vip.config)
        try:
            if found:
                outcome, refusal, message = StepOutcome.REFUSED, Refusal.OTHER, f"not sent: {found}"
            else:
                await self._ask(self._dialect.render(planned.step, vip.config))
        except TrapRefused as error:
            outcome, refusal, message = StepOutcome.REFUSED, error.refusal, error.message
        except ConfigError as error:
            outcome, refusal, message = StepOutcome.REFUSED, Refusal.OTHER, str(error)
        except RouterUncertain as error:
            outcome, message = StepOutcome.UNCERTAIN, str(error)
        result = StepResult(
            planned=planned,
            outcome=outcome,
            refusal=refusal,
            message=message,
            sent_ms=sent_ms,
            finished_ms=self._link.now_ms(),
        )
        self._sink.step_finished(result, result.finished_ms)
        return result

    async def _perform(self, planned: PlannedStep) -> Performed:
        vip = self._vip(planned.vip)
        if vip.unsupported:
            self._dialect.check_vip(vip.config)
        await self._read(vip)
        result = await self._write(planned, vip)
        if result.outcome is StepOutcome.UNCERTAIN:
            return Performed(result=result, read=None)
        try:
            return Performed(result=result, read=await self._read(vip))
        except RouterError:
            return Performed(result=result, read=None)

    # --- people's requests ---

    def _vip(self, name: str) -> _Vip:
        if name not in self._vips:
            raise RouterUnreachable(f"{self.name}: vip {name} is not kept on this router")
        return self._vips[name]

    async def _submit(self, work: Callable[[], Awaitable[T]], deadline_ms: int) -> T:
        """Queue work for the loop and wait for it; once begun it is waited for to its end."""
        if self._link.stopping or len(self._jobs) >= JOBS_MAX:
            raise RouterUnreachable(f"{self.name}: too many requests are waiting")
        results: list[T] = []

        async def run() -> None:
            results.append(await work())

        job = _Job(run)
        self._jobs.append(job)
        self._link.wake()
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                await job.done.wait()
        except TimeoutError as error:
            if not job.started:
                detail = self._link.loss.detail if self._link.loss else f"{self.name}: busy"
                raise RouterUnreachable(f"not reached in time; {detail}") from error
            await job.done.wait()  # bounded: a few commands, each with its deadline
        finally:
            if not job.started and job in self._jobs:
                self._jobs.remove(job)
        if job.error is not None:
            raise job.error
        return results[0]

    async def _run_job(self, job: _Job) -> None:
        job.started = True
        try:
            await job.work()
        except TrapRefused as error:
            job.fail(error)
        except ConfigError as error:
            job.fail(RouterUnreachable(str(error)))
        except RouterError as error:
            job.fail(error)
            raise
        except BaseException:
            job.fail(RouterUncertain(f"{self.name}: edged was stopped in between"))
            raise
        job.done.set()
