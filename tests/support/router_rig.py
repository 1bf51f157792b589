"""A router client against the simulator, with a sink that plans by the core's own functions."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from edged.core.plan import diff, sort_rows
from edged.core.types import (
    GatewayConfig,
    OpinionResult,
    PlannedStep,
    RouteRead,
    RouterFacts,
    StepResult,
    VipConfig,
)
from edged.router.bgp import BgpRead
from edged.router.link import RouterTiming
from edged.router.reconcile import RouterClient
from edged.router.session import RouterTarget
from edged.simulator import ApiServer, Network, SimulatedRouter, User, WriteRecord
from tests.support.sessions import PASSWORD, now_us, target

NODES = {"node1": "172.30.1.20", "node2": "172.30.1.70", "node3": "172.30.1.82"}
NODES_V6 = {"node1": "2001:db8::20", "node2": "2001:db8::70", "node3": "2001:db8::82"}
ALL = tuple(NODES)
COMMENT = "게이트웨이 VIP edged:web"
WEB = VipConfig(name="web", destination="172.30.1.7/32", routers=("hex",), checks=())
QUICK = RouterTiming(
    retry_ms=5,
    retry_ms_max=20,
    retry_ms_while_wanted=10,
    login_retry_ms=5,
    login_retry_ms_max=20,
    open_deadline_ms=2_000,
)
HASTY = replace(QUICK, command_deadline_ms=40)
"""For routers that hang; on a busy machine also a healthy one may be given up, once."""

Said = RouterFacts | RouteRead | StepResult | BgpRead | OpinionResult | tuple[str, ...]


@dataclass
class PlanningSink:
    """Wants sets of gateways in VIPs, plans from the last read, and remembers all it was told."""

    vips: Mapping[str, VipConfig] = field(default_factory=lambda: {"web": WEB})
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    wanted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    reads: dict[str, RouteRead] = field(default_factory=dict)
    override: Callable[[frozenset[str]], PlannedStep | None] | None = None
    asked: int = 0

    def router_up(self, facts: RouterFacts, _now_ms: int, /) -> None:
        self.said.append(facts)
        self.said.append(("up", facts.router))

    def router_facts(self, facts: RouterFacts, _now_ms: int, /) -> None:
        self.said.append(facts)

    def router_lost(
        self, router: str, detail: str, _now_ms: int, /, *, login_refused: bool
    ) -> None:
        self.said.append(("login refused" if login_refused else "lost", router, detail))

    def route_read(self, read: RouteRead, _now_ms: int, /) -> None:
        self.reads[read.vip] = read
        self.said.append(read)

    def read_refused(self, router: str, vip: str, detail: str, _now_ms: int, /) -> None:
        self.said.append(("read refused", router, vip, detail))

    def step_finished(self, result: StepResult, _now_ms: int, /) -> None:
        self.said.append(result)

    def bgp_read(self, read: BgpRead, _now_ms: int, /) -> None:
        self.said.append(read)

    def opinion_given(self, result: OpinionResult, _now_ms: int, /) -> None:
        self.said.append(result)

    def write_wanted(self, _router: str, /) -> bool:
        return any(self._step(vip, self.wanted[vip]) for vip in self.wanted if vip in self.reads)

    def next_step(self, router: str, ready: frozenset[str], _now_ms: int, /) -> PlannedStep | None:
        self.asked += 1
        if self.override is not None:
            return self.override(ready)
        for vip, desired in self.wanted.items():
            if vip in ready and (step := self._step(vip, desired)):
                return replace(step, router=router)
        return None

    def _step(self, vip: str, desired: tuple[str, ...]) -> PlannedStep | None:
        config, read = self.vips[vip], self.reads[vip]
        nodes = self.nodes.get(vip, NODES)
        gateways = {
            address: GatewayConfig(name=name, address=address, next_hop=address)
            for name, address in nodes.items()
        }
        own = sort_rows(read.rows, read.shape, config, gateways)
        steps = diff(own, desired, config, gateways)
        return PlannedStep(router=read.router, vip=vip, step=steps[0]) if steps else None

    def shown(self, vip: str = "web") -> list[str]:
        """Return the enabled static next hops of the last read."""
        rows = self.reads[vip].rows if vip in self.reads else ()
        return [hop for row in rows if row.static and not row.disabled for hop in row.next_hops]

    def of(self, kind: type) -> list[object]:
        """Return what was said of one kind."""
        return [one for one in self.said if isinstance(one, kind)]

    @property
    def results(self) -> list[StepResult]:
        """Return all finished steps."""
        return [one for one in self.said if isinstance(one, StepResult)]

    def words(self, first: str) -> list[tuple[str, ...]]:
        """Return the notes that begin with a word: up, lost, login refused, read refused."""
        return [one for one in self.said if isinstance(one, tuple) and one[0] == first]


@dataclass
class Rig:
    """Everything a test may want to touch."""

    router: SimulatedRouter
    server: ApiServer
    client: RouterClient
    sink: PlanningSink
    task: asyncio.Task[None] | None = None

    async def want(self, *nodes: str, vip: str = "web") -> None:
        """Change what is wanted and wait until the router has it."""
        self.sink.wanted[vip] = nodes
        self.client.wake()
        await until(lambda: members(self.router) == list(nodes))
        await self.settled()

    async def settled(self) -> None:
        """Wait until the client has read what the router holds, and nothing is on its way."""
        await until(
            lambda: (
                not isinstance(self.sink.said[-1], StepResult)
                and self.sink.shown() == self.router.vip_next_hops()
            )
        )

    @property
    def written(self) -> list[WriteRecord]:
        """Return what was written to the router, but not by people."""
        return [record for record in self.router.write_log if record.user == "edged"]


def members(router: SimulatedRouter) -> list[str]:
    """Return the names of the VIP's enabled next hops."""
    names = {address: name for nodes in (NODES, NODES_V6) for name, address in nodes.items()}
    return sorted(names[hop] for hop in router.vip_next_hops())


async def until(condition: Callable[[], object], *, within_s: float = 2.0) -> None:
    """Wait for a condition, looking every millisecond."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is a look at a simulated world
            await asyncio.sleep(0.001)


@asynccontextmanager
async def rig(
    version: str = "6.49.10",
    *,
    network: Network | None = None,
    sink: PlanningSink | None = None,
    user: User | None = None,
    timing: RouterTiming = QUICK,
    password: Callable[[], str] = lambda: PASSWORD,
    connect_to: Callable[[int], RouterTarget] = target,
    companion: bool = False,
    poll_bgp: bool = True,
    connected: bool = True,
) -> AsyncIterator[Rig]:
    """Run a client against a fresh simulated router, and stop both at the end."""
    router = SimulatedRouter(version=version, network=network or Network(comment=COMMENT))
    server = ApiServer(router, users=[user or User(name="edged", password=PASSWORD)])
    async with (
        server,
        client_of(
            server,
            sink=sink,
            timing=timing,
            password=password,
            connect_to=connect_to,
            companion=companion,
            poll_bgp=poll_bgp,
        ) as running,
    ):
        if connected:
            await until(lambda: set(running.sink.vips) <= set(running.sink.reads))
        yield running


@asynccontextmanager
async def client_of(
    server: ApiServer,
    *,
    sink: PlanningSink | None = None,
    timing: RouterTiming = QUICK,
    password: Callable[[], str] = lambda: PASSWORD,
    connect_to: Callable[[int], RouterTarget] = target,
    companion: bool = False,
    poll_bgp: bool = True,
    vips: Iterable[VipConfig] | None = None,
) -> AsyncIterator[Rig]:
    """Run a client against a server that runs already."""
    sink = sink or PlanningSink()
    client = RouterClient(
        connect_to(server.port),
        sink.vips.values() if vips is None else vips,
        sink,
        password=password,
        now_us=now_us,
        rng=random.Random(7),
        timing=timing,
        poll_bgp=poll_bgp,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.run())
        if companion:
            group.create_task(client.companion.run())
        try:
            yield Rig(server.router, server, client, sink, task)
        finally:
            client.stop()
