"""docs/reference.md, written from the code: config keys, commands, exit codes, events.

`python -m edged.cli.reference` writes it; a test holds the two together.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edged.cli.manual import EXIT_CODES
from edged.cli.verbs import GROUPS, VERBS, add_arguments
from edged.config.schema import render_schema
from edged.core.events import EVENTS

Json = Mapping[str, Any]


def render_reference() -> str:
    """Return the whole document."""
    return "\n".join(
        [
            "# Reference",
            "",
            "Written from the code by `python -m edged.cli.reference`; a test holds the two",
            "together. Metrics: [metrics.md](metrics.md). Names here follow Semantic Versioning.",
            "",
            *_configuration(),
            *_commands(),
            *_exit_codes(),
            *_events(),
        ]
    )


def write_reference() -> None:
    """Write it into the checkout."""
    target = Path(__file__).parents[2] / "docs" / "reference.md"
    target.write_text(render_reference(), encoding="utf-8")


# --- configuration ------------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    schema: Json = json.loads(render_schema())
    yield from ("## Configuration", "", 'Durations are text with a unit: `"150ms"`, `"2s"`.', "")
    yield from ("Each key can be a variable, too: `EDGED_MODE`, `EDGED_ROUTER__ADDRESS`.", "")
    yield from _table("Top level", schema, schema)


def _table(title: str, table: Json, schema: Json) -> Iterator[str]:
    rows: list[str] = []
    deeper: list[tuple[str, Json]] = []
    for key, told in table["properties"].items():
        kinds = list(_tables(told, schema))
        for kind in kinds:
            name = f"{title.strip('[]`')}.{key}" if title != "Top level" else key
            brackets = f"`[[{name}]]`" if told.get("type") == "array" else f"`[{name}]`"
            which = kind["properties"].get("type", {}).get("const") if len(kinds) > 1 else None
            deeper.append((f'{brackets} type = "{which}"' if which else brackets, kind))
        if not kinds:
            rows.append(_row(key, told, schema, needed=key in table.get("required", ())))
    yield from (f"### {title}", "", "| key | default | meaning |", "|---|---|---|", *rows, "")
    for name, kind in deeper:
        yield from _table(name, kind, schema)


def _tables(told: Json, schema: Json) -> Iterator[Json]:
    """Yield the tables that a key holds, if it holds any."""
    items = told.get("items", told)
    for one in (items, *items.get("anyOf", ()), *items.get("oneOf", ())):
        found = _resolved(one, schema)
        if "properties" in found:
            yield found


def _resolved(told: Json, schema: Json) -> Json:
    reference = told.get("$ref")
    if reference is None:
        return told
    found: Json = schema["definitions"][str(reference).rpartition("/")[2]]
    return found


def _row(key: str, told: Json, schema: Json, *, needed: bool) -> str:
    values = _resolved(told, schema).get("enum", ())
    meaning = str(told.get("description") or _resolved(told, schema).get("description", ""))
    listed = " · ".join(f"`{value}`" for value in values)
    meaning = f"{meaning} {listed}".strip().replace("|", "\\|")
    if "default" in told:
        default = f"`{json.dumps(told['default'], ensure_ascii=False)}`"
    else:
        default = "needed" if needed else "–"
    return f"| `{key}` | {default} | {meaning} |"


# --- the rest -----------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield from ("## Commands", "")
    for group, title in GROUPS.items():
        yield from (f"### {title}", "", "| command | options | does |", "|---|---|---|")
        for name, verb in VERBS.items():
            if verb.group == group:
                options = "" if verb.passes_on else " ".join(_options(name))
                more = f". {verb.more}" if verb.more else ""
                yield f"| `edged {name}` | {options} | {verb.help}{more} |"
        yield ""


def _options(name: str) -> Iterator[str]:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser, name)
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        if {"--config", "--socket"} & set(action.option_strings):
            continue
        yield f"`{action.option_strings[0] if action.option_strings else _shown(action)}`"


def _shown(action: argparse.Action) -> str:
    metavar = action.metavar
    return metavar if isinstance(metavar, str) else action.dest.upper()


def _exit_codes() -> Iterator[str]:
    yield from ("## Exit codes", "", "| code | means |", "|---|---|")
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    yield ""


def _events() -> Iterator[str]:
    yield from ("## Events", "", "| event | usual severity | fields |", "|---|---|---|")
    for name, (severity, fields) in EVENTS.items():
        listed = ", ".join(f"`{field}`" for field in sorted(fields))
        yield f"| `{name}` | {severity.value} | {listed} |"
    yield ""


if __name__ == "__main__":
    write_reference()
