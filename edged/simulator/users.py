"""Users, groups and what their policies allow.

Source: MikroTik manual, page "User"; recorded rows of `/user/print`.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from edged.simulator.menus import IdList, WordTable
from edged.simulator.replies import Trap, Words
from edged.simulator.values import mismatch

DEFAULT_POLICIES = frozenset({"read", "write", "test", "api"})
"""What edged asks for: route reads and writes, ping, and the API itself."""

POLICIES = (
    "local",
    "telnet",
    "ssh",
    "ftp",
    "reboot",
    "read",
    "write",
    "policy",
    "test",
    "winbox",
    "password",
    "web",
    "sniff",
    "sensitive",
    "api",
    "romon",
)
"""All policies, in the order a group shows them."""

FULL = frozenset(POLICIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user of the router."""

    name: str
    password: str = ""
    policies: frozenset[str] = DEFAULT_POLICIES
    address: str = ""
    """Networks the user may come from, comma separated; empty means any."""


class GroupMenu(WordTable):
    """`/user/group`: a list of policies only adds; `!name` takes one away."""

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        words = dict(arguments)
        words["policy"] = _written(_merged(frozenset(), words.get("policy", "")))
        return super().add({"skin": "default", **words})

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        words = dict(arguments)
        asked = words.pop("policy", None)
        super().set(ids, words)
        if asked is None:
            return
        for row in self.raw():
            if row[".id"] in ids:
                row["policy"] = _written(_merged(_read(row["policy"]), asked))


def _read(written: str) -> frozenset[str]:
    return frozenset(word for word in written.split(",") if word and not word.startswith("!"))


def _merged(held: frozenset[str], asked: str) -> frozenset[str]:
    words = [word for word in asked.split(",") if word]
    added = frozenset(word for word in words if not word.startswith("!"))
    taken = frozenset(word[1:] for word in words if word.startswith("!"))
    return (held | added) - taken


def _written(policies: frozenset[str]) -> str:
    return ",".join(name if name in policies else f"!{name}" for name in POLICIES)


class UserMenu(WordTable):
    """`/user`; the password is never shown."""

    def __init__(self, groups: GroupMenu) -> None:
        super().__init__(
            required=("name", "group"),
            defaults={"address": "", "disabled": "false"},
            hidden=("password",),
        )
        self._groups = groups

    def add(self, arguments: Words) -> str:
        """Add a row and return its id."""
        self._check_group(arguments)
        return super().add(arguments)

    def set(self, ids: IdList, arguments: Words) -> None:
        """Change the rows with these ids."""
        self._check_group(arguments)
        super().set(ids, arguments)

    def _check_group(self, arguments: Words) -> None:
        names = {row["name"] for row in self._groups.raw()}
        if "group" in arguments and arguments["group"] not in names:
            raise mismatch("group")


class UserBook:
    """Who may log in, and what they may do afterwards."""

    def __init__(self, users: Iterable[User]) -> None:
        self.groups = GroupMenu()
        for name, policies in (
            ("read", FULL - {"ftp", "write", "policy", "sensitive"}),
            ("write", FULL - {"ftp", "policy", "sensitive"}),
            ("full", FULL),
        ):
            self._put_group(name, policies)
        self.menu = UserMenu(self.groups)
        self.menu.put(_user_words(User(name="admin"), "full") | {"comment": "system default user"})
        self.replace(users)

    def replace(self, users: Iterable[User]) -> None:
        """Put these users in, each with a group of its own name; others stay."""
        for user in users:
            self._forget(user.name)
            self._put_group(user.name, user.policies)
            self.menu.put(_user_words(user, user.name))

    def _put_group(self, name: str, policies: frozenset[str]) -> None:
        self.groups.put({"name": name, "policy": _written(policies), "skin": "default"})

    def _forget(self, name: str) -> None:
        for table in (self.menu, self.groups):
            table.remove([row[".id"] for row in table.raw() if row["name"] == name])

    def password_of(self, name: str) -> str | None:
        """Return the password, or None for a user that does not exist or is switched off."""
        row = self._row(name)
        return None if row is None or row["disabled"] == "true" else row.get("password", "")

    def admits(self, name: str, *, source: str) -> bool:
        """Tell whether the user may use the API, from this address."""
        row = self._row(name)
        if row is None or "api" not in self.policies(name):
            return False
        networks = [one for one in row.get("address", "").split(",") if one]
        return not networks or any(
            ipaddress.ip_address(source) in ipaddress.ip_network(one, strict=False)
            for one in networks
        )

    def note_login(self, name: str, when: str) -> None:
        """Remember when a user came in last, which its row shows."""
        row = self._row(name)
        if row is not None:
            row["last-logged-in"] = when

    def policies(self, name: str) -> frozenset[str]:
        """Return what the user may do; nothing if there is no such user any more."""
        row = self._row(name)
        if row is None:
            return frozenset()
        for group in self.groups.raw():
            if group["name"] == row["group"]:
                return _read(group["policy"])
        return frozenset()

    def _row(self, name: str) -> Words | None:
        return next((row for row in self.menu.raw() if row["name"] == name), None)


def _user_words(user: User, group: str) -> Words:
    return {
        "name": user.name,
        "group": group,
        "address": user.address,
        "disabled": "false",
        "password": user.password,
    }


_READ_VERBS = {"print", "listen", "getall", "get", "find"}
_TEST_COMMANDS = {"/ping", "/tool/ping"}


def require(policies: frozenset[str], menu: str, verb: str, path: str) -> None:
    """Refuse a command that the policies do not cover.

    Raises:
        Trap: `not enough permissions (9)`, as recorded.
    """
    if path in _TEST_COMMANDS:
        needed = "test"
    elif verb in _READ_VERBS:
        needed = "read"
    elif menu in {"/user", "/user/group", "/user/active"}:
        needed = "policy"
    else:
        needed = "write"
    if needed not in policies:
        raise Trap("not enough permissions (9)")
