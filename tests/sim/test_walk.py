"""A random walk: faults of every kind in every order, and the promises checked all the way.

Each schedule has four parts. Faults rage; then the conditions stay as they are, and everything has
to settle; then edged restarts, which must change nothing; then everything heals, and everybody has
to be back. A failure prints its seed: `EDGED_SEED=<seed> pytest tests/sim/test_walk.py -k one_seed`
repeats it. `EDGED_WALKS=<n>` walks further than the usual slice.

S1 after a change a passing member remains, S2 who serves leaves by a rule only, S3 the dead leave,
S4 nothing moves under constant conditions, S5 our own outage removes nobody, S6 a restart ends at
the same set, S7 nothing stays kept or frozen without its reason, S8 who recovers comes back, at
once if nobody else passes. S1, S2 and S5 are watched by the world at every write.
"""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from edged.core.events import Severity
from edged.core.types import (
    CreateRow,
    Drain,
    GatewayState,
    HoldDown,
    Pause,
    ProbeTiming,
    Recheck,
    Refusal,
    Resume,
    RouteRow,
    RouteShape,
    SetDisabled,
    Undrain,
)
from tests.sim.world import MARK, Cut, Mode, OpinionPolicy, Violation, World, make_config

WALKS: Final = int(os.environ.get("EDGED_WALKS", "60"))
FIRST_SEED: Final = int(os.environ.get("EDGED_FIRST_SEED", "0"))
SLICES: Final = 10
HOLD: Final = HoldDown(base_ms=2_000, max_ms=6_000, forget_after_ms=30_000)
FAST: Final = ProbeTiming(
    burst_ms=(0, 20, 40, 100),
    deadline_ms=200,
    silent_after_ms=60,
    heartbeat_interval_ms=25,
    heartbeat_deadline_ms=40,
)
CALM: Final = ProbeTiming(
    burst_ms=(0, 100, 200, 400),
    deadline_ms=500,
    silent_after_ms=400,
    heartbeat_interval_ms=250,
    heartbeat_deadline_ms=250,
)
FAULTS: Final = (Mode.KILLED, Mode.SILENT, Mode.HUNG, Mode.TLS_BROKEN)
RAGE_MS: Final = 30_000
SETTLE_MS: Final = 18_000
SLACK_MS: Final = 45
"""Round trips, the gap after a refusal, the witness and the write."""
SAYS_DEAD: Final = (OpinionPolicy.HONEST, OpinionPolicy.DEAD)
STILL_MS: Final = 10_000
PATIENCE_MS: Final = 6_000
"""How long clients may starve beside a gateway that serves: detection, three passes, a write."""


class Walk:
    """One schedule of faults in one world."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.dice = dice
        self.seed = seed
        count = dice.choice((1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 16 if seed % 4 == 0 else 3))
        timing = dice.choice((ProbeTiming(), ProbeTiming(), FAST, CALM))
        timing = replace(timing, heartbeat=dice.random() < 0.7)
        floor = dice.choice((None, None, None, 1, max(1, count - 1), count))
        self.lossy = dice.random() < 0.25
        self.people = dice.random() < 0.3
        self.theme = dice.choice(("", "path", "path", "mass", "router", "own", "people", "gateway"))
        config = make_config(
            count,
            timing=timing,
            min_healthy=floor,
            hold_down=HOLD,
            routers=("hex",) if dice.random() < 0.85 else ("hex", "rex"),
            jitter=tuple(dice.randint(-50, 50) for _ in range(11)),
            bgp_down_for_ms=dice.choice((8_000, 20_000)),
        )
        self.names = [gateway.name for gateway in config.gateways]
        outside = {n for n in self.names if dice.random() < 0.1} - {dice.choice(self.names)}
        self.world = World(
            config,
            seed=seed,
            shape=dice.choice(list(RouteShape)),
            members=tuple(n for n in self.names if n not in outside),
            opinion=dice.choice(list(OpinionPolicy)),
            loss=0.001 if self.lossy else 0.0,
            bgp=dice.random() < 0.5,
        )
        self.calm_ms: dict[str, int] = {}
        self.story: list[str] = []

    def run(self) -> None:
        """Walk from beginning to end."""
        world, dice = self.world, self.dice
        try:
            world.run_for(dice.choice((10_000, 5_000, dice.randint(0, 3_500))))
            end_ms = world.now_ms + RAGE_MS
            while world.now_ms < end_ms:
                self._something()
                self._live(self._pause_ms())
            self._end_of_rage()
            world.run_for(SETTLE_MS)
            self._check_still()
            self._check_dead_are_gone()
            self._check_restart()
            self._heal()
            world.run_for(SETTLE_MS)
            self._check_all_back()
            self._check_promised_time()
        except AssertionError as error:
            story = "\n".join(self.story)
            text = f"EDGED_SEED={self.seed} pytest tests/sim/test_walk.py -k one_seed\n{story}\n"
            raise Violation(text + str(error)) from error

    def _pause_ms(self) -> int:
        return self.dice.choice((0, 3, 30, 120, 400, 400, 1_000, 2_500, 2_500, 7_000))

    def _tell(self, text: str) -> None:
        self.story.append(f"  {self.world.now_ms:>7} {text}")

    def _live(self, length_ms: int) -> None:
        """Let time pass, and look now and then whether clients starve beside a good gateway."""
        end_ms = self.world.now_ms + length_ms
        while self.world.now_ms < end_ms:
            self.world.run_for(min(500, end_ms - self.world.now_ms))
            for name in self.world.routers:
                self._check_starving(name)

    def _check_starving(self, name: str) -> None:
        """S8: where no member can serve, whoever can is let in within seconds."""
        world = self.world
        since_ms = world.now_ms - PATIENCE_MS
        members = world.members(name)
        router = world.routers[name]
        calm = (
            not world.cable_out
            and not world.local_errors
            and world.own_trouble_ms < since_ms
            and router.refuses is None
            and not router.edited
            and not world.frozen(name)
        )
        if not calm:
            self.calm_ms[name] = world.now_ms
        if not members or self.calm_ms.get(name, 0) > since_ms:
            return
        gateways = world.gateways
        for member in members:
            gateway = gateways[member]
            dead = gateway.mode in FAULTS or gateway.cut
            if not dead or gateway.changed_ms > since_ms:
                return
        for other, gateway in gateways.items():
            if (
                gateway.serves
                and gateway.slow_ms == 0
                and gateway.changed_ms < since_ms
                and not self._drained(other)
                and world.waiting(name).get(other) != "human_hold"
            ):
                world.fail(f"S8: {other} serves outside, and no member of {name} does")

    # --- faults

    def _something(self) -> None:
        dice = self.dice
        name = dice.choice(self.names)
        choices: list[tuple[str, int, Callable[[], None]]] = [
            ("gateway", 10, lambda: self._mode(name, dice.choice(FAULTS))),
            ("gateway", 10, lambda: self._mode(name, Mode.SERVING)),
            ("gateway", 2, lambda: self._blink(name)),
            ("mass", 2, self._all_at_once),
            ("mass", 1, self._all_but_one),
            ("gateway", 2, lambda: self._slow(name)),
            ("path", 2, lambda: self._cut(name)),
            ("path", 2, self._cable),
            ("gateway", 1, lambda: self._mode(name, Mode.SERVER_ERROR)),
            ("gateway", 1, lambda: self._mode(name, Mode.HTTP1)),
            ("people", 2, lambda: self._drain(name)),
            ("people", 2, lambda: self._undrain(name)),
            ("own", 2, self._restart),
            ("own", 1, self._stall),
            ("own", 1, self._suspend),
            ("router", 2, self._router_away),
            ("router", 1, self._reboot),
            ("router", 2, self._cut_session),
            ("router", 1, self._refuse),
            ("people", 1, lambda: self._recheck(name)),
            ("own", 1, self._trouble),
            ("people", 1, self._pause),
            ("bgp", 2, lambda: self._agent(name)),
        ]
        if self.people:
            choices.append(("people", 3, lambda: self._edit(name)))
        weights = [weight * (8 if theme == self.theme else 1) for theme, weight, _ in choices]
        dice.choices(choices, weights)[0][2]()

    def _all_but_one(self) -> None:
        """Leave one, who has just come back, to serve alone."""
        last = self.dice.choice(self.names)
        mode = self.dice.choice(FAULTS)
        wait_ms = self.dice.choice((0, 300, 2_500))
        self._tell(f"all but {last} {mode.value}, it serves after {wait_ms} ms")
        for name in self.names:
            self.world.set_mode(name, mode)
        self._live(wait_ms)
        self.world.set_mode(last, Mode.SERVING)

    def _mode(self, name: str, mode: Mode) -> None:
        self._tell(f"{name} {mode.value}")
        self.world.set_mode(name, mode, goaway=self.dice.random() < 0.2)

    def _blink(self, name: str) -> None:
        length_ms = self.dice.randint(1, 600)
        mode = self.dice.choice(FAULTS)
        self._tell(f"{name} {mode.value} for {length_ms} ms")
        self.world.set_mode(name, mode)
        self.world.run_for(length_ms)
        self.world.set_mode(name, Mode.SERVING)

    def _all_at_once(self) -> None:
        mode = self.dice.choice((*FAULTS, Mode.SERVING))
        some = [name for name in self.names if self.dice.random() < 0.8]
        self._tell(f"{some} {mode.value}")
        for name in some:
            self.world.set_mode(name, mode)

    def _slow(self, name: str) -> None:
        slow_ms = self.dice.choice((0, 60, 160, 400))
        self._tell(f"{name} slow {slow_ms}")
        self.world.set_slow(name, slow_ms)

    def _cut(self, name: str) -> None:
        cut = self.dice.random() < 0.5
        self._tell(f"{name} path {'cut' if cut else 'whole'}")
        self.world.cut_path(name, cut=cut)

    def _cable(self) -> None:
        with_router = self.dice.random() < 0.5
        length_ms = self.dice.choice((80, 250, 600, 600, 2_000, 2_000, 7_000))
        link_error = self.dice.random() < 0.2
        # An outage that not all have felt cannot be told from one silent node when it comes back
        # in parts: a short one, or one that shows as errors of our own kernel.
        timing = self.world.config.checks[0].timing
        felt_ms = timing.heartbeat_interval_ms + timing.heartbeat_deadline_ms
        seen = not link_error and length_ms > (felt_ms if timing.heartbeat else 1_300)
        spread_ms = self.dice.choice((300, 1_000, 1_000)) if seen else 0
        self._tell(f"our cable out for {length_ms} ms, router too: {with_router}")
        self.world.pull_cable(with_router=with_router, link_error=link_error)
        self.world.run_for(length_ms)
        if self.dice.random() < 0.2:
            self._mode(self.dice.choice(self.names), self.dice.choice(FAULTS))
        self.world.plug_cable(arp_spread_ms=spread_ms)

    def _drain(self, name: str) -> None:
        force = self.dice.random() < 0.3
        source = self.dice.choice(("person", "person", "kubernetes"))
        self._tell(f"drain {name} by {source} force={force}")
        self.world.command(Drain(gateway=name, source=source, force=force))

    def _undrain(self, name: str) -> None:
        self._tell(f"undrain {name}")
        self.world.try_command(Undrain(gateway=name))
        self.world.try_command(Undrain(gateway=name, source="kubernetes"))

    def _restart(self) -> None:
        away_ms = self.dice.choice((0, 100, 2_000, 10_000))
        self._tell(f"edged restarts, away for {away_ms} ms")
        self.world.restart(away_ms=away_ms)

    def _stall(self) -> None:
        length_ms = self.dice.choice((15, 40, 120, 300, 900, 1_500))
        self._tell(f"we stall for {length_ms} ms")
        self.world.stall(length_ms)
        self.world.run_for(length_ms)

    def _suspend(self) -> None:
        self._tell("we sleep")
        self.world.suspend(60_000)

    def _router_away(self) -> None:
        router = self.dice.choice(list(self.world.routers.values()))
        router.reachable = not router.reachable
        router.latency_ms = self.dice.choice((0, 2, 10, 80, 300))
        self._tell(f"{router.name} reachable {router.reachable} latency {router.latency_ms}")

    def _reboot(self) -> None:
        name = self.dice.choice(list(self.world.routers))
        self._tell(f"{name} reboots")
        self.world.reboot(name, away_ms=self.dice.choice((3_000, 20_000)))

    def _cut_session(self) -> None:
        router = self.dice.choice(list(self.world.routers.values()))
        router.cut = self.dice.choice(list(Cut))
        self._tell(f"{router.name} breaks during the next write: {router.cut.value}")

    def _refuse(self) -> None:
        router = self.dice.choice(list(self.world.routers.values()))
        router.refuses = self.dice.choice((None, None, *Refusal))
        router.refuses_kind = self.dice.choice((object, object, SetDisabled, CreateRow))
        self._tell(f"{router.name} refuses: {router.refuses}")

    def _recheck(self, name: str) -> None:
        self._tell(f"recheck {name}")
        self.world.command(Recheck(gateway=name))

    def _trouble(self) -> None:
        self.world.local_errors = not self.world.local_errors
        self._tell(f"local errors: {self.world.local_errors}")

    def _agent(self, name: str) -> None:
        runs = self.dice.random() < 0.4
        self._tell(f"{name}'s BGP speaker {'runs' if runs else 'stops'}")
        self.world.set_agent(name, runs=runs)

    def _pause(self) -> None:
        until_ms = self.world.now_ms + self.dice.choice((500, 5_000))
        self._tell("paused for a while")
        self.world.command(Pause(until_ms=until_ms))

    def _edit(self, name: str) -> None:
        """Let a person take one gateway out, or put everybody in."""
        hop = next(g.next_hop for g in self.world.config.gateways if g.name == name)
        out = self.dice.random() < 0.5
        self._tell(f"a person takes {'out ' + name if out else 'everybody in'}")
        everybody = tuple(g.next_hop for g in self.world.config.gateways)

        def change(rows: list[RouteRow]) -> list[RouteRow]:
            changed = []
            for row in rows:
                if MARK not in row.comment:
                    changed.append(row)
                elif self.world.routers["hex"].shape is RouteShape.ROWS:
                    disabled = row.disabled or hop in row.next_hops if out else False
                    changed.append(replace(row, disabled=disabled))
                else:
                    rest = tuple(h for h in row.next_hops if h != hop) if out else everybody
                    changed.append(replace(row, next_hops=rest or row.next_hops))
            return changed

        self.world.edit("hex", change)

    # --- the end, and what must hold then

    def _end_of_rage(self) -> None:
        """End what is a fault of the surroundings; what the gateways do stays as it is."""
        self._tell("the rage ends")
        world = self.world
        world.local_errors = False
        for router in world.routers.values():
            router.reachable = True
            router.refuses = None
            router.cut = Cut.NONE
            router.latency_ms = min(router.latency_ms, 80)
            # What was refused for rights is tried again, and nobody waits for a long back-off.
            world.break_session(router.name)
        for name, gateway in world.gateways.items():
            gateway.loss = 0.0
            world.set_agent(name, runs=True)
        # No gateway sits on the edge of a deadline: it is well, or it is not.
        for name, gateway in world.gateways.items():
            if gateway.slow_ms in {60, 160}:
                world.set_slow(name, 0)
        world.command(Resume())

    def _check_still(self) -> None:
        """S4: constant conditions, so no change; S7: nothing is held back by a passing reason."""
        world = self.world
        world.command(Resume())
        world.run_for(5_000)
        writes = {name: world.writes(name) for name in world.routers}
        before = {name: world.members(name) for name in world.routers}
        turns = world.turns
        world.run_for(STILL_MS)
        if writes != {name: world.writes(name) for name in world.routers}:
            world.fail(f"S4: the set moves under constant conditions; it was {before}")
        bound = STILL_MS * len(self.names) // 1_000 * 250
        if world.turns - turns > bound:
            world.fail(f"S4: {world.turns - turns} turns while nothing happens, bound {bound}")

    def _check_dead_are_gone(self) -> None:
        world = self.world
        for name in world.routers:
            route = world.route(name)
            if route.frozen:
                world.fail(f"S7: {name} is frozen for no reason that is left")
            if route.plan or route.would:
                world.fail(f"S3: {name} has something to write and does not")
            members = world.members(name)
            serving = [n for n in members if self._serves(n)]
            if not serving:
                ready = [n for n in self.names if self._serves(n) and not self._drained(n)]
                if ready:
                    world.fail(f"S8: {ready} serve, and no member of {name} does")
                continue
            for member in members:
                if not self._serves(member):
                    self._check_kept(name, member, world.kept(name).get(member))
            for kept in world.kept(name):
                if self._serves(kept) and not self._may_be_kept(kept):
                    world.fail(f"S7: {kept} serves, and is called kept on {name}")
            for waiting, reason in world.waiting(name).items():
                if self._serves(waiting) and reason != "human_hold":
                    world.fail(f"S8: {waiting} serves, and waits outside {name}: {reason}")

    def _serves(self, name: str) -> bool:
        return self.world.gateways[name].serves

    def _drained(self, name: str) -> bool:
        return any(drain.gateway == name for drain in self.world.engine.drains)

    def _may_be_kept(self, name: str) -> bool:
        states = {s.name: s.state for s in self.world.engine.gateways(self.world.now_ms)}
        return self._drained(name) or states[name] is GatewayState.DEGRADED

    def _check_kept(self, router: str, name: str, reason: str | None) -> None:
        """S3: say whether a dead member may still be there, from what is true of the world."""
        world = self.world
        gateway = world.gateways[name]
        members = world.members(router)
        floor = world.route(router).min_healthy
        silent = gateway.cut or gateway.mode is Mode.SILENT
        policy = world.routers[router].opinion
        if not silent and gateway.mode is Mode.KILLED:
            world.fail(f"S3: {name} is killed and stays in {router}: {reason}")
        if reason == "floor":
            says_dead = policy is OpinionPolicy.DEAD or (
                policy in {OpinionPolicy.HONEST, OpinionPolicy.SLOW} and gateway.mode is Mode.SILENT
            )
            if len(members) - 1 >= floor:
                world.fail(f"S3: {name} is kept by a floor of {floor} in {members}")
            if silent and says_dead and policy is not OpinionPolicy.SLOW:
                world.fail(f"S3: {name} is dead for the router, too, and kept by the floor")
        elif reason == "second_opinion":
            alive = policy in {OpinionPolicy.ALIVE, OpinionPolicy.HONEST, OpinionPolicy.SLOW}
            if not silent or not alive:
                world.fail(f"S3: {name} is kept by an opinion nobody gave")
        elif reason == "overload":
            ill = [n for n in members if not self._serves(n)]
            if len(ill) < 2:
                world.fail(f"S3: {name} alone is called overloaded")
        else:
            world.fail(f"S3: {name} does not serve and stays in {router}: {reason}")

    def _check_restart(self) -> None:
        """S6: a restart at any instant ends at the same set."""
        world = self.world
        before = {name: world.members(name) for name in world.routers}
        self._tell("edged restarts, everything else stays")
        world.restart(away_ms=self.dice.choice((0, 700, 5_000)))
        world.run_for(15_000)
        after = {name: world.members(name) for name in world.routers}
        for name in world.routers:
            for lost in set(before[name]) - set(after[name]):
                if self._serves(lost):
                    world.fail(f"S6: {lost} served and was lost by a restart: {before} -> {after}")
        self._check_dead_are_gone()

    def _heal(self) -> None:
        self._tell("everything heals")
        world = self.world
        for router in world.routers.values():
            router.latency_ms = 2
        for name in self.names:
            world.set_slow(name, 0)
            world.cut_path(name, cut=False)
            world.set_mode(name, Mode.SERVING)
            self._undrain(name)
        world.command(Resume())

    def _check_all_back(self) -> None:
        """S7 and S8: everybody serves, so everybody is in, and nothing is left to do."""
        world = self.world
        for name in world.routers:
            if world.members(name) != tuple(self.names):
                world.fail(f"S8: everybody serves, but {name} shows {world.members(name)}")
            route = world.route(name)
            if route.kept or route.waiting or route.frozen or route.would:
                world.fail("S7: something is left over although everything is well")
        if not world.engine.settled:
            world.fail("S7: the engine is not settled")
        world.events.clear()
        world.run_for(11_000)  # one reconcile at least: the same facts once more
        loud = [event.name for event in world.events if event.severity is not Severity.DEBUG]
        if loud:
            world.fail(f"S7: a settled engine says {loud}")

    def _check_promised_time(self) -> None:
        """S3: in a quiet world the dead leave in the promised time, with another drained, too."""
        world, dice = self.world, self.dice
        if len(self.names) < 2:
            return
        victim, other = dice.sample(self.names, 2)
        timing = world.config.checks[0].timing
        floor = world.route("hex").min_healthy
        if len(self.names) > 2 and dice.random() < 0.5:
            self._tell(f"drain {other} by force")
            world.command(Drain(gateway=other, force=True))
            world.run_for(2_000)
        mode = dice.choice((Mode.KILLED, Mode.SILENT, Mode.HUNG))
        room = len(world.members()) - 1 >= floor
        policy = world.routers["hex"].opinion
        if mode is Mode.HUNG and not room:
            return
        if mode is Mode.SILENT and not room and policy not in SAYS_DEAD:
            return
        notice_ms = timing.heartbeat_interval_ms + timing.heartbeat_deadline_ms
        seen = {s.name: s for s in world.engine.gateways(world.now_ms)}[victim]
        beats, lossy = seen.heartbeat, seen.lossy
        if not beats:
            notice_ms = timing.interval_ms * 105 // 100 + timing.deadline_ms
        judge_ms = 5
        if mode is Mode.SILENT:
            judge_ms = timing.silent_after_ms
            judge_ms += timing.burst_ms[3] - timing.burst_ms[2] if lossy else 0
        elif mode is Mode.HUNG:
            judge_ms = timing.burst_length_ms * (2 if lossy else 1)
        if mode is Mode.KILLED and beats:
            notice_ms = 7
        bound_ms = notice_ms + judge_ms + SLACK_MS
        if mode is Mode.SILENT and not room:
            bound_ms += 1_500
        world.run_for(dice.randint(0, 2_000))
        self._tell(f"{victim} {mode.value}, to be out within {bound_ms} ms")
        world.set_mode(victim, mode)
        for name in world.routers:
            begin_ms = world.now_ms
            took_ms = world.run_until(lambda name=name: victim not in world.members(name), bound_ms)  # type: ignore[misc]
            assert took_ms <= bound_ms, begin_ms


def walk(seed: int) -> None:
    """Walk one schedule."""
    Walk(seed).run()


@pytest.mark.parametrize("part", range(SLICES))
def test_no_schedule_of_faults_breaks_a_promise(part: int) -> None:
    for seed in range(FIRST_SEED + part, FIRST_SEED + WALKS, SLICES):
        walk(seed)


def test_one_seed() -> None:
    """Repeat one schedule: EDGED_SEED=<seed>."""
    walk(int(os.environ.get("EDGED_SEED", "1")))
