"""The JSON schema that editors check the file with.

Owns ``config.schema.json``: ``python -m edged.config.schema`` prints it, ``python -m
edged.config.schema FILE`` writes it. It is generated and never edited; a test compares the two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edged.config.model import Root

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest that the TOML language servers understand in full."""


def build_schema() -> dict[str, Any]:
    """Return the schema of the whole file."""
    generated = Root.model_json_schema()
    schema = {"$schema": DIALECT, **_tidy(generated)}
    schema["title"] = "edged configuration"
    return schema


def render_schema() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Take out null, which TOML does not have, and what only repeats a key or its own table."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        ("definitions" if key == "$defs" else key): _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and (value is None or isinstance(value, dict)))
    }
    options = tidied.get("anyOf")
    if isinstance(options, list):
        options = [option for option in options if option != {"type": "null"}]
        del tidied["anyOf"]
        tidied = {**options[0], **tidied} if len(options) == 1 else {**tidied, "anyOf": options}
    description = tidied.get("description")
    if isinstance(description, str):
        tidied["description"] = " ".join(description.split())
    reference = tidied.get("$ref")
    if isinstance(reference, str):
        tidied["$ref"] = reference.replace("#/$defs/", "#/definitions/")
    # OpenAPI's word; JSON Schema needs none, since each type is a constant.
    tidied.pop("discriminator", None)
    return tidied


def main(arguments: list[str]) -> int:
    """Print the schema, or write it to the one file named."""
    if not arguments:
        sys.stdout.write(render_schema())
        return 0
    Path(arguments[0]).write_text(render_schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
