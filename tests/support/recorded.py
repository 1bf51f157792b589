"""The recorded replies and the console grammar in tests/data/routeros, as plain values."""

import json
import re
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "data" / "routeros"


def replies(*commands: str) -> list[dict[str, Any]]:
    """Return the recorded replies of these commands that hold rows."""
    recorded = json.loads((_FOLDER / "replies.json").read_text())["replies"]
    return [one for one in recorded if one["command"] in commands and one["rows"]]


def schema() -> dict[str, Any]:
    """Return the console grammar."""
    loaded: dict[str, Any] = json.loads((_FOLDER / "schema.json").read_text())
    return loaded


def version_key(text: str) -> tuple[int, ...]:
    """Order `7.9.2` before `7.10`."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def repository_file(path: str) -> str:
    """Return a file of the repository as text."""
    return (_FOLDER.parent.parent.parent / path).read_text()
