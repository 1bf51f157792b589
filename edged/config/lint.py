"""What keys mean together, checked over whatever parsed.

Owns every rule that needs more than one value. It runs beside the models, not after them, so that
a file with a typo and a contradiction shows both in one round; a value that was refused already is
left out of it. Each sentence names what was found, why it cannot be, and what to write.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from itertools import pairwise

from edged.config.checks import closest, is_loopback, normal_fingerprint, parse_listen, show
from edged.config.durations import format_duration, parse_duration
from edged.config.findings import Findings, View
from edged.config.profiles import PROFILES, ProfileNumbers
from edged.config.types import Profile

BURST_PROBES = 4
SILENT_PROBE = 2
"""Index of the probe whose SYN is the third one lost, when a gateway counts as silent."""


def lint(root: View, findings: Findings) -> None:
    """Run every rule."""
    _parts(root, findings)
    _names(root, findings)
    for router in root.tables("router"):
        _router(router, findings)
    _gateways(root, findings)
    for vip in root.tables("vip"):
        _vip(vip, root, findings)
    _same_route(root, findings)
    _hold_down(root, findings)
    _kubernetes(root, findings)
    _web(root, findings)
    _channels(root, findings)


def _discovers(root: View) -> bool:
    kubernetes = root.table("kubernetes")
    return (
        kubernetes is not None
        and kubernetes.flag("enabled") is True
        and kubernetes.has("node_selector")
    )


def _parts(root: View, findings: Findings) -> None:
    """A router, a gateway and a VIP are the least that makes sense."""
    needed = {
        "router": 'a router, such as [[router]] with name = "hex"',
        "gateway": 'the nodes, such as [[gateway]] with name = "node1"',
        "vip": 'the address they serve, such as [[vip]] with name = "web"',
    }
    for key, words in needed.items():
        if not root.has(key) and not (key == "gateway" and _discovers(root)):
            findings.error((key,), "no_table", f"there is no [[{key}]]: add {words}")


# --- names and addresses ------------------------------------------------------------------------


def _names(root: View, findings: Findings) -> None:
    for key in ("router", "gateway", "vip", "channel"):
        _unique(
            root.tables(key),
            findings,
            key="name",
            fold=str.casefold,
            text="is the name of another [[{table}]], too: give each its own",
        )


def _unique(
    tables: Iterable[View],
    findings: Findings,
    *,
    key: str,
    fold: Callable[[str], str],
    text: str,
) -> None:
    seen: set[str] = set()
    for table in tables:
        value = table.text(key)
        if value is None:
            continue
        if fold(value) in seen:
            sentence = f"{show(value)} {text.format(table=table.path[0])}"
            findings.error((*table.path, key), "duplicate", sentence)
        seen.add(fold(value))


def _gateways(root: View, findings: Findings) -> None:
    gateways = root.tables("gateway")
    _unique(
        gateways,
        findings,
        key="address",
        fold=_folded_address,
        text="is the address of another gateway, too: each node stands here once",
    )
    hops: dict[str, str] = {}
    for gateway in gateways:
        hop = gateway.text("next_hop", gateway.text("address"))
        label = gateway.text("name") or "another gateway"
        if hop is None:
            continue
        other = hops.setdefault(_folded_address(hop), label)
        if other != label and gateway.has("next_hop"):
            findings.error(
                gateway.at("next_hop"),
                "duplicate",
                f"{show(hop)} is the next hop of {other}, too: one row cannot tell them apart",
            )
    used = [vip.texts("gateways") for vip in root.tables("vip")]
    if not used or any(names is None for names in used):
        return  # at least one VIP uses all of them, or its list is not known
    wanted = {name.casefold() for names in used if names is not None for name in names}
    for gateway in gateways:
        name = gateway.text("name")
        if name is not None and name.casefold() not in wanted:
            findings.warn(
                gateway.at("name"),
                "unused",
                f"{show(name)} is in no [[vip]]'s gateways, so nobody probes it",
            )


def _folded_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _known_names(
    table: View, key: str, kind: str, root: View, findings: Findings
) -> list[str] | None:
    """Check a list of names; return it if it is one."""
    names = table.texts(key)
    if names is None:
        return None
    path = (*table.path, key)
    if not names:
        findings.error(path, "empty", "is empty: name at least one, or leave the key out for all")
    given = [text for one in root.tables(kind) if (text := one.text("name")) is not None]
    known = list(dict.fromkeys(given))
    for index, name in enumerate(names):
        if name in names[:index]:
            findings.error((*path, index), "duplicate", f"{show(name)} stands here twice")
        elif name not in known and not (kind == "gateway" and _discovers(root)):
            findings.error(
                (*path, index),
                "unknown_name",
                f"there is no {kind} named {show(name)}: "
                + (f"known are {', '.join(known)}" if known else f"add a [[{kind}]] of that name"),
                hint=closest(name, known),
            )
    return names


# --- routers ------------------------------------------------------------------------------------


def _router(router: View, findings: Findings) -> None:
    tls = router.text("tls")
    insecure = router.flag("insecure")
    if tls in {"anonymous", "off"} and insecure is False:
        risk = (
            "sends the password as it is"
            if tls == "off"
            else "cannot tell the router from an impostor"
        )
        findings.error(
            router.at("tls"),
            "insecure",
            f'"{tls}" {risk}: use "pin" or "verify", or accept it with insecure = true beside it',
        )
    if tls in {"verify", "pin"} and insecure is True:
        findings.warn(router.at("insecure"), "no_effect", f'has no effect with tls = "{tls}"')
    if tls == "pin" and not router.has("fingerprint"):
        findings.error(
            router.at("tls"),
            "no_fingerprint",
            '"pin" needs to know the certificate: add fingerprint = "sha256:…", '
            "as `edged init` prints it",
        )
    for key, needed in (("fingerprint", "pin"), ("ca_file", "verify")):
        if router.has(key) and tls is not None and tls != needed:
            findings.error(
                router.at(key),
                "no_effect",
                f'is looked at with tls = "{needed}" only, and tls is "{tls}": remove one of them',
            )
    fingerprint = router.text("fingerprint")
    if fingerprint is not None and tls == "pin":
        digits = (normal_fingerprint(fingerprint) or "").removeprefix("sha256:")
        if digits and len(set(digits)) == 1:
            findings.warn(
                router.at("fingerprint"),
                "placeholder",
                "looks like a placeholder: `edged init` prints the router's own",
            )


# --- VIPs ---------------------------------------------------------------------------------------


def _vip(vip: View, root: View, findings: Findings) -> None:
    _known_names(vip, "routers", "router", root, findings)
    names = _known_names(vip, "gateways", "gateway", root, findings)
    _floor(vip, names, root, findings)
    _families(vip, names, root, findings)
    if vip.flag("adopt") and root.text("mode", "observe") == "observe":
        findings.warn(
            vip.at("adopt"),
            "no_effect",
            'marks rows in enforce mode only, and mode is "observe": `edged adopt` does it by hand',
        )
    if vip.text("from") == "kubernetes":
        _from_kubernetes(vip, root, findings)
    probe = vip.table("probe")
    if probe is not None:
        _probe(probe, findings)


def _floor(vip: View, names: list[str] | None, root: View, findings: Findings) -> None:
    if vip.has("gateways") and names is None:
        return
    count = len(root.tables("gateway")) if names is None else len(names)
    grows = names is None and _discovers(root)
    floor = vip.number("min_healthy")
    if not count or grows:
        return
    if floor is not None and floor > count:
        gateways = "1 gateway" if count == 1 else f"{count} gateways"
        allowed = "1" if count == 1 else f"1 to {count}"
        findings.error(
            vip.at("min_healthy"),
            "impossible",
            f"{floor} is more than the {gateways} this VIP has: write {allowed}, "
            "or leave it out for half of them",
        )
    elif count == 1:
        findings.warn(
            vip.at("gateways", "name"),
            "one_gateway",
            "has a single gateway, and the last one is never taken out: edged can only report",
        )
    elif floor == count:
        findings.warn(
            vip.at("min_healthy"),
            "floor_of_all",
            f"{floor} is the number of gateways, so a silent one leaves only when the router "
            "confirms it, and a hung one never",
        )


def _families(vip: View, names: list[str] | None, root: View, findings: Findings) -> None:
    address = _folded_address((vip.text("address") or "").partition("/")[0])
    if not address:
        return
    for gateway in root.tables("gateway"):
        name = gateway.text("name")
        hop = gateway.text("next_hop", gateway.text("address"))
        if hop is None or (names is not None and name not in names):
            continue
        if _folded_address(hop) == address:
            findings.error(
                vip.at("address"),
                "loop",
                f"{show(address)} is the next hop {name}, too: a route cannot lead to itself",
            )
        elif (":" in hop) != (":" in address):
            versions = ("IPv6", "IPv4") if ":" in address else ("IPv4", "IPv6")
            findings.error(
                gateway.at("next_hop", "address"),
                "family",
                f"{show(hop)} is {versions[1]}, and the VIP {vip.text('name')} is {versions[0]}: "
                f"set next_hop to the node's {versions[0]} address",
            )


def _same_route(root: View, findings: Findings) -> None:
    """One route has one keeper: the same address twice on one router is a fight with oneself."""
    routers = [text for one in root.tables("router") if (text := one.text("name")) is not None]
    seen: dict[tuple[str, str, str], str] = {}
    for vip in root.tables("vip"):
        address, table = vip.text("address"), vip.text("routing_table", "main")
        if address is None or table is None:
            continue
        for router in vip.texts("routers") or ([] if vip.has("routers") else routers):
            route = (router, _folded_address(address.partition("/")[0]), table)
            name = vip.text("name") or "another VIP"
            if seen.setdefault(route, name) != name:
                findings.error(
                    vip.at("address"),
                    "duplicate",
                    f"{show(address)} on {router} is kept by the VIP {seen[route]} already: "
                    "one route has one keeper",
                )
                break


def _from_kubernetes(vip: View, root: View, findings: Findings) -> None:
    kubernetes = root.table("kubernetes")
    if kubernetes is None or kubernetes.flag("enabled") is False:
        findings.error(
            vip.at("from"),
            "no_kubernetes",
            '"kubernetes" needs the API: add [kubernetes] with enabled = true',
        )
    if not vip.has("kube_service"):
        findings.error(
            vip.at("from"),
            "no_service",
            '"kubernetes" needs to know the Service: '
            'add kube_service = "kube-system/gateway-lb", with your names',
        )


# --- the numbers of a check ---------------------------------------------------------------------


def _probe(probe: View, findings: Findings) -> None:
    """Refuse numbers that cannot do together what they are for."""
    profile = probe.text("profile", Profile.DEFAULT)
    if profile not in set(Profile):
        return
    numbers = PROFILES[Profile(profile)]
    burst = _burst(probe, numbers, findings)
    interval_ms = probe.duration("interval", 1_000)
    timeout_ms = probe.duration("timeout", numbers.timeout_ms)
    silent_ms = probe.duration("silent_after", numbers.silent_after_ms)
    _silence(probe, burst, timeout_ms, silent_ms, findings)
    if interval_ms is None:
        return
    if timeout_ms is not None and timeout_ms > interval_ms:
        findings.error(
            probe.at("timeout", "interval"),
            "impossible",
            f"timeout is {format_duration(timeout_ms)} and interval "
            f"{format_duration(interval_ms)}: a probe has to end before the next begins, "
            "so make timeout the shorter",
        )
    request_ms = probe.duration("request_interval", 10_000)
    if request_ms is not None and request_ms < interval_ms:
        findings.error(
            probe.at("request_interval", "interval"),
            "impossible",
            f"request_interval is {format_duration(request_ms)} and interval "
            f"{format_duration(interval_ms)}: full requests are some of the routine probes, "
            "so make request_interval at least as long as interval",
        )
    _down(probe, findings)
    _heartbeat(probe, interval_ms, numbers, findings)


def _burst(probe: View, numbers: ProfileNumbers, findings: Findings) -> tuple[int, ...] | None:
    if not probe.has("burst"):
        return numbers.burst_ms
    texts = probe.texts("burst")
    offsets = [parse_duration(text) for text in texts or ()]
    burst = tuple(offset for offset in offsets if offset is not None)
    if texts is None or len(burst) != len(texts):
        return None
    if len(burst) != BURST_PROBES:
        return None  # the model has said so
    if burst[0] != 0:
        findings.error(
            probe.at("burst"),
            "impossible",
            f"begins at {format_duration(burst[0])}: the first probe of a burst starts at once, "
            'so write "0ms" first',
        )
        return None
    for before, after in pairwise(burst):
        if after <= before:
            findings.error(
                probe.at("burst"),
                "impossible",
                f"goes from {format_duration(before)} to {format_duration(after)}: each probe "
                "starts later than the one before, so write the times in rising order",
            )
            return None
    return burst


def _silence(
    probe: View,
    burst: tuple[int, ...] | None,
    timeout_ms: int | None,
    silent_ms: int | None,
    findings: Findings,
) -> None:
    if silent_ms is None:
        return
    silent = format_duration(silent_ms)
    if burst is not None and silent_ms <= burst[SILENT_PROBE]:
        third = format_duration(burst[SILENT_PROBE])
        findings.error(
            probe.at("silent_after", "burst"),
            "impossible",
            f"silent_after is {silent} and the burst's third probe starts at {third}: three "
            "unanswered SYNs make a gateway silent, so make silent_after later than that probe",
        )
    if timeout_ms is not None and timeout_ms < silent_ms:
        findings.error(
            probe.at("timeout", "silent_after"),
            "impossible",
            f"timeout is {format_duration(timeout_ms)} and silent_after {silent}: the first probe "
            "would give up before its answer stops counting, so make timeout at least as long",
        )


def _down(probe: View, findings: Findings) -> None:
    down_ms = probe.duration("down_interval", 1_000)
    floor_ms = probe.duration("below_floor_interval", 250)
    if down_ms is not None and floor_ms is not None and floor_ms > down_ms:
        findings.error(
            probe.at("below_floor_interval", "down_interval"),
            "impossible",
            f"below_floor_interval is {format_duration(floor_ms)} and down_interval "
            f"{format_duration(down_ms)}: below the floor edged looks more often, not less, "
            "so make below_floor_interval the shorter",
        )


def _heartbeat(probe: View, interval_ms: int, numbers: ProfileNumbers, findings: Findings) -> None:
    if probe.text("heartbeat") == "off":
        for key in ("heartbeat_interval", "heartbeat_deadline"):
            if probe.has(key):
                findings.warn(probe.at(key), "no_effect", 'has no effect with heartbeat = "off"')
        return
    beat_ms = probe.duration("heartbeat_interval", numbers.heartbeat_interval_ms)
    late_ms = probe.duration("heartbeat_deadline", numbers.heartbeat_deadline_ms)
    interval = format_duration(interval_ms)
    if beat_ms is not None and beat_ms > interval_ms:
        findings.error(
            probe.at("heartbeat_interval", "interval"),
            "impossible",
            f"heartbeat_interval is {format_duration(beat_ms)} and interval {interval}: heartbeats "
            'fill the time between probes, so make it the shorter, or write heartbeat = "off"',
        )
    if late_ms is not None and late_ms > interval_ms:
        findings.error(
            probe.at("heartbeat_deadline", "interval"),
            "impossible",
            f"heartbeat_deadline is {format_duration(late_ms)} and interval {interval}: the next "
            "probe replaces the held connection before a beat could be missed, so make it shorter",
        )


# --- the rest -----------------------------------------------------------------------------------


def _hold_down(root: View, findings: Findings) -> None:
    table = root.table("hold_down")
    if table is None:
        return
    base_ms, max_ms = table.duration("base", 30_000), table.duration("max", 300_000)
    if base_ms is not None and max_ms is not None and max_ms < base_ms:
        findings.error(
            table.at("max", "base"),
            "impossible",
            f"max is {format_duration(max_ms)} and base {format_duration(base_ms)}: "
            "the longest wait cannot be shorter than the first, so make max at least base",
        )


def _kubernetes(root: View, findings: Findings) -> None:
    table = root.table("kubernetes")
    if table is None or table.flag("enabled") is not False:
        return
    idle = [key for key in table.raw if key != "enabled"]
    if idle:
        findings.warn(
            table.at(*idle),
            "no_effect",
            "has no effect until [kubernetes] has enabled = true",
        )


def _web(root: View, findings: Findings) -> None:
    table = root.table("web")
    if table is None:
        return
    listen = parse_listen(table.text("listen") or "")
    if listen is not None and not is_loopback(listen[0]) and table.flag("allow_remote") is False:
        findings.error(
            table.at("listen"),
            "remote",
            f"{listen[0]} can be reached from other machines, and the page has no password: "
            'write "127.0.0.1:9780", or accept it with allow_remote = true beside it',
        )


def _channels(root: View, findings: Findings) -> None:
    for channel in root.tables("channel"):
        _known_names(channel, "vips", "vip", root, findings)
        events = channel.texts("events")
        if events == []:
            findings.error(
                channel.at("events"), "empty", 'is empty: name events, or write ["*"] for all'
            )
