"""What a single value may look like, and the sentence that says so.

Owns the checks of one value by itself, as annotations for the models. What two values mean
together is in `edged.config.lint`. A check returns None, or a sentence that names what was found,
what is allowed and what to write.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from edged.config.durations import PATTERN as DURATION_PATTERN
from edged.config.durations import parse_duration
from edged.config.selector import parse_selector

NAME_CHARS_MAX = 63
"""As Kubernetes and DNS have it, so that a node's name always fits."""

PORT_MAX = 65_535
BGP_DISTANCE = 20
"""RouterOS gives eBGP routes this distance; ours has to win against them."""

_SHOWN_CHARS_MAX = 80
_HOST_CHARS_MAX = 253
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_QUIET = (
    r"^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])( [A-Za-z0-9_+-]+(/\S+)*)?$"
)


def refuse(code: str, sentence: str) -> PydanticCustomError:
    """Make the error that carries our own sentence; braces in it are left alone."""
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence})


def show(value: object) -> str:
    """Write a value as it would stand in the file, shortened."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            cut = value if len(value) <= _SHOWN_CHARS_MAX else value[: _SHOWN_CHARS_MAX - 1] + "…"
            return '"' + cut.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return str(value)


def closest(word: str, known: list[str]) -> str | None:
    """Return the known word that was probably meant."""
    folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


# --- annotations --------------------------------------------------------------------------------


class _Checked:
    """A value checked by us alone: pydantic supplies the place and the collecting."""

    def check(self, value: object) -> None:
        """Raise the error that `refuse` makes."""
        raise NotImplementedError

    def json_schema(self) -> JsonSchemaValue:
        """Return what an editor can check."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def passed(value: object) -> object:
            self.check(value)
            return value

        return core_schema.no_info_plain_validator_function(passed)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return self.json_schema()


@dataclass(frozen=True, slots=True)
class Text(_Checked):
    """Text that passes a check."""

    rule: Callable[[str], str | None]
    pattern: str | None = None
    secret: bool = False
    """Never shown, whatever is wrong with it."""

    def check(self, value: object) -> None:
        """Ask the rule."""
        if not isinstance(value, str):
            found = "the value" if self.secret else show(value)
            quoted = "" if self.secret else f', such as "{value}"' if _is_plain(value) else ""
            raise refuse("not_text", f"{found} is not text: write it in quotes{quoted}")
        sentence = self.rule(value)
        if sentence is not None:
            raise refuse("bad_value", sentence)

    def json_schema(self) -> JsonSchemaValue:
        """Return the form, as far as a pattern can tell."""
        return {"type": "string"} | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True, slots=True)
class Between(_Checked):
    """A duration within two bounds, both allowed."""

    low: str
    high: str

    def check(self, value: object) -> None:
        """Refuse what has no unit, or lies outside."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise refuse(
                "not_a_duration", f'{value} has no unit: write "{value}s" or "{value}ms" in quotes'
            )
        found = parse_duration(value) if isinstance(value, str) else None
        if found is None:
            raise refuse(
                "not_a_duration",
                f"{show(value)} is not a duration: write a whole number and a unit, "
                'such as "500ms", "2s" or "1m"',
            )
        low, high = parse_duration(self.low), parse_duration(self.high)
        assert low is not None, self.low
        assert high is not None, self.high
        if not low <= found <= high:
            size = "short" if found < low else "long"
            raise refuse(
                "out_of_range",
                f"{show(value)} is too {size}: {self.low} to {self.high} are allowed",
            )

    def json_schema(self) -> JsonSchemaValue:
        """Return the form, as far as a pattern can tell."""
        return {"type": "string", "pattern": DURATION_PATTERN}


@dataclass(frozen=True, slots=True)
class Whole(_Checked):
    """A whole number within two bounds, both allowed."""

    low: int
    high: int
    why: str = ""
    """A reason for the bounds, where one is not obvious."""

    def check(self, value: object) -> None:
        """Refuse what is no integer, or lies outside."""
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            raise refuse("not_a_number", f"{show(value)} is text: write {value} without quotes")
        if not isinstance(value, int) or isinstance(value, bool):
            raise refuse(
                "not_a_number",
                f"{show(value)} is not a whole number: write one from {self.low} to {self.high}",
            )
        if not self.low <= value <= self.high:
            size = "small" if value < self.low else "large"
            several = f"{self.low} to {self.high} are" if self.low < self.high else f"{self.low} is"
            raise refuse("out_of_range", f"{value} is too {size}: {several} allowed{self.why}")

    def json_schema(self) -> JsonSchemaValue:
        """Return the form, as far as a pattern can tell."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- rules for text -----------------------------------------------------------------------------


def any_text(value: str) -> str | None:
    """Refuse only what is empty or would break a line."""
    if not value:
        return "is empty: write a value, or leave the key out"
    if not value.isprintable():
        return f"{show(value)} holds a control character: write it on one line, without tabs"
    return None


def secret_text(value: str) -> str | None:
    """As `any_text`, without a word of the value."""
    if value.isprintable():
        return any_text(value)
    return "holds a control character: write it on one line, without tabs"


def name(value: str) -> str | None:
    """Names go into comments on the router, metrics and commands: keep them to one word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value) or len(value) > NAME_CHARS_MAX:
        return (
            f"{show(value)} is not a name: letters, digits, '-', '_' and '.' are allowed, "
            f"at most {NAME_CHARS_MAX}, the first a letter or digit"
        )
    if _ip(value) is not None:
        return (
            f"{show(value)} is an address: give it a name of its own, so that no command mixes them"
        )
    return None


def ip_literal(value: str) -> str | None:
    """Gateways are addresses: a name server that is away must not look like a dead gateway."""
    address = _ip(value)
    if address is None:
        if "/" in value and _ip(value.partition("/")[0]) is not None:
            return f'{show(value)} has a prefix length: write "{value.partition("/")[0]}"'
        return (
            f"{show(value)} is not an IP address: write the number itself, such as "
            '"172.30.1.20" (names are not looked up here)'
        )
    if address.is_multicast or address.is_unspecified:
        return f"{show(value)} is not the address of one machine: write the gateway's own"
    return None


def host(value: str) -> str | None:
    """An address or a DNS name."""
    if _ip(value) is not None:
        return None
    if "://" in value or "/" in value:
        return (
            f"{show(value)} is more than a host: "
            'write the address or name alone, such as "172.30.1.1"'
        )
    bare, _, port = value.rpartition(":")
    if bare and port.isdigit():
        return f'{show(value)} holds a port: write address = "{bare}" and port = {port}'
    if re.fullmatch(r"[0-9.]+", value):
        return (
            f"{show(value)} is not an IP address: "
            'write four numbers up to 255, such as "172.30.1.1"'
        )
    if not re.fullmatch(_HOST, value) or len(value) > _HOST_CHARS_MAX:
        return (
            f"{show(value)} is neither an IP address nor a host name: "
            'write one, such as "172.30.1.1"'
        )
    return None


def server_name(value: str) -> str | None:
    """The SNI is a name: TLS knows no addresses there (RFC 6066, section 3)."""
    example = "such as edged-probe.example.test"
    if _ip(value) is not None:
        return (
            f"{show(value)} is an address, and TLS sends names only: write a host name, {example}"
        )
    if value.startswith("*."):
        return (
            f"{show(value)} is a wildcard: write one name under it that no HTTPRoute claims, "
            f'such as "edged-probe.{value[2:]}"'
        )
    if not re.fullmatch(_HOST, value) or len(value) > _HOST_CHARS_MAX:
        return f"{show(value)} is not a host name: write one, {example}"
    return None


def vip_address(value: str) -> str | None:
    """One address with its full prefix length, as the router shows the route."""
    try:
        network = ipaddress.ip_interface(value)
    except ValueError:
        return (
            f"{show(value)} is not an address: "
            'write one with its prefix length, such as "172.30.1.7/32"'
        )
    full = network.max_prefixlen
    if "/" not in value:
        return f'{show(value)} has no prefix length: write "{network.ip}/{full}"'
    if network.network.prefixlen != full:
        return f'{show(value)} is a network, and a VIP is one address: write "{network.ip}/{full}"'
    if network.ip.is_multicast or network.ip.is_unspecified:
        return f"{show(value)} cannot be a VIP: write the address that clients are sent to"
    return None


def fingerprint(value: str) -> str | None:
    """Tell whether this is the SHA-256 of a certificate, colons or not."""
    if normal_fingerprint(value) is not None:
        return None
    return (
        f"{show(value)} is not a SHA-256 fingerprint: write sha256: and 64 hex digits, "
        "as `edged init` prints it"
    )


def normal_fingerprint(value: str) -> str | None:
    """Return ``sha256:`` and lower-case digits, or None."""
    digits = value.lower().removeprefix("sha256:").replace(":", "")
    return f"sha256:{digits}" if re.fullmatch(r"[0-9a-f]{64}", digits) else None


def http_url(value: str) -> str | None:
    """Tell whether this is an http or https URL with a host."""
    if not is_http_url(value):
        return f'{show(value)} is not a URL: write one that begins with "https://" or "http://"'
    return None


def is_http_url(value: str) -> bool:
    """Tell whether somebody could be asked by this URL."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and value.isprintable()


def absolute_url_path(value: str) -> str | None:
    """The path of the probe's request; nothing that could end the request line early."""
    if not value.startswith("/") or not re.fullmatch(r"[!-~]+", value):
        return f'{show(value)} is not a URL path: write one that begins with "/", without blanks'
    return None


def timezone(value: str) -> str | None:
    """Tell whether the system knows this zone."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        zones = sorted(available_timezones())
        if not zones:
            return f"{show(value)} cannot be looked up: install the tzdata package of the system"
        near = closest(value, zones)
        return f'{show(value)} is not a time zone: write one such as "{near or "Asia/Seoul"}"'
    return None


def quiet_hours(value: str) -> str | None:
    """A span of the day, with its zone or without."""
    match = re.fullmatch(_QUIET, value)
    if match is None:
        return (
            f"{show(value)} is not a span of the day: write it as "
            '"22:00-07:00" or "22:00-07:00 Asia/Seoul"'
        )
    if match.group(1, 2) == match.group(3, 4):
        return f"{show(value)} begins and ends at once: write two different times"
    return timezone(match[5].strip()) if match[5] else None


def object_name(value: str) -> str | None:
    """A namespaced Kubernetes object."""
    part = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
    if not re.fullmatch(rf"{part}/{part}", value):
        return f'{show(value)} is not namespace/name: write both, such as "kube-system/gateway-lb"'
    return None


def label_selector(value: str) -> str | None:
    """What nodes are chosen by; the same grammar as kubectl's."""
    try:
        understood = re.fullmatch(r"[A-Za-z0-9_./!=(), -]+", value) and parse_selector(value)
    except ValueError:
        understood = None
    if not understood:
        return (
            f"{show(value)} is not a label selector: write one as kubectl -l takes it, "
            'such as "node-role.kubernetes.io/worker"'
        )
    return None


def label_key(value: str) -> str | None:
    """A label key, such as ``example.test/maintenance``."""
    if not re.fullmatch(r"([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", value):
        return f'{show(value)} is not a label key: write one such as "example.test/maintenance"'
    return None


def annotation_prefix(value: str) -> str | None:
    """The part before the slash of ``edged/drain``."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", value):
        return (
            f"{show(value)} is not an annotation prefix: "
            'write the part before the slash, such as "edged"'
        )
    return None


def listen(value: str) -> str | None:
    """``host:port``; empty for no listener."""
    if value and parse_listen(value) is None:
        return (
            f'{show(value)} is not address:port: write one such as "127.0.0.1:9780" '
            'or "[::1]:9780", or "" for no listener'
        )
    return None


def parse_listen(value: str) -> tuple[str, int] | None:
    """Split ``host:port``; IPv6 in brackets."""
    bare, _, port = value.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= PORT_MAX:
        return None
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    elif ":" in bare:
        return None
    if bare == "localhost" or _ip(bare) is not None:
        return bare, int(port)
    return None


def is_loopback(bare: str) -> bool:
    """Tell whether only this machine can reach the address."""
    address = _ip(bare)
    return bare == "localhost" or (address is not None and address.is_loopback)


def event_pattern(value: str) -> str | None:
    """An event's name, or a part of it with a star."""
    if not re.fullmatch(r"\*|[a-z_]+\.(\*|[a-z_]+)", value):
        return (
            f"{show(value)} does not name events: "
            'write a name such as "route.changed", a kind such as "gateway.*", or "*"'
        )
    return None


def route_comment(value: str) -> str | None:
    """The human part of a row's comment; the mark is ours to add."""
    if "edged:" in value:
        return (
            f"{show(value)} holds edged's own mark: "
            "write your words only, the mark is added to them"
        )
    return any_text(value)


def routing_table(value: str) -> str | None:
    """A routing table's name on the router."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
        return f'{show(value)} is not a routing table: write its name on the router, such as "main"'
    return None


def variable(value: str) -> str | None:
    """The name of an environment variable, not its value."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        # Not shown: a secret is easily pasted here by mistake.
        return (
            "is not the name of an environment variable: write the variable's name, not its value"
        )
    return None


def credential(value: str) -> str | None:
    """The name of a systemd credential."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        # Not shown: a secret is easily pasted here by mistake.
        return "is not the name of a credential: write the name that stands behind LoadCredential="
    return None


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None
