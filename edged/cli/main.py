"""`edged`: finds the verb, parses its options, runs it, and turns every end into an exit code.

Only the chosen verb's options are built and only its module is imported, so that `edged status`
answers at once. This is the one place where any exception is caught.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn, TextIO

from edged.cli.context import Context, context_of
from edged.cli.verbs import GROUPS, NEAR_MISSES, VALUED, VERBS, Verb, add_arguments
from edged.core.errors import EdgedError

EXIT_FINE: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70
EXIT_CONFIG: Final = 78
EXIT_INTERRUPTED: Final = 130

HELP_WORDS: Final = frozenset({"-h", "--help", "help"})
HELP_COLUMN: Final = 14
FRAMES_SHOWN: Final = 4
"""Places shown of a bug: a daemon ends once, and nobody can ask it again."""


class Parser(argparse.ArgumentParser):
    """One verb's options; a mistyped one is answered with what was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in two lines, and end with exit code 2."""
        meant = ""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown and unknown[0].startswith("-"):
            import difflib

            options = [o for action in self._actions for o in action.option_strings]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1)
            meant = f' (did you mean "{close[0]}"?)' if close else ""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}{meant}\n{self.prog} --help shows them all\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edged` and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _leave_pipe()
        return EXIT_FINE
    except EdgedError as error:
        _tell(str(error))
        return int(getattr(error, "exit_code", EXIT_ERROR))
    except Exception as error:  # noqa: BLE001 - the one place; see the module's docstring
        return _other_end(error)


def _run(words: list[str]) -> int:
    at = _verb_at(words)
    if at is None:
        return _without_verb(words)
    name = words[at]
    verb = VERBS.get(name)
    if verb is None:
        return _no_such_verb(name)
    if verb.passes_on:
        module = import_module(verb.module)
        return int(getattr(module, verb.function)(words[at + 1 :]))
    parser = parser_of(name, verb)
    arguments = parser.parse_args([*words[:at], *words[at + 1 :]])
    context = context_of(arguments, os.environ)
    return _carry_out(verb, arguments, context)


def _carry_out(verb: Verb, arguments: argparse.Namespace, context: Context) -> int:
    module = import_module(verb.module)
    code = int(getattr(module, verb.function)(arguments, context))
    context.out.flush()
    return code


def parser_of(name: str, verb: Verb) -> Parser:
    """Build the parser of one verb."""
    parser = Parser(
        prog=f"edged {name}",
        description=verb.help,
        epilog=verb.more or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, name)
    return parser


def _verb_at(words: Sequence[str]) -> int | None:
    """Return where the verb stands: the first word that is no option and no option's value."""
    skip = False
    for at, word in enumerate(words):
        if skip:
            skip = False
        elif word in VALUED:
            skip = True
        elif not word.startswith("-"):
            return None if word in HELP_WORDS else at
    return None


def _without_verb(words: Sequence[str]) -> int:
    if "--version" in words or "-V" in words:
        import edged

        print(f"edged {edged.__version__}")
        return EXIT_FINE
    unknown = [word for word in words if word.startswith("-") and word not in HELP_WORDS]
    if unknown and unknown[0].partition("=")[0] not in VALUED:
        _tell(f"there is no option {unknown[0]} before a verb; edged --help shows the verbs")
        return EXIT_USAGE
    asked = any(word in HELP_WORDS for word in words)
    _print_help(sys.stdout if asked else sys.stderr)
    return EXIT_FINE if asked else EXIT_USAGE


def _print_help(stream: TextIO) -> None:
    lines = ["edged keeps a VIP's static ECMP route on healthy gateways only.", ""]
    for group, title in GROUPS.items():
        lines.append(title)
        lines.extend(
            f"  {name:<{HELP_COLUMN}}{verb.help}"
            for name, verb in VERBS.items()
            if verb.group == group
        )
        lines.append("")
    lines.append("edged VERB --help shows its options. Each takes --config and --socket.")
    stream.write("\n".join(lines) + "\n")


def _no_such_verb(name: str) -> int:
    known = {*VERBS, "--version"}
    near = next((verb for verb in NEAR_MISSES.get(name.lower(), ()) if verb in known), None)
    if near is None:
        import difflib

        close = difflib.get_close_matches(name.lower(), VERBS, n=1, cutoff=0.6)
        near = close[0] if close else None
    if near is not None:
        _tell(f'there is no verb "{name}"; did you mean "edged {near}"?')
    else:
        _tell(f'there is no verb "{name}"; edged --help shows them all')
    return EXIT_USAGE


def _other_end(error: Exception) -> int:
    """End with what is wrong with the configuration, or with a bug."""
    from edged.config.errors import ConfigErrors

    if isinstance(error, ConfigErrors):
        sys.stderr.write(f"{error.render()}\n")
        return EXIT_CONFIG
    if os.environ.get("EDGED_DEBUG"):
        import traceback

        traceback.print_exception(error)
    for one in _single(error):
        what = f"{type(one).__name__}: {one}" if str(one) else type(one).__name__
        _tell(f"this is a bug in edged: {what}{_where(one)}")
    _tell("please report it; EDGED_DEBUG=1 shows the whole way there")
    return EXIT_BUG


def _single(error: BaseException) -> list[BaseException]:
    """Return the errors of a group of tasks, however deep, which alone say what happened."""
    if isinstance(error, BaseExceptionGroup):
        return [single for one in error.exceptions for single in _single(one)]
    return [error]


def _where(error: BaseException) -> str:
    """Return the last places it came through; without values, which could be secret."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_SHOWN:]
    return "".join(f"\n  at {one.filename}:{one.lineno} in {one.name}" for one in frames)


def _tell(text: str) -> None:
    try:
        sys.stderr.write(f"edged: {text}\n")
    except OSError:
        return


def _leave_pipe() -> None:
    """Whoever read us has gone: let the last flush at exit go nowhere instead of complaining."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
