"""Keeps secrets out of everything people and machines read.

Owns the list of registered secrets. A value is hidden wherever it occurs; a URL keeps its scheme,
its host and four characters, because chat webhooks carry their secret in the path.
"""

import re
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"

SECRET_CHARACTERS_MIN: Final = 4
"""A shorter secret is hidden only where it is the whole value: hiding each "a" helps nobody."""

URL_TAIL_CHARACTERS: Final = 4
URL_TAIL_FROM_CHARACTERS: Final = 16
"""Of a shorter path or query no tail is shown: it would be too much of the secret."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s\"'<>]+)")
_HOST_END: Final = re.compile(r"[/?#]")


def cut_url(url: str) -> str:
    """Return scheme, host and the last four characters of a URL; without user and password."""
    return _URL.sub(_cut_match, url)


def _cut_match(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    host, path = _split_host(rest)
    port = host.rpartition(":")[2]
    if "@" in path and ":" in host and not (port.isdecimal() or port.endswith("]")):
        # A password with a slash in it, not quoted as it should be: none of it may be shown.
        host, path = _split_host(rest.rpartition("@")[2])
    if path in ("", "/"):
        return f"{scheme}://{host}{path}"
    tail = path[-URL_TAIL_CHARACTERS:] if len(path) >= URL_TAIL_FROM_CHARACTERS else ""
    return f"{scheme}://{host}/…{tail}"


def _split_host(rest: str) -> tuple[str, str]:
    end = _HOST_END.search(rest)
    host, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    return host.rpartition("@")[2], path


class Redactor:
    """Hides registered secrets and cuts URLs, in text and inside lists and mappings."""

    __slots__ = ("_inside", "_whole")

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._inside: tuple[str, ...] = ()

    def hide(self, secret: str) -> None:
        """Register a secret. It stays hidden for the life of the process, also after a rotation."""
        if not secret:
            return
        self._whole.add(secret)
        written = {secret, quote(secret, safe=""), secret.encode("unicode_escape").decode("ascii")}
        wanted = {text for text in written if len(text) >= SECRET_CHARACTERS_MIN}
        # The longest first: a secret that contains another must not leave its rest behind.
        self._inside = tuple(sorted({*self._inside, *wanted}, key=lambda text: (-len(text), text)))

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        if text in self._whole:
            return HIDDEN
        for secret in self._inside:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return cut_url(text) if "://" in text else text

    def value(self, value: object) -> object:
        """Return a log field's value without secrets, of the same shape."""
        match value:
            case bool() | int() | float() | None:
                return value
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(inner) for inner in value]
            case _:
                return self.text(str(value))
