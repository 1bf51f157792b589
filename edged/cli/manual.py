"""The manual page edged(1), written from the table of verbs; `edged install-files` places it.

Made when it is placed, so that it always belongs to the edged that placed it. Read it without
installing: python -m edged.cli.manual | man -l -
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import edged
from edged.cli.verbs import GROUPS, VERBS, add_arguments

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "fine; for `run`: stopped as asked",
    1: "it did not work: the sentence says why",
    2: "usage",
    3: "degraded: a gateway out or degraded, or an alert open (`status --check`, `run --once`)",
    4: "critical: below `min_healthy`, frozen, or a router lost (`status --check`, `run --once`)",
    5: "no daemon answers on the control socket",
    6: "`plan`: there are changes",
    70: "a bug in edged; the route stays as it is",
    78: "the configuration cannot be used; systemd does not start it again",
    130: "ended by Ctrl-C",
}
FILES: Final[Mapping[str, str]] = {
    "./edged.toml, /etc/edged/config.toml": "The configuration, unless --config or EDGED_CONFIG "
    "names another.",
    "/etc/edged/credentials/router-password": "The password of edged's user on the router, as the "
    "systemd unit takes it.",
    "/run/edged/control.sock": "Where the commands reach the daemon.",
    "/var/lib/edged": "History, unsent alerts, drains, and the rows as they were at adoption.",
    "/usr/local/share/doc/edged": "first-hour.md, 3am.md, by-hand.md and the other documents.",
}
VARIABLES: Final[Mapping[str, str]] = {
    "EDGED_CONFIG": "Path of the configuration.",
    "EDGED_SOCKET": "Path of the control socket, for commands.",
    "EDGED_DEBUG": "With any value a bug shows where it happened.",
    "EDGED_TABLE__KEY": "Any key of the configuration: EDGED_MODE, EDGED_ROUTER__ADDRESS, "
    "EDGED_GATEWAY__0__NAME.",
    "NO_COLOR": "No colours.",
}


def render_manual() -> str:
    """Return the page as troff with the macros of man(7)."""
    return "\n".join(
        [
            f'.TH EDGED 1 "" "edged {edged.__version__}" "User Commands"',
            ".SH NAME",
            "edged \\- keeps a VIP's static ECMP route on a MikroTik router on healthy gateways",
            ".SH SYNOPSIS",
            ".B edged",
            "[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fB\\-\\-socket\\fR \\fIPATH\\fR]",
            "\\fIVERB\\fR [\\fIOPTIONS\\fR]",
            ".SH DESCRIPTION",
            "edged probes the Envoy of each Kubernetes node and takes a dead one out of the route.",
            'It writes nothing before the configuration says mode = "enforce" and a person has',
            "adopted the route; it never empties the route, and leaves it as it is when it stops.",
            *_verbs(),
            ".SH EXIT STATUS",
            *_pairs({str(code): text.replace("`", "") for code, text in EXIT_CODES.items()}),
            ".SH FILES",
            *_pairs(FILES),
            ".SH ENVIRONMENT",
            *_pairs(VARIABLES),
            ".SH EXAMPLES",
            *_pairs(
                {
                    "edged init --from-router --router 172.30.1.1": "Propose a configuration.",
                    "edged drain node2 --for 4h --wait": "Take a node out, and wait for it.",
                    "edged pause --until-resumed --restore": "The rows as they were; no writes.",
                }
            ),
            "",
        ]
    )


def _verbs() -> Iterator[str]:
    for group, title in GROUPS.items():
        yield f".SH {_plain(title.upper())}"
        for name, verb in VERBS.items():
            if verb.group != group:
                continue
            arguments = [] if verb.passes_on else list(_arguments(name))
            shown = " ".join(f"[{_plain(one)}]" for one, _ in arguments)
            yield from (".TP", f"\\fBedged {_plain(name)}\\fR {shown}".rstrip())
            yield _plain(f"{verb.help[:1].upper()}{verb.help[1:]}.")
            if verb.more:
                yield _plain(verb.more)
            yield from (".RS", *_options(arguments), ".RE")


def _options(arguments: list[tuple[str, str]]) -> Iterator[str]:
    for words, text in arguments:
        if text:
            yield from (".TP", f"\\fB{_plain(words)}\\fR", _plain(text))


def _arguments(name: str) -> Iterator[tuple[str, str]]:
    """Yield each argument as it is typed, with its help."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser, name)
    formatter = parser._get_formatter()  # noqa: SLF001 - fills %(default)s in, as --help does
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        if {"--config", "--socket"} & set(action.option_strings):
            continue
        words = ", ".join(action.option_strings) or _value(action)
        if action.option_strings and action.nargs != 0:
            words += f" {_value(action)}"
        help_text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001 - as above
        yield words, help_text


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    return action.dest.upper()


def _pairs(told: Mapping[str, str]) -> Iterator[str]:
    for word, text in told.items():
        yield from (".TP", f"\\fB{_plain(word)}\\fR", _plain(text))


def _plain(text: str) -> str:
    """Write text so that troff takes nothing in it for a command of its own."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(render_manual())
