"""Verbs that set up: check-config, run, completions."""

from argparse import Namespace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from edged.cli.context import Context
from edged.cli.render import width_of, wrap

EXIT_FINE: Final = 0
EXIT_CONFIG: Final = 78


def check_config(arguments: Namespace, context: Context) -> int:
    """Check a configuration; show how fast its numbers make edged, and how often they cry wolf."""
    if arguments.print_schema:
        from edged.config.schema import render_schema

        context.out.write(render_schema())
        return EXIT_FINE
    from edged.config.errors import ConfigErrors
    from edged.config.load import load

    path = arguments.file if arguments.file is not None else context.config
    try:
        loaded = load(path, context.config_environ, check_secrets=not arguments.without_secrets)
    except ConfigErrors as errors:
        if not arguments.json:
            raise
        context.say_json(_document(str(path) if path else "", errors=errors.to_json()))
        return EXIT_CONFIG
    from edged.config.audience import audience
    from edged.config.summary import render_summary, summarize

    summaries = summarize(loaded.config)
    if arguments.json:
        document = _document(loaded.source, warnings=[w.to_json() for w in loaded.warnings])
        context.say_json({**document, "vips": [_numbers(summary) for summary in summaries]})
        return EXIT_FINE
    context.warn(warning.render(severity="warning") for warning in loaded.warnings)
    config = loaded.config
    counts = ", ".join(
        f"{count} {word}{'s' if count != 1 else ''}"
        for count, word in (
            (len(config.vips), "VIP"),
            (len(config.gateways), "gateway"),
            (len(config.routers), "router"),
        )
    )
    context.say([f"{loaded.source}: fine ({config.mode.value}: {counts})", ""])
    for line in render_summary(summaries).split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        fits = width_of(line) <= context.terminal.width
        context.say([line] if fits else _indented(line, indent, context.terminal.width))
    for sentence in audience(config):
        context.say(_indented(f"Note: {sentence}.", "", context.terminal.width))
    return EXIT_FINE


def _indented(text: str, indent: str, width: int) -> list[str]:
    return [indent + line for line in wrap(text, width - len(indent))]


def _document(
    file: str,
    *,
    errors: list[dict[str, str | int | None]] | None = None,
    warnings: list[dict[str, str | int | None]] | None = None,
) -> dict[str, Any]:
    return {
        "schema": "edged.check-config/v1",
        "file": file,
        "valid": errors is None,
        "errors": errors or [],
        "warnings": warnings or [],
        "vips": [],
    }


def _numbers(summary: Any) -> dict[str, Any]:  # noqa: ANN401 - its type would be imported too early
    found = summary.detection
    return {
        "name": summary.vip,
        "profile": summary.profile,
        "worst_detection_ms": {
            "refused": found.refused_ms,
            "silent": found.silent_ms,
            "ill": found.ill_ms,
        },
        "false_removals_per_year": [
            {"loss": one.loss, "count": one.per_year} for one in summary.false_removals
        ],
    }


def run(arguments: Namespace, context: Context) -> int:
    """Be the daemon."""
    from edged import daemon

    return daemon.run(
        config_path=context.config, once=arguments.once, environ=context.config_environ
    )


# --- completions --------------------------------------------------------------------------------

COMPLETIONS: Final = {"bash": "edged.bash", "fish": "edged.fish", "zsh": "_edged"}


def completions(arguments: Namespace, context: Context) -> int:
    """Print the completions that are shipped; shtab made them and is not needed here."""
    folder = resources.files("edged.cli") / "completions"
    context.out.write((folder / COMPLETIONS[arguments.shell]).read_text(encoding="utf-8"))
    return EXIT_FINE


def render_completions(shell: str) -> str:
    """Generate the completions of a shell anew; needs shtab."""
    import shtab

    return str(shtab.complete(_full_parser(), shell=shell)).rstrip("\n") + "\n"


def write_completions() -> None:
    """Write the shipped completions; `python -m edged.cli.setup` does it."""
    folder = Path(__file__).parent / "completions"
    folder.mkdir(exist_ok=True)
    for shell, name in COMPLETIONS.items():
        (folder / name).write_text(render_completions(shell), encoding="utf-8")


def _full_parser() -> Any:  # noqa: ANN401 - argparse's, for shtab alone
    """Build one parser of all verbs, as shtab wants it."""
    import argparse

    from edged.cli.verbs import VERBS, add_arguments

    parser = argparse.ArgumentParser(prog="edged")
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb")
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.help)
        if not verb.passes_on:
            add_arguments(one, name)
        elif name == "simulator":
            from edged.simulator.main import add_arguments as add_simulator_arguments

            add_simulator_arguments(one)
    return parser


if __name__ == "__main__":
    write_completions()
