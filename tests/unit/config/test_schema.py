"""The schema for editors says what the models say."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edged.config.layout import Kind, Shape, layout
from edged.config.schema import build_schema, main, render_schema

FILE = Path(__file__).parents[3] / "config.schema.json"


def test_the_shipped_schema_is_the_generated_one() -> None:
    assert FILE.read_text(encoding="utf-8") == render_schema()


def test_it_is_printed_and_written(tmp_path: Path, capsys: Any) -> None:  # noqa: ANN401 - pytest's
    assert main([]) == 0
    assert main([str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == capsys.readouterr().out


def resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return schema["definitions"][reference.rpartition("/")[2]] if reference else node


def properties(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    node = resolve(node, schema)
    node = resolve(node.get("items", node), schema)
    found: dict[str, Any] = {}
    for option in node.get("oneOf", [node]):
        found |= resolve(option, schema).get("properties", {})
    return found


def compare(shape: Shape, node: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    below = properties(node, schema)
    if set(below) != set(shape.keys):
        yield f"{set(below) ^ set(shape.keys)}"
    for key, kind in shape.keys.items():
        if kind.is_table:
            yield from compare(kind, below[key], schema)


def test_it_has_every_key_and_no_other() -> None:
    schema = build_schema()
    assert list(compare(layout(), schema, schema)) == []


def test_no_table_takes_unknown_keys() -> None:
    schema = build_schema()
    tables = [one for one in schema["definitions"].values() if one["type"] == "object"]
    assert len(tables) > 20
    assert all(one["additionalProperties"] is False for one in [schema, *tables])


def test_a_duration_is_text_with_a_unit() -> None:
    schema = build_schema()
    interval = schema["definitions"]["Probe"]["properties"]["interval"]
    assert (interval["type"], interval["default"]) == ("string", "1s")
    assert re.search(interval["pattern"], "150ms")
    assert not re.search(interval["pattern"], "150")


def test_every_key_explains_itself() -> None:
    schema = build_schema()
    silent = [
        f"{name}.{key}"
        for name, table in schema["definitions"].items()
        for key, node in table.get("properties", {}).items()
        if "description" not in resolve(node, schema) and "description" not in node
    ]
    assert sorted(silent) == ["Vip.canary"] or silent == []


def test_it_is_plain_json_without_null() -> None:
    text = render_schema()
    assert json.loads(text)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "null" not in text
    assert "$defs" not in text
    assert layout().kind is Kind.TABLE
