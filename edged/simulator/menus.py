"""Menus: the lists and single objects that commands read and change.

A menu holds state and renders rows; it knows no sockets, users or versions beyond what it is told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edged.simulator.replies import Trap, Words
from edged.simulator.values import read_bool, write_bool

IdList = Sequence[str]


class Menu:
    """One menu; what it does not offer is refused, not ignored."""

    single = False
    """Whether the menu is one object (`/system/identity`) and not a list."""

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        raise NotImplementedError

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        raise _not_simulated(tuple(arguments))

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        raise _not_simulated((*ids, *arguments))

    def remove(self, ids: IdList) -> None:
        """Remove the rows with these ids."""
        raise _not_simulated(tuple(ids))

    def unset(self, ids: IdList, names: Sequence[str]) -> None:
        """Take words away from the rows with these ids."""
        raise _not_simulated((*ids, *names))

    def act(self, verb: str, ids: IdList, arguments: Words) -> None:
        """Run a command that belongs to this menu alone."""
        raise _not_simulated((verb, *ids, *arguments))

    def resolve(self, ids: Iterable[str]) -> list[str]:
        """Return the ids of the rows named by id, or by name where rows have one.

        Raises:
            Trap: A row does not exist.
        """
        rows = self.rows()
        known = {row[".id"].upper(): row[".id"] for row in rows}
        names = {row["name"]: row[".id"] for row in rows if "name" in row}
        found = []
        for one in ids:
            row_id = known.get(one.upper(), names.get(one))
            if row_id is None:
                raise Trap("no such item")
            found.append(row_id)
        return found


def _not_simulated(words: Sequence[str]) -> Trap:
    return Trap(f"failure: not simulated: {' '.join(words)}")


def refuse_dynamic(verb: str) -> Trap:
    """Return the trap for a change of a dynamic row (likely wording, no full text recorded)."""
    return Trap(f"failure: can not {verb} dynamic entry")


class WordTable(Menu):
    """A list whose rows are kept as the words they were given."""

    def __init__(
        self,
        rows: Iterable[Words] = (),
        *,
        defaults: Mapping[str, str] | None = None,
        required: Sequence[str] = (),
        hidden: Sequence[str] = (),
        render: Callable[[Words], Words] | None = None,
    ) -> None:
        self._rows: list[Words] = []
        self._next_id = 1
        self._defaults = dict(defaults or {})
        self._required = required
        self._hidden = frozenset(hidden)
        self._render = render or dict
        for row in rows:
            self.put(row)

    def put(self, words: Words) -> str:
        """Add a row as it is, dynamic ones included, and return its id."""
        row_id = f"*{self._next_id:X}"
        self._next_id += 1
        self._rows.append({".id": row_id, **words})
        return row_id

    def raw(self) -> list[Words]:
        """Return the rows with their hidden words; they may be changed in place."""
        return self._rows

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        shown = (self._render(row) for row in self._rows)
        return [
            {name: value for name, value in row.items() if name not in self._hidden}
            for row in shown
        ]

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        for name in self._required:
            if name not in arguments:
                raise Trap(f"missing value(s) of argument(s) {name}")
        self._refuse_taken_name(arguments)
        words = _wire_form(arguments)
        place = self._place(words.pop("place-before", None))
        source = words.pop("copy-from", None)
        copied = {} if source is None else self._copy_of(source)
        added = self.put({**self._defaults, **copied, **words})
        self._rows.insert(place, self._rows.pop())
        return added

    def _place(self, before: str | None) -> int:
        """Return where a new row goes: before another one, or to the end."""
        if before is None:
            return len(self._rows)
        [row_id] = self.resolve([before])
        return [row[".id"] for row in self._rows].index(row_id)

    def _copy_of(self, source: str) -> Words:
        [row_id] = self.resolve([source])
        row = next(row for row in self._rows if row[".id"] == row_id)
        return {name: value for name, value in row.items() if name != ".id"}

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        for row in self._changeable(ids, "change"):
            if arguments.get("name") != row.get("name"):
                self._refuse_taken_name(arguments)
            row.update(_wire_form(arguments))

    def remove(self, ids: IdList) -> None:
        """Remove the rows with these ids."""
        for row in self._changeable(ids, "remove"):
            self._rows.remove(row)

    def unset(self, ids: IdList, names: Sequence[str]) -> None:
        """Take words away from the rows with these ids."""
        for row in self._changeable(ids, "change"):
            for name in names:
                row.pop(name, None)

    def _changeable(self, ids: IdList, verb: str) -> list[Words]:
        rows = [row for row in self._rows if row[".id"] in ids]
        if any(row.get("dynamic") == "true" for row in rows):
            raise refuse_dynamic(verb)
        return rows

    def _refuse_taken_name(self, arguments: Words) -> None:
        name = arguments.get("name")
        if name is not None and any(row.get("name") == name for row in self._rows):
            raise Trap("failure: already have such name")


def _wire_form(arguments: Words) -> Words:
    """Write flags as the API sends them back; an emptied comment is no comment."""
    words = dict(arguments)
    if "disabled" in words:
        words["disabled"] = write_bool(read_bool("disabled", words["disabled"]))
    return words


class SingleObject(Menu):
    """One object with settable words."""

    single = True

    def __init__(self, words: Words, *, shown: Callable[[str], bool] = lambda _name: True) -> None:
        self.words = words
        self._shown = shown

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return [{name: value for name, value in self.words.items() if self._shown(name)}]

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        assert not ids
        for name, value in arguments.items():
            was = self.words.get(name)
            self.words[name] = _as_before(name, value, was)


def _as_before(name: str, value: str, was: str | None) -> str:
    return write_bool(read_bool(name, value)) if was in {"true", "false"} else value


class ComputedRows(Menu):
    """A read-only list, made anew for each print."""

    def __init__(self, make: Callable[[], list[Words]], *, single: bool = False) -> None:
        self._make = make
        self.single = single

    def rows(self) -> list[Words]:
        """Return the rows as `print` sends them."""
        return self._make()
