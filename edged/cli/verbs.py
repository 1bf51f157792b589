"""The table of verbs and their options; imports nothing but argparse's types.

Where a verb's code lives is a name here, imported only when the verb is run.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

GROUPS: Final = {
    "look": "Look",
    "act": "Act",
    "setup": "Set up",
    "lab": "Lab",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb: what it is for, where it is done, which options it has."""

    group: str
    help: str
    module: str
    function: str
    arguments: "Callable[[argparse.ArgumentParser], None] | None" = None
    more: str = ""
    passes_on: bool = False


VALUED: Final = ("--config", "--socket")
"""Options that may stand before the verb and take the next word."""

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def duration_ms(text: str) -> int:
    """Read `30m`, `4h`, `2d`, as the configuration writes durations."""
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f'"{text}" is not a duration such as 30m, 4h or 2d')
    return int(match[1]) * _UNITS_MS[match[2]]


def _gateway(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("gateway", metavar="GATEWAY", help="its name or address")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the document instead")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="draw it again every second")
    parser.add_argument(
        "--check", action="store_true", help="exit 0 fine, 3 degraded, 4 critical, 5 no daemon"
    )
    _json(parser)


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a gateway or a VIP; without it every VIP"
    )
    _json(parser)


def _plan(parser: argparse.ArgumentParser) -> None:
    _json(parser)


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="T", help="30m, 4h, 2d, or 2026-05-01T12:00:00+09:00")
    parser.add_argument("--follow", "-f", action="store_true", help="go on with new ones")
    parser.add_argument("--gateway", metavar="NAME", help="about this gateway only")
    parser.add_argument("--vip", metavar="NAME", help="about this VIP only")
    parser.add_argument("--incident", metavar="ID", help="of this incident only")
    parser.add_argument("--type", metavar="NAMES", help="such as route.changed,gateway.went_down")
    parser.add_argument(
        "--severity",
        choices=["debug", "info", "warning", "critical"],
        default="info",
        help="at least this (%(default)s)",
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="newest (%(default)s)")
    parser.add_argument(
        "--summary", action="store_true", help="how often each thing happened, and the incidents"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="with --incident or --summary: for a post-mortem"
    )
    parser.add_argument("--json", action="store_true", help="print documents, with -f one a line")


def _probe(parser: argparse.ArgumentParser) -> None:
    _gateway(parser)
    parser.add_argument("--trace", action="store_true", help="show each phase and its time")
    _json(parser)


def _recheck(parser: argparse.ArgumentParser) -> None:
    _gateway(parser)
    _json(parser)


def _drain(parser: argparse.ArgumentParser) -> None:
    _gateway(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, shown everywhere")
    parser.add_argument(
        "--for", dest="for_ms", type=duration_ms, metavar="T", help="it returns after T"
    )
    parser.add_argument(
        "--force", action="store_true", help="below the floor, too; never the last that passes"
    )
    parser.add_argument("--wait", action="store_true", help="return when the router shows it out")
    parser.add_argument(
        "--timeout",
        type=duration_ms,
        default=600_000,
        metavar="T",
        help="how long --wait waits at most (10m)",
    )
    _json(parser)


def _undrain(parser: argparse.ArgumentParser) -> None:
    _gateway(parser)
    _json(parser)


def _pause(parser: argparse.ArgumentParser) -> None:
    how_long = parser.add_mutually_exclusive_group(required=True)
    how_long.add_argument(
        "--for", dest="for_ms", type=duration_ms, metavar="T", help="edged goes on after T"
    )
    how_long.add_argument("--until-resumed", action="store_true", help="until edged resume")
    parser.add_argument(
        "--restore", action="store_true", help="first write the rows as they were at adoption"
    )
    _json(parser)


def _vip(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vip", metavar="VIP", nargs="?", help="its name; needed with several VIPs")


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _json(parser)


def _handover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("to", choices=["bgp", "back"], help="leave the VIP to BGP, or take it back")
    _vip(parser)
    _yes(parser)


def _adopt(parser: argparse.ArgumentParser) -> None:
    _vip(parser)
    parser.add_argument("--router", metavar="NAME", help="on this router only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--create", action="store_true", help="make the route, where none has the destination"
    )
    what.add_argument(
        "--drop", metavar="ADDRESS", help="take an unknown next hop out of adopted rows"
    )
    _yes(parser)


def _release(parser: argparse.ArgumentParser) -> None:
    _vip(parser)
    parser.add_argument("--router", metavar="NAME", help="on this router only")
    _yes(parser)


def _check_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="instead of --config")
    parser.add_argument(
        "--print-schema", action="store_true", help="print the JSON schema for editors, and end"
    )
    parser.add_argument(
        "--without-secrets", action="store_true", help="do not look whether secrets can be read"
    )
    _json(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="probe, reconcile once, exit 0, 3 or 4")


def _alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=["list", "test", "retry", "drop"],
        nargs="?",
        default="list",
        help="show what is open and unsent (the default), send a test message, try again, forget",
    )
    parser.add_argument("--channel", metavar="NAME", help="this channel only")
    parser.add_argument(
        "--number", type=int, metavar="N", help="this message only, for retry and drop"
    )
    _json(parser)


def _silence(parser: argparse.ArgumentParser) -> None:
    how_long = parser.add_mutually_exclusive_group(required=True)
    how_long.add_argument(
        "--for", dest="for_ms", type=duration_ms, metavar="T", help="no alerts for T"
    )
    how_long.add_argument("--end", action="store_true", help="end every silence")
    parser.add_argument("--gateway", metavar="NAME", help="about this gateway only")
    parser.add_argument("--vip", metavar="NAME", help="about this VIP only")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, shown everywhere")
    _json(parser)


def _completions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "fish", "zsh"], help="which shell")


def _install_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefix", type=Path, default=Path("/"), metavar="DIR", help="below this (%(default)s)"
    )
    parser.add_argument("--program", metavar="PATH", help="the edged that the unit starts")
    parser.add_argument("--write", action="store_true", help="do it; without it, only show it")
    parser.add_argument("--remove", action="store_true", help="take them away again")
    parser.add_argument(
        "--force", action="store_true", help="replace or remove what somebody changed, too"
    )


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from-router", action="store_true", help="read VIPs, gateways and BGP peers from it"
    )
    parser.add_argument("--router", metavar="ADDRESS", help="the router's address")
    parser.add_argument("--port", type=int, metavar="N", help="of its API (8729; 8728 without TLS)")
    parser.add_argument(
        "--tls",
        choices=["pin", "anonymous", "off"],
        default="pin",
        help="how to reach it (%(default)s: encrypted, its certificate is remembered)",
    )
    parser.add_argument("--fingerprint", metavar="SHA256", help="instead of asking the router")
    parser.add_argument(
        "--user", default="admin", metavar="NAME", help="who reads the router now (%(default)s)"
    )
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="that user's; without it you are asked"
    )
    parser.add_argument(
        "--edged-password-file", type=Path, metavar="FILE", help="where edged's own will be"
    )
    parser.add_argument(
        "--vip", action="append", default=[], metavar="ADDRESS", help="again for each VIP"
    )
    parser.add_argument(
        "--gateway", action="append", default=[], metavar="NAME=ADDRESS", help="again for each one"
    )
    parser.add_argument("--server-name", metavar="HOST", help="what probes ask for")
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="TYPE=FILE",
        help="where alerts go, with the file of the webhook's URL: slack=FILE; again for each one",
    )
    parser.add_argument(
        "--own-address", metavar="ADDRESS", help="this host's, as the router sees it"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("edged.toml"), metavar="FILE", help="%(default)s; - prints"
    )


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="pack a report without secrets (.tar.gz)"
    )
    _json(parser)


_LOOK: Final = "edged.cli.look"
_ACT: Final = "edged.cli.act"
_ALERTS: Final = "edged.cli.alerts"
_SETUP: Final = "edged.cli.setup"

VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "status": Verb(
            group="look",
            help="gateways, route, routers, the last change and the next",
            module=_LOOK,
            function="status",
            arguments=_status,
        ),
        "why": Verb(
            group="look",
            help="why a gateway is in or out, or what holds a VIP",
            module=_LOOK,
            function="why",
            arguments=_why,
        ),
        "plan": Verb(
            group="look",
            help="each row, whose it is, and what edged would write",
            module=_LOOK,
            function="plan",
            arguments=_plan,
            more="Exit code 6: there are changes. Works without a daemon, too.",
        ),
        "events": Verb(
            group="look",
            help="what happened",
            module=_LOOK,
            function="events",
            arguments=_events,
            more="Works without a daemon, too. --incident shows a time line from the first sign.",
        ),
        "probe": Verb(
            group="look",
            help="measure a gateway once; changes nothing",
            module=_LOOK,
            function="probe",
            arguments=_probe,
            more="Works without a daemon, too. Exit code 1: it did not pass.",
        ),
        "recheck": Verb(
            group="look",
            help="start a burst of probes now",
            module=_LOOK,
            function="recheck",
            arguments=_recheck,
        ),
        "drain": Verb(
            group="act",
            help="ask a gateway out of the route",
            module=_ACT,
            function="drain",
            arguments=_drain,
            more="No new connections reach it. Open ones through it are moved: clients reconnect.",
        ),
        "undrain": Verb(
            group="act",
            help="let a drained gateway return",
            module=_ACT,
            function="undrain",
            arguments=_undrain,
        ),
        "pause": Verb(
            group="act",
            help="write nothing, go on watching",
            module=_ACT,
            function="pause",
            arguments=_pause,
        ),
        "resume": Verb(
            group="act",
            help="end a pause and every hold that waits for a person",
            module=_ACT,
            function="resume",
            arguments=_json,
        ),
        "handover": Verb(
            group="act",
            help="leave a VIP to BGP, or take it back",
            module=_ACT,
            function="handover",
            arguments=_handover,
        ),
        "reload": Verb(
            group="act",
            help="read the configuration again",
            module=_ACT,
            function="reload",
            arguments=_json,
        ),
        "alerts": Verb(
            group="act",
            help="alerts that are open or unsent; test, retry, drop",
            module=_ALERTS,
            function="alerts",
            arguments=_alerts,
            more="test: exit code 1 if a service did not take the message.",
        ),
        "silence": Verb(
            group="act",
            help="send no alerts for a time; edged goes on acting",
            module=_ALERTS,
            function="silence",
            arguments=_silence,
            more="What is still wrong at its end is told then. Resolves go out all the time.",
        ),
        "init": Verb(
            group="setup",
            help="write a first configuration, and print the router's commands",
            module="edged.cli.init",
            function="init",
            arguments=_init,
            more="It changes nothing on the router. What no flag says is asked on the terminal.",
        ),
        "doctor": Verb(
            group="setup",
            help="check every assumption, with a fix for each failure",
            module="edged.cli.doctor",
            function="doctor",
            arguments=_doctor,
            more="Works without a daemon, too. Exit code 1: something keeps edged from its work.",
        ),
        "adopt": Verb(
            group="setup",
            help="mark the route's rows as edged's, after a yes",
            module=_ACT,
            function="adopt",
            arguments=_adopt,
        ),
        "release": Verb(
            group="setup",
            help="give the rows back as they were at adoption",
            module=_ACT,
            function="release",
            arguments=_release,
        ),
        "check-config": Verb(
            group="setup",
            help="check a configuration and show how fast it makes edged",
            module=_SETUP,
            function="check_config",
            arguments=_check_config,
            more="Touches neither router nor gateways. Exit code 78: it cannot be used.",
        ),
        "run": Verb(
            group="setup",
            help="the daemon itself, in the foreground",
            module=_SETUP,
            function="run",
            arguments=_run,
        ),
        "install-files": Verb(
            group="setup",
            help="place the systemd unit, completions, manual page, samples",
            module="edged.cli.install",
            function="install_files",
            arguments=_install_files,
            more="Exit code 1: a file that somebody changed was left as it is.",
        ),
        "completions": Verb(
            group="setup",
            help="print completions for a shell",
            module=_SETUP,
            function="completions",
            arguments=_completions,
        ),
        "demo": Verb(
            group="lab",
            help="watch a dying gateway leave a simulated router's route",
            module="edged.cli.demo",
            function="main",
            passes_on=True,
        ),
        "simulator": Verb(
            group="lab",
            help="a simulated RouterOS router by itself",
            module="edged.simulator.main",
            function="main",
            passes_on=True,
        ),
    },
)

NEAR_MISSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "history": ("events",),
        "log": ("events",),
        "logs": ("events",),
        "cordon": ("drain",),
        "evict": ("drain",),
        "uncordon": ("undrain",),
        "enable": ("undrain",),
        "disable": ("drain",),
        "test": ("doctor", "probe"),
        "check": ("check-config",),
        "validate": ("check-config",),
        "restore": ("release",),
        "rollback": ("release",),
        "undo": ("release",),
        "stop": ("pause",),
        "start": ("run",),
        "continue": ("resume",),
        "unpause": ("resume",),
        "show": ("status",),
        "list": ("status",),
        "ls": ("status",),
        "get": ("status",),
        "explain": ("why",),
        "describe": ("why",),
        "dry-run": ("plan",),
        "diff": ("plan",),
        "ping": ("probe",),
        "version": ("--version",),
    },
)
"""What people type who know other tools; the first verb that exists is the answer."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add a verb's options, and those that every verb has."""
    arguments = VERBS[name].arguments
    if arguments is not None:
        arguments(parser)
    common = parser.add_argument_group("everywhere")
    common.add_argument("--config", type=Path, metavar="FILE", help="the configuration")
    common.add_argument("--socket", type=Path, metavar="PATH", help="the daemon's control socket")
