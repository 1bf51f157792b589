"""Sentences for what the models refuse.

Owns the translation from pydantic's errors: its words are for programmers and name neither what to
write nor where. A missing key and an unknown one of nearly the same name become one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edged.config.checks import closest, show
from edged.config.environment import variable_name
from edged.config.findings import Findings, KeyPath, Tree
from edged.config.layout import Kind, Shape, layout, shape_at
from edged.config.model import CHANNELS, Root
from edged.config.types import ChannelType

_TAG = 2
"""Where pydantic puts the channel's type into the place of an error."""


def validate(tree: Tree, findings: Findings, *, by_variable: bool = False) -> Root | None:
    """Return the models if every value by itself is well; else note all that is not.

    Args:
        tree: The parsed file, variables already written into it.
        findings: Where faults go.
        by_variable: There is no file, so say which variable to set.
    """
    _repair_brackets(tree, layout(), (), findings)
    try:
        return Root.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False)
    missing = [_path(detail) for detail in details if detail["type"] == "missing"]
    for detail in details:
        if detail["type"] == "extra_forbidden":
            folded = _unknown(_path(detail), missing, findings)
            if folded is not None:
                missing.remove(folded)
    for path in missing:
        _missing(path, findings, by_variable=by_variable)
    for detail in details:
        if detail["type"] not in {"missing", "extra_forbidden"}:
            _explain(detail, findings)
    return None


def dotted(path: KeyPath) -> str:
    """Write a path as people do: ``gateway[1].address``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def header(path: KeyPath) -> str:
    """Write the line that opens a table."""
    words = ".".join(part for part in path if isinstance(part, str))
    shape = shape_at(path)
    return f"[[{words}]]" if shape is not None and shape.kind is Kind.TABLES else f"[{words}]"


def _path(detail: ErrorDetails) -> KeyPath:
    place = detail["loc"]
    if place[:1] == ("channel",) and len(place) > _TAG:
        return (*place[:_TAG], *place[_TAG + 1 :])
    return place


# --- brackets -----------------------------------------------------------------------------------


def _repair_brackets(table: Tree, shape: Shape, path: KeyPath, findings: Findings) -> None:
    """Read ``[router]`` as ``[[router]]`` and the reverse, so that the rest is checked, too."""
    for key, below in shape.keys.items():
        here = (*path, key)
        value = table.get(key)
        if below.kind is Kind.TABLES and isinstance(value, dict):
            table[key] = value = [value]
            findings.error(
                here,
                "brackets",
                f"may stand there several times: write {header(here)} with double brackets",
            )
        elif below.kind is Kind.TABLE and isinstance(value, list) and value:
            table[key] = value = value[0]
            findings.error(
                here, "brackets", f"stands there once: write {header(here)} with single brackets"
            )
        if below.kind is Kind.TABLE and isinstance(value, dict):
            _repair_brackets(value, below, here, findings)
        elif below.kind is Kind.TABLES and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    _repair_brackets(item, below, (*here, index), findings)


# --- keys ---------------------------------------------------------------------------------------


def _unknown(path: KeyPath, missing: list[KeyPath], findings: Findings) -> KeyPath | None:
    """Explain an unknown key; return the missing one that was meant by it, if any."""
    key = str(path[-1])
    table = path[:-1]
    home = _home(key, table)
    if home is not None:
        findings.error(path, "misplaced_key", home)
        return None
    lacking = [str(one[-1]) for one in missing if one[:-1] == table]
    meant = closest(key, lacking)
    if meant is not None:
        findings.error(path, "unknown_key", f'unknown key, and "{meant}" is missing', hint=meant)
        return (*table, meant)
    shape = shape_at(table)
    assert shape is not None, table
    hint = closest(key, list(shape.keys))
    allowed = (
        ""
        if hint
        else f"; {header(table) if table else 'the top'} knows "
        + ", ".join(name for name, below in shape.keys.items() if table or not below.is_table)
    )
    findings.error(path, "unknown_key", f"unknown key{allowed}", hint=hint)
    return None


def _home(key: str, table: KeyPath) -> str | None:
    """Say where a key belongs that is known, only not here."""
    if table[:1] == ("channel",) and key in layout().keys["channel"].keys:
        users = [kind for kind in CHANNELS if key in _channel_keys(kind)]
        return f"is no key of this type of channel, but of {', '.join(users)}: remove it"
    for length in range(len(table) - 1, -1, -1):
        above = table[:length]
        if isinstance(above[-1] if above else None, str):
            continue  # an array of tables, not one of its items
        shape = shape_at(above)
        if shape is not None and key in shape.keys and not shape.keys[key].is_table:
            if above:
                return f"belongs to {header(above)}: move it above {header(table)}"
            return "belongs to the top of the file: move it above the first table"
    here = shape_at(table)
    for child, below in (here.keys if here else {}).items():
        if below.kind is Kind.TABLE and table and key in below.keys:
            return f"belongs to {header((*table, child))}: move it below that line"
    if not table:
        for parent, below in layout().keys.items():
            if key in below.keys and below.keys[key].is_table:
                return f"is a table of its parent: write {header((parent, key))}"
    return None


def _channel_keys(kind: ChannelType) -> Mapping[str, object]:
    return CHANNELS[kind].model_fields


def _missing(path: KeyPath, findings: Findings, *, by_variable: bool) -> None:
    shape = shape_at(path)
    example = shape.examples[0] if shape is not None and shape.examples else None
    if path[-1] == "probe" and by_variable:
        message = f"is missing: set {variable_name(path)}__SERVER_NAME"
    elif by_variable and example is not None:
        message = f"is missing: set {variable_name(path)}={example}, with your value"
    elif path[-1] == "probe":
        message = "is missing: each [[vip]] needs a [vip.probe] of its own, right below it"
    else:
        assert example is not None, path
        message = f'is missing: add {path[-1]} = "{example}", with your value'
    findings.error(path, "missing", message)


# --- values -------------------------------------------------------------------------------------


def _explain(detail: ErrorDetails, findings: Findings) -> None:
    path, value, context = _path(detail), detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "enum" | "union_tag_invalid":
            tag = context.get("tag")
            if tag is not None:
                path = (*path, "type")
                value = tag
            allowed = _words(str(context.get("expected", context.get("expected_tags", ""))))
            message = f"{show(value)} is not allowed: write {_either(allowed)}"
            hint = closest(value, allowed) if isinstance(value, str) else None
            findings.error(path, "not_allowed", message, hint=hint)
        case "union_tag_not_found":
            message = f"is missing: write type = {_either([str(kind) for kind in CHANNELS])}"
            findings.error((*path, "type"), "missing", message)
        case "bool_type":
            findings.error(
                path, "not_a_flag", f"{show(value)} is not a switch: write true or false, unquoted"
            )
        case "string_type":
            findings.error(path, "not_text", f"{show(value)} is not text: write it in quotes")
        case "list_type" if (shape := shape_at(path)) is not None and shape.is_table:
            findings.error(path, "not_a_table", f"is a table: write {header(path)} for each one")
        case "list_type":
            findings.error(
                path, "not_a_list", f"{show(value)} is not a list: write {_as_list(value)}"
            )
        case "model_type" | "model_attributes_type" | "dict_type":
            findings.error(
                path, "not_a_table", f"is a table: write {header(path)} and its keys below it"
            )
        case "too_short" | "too_long":
            low, high = context.get("min_length"), context.get("max_length")
            amount = f"exactly {low}" if path[-1] == "burst" else f"at most {high}"
            findings.error(
                path,
                "wrong_length",
                f"has {context.get('actual_length')} items: {amount} are allowed",
            )
        case _:
            # Our own sentences, and whatever pydantic may come to say in a later version.
            findings.error(path, detail["type"], detail["msg"])


def _words(expected: str) -> list[str]:
    return [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]


def _either(words: list[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[:-1] else quoted)


def _as_list(value: object) -> str:
    return f"[{show(value)}]" if isinstance(value, str | int) else 'one such as ["node1"]'


def bad_paths(findings: Findings) -> Iterator[KeyPath]:
    """Yield every path whose value has been refused."""
    for finding in findings.errors:
        if finding.code != "brackets":
            yield finding.path
