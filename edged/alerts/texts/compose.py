"""From an alert's facts to a message in words.

Which lines a message has and in which order is decided here, once for all languages; how each is
said stands in the languages' tables. Names come from outside: signs that steer a terminal or turn
the reading direction are taken out here, markup is each channel's own affair.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final

from edged.alerts.facts import AlertFacts, from_wall_ms
from edged.alerts.texts import english, korean
from edged.alerts.texts.message import SIGNS, Line, Message, Tone
from edged.config.types import Language
from edged.core.alerting import AlertKind, AlertStep
from edged.core.events import Scalar, Severity

NAMES_SHOWN: Final = 6
VALUE_CHARACTERS_MAX: Final = 400
"""A detail is a sentence; longer ones are the log's affair."""
NAME_CHARACTERS_MAX: Final = 80
LATE: Final = timedelta(seconds=90)
"""Older than this when it leaves, a message says when it happened."""
SAID_FROM_MS: Final = 1_000
"""A loss that is younger has just happened; its length says nothing."""
HTTPS_PORT: Final = 443

_OPTIONAL: Final = re.compile(r"\[([^\[\]]*\{[^\[\]]*)\]")
_FIELD: Final = re.compile(r"\{(\w+)\}")
_DAY_MS: Final = 86_400_000
_DOWN: Final = frozenset({AlertKind.GATEWAY_OUT, AlertKind.FLAPPING})


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What texts need beside the facts: where edged runs, and how things are called."""

    host: str
    public_url: str | None = None
    zone: tzinfo | None = None
    """None is the system's."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Gateways."""
    routers: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    """What a person may open to see whether a VIP works."""
    ports: Mapping[str, int] = field(default_factory=dict)
    vips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """VIPs to their gateways."""
    hold_ms: int = 30_000


def compose(facts: AlertFacts, about: About, language: Language, *, now: datetime) -> Message:
    """Say an alert's message in a language."""
    return _Writer(facts, about, language, now).message()


@dataclass(frozen=True, slots=True)
class _Words:
    """One language."""

    words: Mapping[str, str]
    months: tuple[str, ...]
    units: tuple[str, ...]


ENGLISH: Final = _Words(english.WORDS, english.MONTHS, english.UNITS)
KOREAN: Final = _Words(korean.WORDS, korean.MONTHS, korean.UNITS)


class _Writer:
    """One message being written."""

    def __init__(
        self,
        facts: AlertFacts,
        about: About,
        language: Language,
        now: datetime,
    ) -> None:
        self._facts = facts
        self._about = about
        self._korean = language is Language.KOREAN
        self._table: _Words = KOREAN if self._korean else ENGLISH
        self._now = now
        self._said = self._fields()

    def message(self) -> Message:
        facts, tone = self._facts, _tone(self._facts)
        lines = tuple(line for line in self._lines() if line.text)
        return Message(
            message_id=facts.message_id,
            incident=facts.incident,
            kind=str(facts.kind),
            step=str(facts.step),
            over=facts.over,
            severity=facts.severity,
            tone=tone,
            title=self._title(tone),
            lines=lines,
            footer=self._footer(),
            link=self._about.public_url,
            link_text=self._say("look.link"),
            at=facts.at,
            opened=facts.opened,
            subject="/".join(
                [*facts.vips[:1], *facts.gateways[:1], *facts.routers[:1]] or ["edged"]
            ),
        )

    # --- the parts ------------------------------------------------------------------------------

    def _title(self, tone: Tone) -> str:
        title = self._say(self._title_key())
        if self._facts.step is AlertStep.REMIND:
            self._said["title"] = title
            title = self._say("remind")
        parts = [SIGNS[tone], title]
        if self._facts.observe and self._facts.kind is not AlertKind.TEST:
            parts.insert(0, self._say("observe"))
        return " ".join(parts)

    def _title_key(self) -> str:
        facts, given = self._facts, self._facts.facts
        match facts.kind:
            case AlertKind.NOTICE:
                return f"notice.{given.get('event')}"
            case AlertKind.TEST:
                return "title.test"
            case AlertKind.GATEWAY_OUT if facts.over:
                ending = str(given.get("ending", "returned"))
                return f"title.gateway_{'back' if ending == 'returned' else ending}"
            case AlertKind.GATEWAY_OUT if facts.step is AlertStep.UPDATE:
                return "title.gateway_partly"
            case AlertKind.GATEWAY_OUT:
                return f"title.gateway_{self._where()}"
            case AlertKind.TOO_FEW | AlertKind.NO_ANSWER if facts.over:
                return "title.enough"
            case AlertKind.TOO_FEW if facts.step is AlertStep.UPDATE:
                return "title.too_few_update"
            case AlertKind.ROUTER_LOST if facts.over:
                return "title.router_back"
            case AlertKind.ROUTER_LOST if given.get("login_refused"):
                return "title.router_refused"
            case AlertKind.ROUTE_FROZEN if facts.over:
                return "title.route_thawed"
            case AlertKind.CANARY if not facts.over and given.get("down"):
                return "title.canary_nodes"
            case kind:
                return f"title.{kind}{'_over' if facts.over else ''}"

    def _where(self) -> str:
        if "changed_on" in self._facts.facts:
            return "out"
        return "observed" if self._facts.observe else "down"

    def _lines(self) -> Iterator[Line]:
        facts, given = self._facts, self._facts.facts
        match facts.kind:
            case AlertKind.GATEWAY_OUT:
                yield from self._gateway_lines()
            case AlertKind.TOO_FEW | AlertKind.NO_ANSWER if facts.over:
                yield self._line("", "still.down" if given.get("down") else "")
                yield self._line("was", "was.span")
            case AlertKind.TOO_FEW:
                yield self._line("seen", "seen.down")
                yield self._line("", "route.now")
                yield self._line("impact", "impact.too_few")
                yield self._line("you", "you.too_few")
            case AlertKind.NO_ANSWER:
                refused = given.get("class") == "refused"
                yield self._line("seen", "seen.refused" if refused else "seen.silent")
                if (opinion := given.get("opinion")) is not None and not refused:
                    yield self._line("", f"opinion.{opinion}")
                yield self._line("", "route.stays")
                yield self._line("you", "you.no_envoy" if refused else "you.no_answer")
            case AlertKind.NOTICE:
                event = given.get("event")
                yield self._line("", f"tell.{event}")
                yield self._line("you", f"you.{event}")
            case AlertKind.TEST:
                yield self._line("", "line.test")
            case _ if facts.over:
                yield self._line("was", "was.span")
                yield self._line("you", "you.nothing")
            case AlertKind.ROUTER_LOST:
                yield self._line("", "route.last_read")
                stuck = "router_stuck" if given.get("down") else "router_lost"
                yield self._line("impact", f"impact.{stuck}")
                yield self._line(
                    "you",
                    "you.router_refused" if given.get("login_refused") else "you.router_lost",
                )
            case AlertKind.ROUTE_FROZEN:
                yield self._line("why", "why.detail")
                yield self._line("impact", "impact.frozen")
                yield self._line("you", "you.frozen")
            case AlertKind.HUMAN_EDIT:
                yield self._line("seen", "seen.edit")
                yield self._line("did", "did.human_edit")
                yield self._line("impact", "impact.no_passing" if not given.get("passing") else "")
                yield self._line("you", "you.human_edit")
            case (
                AlertKind.SECOND_OPINION
                | AlertKind.FLAPPING
                | AlertKind.DEGRADED
                | (AlertKind.FLAKY)
            ):
                for label in ("why", "did", "you"):
                    yield self._line(label, f"{label}.{facts.kind}")
            case AlertKind.CANARY:
                yield self._line("why", "why.detail")
                for label in ("impact", "did", "you"):
                    yield self._line(label, f"{label}.canary")
            case AlertKind.STORE:
                yield self._line("why", "why.detail")
                yield self._line("impact", "impact.store")
                yield self._line("you", "you.store")
            case AlertKind.KUBE_LOST:
                yield self._line("why", "why.detail")
                yield self._line("impact", "impact.kube")
                yield self._line("you", "you.kube")
        for count in ("dips", "repeats"):
            yield self._line("", count if given.get(count) else "")

    def _gateway_lines(self) -> Iterator[Line]:
        facts, given = self._facts, self._facts.facts
        death = given.get("class", "unknown")
        if facts.over:
            yield self._line("was", f"was.{death}")
            yield self._line("you", "you.nothing")
            return
        yield self._line("why", f"why.{death}")
        where = self._where()
        if where == "out":
            yield self._line("did", "did.removed")
            yield self._line("impact", "impact.removed")
            yield self._line("you", "you.gateway_out")
            return
        yield self._line("did", self._held(where))
        yield self._line("impact", "impact.observed" if where == "observed" else "impact.kept")
        yield self._line("you", "you.nothing" if where == "observed" else "you.gateway_down")

    def _held(self, where: str) -> str:
        given = self._facts.facts
        if where == "observed":
            return "did.observed"
        if given.get("kept"):
            return f"did.kept.{given['kept']}"
        return f"did.write.{given['write']}" if given.get("write") else "did.waits"

    def _line(self, label: str, key: str) -> Line:
        text = self._say(key) if key in self._table.words else ""
        missing = any(name not in self._said for name in _FIELD.findall(self._bare(key)))
        return Line(
            label=self._say(f"label.{label}") if label else "", text="" if missing else text
        )

    def _footer(self) -> str:
        command = f"edged events --incident {self._facts.incident}"
        if self._facts.gateways:
            command = f"edged why {self._names(self._facts.gateways[:1])}"
        elif self._facts.vips:
            command = f"edged why {self._names(self._facts.vips[:1])}"
        self._said["command"] = command
        where = self._about.public_url or self._say("look")
        parts = [self._clock(self._facts.at), where, self._facts.incident]
        line = " · ".join(part for part in parts if part)
        if self._now - self._facts.at > LATE:
            line = f"{self._say('late')}\n{line}"
        return line

    # --- words ----------------------------------------------------------------------------------

    def _bare(self, key: str) -> str:
        return _OPTIONAL.sub("", self._table.words.get(key, ""))

    def _say(self, key: str) -> str:
        words = self._table.words.get(key)
        if words is None:
            return key.partition(".")[2]

        def optional(match: re.Match[str]) -> str:
            present = all(name in self._said for name in _FIELD.findall(match[1]))
            return match[1] if present else ""

        words = _OPTIONAL.sub(optional, words)
        return _FIELD.sub(lambda match: self._said.get(match[1], "…"), words)

    def _fields(self) -> dict[str, str]:
        facts, about = self._facts, self._about
        said = {
            key: self._value(key, value)
            for key, value in facts.facts.items()
            if value is not None and value not in ("", ())
        }
        down, passing = _tuple(facts.facts.get("down")), _tuple(facts.facts.get("passing"))
        vips = facts.vips or tuple(about.vips)[:1]
        first = facts.gateways[:1]
        port = next((about.ports[vip] for vip in vips if vip in about.ports), HTTPS_PORT)
        opened_ms = facts.facts.get("open_ms")
        said |= {
            "host": clean(about.host, NAME_CHARACTERS_MAX),
            "vips": self._names(facts.vips),
            "vips_all": self._names(
                tuple(v for v, members in about.vips.items() if {*members} & {*facts.gateways})
                or facts.vips
            ),
            "gateways": self._names(facts.gateways),
            "routers": self._names(facts.routers),
            "first": self._names(first),
            "named": self._names(
                tuple(
                    f"{name} ({about.addresses[name]})" if name in about.addresses else name
                    for name in facts.gateways
                )
            ),
            "port": str(port),
            "passing_count": str(len(passing)),
            "hold": self._duration(about.hold_ms),
            "when": self._clock(facts.at),
            "age": self._duration(_ms(facts.at - facts.opened)),
            "span": f"{self._clock(facts.opened, zone=False)}–{self._clock(facts.at)}",
            "router_address": next(
                (about.routers[name] for name in facts.routers if name in about.routers),
                self._names(facts.routers),
            ),
            "url": next((about.urls[vip] for vip in vips if vip in about.urls), "https://…"),
            "listed": self._names(
                _tuple(facts.facts.get("names"))
                or _tuple(facts.facts.get("gateways"))
                or facts.gateways
            ),
        }
        if isinstance(until_ms := facts.facts.get("until_ms"), int):
            said["until"] = self._moment(from_wall_ms(until_ms))
        if isinstance(not_after := facts.facts.get("not_after"), str):
            said["not_after_at"] = self._expiry(not_after)
        if down:
            said["down_first"] = self._names(down[:1])
        if opened_ms is None and facts.kind is AlertKind.ROUTER_LOST:
            lost = self._lost_for()
            if lost:
                said["lost_for"] = lost
        said["verified"] = self._table.words["did.verified"] if facts.facts.get("verified") else ""
        if not said["verified"]:
            del said["verified"]
        for key, table in (("reason", "reason"), ("frozen", "frozen"), ("cause", "cause")):
            if (word := facts.facts.get(key)) is not None:
                said[f"{key}_words"] = self._table.words.get(f"{table}.{word}", str(said[key]))
        said.setdefault("reason_words", self._table.words["reason.ill"])
        return said

    def _lost_for(self) -> str:
        lost = self._facts.facts.get("lost_ms")
        long = isinstance(lost, int) and lost >= SAID_FROM_MS
        return self._duration(int(str(lost))) if long else ""

    def _value(self, key: str, value: Scalar) -> str:
        match value:
            case bool():
                return "yes" if value else "no"
            case int() if key.endswith("_ms"):
                return self._duration(value)
            case int():
                return str(value)
            case tuple():
                return self._names(value)
            case _:
                return clean(str(value), VALUE_CHARACTERS_MAX)

    def _names(self, names: tuple[str, ...]) -> str:
        shown = [clean(name, NAME_CHARACTERS_MAX) for name in names[:NAMES_SHOWN]]
        text = ", ".join(shown)
        rest = len(names) - len(shown)
        if not rest:
            return text
        words = self._table.words["and_more"]
        return words.replace("{names}", text).replace("{count}", str(rest))

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self._about.zone)

    def _clock(self, at: datetime, *, zone: bool = True) -> str:
        local = self._local(at)
        return f"{local:%H:%M:%S} {local:%Z}" if zone else f"{local:%H:%M:%S}"

    def _moment(self, at: datetime) -> str:
        """Return a time of day, with the date where it is another one."""
        local, today = self._local(at), self._local(self._now)
        text = f"{local:%H:%M} {local:%Z}"
        if local.date() == today.date():
            return text
        month = self._table.months[local.month - 1]
        day = f"{month} {local.day}일" if self._korean else f"{local.day} {month}"
        return f"{day} {text}"

    def _expiry(self, stamp: str) -> str:
        try:
            return self._moment(datetime.fromisoformat(stamp))
        except ValueError:
            return clean(stamp, NAME_CHARACTERS_MAX)

    def _duration(self, length_ms: int) -> str:
        return spell_duration(length_ms, self._table.units)


def spell_duration(length_ms: int, units: tuple[str, ...] | list[str]) -> str:
    """Return a duration with its two largest units: 4 min 12 s, 0.4 s, 13 ms."""
    day, hour, minute, second, milli = units
    if length_ms < 100:  # noqa: PLR2004 - below a tenth of a second tenths say nothing
        return f"{length_ms}{milli}"
    if length_ms < 10_000:  # noqa: PLR2004 - tenths matter up to here
        return f"{length_ms / 1_000:.1f}".removesuffix(".0") + second
    seconds = round(length_ms / 1_000)
    for size, unit, small_size, small in (
        (86_400, day, 3_600, hour),
        (3_600, hour, 60, minute),
        (60, minute, 1, second),
    ):
        if seconds >= size:
            rest = seconds % size // small_size
            return f"{seconds // size}{unit}" + (f" {rest}{small}" if rest else "")
    return f"{seconds}{second}"


def clean(text: str, limit: int) -> str:
    """Return a text of one line that steers nothing, cut to a number of characters."""
    kept = "".join(" " if _steers(sign) else sign for sign in text)
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def _steers(sign: str) -> bool:
    """Whether a sign is a control or turns the reading direction; joiners of emoji stay."""
    category = unicodedata.category(sign)
    if category == "Cf":
        return sign != "\u200d"
    return category in {"Cc", "Cs", "Co", "Zl", "Zp"}


def _tone(facts: AlertFacts) -> Tone:
    if facts.over:
        return Tone.GOOD
    if facts.severity is Severity.CRITICAL:
        return Tone.CRITICAL
    if facts.severity is Severity.WARNING:
        return Tone.DOWN if facts.kind in _DOWN else Tone.WARNING
    return Tone.INFO


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


def _tuple(value: Scalar) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
