"""The first thing on the page: for each VIP what is wrong, what edged did, and what is to do.

Pure: from a picture to words. Order and wording follow the alerts, so that whoever was called by
one recognises the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edged.core.types import DeathClass, FrozenReason, GatewayState, KeptReason, WaitReason
from edged.web.html import Child, h
from edged.web.page_words import Say
from edged.web.watch import Picture, wall_ms_of
from edged.web.words import KEPT_LAST_DOWN, brief, sentence

Doc = Mapping[str, object]

QUIET: Final = frozenset({FrozenReason.OBSERVING.value, FrozenReason.UNKNOWN_NEXT_HOP.value})
"""Freezes that are said elsewhere, or hold nothing back."""

WHY_MAX: Final = 3
"""Nodes of which a reason is given at the top; the table has them all."""


@dataclass(frozen=True, slots=True)
class Story:
    """One VIP in a few lines."""

    vip: str
    level: str
    title: str
    lines: tuple[tuple[str, Child], ...]
    """Label and content."""


def stories(picture: Picture, say: Say) -> Iterator[Story]:
    """Yield one story for each VIP, in configured order."""
    for vip in docs(picture.document["vips"]):
        yield _Teller(vip, picture, say).story()


def docs(value: object) -> list[Doc]:
    """Return a list of JSON objects as such."""
    assert isinstance(value, list)
    return value


def text(value: object) -> str:
    """Return a JSON text; nothing for null."""
    return value if isinstance(value, str) else ""


def names(value: object) -> list[str]:
    """Return a list of texts as such."""
    assert isinstance(value, list)
    return value


def code(words: str) -> Child:
    """Return something that a person can type."""
    return h("code", words)


class _Teller:
    """Tells one VIP's story."""

    def __init__(self, vip: Doc, picture: Picture, say: Say) -> None:
        self.vip, self.picture, self.say = vip, picture, say
        self.name = text(vip["name"])
        self.gateways = docs(vip["gateways"])
        self.routes = docs(vip["routes"])
        self.frozen = [f for f in docs(vip["frozen"]) if f["reason"] not in QUIET]
        self.observing = any(f["reason"] == "observing" for f in docs(vip["frozen"]))
        self.inside = [g for g in self.gateways if g["in_route"]]
        self.dead = [g for g in self.gateways if g["state"] == GatewayState.DOWN]
        routers = {text(route["router"]) for route in self.routes}
        self.lost = [
            r
            for r in docs(picture.document["routers"])
            if r["name"] in routers and not r["connected"]
        ]

    def story(self) -> Story:
        say = self.say
        level = text(self.vip["level"])
        if self.lost:
            level = "critical"
        key, about = self._title()
        title = say(key, vip=self.name, inside=len(self.inside), all=len(self.gateways), **about)
        if self.observing:
            title = say("observing") + title
        lines = [] if key == "all_fine" else list(self._lines(key))
        return Story(self.name, level, title, tuple(lines))

    def _title(self) -> tuple[str, dict[str, object]]:
        say = self.say
        reasons = {text(f["reason"]) for f in self.frozen}
        if self.lost:
            return "router_lost", {"router": say.names([text(r["name"]) for r in self.lost])}
        unread = [text(r["router"]) for r in self.routes if r["adopted"] is None]
        if unread:
            return "not_read", {"router": say.names(unread)}
        if FrozenReason.WARM_UP in reasons:
            return "warming_up", {}
        if self.gateways and len(self.dead) == len(self.gateways):
            return "none_answers", {}
        if FrozenReason.NOT_ADOPTED in reasons:
            return "not_adopted", {}
        if self.frozen:
            why = self._frozen(self.frozen[0])
            dead_in = [text(g["name"]) for g in self.dead if g["in_route_on"]]
            if dead_in:
                return "held_dead", {"names": say.names(dead_in), "why": why}
            return "held", {"why": why}
        for key, chosen in (
            ("should_leave", [g for g in self.dead if g["in_route_on"]]),
            ("out", [g for g in self.dead if not g["in_route_on"]]),
            ("draining", self._in_state(GatewayState.DRAIN, inside=True)),
            ("drained", self._in_state(GatewayState.DRAIN, inside=False)),
            ("waits", self._in_state(GatewayState.WAIT, inside=False)),
            ("degraded", self._in_state(GatewayState.DEGRADED)),
            ("waits", [g for g in self.gateways if not g["in_route"]]),
        ):
            if chosen:
                return key, {"names": say.names([text(g["name"]) for g in chosen])}
        return ("all_fine" if self.vip["in_sync"] else "out_of_step"), {}

    def _in_state(self, state: GatewayState, *, inside: bool | None = None) -> list[Doc]:
        return [
            g
            for g in self.gateways
            if g["state"] == state and inside in {None, bool(g["in_route_on"])}
        ]

    def _lines(self, key: str) -> Iterator[tuple[str, Child]]:
        for label, parts in (
            ("why", list(self._why(key))),
            ("did", list(self._did())),
            ("impact", list(self._impact())),
            ("you", list(self._you(key))),
        ):
            if parts:
                yield self.say(label), [h("p", part) for part in parts]

    # --- why

    def _why(self, key: str) -> Iterator[Child]:
        for router in self.lost:
            yield f"{router['name']}: {text(router['detail']) or self.say('disconnected')}"
        if not key.startswith("held"):
            for frozen in self.frozen:
                if frozen["reason"] not in {FrozenReason.WARM_UP, FrozenReason.ROUTER_LOST}:
                    yield self._frozen(frozen)
        unwell = [
            g for g in self.gateways if g["state"] not in {GatewayState.UP, GatewayState.UNKNOWN}
        ]
        grouped: dict[str, list[Doc]] = {}
        for gateway in unwell:
            grouped.setdefault(reason_of(gateway, self.picture, self.say), []).append(gateway)
        for reason, alike in list(grouped.items())[:WHY_MAX]:
            who = [
                f"{g['name']} ({g['address']})" if g["address"] else text(g["name"]) for g in alike
            ]
            yield [h("strong", self.say.names(who)), ": ", reason]

    def _frozen(self, frozen: Doc) -> str:
        return frozen_words(frozen, self.name, self.picture, self.say)

    # --- what edged did

    def _did(self) -> Iterator[Child]:
        say = self.say
        out_of_step = [r for r in self.routes if not r["in_sync"]]
        for router in self.lost:
            seen = next(r for r in self.routes if r["router"] == router["name"])
            yield say("did_lost", names=say.names(names(seen["observed"])))
        kept: dict[str, list[str]] = {}
        for gateway in self.gateways:
            found = gateway["kept"]
            if isinstance(found, Mapping):
                why = kept_words(found, gateway, say)
                kept.setdefault(why, []).append(text(gateway["name"]))
        for why, alike in kept.items():
            yield say("did_kept", name=say.names(alike), why=why)
        if out_of_step and self.observing:
            wanted = say.names(names(out_of_step[0]["desired"]))
            yield say("did_would", wanted=wanted)
        elif out_of_step and any(r["held_back"] for r in out_of_step):
            if self.frozen:
                yield say("did_nothing", why=self._frozen(self.frozen[0]))
        elif out_of_step:
            yield say("did_writing", wanted=say.names(names(out_of_step[0]["desired"])))
        gone = [g for g in self.gateways if not g["in_route_on"] and not g["passing"]]
        drained = self._in_state(GatewayState.DRAIN, inside=False)
        for gateway in [*gone, *(g for g in drained if g not in gone)][:WHY_MAX]:
            yield from self._removed(text(gateway["name"]))

    def _removed(self, name: str) -> Iterator[Child]:
        say, now_ms = self.say, self.picture.wall_ms
        known = self.picture.removals.get((self.name, name), {})
        if not known:
            yield say("did_plain", name=name)
        for router, removal in known.items():
            words = say("did_removed", name=name, router=router)
            if removal.total_ms is not None:
                words += say("did_in", took=say.duration(removal.total_ms))
            words += say("did_read_back" if removal.verified else "did_unverified")
            age = say("age", age=say.ago(now_ms - removal.at_ms))
            yield f"{words} · {say.moment(removal.at_ms, now_ms)} ({age})"

    # --- what it means

    def _impact(self) -> Iterator[Child]:
        say = self.say
        for router in self.lost:
            yield say("impact_lost", router=router["name"])
        dead_in = [text(g["name"]) for g in self.dead if g["in_route_on"]]
        alive = [text(g["name"]) for g in self.inside if g["state"] != GatewayState.DOWN]
        if len(self.dead) == len(self.gateways):
            yield say("impact_stays", names=say.names(dead_in))
            return
        for route in self.routes:
            if route["adopted"] and not names(route["observed"]):
                yield say("impact_none", router=route["router"])
        if alive:
            yield say("impact_left", names=say.names(alive))
        if dead_in:
            yield say("impact_dead_in", names=say.names(dead_in))
        dead_out = [text(g["name"]) for g in self.dead if not g["in_route_on"]]
        if dead_out:
            yield say("impact_cut", names=say.names(dead_out))

    # --- what a person has to do

    def _you(self, key: str) -> Iterator[Child]:
        say = self.say
        if self.lost:
            yield say("you_router", router=self.lost[0]["name"])
        if key == "none_answers":
            yield say("you_none_answers")
        commands = dict.fromkeys(text(f["do"]) for f in self.frozen if f["do"])
        for command in commands:
            yield [say("you_type"), " ", code(command)]
        for gateway in self._in_state(GatewayState.DRAIN, inside=False):
            yield [say("you_undrain"), " ", code(f"edged undrain {gateway['name']}")]
        if not (self.lost or commands or key == "none_answers"):
            yield from self._returns()
        subject = text(self.dead[0]["name"]) if len(self.dead) == 1 else self.name
        yield [say("you_look"), " ", code(f"edged why {subject}")]

    def _returns(self) -> Iterator[Child]:
        say = self.say
        for gateway in self.gateways:
            waits = gateway["waits"]
            if not isinstance(waits, Mapping) or gateway["state"] == GatewayState.DRAIN:
                continue
            if waits["reason"] == WaitReason.RISE:
                needs = waits.get("needs")
                assert isinstance(needs, Mapping)
                stable = say.duration(int(str(needs["stable_ms"])))
                yield say("you_returns", probes=needs["probes"], stable=stable)
                return
            until = waits["until"]
            at = say("you_soon")
            if isinstance(until, str):
                at = say("you_at", time=say.moment(wall_ms_of(until), self.picture.wall_ms))
            yield say("you_waits", until=at)
            return


# --- words for machine words --------------------------------------------------------------------


def reason_of(gateway: Doc, picture: Picture, say: Say) -> str:
    """Return why a gateway is what it is, in a sentence."""
    state, name = text(gateway["state"]), text(gateway["name"])
    reason = text(gateway["reason"])
    port = gateway["port"]
    if reason == "not_configured":
        return say("not_configured")
    match state:
        case GatewayState.DOWN:
            fell = picture.went_down.get(name, {})
            death = text(fell.get("class")) or reason
            if death in list(DeathClass):
                first = text(fell.get("reason")) or reason
                detail = brief(first, say.language, port=port)
                return sentence(DeathClass(death), say.language, port=port, detail=detail)
            return brief(reason, say.language, port=port)
        case GatewayState.DRAIN:
            return drain_words(gateway, picture, say)
        case GatewayState.DEGRADED:
            causes = ", ".join(brief(cause, say.language) for cause in names(gateway["causes"]))
            return causes or brief(reason, say.language, port=port)
        case GatewayState.WAIT:
            words = sentence(GatewayState.WAIT, say.language)
            until = gateway["hold_until"]
            if isinstance(until, str):
                words += say("until", time=say.moment(wall_ms_of(until), picture.wall_ms))
            return words
        case _:
            return brief(reason, say.language, port=port) if reason else ""


def drain_words(gateway: Doc, picture: Picture, say: Say) -> str:
    """Return who asked a gateway out, why and until when."""
    drains = docs(gateway["drains"])
    if not drains:
        return ""
    drain = drains[0]
    words = say("drain_by", who=text(drain["owner"]) or text(drain["source"]))
    if isinstance(drain["until"], str):
        words += say("until", time=say.moment(wall_ms_of(drain["until"]), picture.wall_ms))
    return f"{words}: {drain['reason']}" if drain["reason"] else words


def kept_words(kept: Doc, gateway: Doc, say: Say) -> str:
    """Return why a gateway that should leave stays."""
    reason = KeptReason(text(kept["reason"]))
    if reason is KeptReason.LAST and not gateway["passing"]:
        return KEPT_LAST_DOWN.get(say.language, KEPT_LAST_DOWN["en"])
    return sentence(reason, say.language, router=kept["router"], floor=kept.get("floor", "..."))


def frozen_words(frozen: Doc, vip: str, picture: Picture, say: Say) -> str:
    """Return why nothing is written."""
    reason = FrozenReason(text(frozen["reason"]))
    words = sentence(reason, say.language, router=frozen["router"], vip=vip)
    paused = picture.document["paused"]
    if reason is FrozenReason.PAUSED and isinstance(paused, Mapping) and paused["owner"]:
        words = say("paused") + " " + say("paused_by", who=paused["owner"], until="")
    if isinstance(frozen["until"], str):
        words += say("until", time=say.moment(wall_ms_of(frozen["until"]), picture.wall_ms))
    return words
