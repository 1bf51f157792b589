"""What edged says to people about reasons and states, in one table; `event_words` has the events.

English here, Korean in `words_ko`, with the same keys; a test holds each language against the
closed lists of the core. Keys of documents are never translated.
Nothing here decides or knows a time.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edged.core.types import (
    DeathClass,
    FrozenReason,
    GatewayState,
    KeptReason,
    ProbeReason,
    WaitReason,
)
from edged.web.event_words import ENGLISH, KOREAN, Known
from edged.web.words_ko import (
    BRIEF_KO,
    DEATH_KO,
    FROZEN_KO,
    KEPT_KO,
    KEPT_LAST_DOWN_KO,
    PROBE_KO,
    STATE_KO,
    WAITS_KO,
)

_KEPT: Final[Mapping[str, str]] = {
    KeptReason.NO_WITNESS: "nobody else answered meanwhile, so edged may be the blind one",
    KeptReason.FLOOR: "fewer than {floor} would be left in the route",
    KeptReason.LAST: "it is the last one that answers",
    KeptReason.SECOND_OPINION: "{router} still reaches it, so edged's own path is suspect",
    KeptReason.OVERLOAD: "others are slow, too: taking one out would load them more",
    KeptReason.BLIND: "edged itself was blind a moment ago; new probes decide",
    KeptReason.STALE: "the verdict is old: edged asks again before it acts on it",
}

_FROZEN: Final[Mapping[str, str]] = {
    FrozenReason.PAUSED: "a person paused edged",
    FrozenReason.WARM_UP: "edged has just started, or was asleep: it looks before it acts",
    FrozenReason.OBSERVING: "observe mode: edged says what it would do, and does nothing",
    FrozenReason.NOT_ADOPTED: "no row on {router} carries the mark edged:{vip} yet",
    FrozenReason.FOREIGN: "a static row without edged's mark takes part on {router}",
    FrozenReason.UNKNOWN_NEXT_HOP: "a next hop on {router} is no configured gateway; it stays",
    FrozenReason.HUMAN_EDIT: "a person changed the row on {router}; edged leaves it alone",
    FrozenReason.CONTESTED: "somebody else changes the rows on {router}, or marked some twice",
    FrozenReason.UNCERTAIN: "{router} has not shown yet what its rows are: edged reads first",
    FrozenReason.NOT_WRITER: "another edged holds the lease, and writes",
    FrozenReason.ROUTER_LOST: "{router} cannot be reached",
    FrozenReason.ROUTER_UPGRADED: "{router} came back with another major version of RouterOS",
}

_WAITS: Final[Mapping[str, str]] = {
    WaitReason.RISE: "it has to pass {rise} probes in a row, and {stable} without a failure",
    WaitReason.HOLD_DOWN: "it answers again, and waits out its hold-down",
    WaitReason.ENTRY_GATE: "its BGP session is not up yet",
    WaitReason.PACE: "gateways enter one second apart",
    WaitReason.HUMAN_HOLD: "a person disabled its row on {router}",
}

_PROBE: Final[Mapping[str, str]] = {
    ProbeReason.REFUSED: "the host answers, but nothing listens on :{port}",
    ProbeReason.CONNECT_TIMEOUT: "no answer to the connection at all",
    ProbeReason.UNREACHABLE: "the host cannot be reached: no ARP or ICMP says so",
    ProbeReason.TLS_TIMEOUT: "it accepts connections, but the TLS handshake hangs",
    ProbeReason.TLS_RESET: "it cuts the connection during the TLS handshake",
    ProbeReason.TLS_ALERT: "it refuses the TLS handshake with an alert",
    ProbeReason.HTTP_TIMEOUT: "TLS works, but no answer comes to the request",
    ProbeReason.HTTP_CLOSED: "it closes the connection instead of answering",
    ProbeReason.HTTP_INVALID: "its answer is not HTTP",
    ProbeReason.LOCAL_ERROR: "edged's own host could not send the probe",
    ProbeReason.STALLED: "edged's own host was too slow to tell",
    ProbeReason.CANCELLED: "the probe was called off",
}

_DEATH: Final[Mapping[str, str]] = {
    DeathClass.REFUSED: "The host answers, but nothing listens on :{port}. Envoy is gone.",
    DeathClass.SILENT: "No packet comes back at all: power, cable, switch or kernel.",
    DeathClass.ILL: "It takes connections, but does not serve: {detail}.",
}

_STATE: Final[Mapping[str, str]] = {
    GatewayState.UP: "It answers; nothing is known against it.",
    GatewayState.DEGRADED: "It serves, but something is wrong with it: {detail}.",
    GatewayState.DOWN: "It does not serve: {detail}.",
    GatewayState.WAIT: "It answers again and waits out its hold-down.",
    GatewayState.DRAIN: "It was asked out of the route{detail}.",
    GatewayState.UNKNOWN: "No verdict yet: edged has not probed it for long enough.",
}

SENTENCES: Final[Mapping[str, Mapping[type[StrEnum], Mapping[str, str]]]] = MappingProxyType(
    {
        ENGLISH: {
            KeptReason: _KEPT,
            FrozenReason: _FROZEN,
            WaitReason: _WAITS,
            ProbeReason: _PROBE,
            DeathClass: _DEATH,
            GatewayState: _STATE,
        },
        KOREAN: {
            KeptReason: KEPT_KO,
            FrozenReason: FROZEN_KO,
            WaitReason: WAITS_KO,
            ProbeReason: PROBE_KO,
            DeathClass: DEATH_KO,
            GatewayState: STATE_KO,
        },
    },
)
"""Language, closed list, member: a sentence with places for what it is about."""

KEPT_LAST_DOWN: Final = {
    ENGLISH: "no other one answers either, and a route is never emptied",
    KOREAN: KEPT_LAST_DOWN_KO,
}
"""Said for `last` where the one that is kept does not answer itself."""

BRIEF: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        ENGLISH: {
            "refused": ":{port} closed",
            "silent": "no packet comes back",
            "ill": "does not serve",
            "connect_timeout": "no answer to SYN",
            "unreachable": "host unreachable",
            "tls_timeout": "TLS hangs",
            "tls_reset": "TLS is cut",
            "tls_alert": "TLS alert",
            "http_timeout": "no HTTP answer",
            "http_closed": "closes unanswered",
            "http_invalid": "not HTTP",
            "backend_error": "it alone answers 5xx",
            "bgp_down": "BGP session down",
            "not_ready": "node not ready",
        },
        KOREAN: BRIEF_KO,
    },
)
"""A few words for a column: verdict classes, probe reasons and causes of degradation."""


def sentence(member: StrEnum, language: str = ENGLISH, /, **about: object) -> str:
    """Return the sentence for a member of a closed list; `about` fills its places."""
    table = SENTENCES.get(language, SENTENCES[ENGLISH])
    return table[type(member)][member].format_map(Known(about))


def brief(reason: str, language: str = ENGLISH, /, **about: object) -> str:
    """Return a few words for a reason; an unknown one is said as it is written."""
    table = BRIEF.get(language, BRIEF[ENGLISH])
    words = table.get(reason)
    return words.format_map(Known(about)) if words else reason.replace("_", " ")
