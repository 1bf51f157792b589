"""The console grammar: which menus, commands and arguments a RouterOS version knows.

RouterOS 7 comes from one crawl per version, RouterOS 6 from the vendor's description of the same
menus and from recorded rows. A version between two crawls answers like the older one; a version
before the first crawl (7.9) like the first.

Words of the API itself (`.proplist`, `.tag`, queries, `listen`, `getall`) stand in no console
grammar and are known here. The file formats are explained inside the data files.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

from edged.simulator.replies import Trap, Words
from edged.simulator.values import check_value
from edged.simulator.versions import Version

API_ONLY_VERBS = frozenset({"listen", "getall"})
"""Commands of the API that are `print` inside."""

PRINT_VERBS = frozenset({"print", "listen", "getall"})
"""The commands that take queries and a property list."""

_TWO_TRAPS_BEFORE = Version.parse("6.43")
"""Old routers answer a misspelt path with two traps (recorded for 2013; the end is a guess)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sentence, taken apart."""

    menu: str
    verb: str
    arguments: Words = field(default_factory=dict)
    queries: tuple[str, ...] = ()
    proplist: tuple[str, ...] | None = None
    tag: str | None = None
    sentence: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Return menu and command as they were sent."""
        return f"{self.menu.rstrip('/')}/{self.verb}"

    def ids(self) -> list[str]:
        """Return the ids the sentence names, from `.id` or `numbers`; none is an empty list."""
        listed = self.arguments.get(".id", self.arguments.get("numbers", ""))
        return [one for one in listed.split(",") if one]

    def changes(self) -> Words:
        """Return the arguments that are not about which rows are meant."""
        return {
            name: value for name, value in self.arguments.items() if name not in {".id", "numbers"}
        }


def read_request(sentence: tuple[str, ...]) -> Request:
    """Take a sentence apart, without asking yet whether the router knows its words.

    Raises:
        Trap: A word has no known beginning, or an argument stands twice.
    """
    menu, _, verb = sentence[0].rpartition("/")
    arguments: Words = {}
    queries: list[str] = []
    tag = proplist = None
    for word in sentence[1:]:
        if word.startswith("?"):
            queries.append(word[1:])
        elif word.startswith(".tag="):
            tag = word.removeprefix(".tag=")
        elif word.startswith("=.proplist="):
            proplist = tuple(name for name in word.removeprefix("=.proplist=").split(",") if name)
        elif word.startswith("="):
            name, _, value = word[1:].partition("=")
            if name in arguments:
                raise Trap(f"unknown parameter {name}")
            arguments[name] = value
        else:
            raise Trap(f"unknown parameter {word}")
    return Request(
        menu=menu or "/",
        verb=verb,
        arguments=arguments,
        queries=tuple(queries),
        proplist=proplist,
        tag=tag,
        sentence=sentence,
    )


def tag_of(sentence: tuple[str, ...]) -> str | None:
    """Return the tag of a sentence, also of one that cannot be read otherwise."""
    tags = [word.removeprefix(".tag=") for word in sentence[1:] if word.startswith(".tag=")]
    return tags[-1] if tags else None


class Grammar:
    """The words one RouterOS version knows."""

    __slots__ = ("_menus", "_values", "_version")

    def __init__(
        self,
        version: Version,
        menus: Mapping[str, Mapping[str, frozenset[str]]],
        values: Mapping[str, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        self._version = version
        self._menus = menus
        self._values = values

    @staticmethod
    def for_version(version: Version) -> "Grammar":
        """Return the grammar of a version."""
        return _load(version)

    @property
    def menus(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """Menu -> command -> arguments, for this version alone."""
        return self._menus

    def knows(self, menu: str, verb: str, argument: str | None = None) -> bool:
        """Tell whether a command, or one of its arguments, exists."""
        arguments = self._menus.get(menu, {}).get(verb)
        if arguments is None:
            return False
        return argument is None or argument in arguments

    def check(self, request: Request) -> None:
        """Hold a sentence against the grammar.

        Raises:
            Trap: Menu, command, argument or value is not known, or an id is missing.
        """
        self._check_path(request)
        verb = "print" if request.verb in API_ONLY_VERBS else request.verb
        known = self._menus[request.menu][verb]
        if request.verb == "listen" and "follow-only" not in known:
            raise Trap("unknown parameter follow-only")
        is_print = request.verb in PRINT_VERBS
        if not is_print and request.queries:
            raise Trap(f"unknown parameter ?{request.queries[0]}")
        if not is_print and request.proplist is not None and "proplist" not in known:
            raise Trap("unknown parameter .proplist")
        for name, value in request.arguments.items():
            self._check_argument(request, known, name, value)
        if "numbers" in known and not request.ids():
            raise Trap("missing =.id=")

    def _check_path(self, request: Request) -> None:
        verbs = self._menus.get(request.menu)
        if verbs is None:
            raise self._no_such_menu(request.menu)
        asked = "print" if request.verb in API_ONLY_VERBS else request.verb
        if asked not in verbs:
            raise Trap("no such command")

    def _no_such_menu(self, menu: str) -> Trap:
        if self._version >= _TWO_TRAPS_BEFORE:
            return Trap("no such command prefix")
        unknown = menu.rstrip("/").rpartition("/")[2]
        first = Trap(f"no such command or directory ({unknown})", category=0)
        return Trap("no such command prefix", before=first)

    def _check_argument(
        self, request: Request, known: frozenset[str], name: str, value: str
    ) -> None:
        if name == "where" or (name not in known and not _is_id_word(name, known)):
            raise Trap(f"unknown parameter {name}")
        kind = self._values.get(request.menu, {}).get(name)
        if kind is None:
            kind = self._values.get(request.path, {}).get(name)
        if kind is not None and request.verb not in PRINT_VERBS:
            check_value(name, value, kind)


def _is_id_word(name: str, known: frozenset[str]) -> bool:
    """`.id` is how the API spells `numbers` and `number`; print's `from` is not an id word."""
    return name == ".id" and bool(known & {"numbers", "number"})


@functools.cache
def _load(version: Version) -> Grammar:
    data = _data(f"grammar-v{6 if version.is_v6 else 7}.json")
    crawled = [Version.parse(text) for text in data["crawled"]]
    answers_like = max((one for one in crawled if one <= version), default=crawled[0])
    menus = {
        menu: verbs
        for section in ("menus", "unlisted")
        for menu, entry in data.get(section, {}).items()
        if (verbs := _verbs(entry, answers_like))
    }
    return Grammar(version, MappingProxyType(menus), data["values"])


@functools.cache
def _data(name: str) -> dict[str, Any]:
    file = resources.files("edged.simulator").joinpath("data", name)
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _verbs(entry: Mapping[str, list[str]], version: Version) -> dict[str, frozenset[str]]:
    verbs = {}
    for spelled, arguments in entry.items():
        verb = _if_there(spelled, version)
        if verb is not None:
            found = (_if_there(argument, version) for argument in arguments)
            verbs[verb] = frozenset(name for name in found if name is not None)
    return verbs


def _if_there(spelled: str, version: Version) -> str | None:
    """Read `name:first-last` and return the name if the version lies between."""
    name, colon, span = spelled.partition(":")
    if not colon:
        return name
    first, _, last = span.partition("-")
    if first and version < Version.parse(first):
        return None
    return None if last and version > Version.parse(last) else name
