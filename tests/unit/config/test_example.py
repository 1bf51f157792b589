"""The shipped example is right, complete and true about its defaults."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.config.errors import ConfigErrors
from edged.config.findings import KeyPath
from edged.config.layout import Shape, layout
from edged.config.load import load
from edged.config.types import ChannelType, Config, Mode

FILE = Path(__file__).parents[3] / "config.example.toml"
TEXT = FILE.read_text(encoding="utf-8")

DEFAULT = re.compile(r"^# (?=[a-z_]+ = )", re.MULTILINE)
EXAMPLE = re.compile(r"^## ", re.MULTILINE)


def load_secretless(directory: Path, text: str) -> Config:
    file = directory / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {}, check_secrets=False).config


def test_as_shipped_it_lacks_one_secret_and_nothing_else() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(FILE, {})
    (error,) = caught.value.errors
    assert error.key == "router[0].password_file"
    assert error.message == (
        'the file "/etc/edged/router-password" does not exist: '
        "create it with the secret as its only line"
    )


def test_its_one_warning_is_the_placeholder() -> None:
    (warning,) = load(FILE, {}, check_secrets=False).warnings
    assert (warning.key, warning.message) == (
        "router[0].fingerprint",
        "looks like a placeholder: `edged init` prints the router's own",
    )


def test_it_never_writes() -> None:
    assert load(FILE, {}, check_secrets=False).config.mode is Mode.OBSERVE


def test_each_commented_default_is_the_default(tmp_path: Path) -> None:
    uncommented, count = DEFAULT.subn("", TEXT)
    assert count >= 50
    assert load_secretless(tmp_path, uncommented) == load_secretless(tmp_path, TEXT)


def test_a_default_that_was_changed_would_be_noticed(tmp_path: Path) -> None:
    uncommented = DEFAULT.sub("", TEXT)
    for old, new in (('"250ms"', '"251ms"'), ("rise = 3", "rise = 4"), ('"90d"', '"91d"')):
        assert old in uncommented
        changed = load_secretless(tmp_path, uncommented.replace(old, new))
        assert changed != load_secretless(tmp_path, TEXT), old


def test_with_every_example_in_force_only_secrets_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE.sub("", TEXT), encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load(file, {})
    lacking = re.findall(r'^## [a-z_]+_file = "(.*)"', TEXT, re.MULTILINE)
    secrets = {"/etc/edged/router-password", *lacking} - {"/etc/edged/router-ca.pem"}
    # The authority's file belongs to another kind of tls than the fingerprint in force.
    (conflict,) = [one for one in caught.value.errors if one.code != "secret_unreadable"]
    assert conflict.key == "router[0].ca_file"
    told = [one.message for one in caught.value.errors if one.code == "secret_unreadable"]
    assert sorted(told) == sorted(
        f'the file "{secret}" does not exist: create it with the secret as its only line'
        for secret in secrets
    )


def test_the_five_common_channels_stand_complete() -> None:
    blocks = TEXT.split("## [[channel]]")[1:]
    types = [re.findall(r'^## type = "(.*)"', block, re.MULTILINE)[0] for block in blocks]
    assert types[:5] == ["slack", "discord", "telegram", "dooray", "jandi"]
    assert all(f'"{kind}"' in TEXT for kind in ChannelType)
    for block in blocks[:5]:
        assert re.search(r"^## (url|token)_file = ", block, re.MULTILINE)
        assert re.search(r"^## min_severity = ", block, re.MULTILINE)


def section(name: str) -> str:
    """Return the part of the file about one table, from its ruler to the next."""
    heading = re.search(rf"^# ---- .*\[{name}\].*$", TEXT, re.MULTILINE)
    assert heading is not None, name
    rest = TEXT[heading.start() :]
    return re.split(r"^# ---- ", rest, flags=re.MULTILINE)[1]


def all_keys(shape: Shape, path: KeyPath = ()) -> Iterator[KeyPath]:
    for key, below in shape.keys.items():
        if below.is_table:
            yield from all_keys(below, (*path, key))
        else:
            yield (*path, key)


@pytest.mark.parametrize("path", list(all_keys(layout())), ids=".".join)
def test_every_key_stands_in_its_section(path: tuple[str, ...]) -> None:
    table = r"\.".join(path[:-1])
    text = section(table) if table else TEXT.partition("# ---- ")[0]
    # The four places of the router's password are explained at the top, for all secrets.
    text += TEXT.partition("version = 1")[0] if path[-1].startswith("password") else ""
    assert re.search(rf"(?<!\w){path[-1]}(?!\w)", text)


def test_its_first_line_names_the_schema_beside_it() -> None:
    assert TEXT.splitlines()[0] == "#:schema ./config.schema.json"
    assert (FILE.parent / "config.schema.json").is_file()


def test_its_lines_fit() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 100] == []
