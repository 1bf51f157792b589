"""A RouterOS router and its gateways, simulated: for `edged demo`, `edged simulator` and the tests.

The simulator speaks the RouterOS API on a real socket, answers in recorded shapes and is strict:
what a real router would trap, it traps. It shares no code with `edged.router`.

Quick start::

    router = SimulatedRouter(version="6.49.10")     # the default network of three gateways
    server = ApiServer(router, users=[User(name="edged", password="secret")])
    await server.start()                            # 127.0.0.1, a free port
    ...                                             # connect to server.host, server.port
    await server.stop()                             # or: async with server: ...

**Network.** `Network(vip="172.30.1.7/32", gateways={"node1": "172.30.1.20", ...}, distance=10,
comment="ECMP to Gateway VIP", ...)` says what the router starts with;
`SimulatedRouter(network=Network(with_route=False))` starts without the static route.

**Looking** (no side effects)::

    router.vip_next_hops()       # enabled next hops of the VIP's static rows, in order
    router.forwarding_next_hops()  # what the router forwards to now: reachable ones, BGP if it wins
    router.rows("/ip/route")     # the rows as `print` would send them, as dicts of words
    router.vip_rows()            # the static rows of the VIP
    router.write_log             # deque[WriteRecord]: at_s, uptime_s, user, sentence, before, after
    router.counters              # sentences, logins, logins_refused, traps, writes
    router.subscribe(callback)   # called as callback(menu, row, dead) on each change; returns undo

**The world around it**::

    router.edit("/ip/route/set", {".id": "*1", "gateway": "..."}, user="admin")   # a person
    router.add_route({"dst-address": ..., "gateway": ..., "distance": "1"})       # a foreign row
    router.set_bgp("node1", BgpState.ESTABLISHED)   # or IDLE, CONNECT, ACTIVE, OPENSENT,
                                                    # OPENCONFIRM, ABSENT, CACHED, STOPPED,
                                                    # LIMIT_EXCEEDED
    router.drop_bgp()                               # every session at once
    router.set_reachable("172.30.1.20", reachable=False)  # v6 gateway-status, v7 inactive
    router.set_ping("172.30.1.20", answers=False)   # or router.ping_answer = callback(address)
    router.set_uptime(5.0)                          # seconds; a smaller one looks like a reboot
    router.reboot(version="7.20.8")                 # without cutting connections: see the server
    router.cpu_load = 95

**Faults** apply to commands whose path starts with `command` ("" = any, "/login" = logins), the
next `times` times (None = until `server.faults.clear()` or `.remove(fault)`)::

    server.faults.delay(0.03, command="/ip/route", times=None)
    server.faults.hang(command="/ip/route/set")      # takes the sentence, never answers
    server.faults.hang(command="...", applied=True)  # the same, but the change was made
    server.faults.cut_before(...)                    # connection gone, nothing was applied
    server.faults.cut_after(...)                     # applied, connection gone before the reply
    server.faults.cut_mid_reply(...)                 # in the middle of the first reply's bytes
    server.faults.refuse("failure: no", ...)         # trap with this text
    server.faults.refuse_logins()                    # as with a wrong password
    server.faults.garbage(b"...", ...)               # these bytes instead of an answer
    server.faults.flood(...)                         # rows without end
    await server.reboot(down_s=0.02, version=None)   # cut all, stay away, come back
    server.drop_connections()                        # abort every open connection now
    server.accept_silently = True                    # new connections are taken and never read
    await server.no_sessions()                       # wait until every connection has ended

Errors of Python calls are `Trap` (what the router would have said) or ValueError.

Stand-in gateways live in `edged.simulator.gateways`, the command line in `edged.simulator.main`,
the JSON-lines control in `edged.simulator.control`.
"""

from edged.simulator.bgp import BgpState
from edged.simulator.faults import Fault, FaultKind, Faults
from edged.simulator.network import Network
from edged.simulator.replies import Trap
from edged.simulator.router import SimulatedRouter, WriteRecord
from edged.simulator.server import ApiServer
from edged.simulator.tls import TlsMode
from edged.simulator.users import User

__all__ = [
    "ApiServer",
    "BgpState",
    "Fault",
    "FaultKind",
    "Faults",
    "Network",
    "SimulatedRouter",
    "TlsMode",
    "Trap",
    "User",
    "WriteRecord",
]
