"""What happened, said to people: a sentence for each event, and durations as people write them.

English here, Korean in `event_words_ko`; a test holds each language against the core's table.
Imports nothing else of edged, so that the command line stays quick.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edged.web.event_words_ko import EVENT_SENTENCES_KO, REASONS_KO, SENSORS_KO

ENGLISH: Final = "en"
KOREAN: Final = "ko"


class Known(dict[str, object]):
    """Fills a sentence's places; one that is not known is said as three dots."""

    def __init__(self, about: Mapping[str, object]) -> None:
        super().__init__(about)

    def __missing__(self, key: str) -> str:
        return "..."


EVENT_SENTENCES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        ENGLISH: {
            "daemon.started": "edged {version} started[, mode {mode}]",
            "daemon.stopped": "edged stopped: {reason}[; left: {left}]",
            "daemon.stalled": "edged's own host stood still for {stall_ms} ({cause})",
            "daemon.warming_up": "edged looks around before it acts ({cause})",
            "daemon.paused": "paused[ by {owner}][: {cause}]",
            "daemon.resumed": "resumed[ by {owner}][ ({cause})]",
            "config.reloaded": "configuration reloaded[: {changed}][; needs a restart: "
            "{needs_restart}]",
            "config.rejected": "configuration refused, nothing changed[: {errors}]",
            "probe.finished": "fresh probe {outcome}[: {reason}][ in {latency_us}]",
            "probe.backend_error": "{gateway}: the back end answers {http_status}",
            "probe.reaches_backend": "{gateway}: the probe reaches a back end, not Envoy alone",
            "probe.no_heartbeat": "{gateway} refuses HTTP/2, so there is no heartbeat[: {detail}]",
            "probe.inconclusive": "probes of {gateway} tell nothing: {reason}, {count} in a row",
            "sensor.tripped": "{sensor}: {detail}",
            "sensor.recovered": "{sensor} is heard again",
            "burst.started": "burst of probes started ({cause})",
            "burst.ended": "burst ended: {result}[ after {took_ms}]",
            "witness.answered": "witness: {witness} answered, so edged's own eyes work",
            "check.fell": "verdict: {class}[, witness {witness}]",
            "check.rose": "passed often enough in a row",
            "gateway.went_down": "{gateway} DOWN: {class}[, witness {witness}][, {detect_ms} "
            "after the first sign][, {lead_ms} after it had left the route]",
            "gateway.came_up": "{gateway} UP again[ after {down_ms}]",
            "gateway.waiting": "{gateway} answers again, and waits {hold_down_ms} "
            "(removals lately: {removals})",
            "gateway.degraded": "{gateway} DEGRADED: {cause}",
            "gateway.undegraded": "{gateway} no longer degraded",
            "gateway.kept": "{gateway} kept in {vip} on {router}: {reason}",
            "gateway.released": "{gateway} no longer kept in {vip} on {router} ({reason})",
            "gateway.drained": "{gateway} drained[ by {who}][: {reason}]",
            "gateway.undrained": "{gateway} no longer drained[ ({cause})]",
            "gateway.flapping": "{gateway} comes and goes: {removals} removals, next wait "
            "{hold_down_ms}",
            "gateway.flaky": "{gateway}: {failed} of {probes} probes failed lately",
            "gateway.steady": "{gateway}: probes pass again",
            "gateway.discovered": "{gateway} ({address}) discovered",
            "gateway.vanished": "{gateway} ({address}) is gone from Kubernetes",
            "route.changed": "[{removed} out][ {added} in]: {reason}. In {vip} on {router}: "
            "{in_route}[. First sign to route {total_ms}]",
            "route.verified": "{router} read back: as written[, {total_ms} after the first sign]",
            "route.drifted": "{router}, {vip}: shows {found}, not {expected}[: {detail}]",
            "route.frozen": "{vip} on {router} frozen: {reason}[ ({detail})]",
            "route.thawed": "{vip} on {router} no longer frozen ({reason})",
            "route.human_edited": "a person changed {vip} on {router}: {before} -> {after}",
            "route.write_refused": "{router} refused a write for {vip}: {message}",
            "route.write_uncertain": "{router} did not answer a write for {vip}: {message}",
            "route.write_storm": "{writes} writes in a minute for {vip} on {router}: additions "
            "wait",
            "route.foreign_found": "{router}: rows without the mark share {vip}: {rows}",
            "route.unknown_next_hop": "{router}, {vip}: no configured gateway is {next_hops}",
            "route.contested": "{vip} on {router}: put back {restored} times, now left alone",
            "route.adopted": "{vip} on {router} adopted[ by {owner}]: {rows}",
            "route.created": "{vip} on {router} created[ by {owner}]: {next_hops}",
            "route.released": "{vip} on {router} released[ by {owner}]: {rows}",
            "route.handed_over": "{vip} on {router} handed over to {to}[ by {owner}]",
            "route.missing": "{router}: the row of {vip} is gone[: {detail}]",
            "route.unreadable": "{router}: the rows of {vip} cannot be read: {detail}",
            "router.connected": "{router} connected: RouterOS {version}[ on {board}]",
            "router.lost": "{router} lost: {detail}",
            "router.recovered": "{router} is back after {lost_ms}: RouterOS {version}",
            "router.rebooted": "{router} rebooted {uptime_ms} ago",
            "router.upgraded": "{router} went from RouterOS {before} to {after}",
            "router.login_refused": "{router} refused the login: {detail}",
            "router.slow": "{router} answers slowly[: {rtt_us}][, cpu {cpu_load_percent} %]",
            "router.opinion_given": "{router} pinged {gateway}: {opinion}[, {detail}]",
            "reconcile.done": "{router}, {vip}: {reason}[, frozen: {frozen}]",
            "bgp.session_lost": "{router}: BGP session to {gateway} lost[: {detail}]",
            "bgp.session_recovered": "{router}: BGP session to {gateway} up again[ after "
            "{lost_ms}]",
            "bgp.not_configured": "{router}: no BGP session to {gateway} is configured",
            "bgp.common_cause": "{router}: BGP to {gateways} went down together",
            "vip.changed": "{vip} is {after} in Kubernetes, not {before}",
            "vip.vanished": "{vip} is gone from Kubernetes",
            "vip.failing": "{failed_percent} % of {probes} requests through {vip} fail[: {detail}]",
            "vip.recovered": "requests through {vip} are answered again[ after {failed_ms}]",
            "kube.watch_lost": "Kubernetes: {kind} cannot be watched[: {detail}]",
            "kube.watch_recovered": "Kubernetes: {kind} watched again[ after {lost_ms}]",
            "kube.forbidden": "Kubernetes: not allowed to {verb} {kind}[: {detail}]",
            "kube.warning_found": "Kubernetes: {kind} {object}: {detail}[. Fix: {fix}]",
            "lease.acquired": "{holder} holds the lease, and writes",
            "lease.lost": "the lease is lost to {holder}[: {detail}]",
            "certificate.expiring": "{gateway}: the certificate of {names} expires in {days} d",
            "certificate.mismatched": "{gateway}: another certificate than the others[: {detail}]",
            "alert.opened": "alert {incident}: {title}",
            "alert.resolved": "alert {incident} resolved[ after {open_ms}]",
            "alert.updated": "alert {incident}: {title}",
            "alert.delivered": "alert {incident} ({step}) sent to {channel}[ after {took_ms}]",
            "alert.undeliverable": "alert {incident} cannot be sent to {channel}: {detail}",
            "router.many_writes": "{router}: {writes} writes within a day",
            "silence.set": "alerts silenced[ by {owner}][, about {gateway}][, about {vip}][: "
            "{reason}]",
            "silence.ended": "alerts no longer silenced[ ({cause})]",
            "store.degraded": "history is kept in memory only: {detail}",
            "store.recovered": "history is kept on disk again[: {detail}]",
        },
        KOREAN: EVENT_SENTENCES_KO,
    },
)
"""What happened, from an event's fields. A part in brackets is left out if a field is missing."""

_OPTIONAL: Final = re.compile(r"\[([^\[\]]*)\]")
_FIELD: Final = re.compile(r"\{(\w+)\}")


def event_sentence(
    name: str, fields: Mapping[str, object], language: str = ENGLISH, /, *, gateway: str = ""
) -> str:
    """Return what happened in words; an event of a newer daemon is said by its name and fields.

    Args:
        name: the event's name.
        fields: its fields, as in the core or as in a JSON document.
        language: which table.
        gateway: whom the reader is reading about; the words need not repeat it.
    """
    table = EVENT_SENTENCES.get(language, EVENT_SENTENCES[ENGLISH])
    words = table.get(name)
    said = {key: _said(key, value, language) for key, value in fields.items()}
    said["who"] = fields.get("owner") or fields.get("source") or ""
    present = {key for key, value in said.items() if fields.get(key, value) not in _NOTHING}
    if words is None:
        return " ".join([name, *(f"{key}={value}" for key, value in said.items() if value)])
    if gateway and said.get("gateway") == gateway:
        words = words.removeprefix("{gateway}: ").removeprefix("{gateway} ")

    def optional(match: re.Match[str]) -> str:
        part = match[1]
        return part if present.issuperset(_FIELD.findall(part)) else ""

    return _OPTIONAL.sub(optional, words).format_map(Known(said)).strip()


_NOTHING: Final[tuple[object, ...]] = (None, "", (), [])


def _said(key: str, value: object, language: str) -> object:
    """Write one field: lists with commas, durations with their unit, words without underscores."""
    korean = language == KOREAN
    match value:
        case bool():
            return ("예" if value else "아니요") if korean else ("yes" if value else "no")
        case int() if key.endswith("_us"):
            return f"{value / 1_000:.1f} ms"
        case int() if key.endswith("_ms"):
            return spell_duration(value, language)
        case tuple() | list():
            return ", ".join(str(item) for item in value) or ("없음" if korean else "nobody")
        case str() if key == "sensor":
            return (SENSORS_KO if korean else _SENSORS).get(value, value)
        case str() if key in {"reason", "cause", "class"}:
            known = REASONS_KO.get(value) if korean else None
            return known or value.replace("_", " ")
        case _:
            return value


_SENSORS: Final = {
    "held": "held connection lost",
    "heartbeat": "heartbeat unanswered",
    "bgp": "BGP session down",
}

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_EXACT_MS: Final = 1_000


_UNITS: Final[Mapping[str, tuple[str, str, str, str]]] = MappingProxyType(
    {ENGLISH: (" d", " h", " m", " s"), KOREAN: ("일", "시간", "분", "초")}
)


def spell_duration(duration_ms: int, language: str = ENGLISH) -> str:
    """Write a duration for people: `13 ms`, `2.4 s`, `1 m 18 s`, `3 h 5 m`, `12 d`."""
    if duration_ms < _EXACT_MS:
        return f"{max(duration_ms, 0)} ms"
    days, hours, minutes, seconds = _UNITS.get(language, _UNITS[ENGLISH])
    if duration_ms < 10 * _EXACT_MS and duration_ms % _EXACT_MS:
        return f"{duration_ms / 1_000:.1f}{seconds}"
    if duration_ms < _MINUTE_MS:
        return f"{duration_ms // 1_000}{seconds}"
    for unit_ms, unit, part_ms, part in (
        (_DAY_MS, days, _HOUR_MS, hours),
        (_HOUR_MS, hours, _MINUTE_MS, minutes),
        (_MINUTE_MS, minutes, _EXACT_MS, seconds),
    ):
        if duration_ms >= unit_ms:
            whole, rest = divmod(duration_ms, unit_ms)
            parts = rest // part_ms
            short = not parts or (whole >= 3 and unit_ms == _DAY_MS)  # noqa: PLR2004 - hours no longer matter
            return f"{whole}{unit}" if short else f"{whole}{unit} {parts}{part}"
    raise AssertionError(duration_ms)
