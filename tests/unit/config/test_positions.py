"""Each key of a TOML text is found where it stands."""

import tomllib

from edged.config.positions import find_positions

TEXT = '''\
# a comment = "with an equals sign"
title = "one" # and after it
"quoted key" = 'x'
dotted.name = 1
long = """
[not.a.table]
key = "no key" \\""" still long """""
raw = \'\'\'
\\\'\'\'
numbers = [
  1, # one
  [2, 3],
  {a = 4, "b.c" = "}]"},
]

[table]
  indented = 2026-11-25 02:28:08
[table.below]
deep = true
[[item]]
name = "first"
[item.sub]
x = 1
[[item.part]]
y = 1
[[item]]
  [item.sub]
  x = 2
[[item.part]]
y = 2
[[item.part]]
y = 3
'''

PLACES = {
    ("title",): (2, 1),
    ("quoted key",): (3, 1),
    ("dotted",): (4, 1),
    ("dotted", "name"): (4, 1),
    ("long",): (5, 1),
    ("raw",): (8, 1),
    ("numbers",): (10, 1),
    ("numbers", 0): (11, 3),
    ("numbers", 1): (12, 3),
    ("numbers", 1, 0): (12, 4),
    ("numbers", 1, 1): (12, 7),
    ("numbers", 2): (13, 3),
    ("numbers", 2, "a"): (13, 4),
    ("numbers", 2, "b.c"): (13, 11),
    ("table",): (16, 1),
    ("table", "indented"): (17, 3),
    ("table", "below"): (18, 1),
    ("table", "below", "deep"): (19, 1),
    ("item",): (20, 1),
    ("item", 0): (20, 1),
    ("item", 0, "name"): (21, 1),
    ("item", 0, "sub"): (22, 1),
    ("item", 0, "sub", "x"): (23, 1),
    ("item", 0, "part"): (24, 1),
    ("item", 0, "part", 0): (24, 1),
    ("item", 0, "part", 0, "y"): (25, 1),
    ("item", 1): (26, 1),
    ("item", 1, "sub"): (27, 3),
    ("item", 1, "sub", "x"): (28, 3),
    ("item", 1, "part"): (29, 1),
    ("item", 1, "part", 0): (29, 1),
    ("item", 1, "part", 0, "y"): (30, 1),
    ("item", 1, "part", 1): (31, 1),
    ("item", 1, "part", 1, "y"): (32, 1),
}


def test_every_key_item_and_header_has_its_place() -> None:
    found = {path: (one.line, one.col) for path, one in find_positions(TEXT).items()}
    assert found == PLACES


def test_the_scanner_and_tomllib_see_the_same_keys() -> None:
    def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
        below = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        here = {path} if path else set()
        return here.union(*(paths(one, (*path, key)) for key, one in below))

    assert set(find_positions(TEXT)) == paths(tomllib.loads(TEXT))


def test_escapes_in_a_quoted_key_are_read() -> None:
    text = '"caf\\u00e9 \\"x\\"" = 1\n'
    assert set(find_positions(text)) == {(key,) for key in tomllib.loads(text)}


def test_a_text_without_keys_has_no_places() -> None:
    assert find_positions("# nothing\n\n") == {}
