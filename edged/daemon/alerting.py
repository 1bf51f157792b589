"""The alert desk: carries events to the rules, what they say into the store, and that to channels.

It runs beside the route and never in its way. `noticed` only appends; the desk looks a little
later, so that the write to the router that the same event causes goes first. What is to be sent is
on disk before it leaves; if the disk does not answer in time, it is sent from memory.
"""

import asyncio
import contextlib
import random
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from edged.alerts.canary import Canary
from edged.alerts.channels.base import Endpoint, Fate
from edged.alerts.channels.table import SERVICES, endpoint_of
from edged.alerts.deadman import DeadMansSwitch
from edged.alerts.delivery import Outcome, Sender
from edged.alerts.facts import AlertFacts, facts_of
from edged.alerts.outbox import Outbox, Queued
from edged.alerts.routing import quiet_for, wants, zone_of
from edged.alerts.sending import Client
from edged.alerts.texts.compose import About, compose
from edged.config.types import ChannelConfig, Config, Language
from edged.core.alerting import (
    DROPPED_BY_PERSON,
    MOVES,
    Alerting,
    AlertKind,
    AlertMessage,
    AlertRules,
    AlertStep,
    IncidentChange,
    IncidentState,
    Levels,
    Problem,
    Silence,
    WatchedVip,
)
from edged.core.errors import CommandRefused, StoreError
from edged.core.events import Event, Scalar, Severity, event
from edged.core.types import CoreConfig, FrozenReason
from edged.daemon.conversion import probe_targets
from edged.daemon.keeping import monotonic_at, wall_at
from edged.daemon.probe_names import watch_probe_names
from edged.store.sqlite import Store
from edged.store.values import AlertBatch, Persisted, SavedIncident, SavedMessage, SavedSilence
from edged.system import clock

if TYPE_CHECKING:
    from edged.daemon.process import Process

DEFER_S: Final = 0.05
"""The desk looks so long after an event: the route's own write takes a few milliseconds."""
LOOK_MS: Final = 10_000
"""How often the levels are compared with the engine's own."""
NEWS_MAX: Final = 5_000
REFRESH_S: Final = 60.0
REPEAT_OVER_MS: Final = 300_000
"""Alertmanager wants the end repeated, too; it also mends a repetition that came late."""
TEST_S: Final = 12.0
MESSAGE_PREFIX: Final = "msg_"
INSTANTS: Final = frozenset({"until_ms", "first_failure_at_ms", "seen_ms"})
"""Facts that are instants: monotonic inside, wall time where they are kept."""

READS_MISSED: Final = 8
"""A slow router is read four times less often; twice that without a read is trouble."""
READ_GRACE_MS: Final = 10_000

Publish = Callable[[Event], None]
LookAt = Callable[[], Levels | None]


def desk_of(process: "Process", store: Store, persisted: Persisted) -> "AlertDesk":
    """Return the desk of a process."""
    return AlertDesk(
        process.config,
        process.wanted,
        store,
        persisted,
        host=process.host,
        publish=lambda one: process.agent.emit([one]),
        look=lambda: levels(process),
        obstacle=Obstacles(process),
        further=lambda: watch_probe_names(
            lambda: process.wanted,
            lambda: probe_targets(process.config, process.wanted),
            lambda one: process.agent.emit([one]),
        ),
        hide=process.redactor.hide,
        rng=process.rng,
    )


def levels(process: "Process") -> Levels | None:
    """Return how things are by the engine; None while it is warming up."""
    now_ms, engine = clock.monotonic_ms(), process.agent.engine
    routes = engine.decide(now_ms).routes
    reasons = {(route.vip, route.router, one.reason) for route in routes for one in route.frozen}
    if any(reason is FrozenReason.WARM_UP for _, _, reason in reasons):
        return None
    return Levels(
        down=frozenset(one.check for one in engine.gateways(now_ms) if one.verdict is not None),
        in_route={
            (route.vip, route.router): route.observed
            for route in routes
            if engine.own_rows(route.router, route.vip) is not None
        },
        lost=frozenset(name for name in process.agent.clients if not engine.router_connected(name)),
        frozen=frozenset((vip, router, reason.value) for vip, router, reason in reasons),
    )


class Obstacles:
    """What keeps edged from its work: the dead-man's switch is let go then."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._turns = -1

    def __call__(self) -> str:
        """Return the obstacle, or nothing."""
        agent, now_ms = self._process.agent, clock.monotonic_ms()
        turns, self._turns = self._turns, agent.turns
        if turns == agent.turns:
            return "the loop does not turn"
        for router in self._process.config.routers:
            if not agent.clients[router.name].status().connected:
                return f"no session with {router.name}"
            limit_ms = router.reconcile_interval_ms * READS_MISSED + READ_GRACE_MS
            for vip in self._process.wanted.vips:
                if router.name not in vip.routers:
                    continue
                read_ms = agent.read_ms.get((router.name, vip.name))
                if read_ms is None or now_ms - read_ms > limit_ms:
                    return f"{vip.name} on {router.name} is not read"
        return ""


def alert_rules(config: Config, core: CoreConfig) -> AlertRules:
    """Return what the rules need of a configuration."""
    gateways = {check.key: check.gateway for check in core.checks}
    return AlertRules(
        vips=tuple(
            WatchedVip(
                name=vip.name,
                checks=tuple((key, gateways[key]) for key in vip.checks),
                routers=vip.routers,
                min_healthy=vip.min_healthy
                if vip.min_healthy is not None
                else (len(vip.checks) - len(vip.uncounted) + 1) // 2,
            )
            for vip in core.vips
        ),
        enforce=core.enforce,
        group_window_ms=config.alerts.group_window_ms,
        reminder_ms=config.alerts.reminder_ms,
    )


def about(config: Config, host: str) -> About:
    """Return what texts need of a configuration."""
    return About(
        host=host,
        public_url=config.web.public_url,
        zone=zone_of(config.timezone),
        addresses={one.name: one.address for one in config.gateways},
        routers={one.name: one.address for one in config.routers},
        urls={
            vip.name: vip.canary.url
            if vip.canary is not None
            else f"https://{vip.address.partition('/')[0]}"
            for vip in config.vips
        },
        ports={vip.name: vip.probe.port for vip in config.vips},
        vips={vip.name: vip.gateways for vip in config.vips},
        hold_ms=config.hold_down.base_ms,
    )


@dataclass(slots=True)
class _Told:
    """What is known of an incident beside the rules: who was told, and its last message."""

    channels: frozenset[str] = frozenset()
    title: str = ""
    last: AlertFacts | None = None


class AlertDesk:
    """The rules, the outbox and the senders, wired together; see the module's docstring."""

    def __init__(
        self,
        config: Config,
        core: CoreConfig,
        store: Store,
        persisted: Persisted,
        *,
        host: str,
        publish: Publish,
        look: LookAt,
        obstacle: Callable[[], str],
        hide: Callable[[str], None],
        rng: random.Random,
        further: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._further = further
        self._config = config
        self._store = store
        self._host = host
        self._publish = publish
        self._look = look
        self._obstacle = obstacle
        self._switch: DeadMansSwitch | None = None
        self._hide = hide
        self._rng = rng
        self._about = about(config, host)
        self._news: deque[tuple[Event, int | None]] = deque(maxlen=NEWS_MAX)
        self._woken = asyncio.Event()
        self._closed = False
        self._told: dict[str, _Told] = {}
        self._silences = {one.number: one for one in persisted.silences}
        self._outbox = Outbox()
        self._senders: dict[str, Sender] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._over: list[tuple[int, _Told]] = []
        self._client: Client | None = None
        self._group: asyncio.TaskGroup | None = None
        self._looked_ms = clock.monotonic_ms()
        now_ms = clock.monotonic_ms()
        self._rules = Alerting(
            alert_rules(config, core), now_ms, next_number=store.last_incident + 1
        )
        self._restore(persisted, now_ms)

    # --- from the route's side ------------------------------------------------------------------

    def noticed(self, happened: Event, number: int | None) -> None:
        """Take an event; does nothing now."""
        if happened.name in MOVES:
            self._news.append((happened, number))
            self._woken.set()

    # --- life -----------------------------------------------------------------------------------

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Turn events into messages until closed; senders run as tasks of `group`."""
        self._group = group
        async with Client() as client:
            self._client = client
            self._start_senders()
            self._start_loops()
            try:
                while not self._closed:
                    await self._wait()
                    await self._turn()
            finally:
                for sender in self._senders.values():
                    sender.close()

    def close(self) -> None:
        """End; what waits is on disk and leaves after the next start."""
        self._closed = True
        self._woken.set()
        for sender in self._senders.values():
            sender.close()
        for task in self._endings.values():
            task.cancel()
        for task in self._loops:
            task.cancel()

    async def _wait(self) -> None:
        now_ms = clock.monotonic_ms()
        due_ms = self._rules.next_deadline_ms
        wait_ms = LOOK_MS if due_ms is None else min(max(due_ms - now_ms, 1), LOOK_MS)
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()
        if not self._closed:
            await asyncio.sleep(DEFER_S)

    async def _turn(self) -> None:
        """Feed the rules and carry out what they say."""
        while self._news:
            happened, number = self._news.popleft()
            self._rules.observe(happened, happened.at_ms, number)
        now_ms = clock.monotonic_ms()
        if now_ms - self._looked_ms >= LOOK_MS:
            self._looked_ms = now_ms
            levels = self._look()
            if levels is not None:
                self._rules.observe_levels(levels, now_ms)
            await self._expire()
        await self._end_silences()
        self._rules.silence(self._core_silences(), now_ms)
        changes = self._rules.advance(now_ms)
        if changes:
            await self._carry_out(changes)

    async def _carry_out(self, changes: Sequence[IncidentChange]) -> None:
        batch = _Batch()
        spoken: list[Event] = []
        for change in changes:
            told = self._told.setdefault(change.state.incident, _Told())
            if change.message is not None:
                spoken += self._queue(change.message, told, batch)
            batch.incidents.append(self._saved(change.state, told))
            if change.events:
                batch.events[change.state.incident] = change.events
            if change.state.closed_ms is not None:
                del self._told[change.state.incident]
                if told.last is not None and told.last.over:
                    self._over.append((clock.monotonic_ms() + REPEAT_OVER_MS, told))
        await self._keep(batch)
        self._outbox.keep()
        for one in spoken:
            self._publish(one)
        for sender in self._senders.values():
            sender.wake()

    async def _keep(self, batch: "_Batch") -> None:
        """Write before anything leaves; a store that cannot is no reason to stay silent."""
        try:
            await self._store.save_alerts(batch.whole())
        except StoreError:
            return

    def _queue(self, message: AlertMessage, told: _Told, batch: "_Batch") -> list[Event]:
        facts = self._facts(message)
        now, now_ms = clock.wall(), clock.monotonic_ms()
        for channel in self._config.channels:
            if not wants(channel, facts, told=told.channels):
                continue
            own = replace(facts, message_id=f"{MESSAGE_PREFIX}{uuid.uuid4().hex}")
            held_ms = quiet_for(channel, own, now, self._config.timezone)
            hold_until_ms = now_ms + held_ms if held_ms else 0
            added = self._outbox.add(
                channel.name, own, now, hold_until_ms=hold_until_ms, kept=False
            )
            batch.removed += [*added.replaced, *(row.seq for row in added.dropped)]
            batch.messages.append(_saved_message(added.queued))
            told.channels |= {channel.name}
            for row in added.dropped:
                self._tell_dropped(row, "too many wait")
        title = compose(facts, self._about, Language.ENGLISH, now=now).title
        if message.step in {AlertStep.OPEN, AlertStep.NOTICE} or not told.title:
            told.title = title
        told.last = facts
        return [_spoken(message, title, now_ms)]

    def _facts(self, message: AlertMessage) -> AlertFacts:
        return AlertFacts(
            message_id=f"{MESSAGE_PREFIX}{uuid.uuid4().hex}",
            incident=message.incident,
            kind=message.kind,
            step=message.step,
            severity=message.severity,
            names=message.names,
            vips=message.vips,
            gateways=message.gateways,
            routers=message.routers,
            opened=wall_at(message.opened_ms),
            at=wall_at(message.at_ms),
            observe=message.observe,
            facts=_with_instants(message.facts, lambda at_ms: _epoch_ms(wall_at(at_ms))),
        )

    # --- keeping --------------------------------------------------------------------------------

    def _saved(self, state: IncidentState, told: _Told) -> SavedIncident:
        return SavedIncident(
            incident=state.incident,
            number=state.number,
            kind=str(state.kind),
            severity=state.severity,
            opened=wall_at(state.opened_ms),
            closed=wall_at(state.closed_ms) if state.closed_ms is not None else None,
            title=told.title,
            document={
                "problems": [
                    {
                        "kind": str(one.kind),
                        "severity": str(one.severity),
                        "vip": one.vip,
                        "gateway": one.gateway,
                        "router": one.router,
                        "word": one.word,
                    }
                    for one in state.problems
                ],
                "told_ms": _epoch_ms(wall_at(state.told_ms)) if state.told_ms is not None else None,
                "messages": state.messages,
                "channels": sorted(told.channels),
                "last": told.last.document() if told.last is not None else None,
                "facts": {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in _with_instants(
                        state.facts, lambda at_ms: _epoch_ms(wall_at(at_ms))
                    ).items()
                },
            },
        )

    def _restore(self, persisted: Persisted, now_ms: int) -> None:
        states = []
        for saved in persisted.incidents:
            try:
                state, told = _restored(saved)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
            states.append(state)
            self._told[saved.incident] = told
        self._rules.restore(states, now_ms)
        rows = []
        for message in persisted.outbox:
            try:
                facts = facts_of(message.document)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
            rows.append(
                Queued(
                    seq=message.seq,
                    channel=message.channel,
                    facts=facts,
                    created=message.created,
                    tries=message.tries,
                    failed=message.failed,
                    error=message.error,
                )
            )
        self._outbox.restore(rows)

    async def delivered(self, queued: Queued, *, took_ms: int) -> None:
        """Forget a message that has arrived."""
        await self._keep(_Batch(removed=[queued.seq]))
        self._publish(
            event(
                "alert.delivered",
                clock.monotonic_ms(),
                key=str(queued.facts.kind),
                incident=queued.facts.incident,
                channel=queued.channel,
                step=str(queued.facts.step),
                took_ms=took_ms,
                tries=queued.tries + 1,
            )
        )

    async def failed(self, queued: Queued, *, detail: str) -> None:
        """Keep how often a message was tried; one that is given up is said aloud."""
        await self._keep(_Batch(messages=[_saved_message(queued)]))
        if queued.failed:
            self._tell_dropped(queued, detail, dropped=0)

    async def _expire(self) -> None:
        gone = list(self._outbox.expired(clock.wall()))
        known = {channel.name for channel in self._config.channels}
        for name in {row.channel for row in self._outbox.rows()} - known:
            gone += self._outbox.drop(name, None)
        if not gone:
            return
        await self._keep(_Batch(removed=[row.seq for row in gone]))
        for row in gone:
            why = row.error or "it waited too long"
            self._tell_dropped(row, why if row.channel in known else "no such channel any more")

    def _tell_dropped(self, row: Queued, detail: str, *, dropped: int = 1) -> None:
        self._publish(
            event(
                "alert.undeliverable",
                clock.monotonic_ms(),
                key=str(row.facts.kind),
                incident=row.facts.incident,
                channel=row.channel,
                step=str(row.facts.step),
                detail=detail,
                dropped=dropped,
            )
        )

    # --- channels -------------------------------------------------------------------------------

    def _start_loops(self) -> None:
        """Start what asks at an interval; after a reload, anew."""
        assert self._group is not None
        assert self._client is not None
        for task in self._loops:
            task.cancel()
        wanted: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
            ("alert refresh", self._refresh_forever)
        ]
        if self._further is not None:
            wanted.append(("probe names", self._further))
        switch = self._config.dead_mans_switch
        self._switch = None
        if switch is not None:
            self._switch = DeadMansSwitch(
                switch.url,
                switch.interval_ms,
                client=self._client,
                hide=self._hide,
                obstacle=self._obstacle,
            )
            wanted.append(("dead-man's switch", self._switch.run))
        for vip in self._config.vips:
            if vip.canary is not None:
                canary = Canary(
                    vip=vip.name,
                    address=vip.address.partition("/")[0],
                    url=vip.canary.url,
                    interval_ms=vip.canary.interval_ms,
                    publish=self._publish,
                )
                wanted.append((f"canary {vip.name}", canary.run))
        self._loops = [self._group.create_task(run(), name=name) for name, run in wanted]

    def _start_senders(self) -> None:
        assert self._group is not None
        assert self._client is not None
        wanted = {channel.name: channel for channel in self._config.channels}
        for name, sender in tuple(self._senders.items()):
            if wanted.get(name) != sender.config:
                sender.close()
                self._endings.pop(name).cancel()
                del self._senders[name]
        for name, channel in wanted.items():
            if name in self._senders:
                continue
            sender = self._sender(channel, self._client)
            self._senders[name] = sender
            task = self._group.create_task(sender.run(), name=f"channel {name}")
            self._endings[name] = task

    def _sender(self, channel: ChannelConfig, client: Client) -> Sender:
        return Sender(
            channel,
            outbox=self._outbox,
            client=client,
            ledger=self,
            endpoint=self._endpoint,
            about=lambda: self._about,
            rng=self._rng,
        )

    def _endpoint(self, channel: ChannelConfig) -> Endpoint:
        return endpoint_of(channel, self._host, self._hide)

    async def _refresh_forever(self) -> None:
        """Repeat what is open, and for a while what is over, to services that forget it."""
        while not self._closed:
            await asyncio.sleep(REFRESH_S)
            now_ms = clock.monotonic_ms()
            self._over = [one for one in self._over if one[0] > now_ms]
            told = [*self._told.values(), *(one for _, one in self._over)]
            for name, sender in tuple(self._senders.items()):
                if SERVICES[sender.config.type].refreshed:
                    await self._refresh(name, sender, told)

    async def _refresh(self, name: str, sender: Sender, told: Sequence[_Told]) -> None:
        waiting = {row.facts.incident for row in self._outbox.rows(name)}
        for one in told:
            if one.last is not None and name in one.channels and one.last.incident not in waiting:
                await sender.attempt(one.last)

    def reconfigure(self, config: Config, core: CoreConfig) -> None:
        """Take a new configuration: rules, texts and channels."""
        self._config = config
        self._about = about(config, self._host)
        self._rules.configure(alert_rules(config, core), clock.monotonic_ms())
        if self._client is not None and not self._closed:
            self._start_senders()
            self._start_loops()
        self._woken.set()

    # --- silences -------------------------------------------------------------------------------

    def _core_silences(self) -> list[Silence]:
        return [
            Silence(until_ms=monotonic_at(one.until), gateway=one.gateway, vip=one.vip)
            for one in self._silences.values()
        ]

    async def _end_silences(self) -> None:
        now = clock.wall()
        for one in [one for one in self._silences.values() if one.until <= now]:
            del self._silences[one.number]
            with contextlib.suppress(StoreError):
                await self._store.clear_silence(one.number)
            self._tell_silence_ended(one, "time is up")

    def _tell_silence_ended(self, silence: SavedSilence, cause: str) -> None:
        self._publish(
            event("silence.ended", clock.monotonic_ms(), owner=silence.owner or None, cause=cause)
        )

    async def silence(
        self, *, owner: str, reason: str, for_ms: int, gateway: str | None, vip: str | None
    ) -> SavedSilence:
        """Keep quiet for a time; edged goes on acting."""
        now = clock.wall()
        silence = SavedSilence(
            number=max(self._silences, default=0) + 1,
            owner=owner,
            reason=reason,
            gateway=gateway,
            vip=vip,
            since=now,
            until=now + timedelta(milliseconds=for_ms),
        )
        await self._store.save_silence(silence)
        self._silences[silence.number] = silence
        self._publish(
            event(
                "silence.set",
                clock.monotonic_ms(),
                owner=owner or None,
                reason=reason or None,
                gateway=gateway,
                vip=vip,
                until_ms=clock.monotonic_ms() + for_ms,
            )
        )
        self._woken.set()
        return silence

    async def end_silences(self) -> int:
        """End every silence."""
        ended, self._silences = self._silences, {}
        for one in ended.values():
            await self._store.clear_silence(one.number)
            self._tell_silence_ended(one, "asked")
        self._woken.set()
        return len(ended)

    # --- what people ask ------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Return how many incidents are open."""
        return len(self._rules.open)

    @property
    def pending(self) -> int:
        """Return how many messages wait."""
        return self._outbox.pending()

    @property
    def dead_mans_switch(self) -> str:
        """Return how the dead-man's switch does; empty where there is none."""
        return self._switch.state if self._switch is not None else ""

    def states(self) -> tuple[tuple[str, str], ...]:
        """Return how each channel does."""
        return tuple((name, sender.state) for name, sender in self._senders.items())

    def pending_for(self, channel: str) -> int:
        """Return how many messages wait for a channel."""
        return len(self._outbox.rows(channel))

    def oldest_ms(self, channel: str) -> int:
        """Return the age of the oldest message that waits for a channel."""
        rows = self._outbox.rows(channel)
        return (clock.wall() - rows[0].created) // timedelta(milliseconds=1) if rows else 0

    def document(self) -> dict[str, Any]:
        """Return `edged.alerts/v1`."""
        opened = self._rules.open
        return {
            "schema": "edged.alerts/v1",
            "time": _stamp(clock.wall()),
            "open": [
                {
                    "incident": one.incident,
                    "kind": str(one.kind),
                    "severity": str(one.severity),
                    "title": self._told.get(one.incident, _Told()).title,
                    "since": _stamp(wall_at(one.opened_ms)),
                    "told": one.told_ms is not None,
                }
                for one in opened
            ],
            "channels": [
                {
                    "name": name,
                    "type": str(sender.config.type),
                    "state": sender.state,
                    "pending": len(self._outbox.rows(name)),
                    "oldest_ms": self.oldest_ms(name),
                }
                for name, sender in self._senders.items()
            ],
            "outbox": [
                {
                    "number": row.seq,
                    "channel": row.channel,
                    "incident": row.facts.incident,
                    "step": str(row.facts.step),
                    "since": _stamp(row.created),
                    "tries": row.tries,
                    "given_up": row.failed,
                    "error": row.error,
                }
                for row in self._outbox.rows()
            ],
            "silences": [
                {
                    "owner": one.owner,
                    "reason": one.reason,
                    "gateway": one.gateway,
                    "vip": one.vip,
                    "until": _stamp(one.until),
                }
                for one in self._silences.values()
            ],
        }

    async def test(self, channel: str | None) -> dict[str, Any]:
        """Send one message now and say what each service answered."""
        chosen = self._chosen(channel)
        now = clock.wall()
        results: dict[str, Outcome | None] = dict.fromkeys(one.config.name for one in chosen)

        async def one(sender: Sender) -> None:
            facts = AlertFacts(
                message_id=f"{MESSAGE_PREFIX}{uuid.uuid4().hex}",
                incident="test",
                kind=AlertKind.TEST,
                step=AlertStep.NOTICE,
                severity=Severity.INFO,
                names=("alert.tested",),
                opened=now,
                at=now,
            )
            results[sender.config.name] = await sender.attempt(facts)

        try:
            async with asyncio.timeout(TEST_S), asyncio.TaskGroup() as group:
                for sender in chosen:
                    group.create_task(one(sender), name=f"test {sender.config.name}")
        except TimeoutError:
            pass
        return {
            "schema": "edged.alerts-test/v1",
            "channels": [_tested(name, outcome) for name, outcome in results.items()],
        }

    def _chosen(self, channel: str | None) -> list[Sender]:
        if not self._senders:
            raise CommandRefused("no [[channel]] is configured, so nobody would be told")
        chosen = [one for name, one in self._senders.items() if channel in {None, name}]
        if not chosen:
            known = ", ".join(self._senders)
            raise CommandRefused(f'there is no channel "{channel}"; known are {known}')
        return chosen

    async def retry(self, channel: str | None, number: int | None) -> int:
        """Try messages again, at once."""
        if channel is not None:
            self._chosen(channel)
        again = self._outbox.retry(channel, number)
        await self._keep(_Batch(messages=[_saved_message(row) for row in again]))
        waiting = [row for row in self._outbox.rows(channel) if number in {None, row.seq}]
        for name, sender in self._senders.items():
            if channel in {None, name}:
                sender.hurry()
        return len(waiting)

    async def drop(self, channel: str | None, number: int | None) -> int:
        """Forget messages; each is counted."""
        gone = self._outbox.drop(channel, number)
        await self._keep(_Batch(removed=[row.seq for row in gone]))
        for row in gone:
            self._tell_dropped(row, DROPPED_BY_PERSON)
        return len(gone)


class _Batch:
    """What one turn wants kept; an `AlertBatch` in the making."""

    def __init__(
        self,
        *,
        messages: list[SavedMessage] | None = None,
        removed: list[int] | None = None,
    ) -> None:
        self.incidents: list[SavedIncident] = []
        self.messages = messages or []
        self.removed = removed or []
        self.events: dict[str, tuple[int, ...]] = {}

    def whole(self) -> AlertBatch:
        """Return the batch; a message that was replaced within it is not written at all."""
        gone = set(self.removed)
        return AlertBatch(
            incidents=tuple(self.incidents),
            messages=tuple(one for one in self.messages if one.seq not in gone),
            removed=tuple(self.removed),
            events=self.events,
        )


def _spoken(message: AlertMessage, title: str, now_ms: int) -> Event:
    """Return the event that says what is being told."""
    key = f"{message.kind}/{','.join((*message.vips, *message.gateways, *message.routers))}"
    match message.step:
        case AlertStep.OPEN | AlertStep.NOTICE:
            return event(
                "alert.opened",
                now_ms,
                message.severity,
                key=key,
                incident=message.incident,
                title=title,
            )
        case AlertStep.RESOLVE:
            open_ms = message.facts.get("open_ms")
            return event(
                "alert.resolved", now_ms, key=key, incident=message.incident, open_ms=open_ms
            )
        case AlertStep.UPDATE | AlertStep.REMIND | AlertStep.DIGEST:
            return event("alert.updated", now_ms, key=key, incident=message.incident, title=title)


def _saved_message(row: Queued) -> SavedMessage:
    return SavedMessage(
        seq=row.seq,
        message=row.facts.message_id,
        channel=row.channel,
        incident=row.facts.incident,
        created=row.created,
        tries=row.tries,
        failed=row.failed,
        error=row.error,
        document=row.facts.document(),
    )


def _restored(saved: SavedIncident) -> tuple[IncidentState, _Told]:
    document: Mapping[str, Any] = saved.document
    told_ms = document["told_ms"]
    facts: dict[str, Scalar] = {
        str(key): tuple(value) if isinstance(value, list) else value
        for key, value in document["facts"].items()
    }
    state = IncidentState(
        incident=saved.incident,
        number=saved.number,
        problems=tuple(
            Problem(
                kind=AlertKind(one["kind"]),
                severity=Severity(one["severity"]),
                vip=str(one["vip"]),
                gateway=str(one["gateway"]),
                router=str(one["router"]),
                word=str(one["word"]),
            )
            for one in document["problems"]
        ),
        severity=saved.severity,
        opened_ms=monotonic_at(saved.opened),
        told_ms=_monotonic(told_ms) if told_ms is not None else None,
        closed_ms=None,
        messages=int(document["messages"]),
        facts=_with_instants(facts, _monotonic),
    )
    channels = frozenset(str(name) for name in document["channels"])
    last = facts_of(document["last"]) if document.get("last") is not None else None
    return state, _Told(channels=channels, title=saved.title, last=last)


def _with_instants(facts: Mapping[str, Scalar], convert: Callable[[int], int]) -> dict[str, Scalar]:
    return {
        key: convert(value) if key in INSTANTS and isinstance(value, int) else value
        for key, value in facts.items()
    }


def _monotonic(epoch_ms: int) -> int:
    return clock.monotonic_ms() + epoch_ms - _epoch_ms(clock.wall())


def _epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tested(name: str, outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"name": name, "delivered": False, "detail": "no answer in time", "took_ms": None}
    return {
        "name": name,
        "delivered": outcome.verdict.fate is Fate.DELIVERED,
        "detail": outcome.verdict.detail,
        "took_ms": outcome.took_ms,
    }
