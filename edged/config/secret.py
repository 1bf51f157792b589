"""Secrets that do not show themselves, and the one place each is read from.

Owns reading a secret and hiding it. Must not keep a file's content: a session that was refused
asks again, so that a password rotated on disk is picked up without a reload.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum

SECRET_BYTES_MAX = 64 * 1024
"""Nothing that is a password, token or URL is longer; a larger file is a wrong path."""

HIDDEN = "***"


class SecretError(Exception):
    """The secret cannot be had now; the text is a sentence for people and holds no secret."""


class SecretKind(StrEnum):
    """The four places a secret may come from."""

    CREDENTIAL = "credential"
    FILE = "file"
    ENVIRONMENT = "environment"
    INLINE = "inline"


class Secret:
    """Text that is only shown when asked for by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hide ``value``."""
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not written anywhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where one secret comes from. Two sources are equal when they would read the same."""

    kind: SecretKind
    where: str
    """A path, the name of a variable, or the key in the configuration. Never the secret."""
    credential: str
    """The name ``LoadCredential=`` would give it, for messages."""
    value: Secret | None = None
    """What was found at load, for the kinds that cannot change afterwards."""

    def read(self) -> Secret:
        """Read the secret now.

        Raises:
            SecretError: It is missing, unreadable, empty, not UTF-8 or far too long.
        """
        if self.value is not None:
            return self.value
        if self.kind is SecretKind.ENVIRONMENT:
            raise SecretError(f"the environment variable {self.where} is not set")
        return Secret(read_secret_file(self.where, credential=self.credential))


def read_secret_file(path: str, *, credential: str) -> str:
    """Return a file's text without the one newline an editor leaves at its end.

    Raises:
        SecretError: As for `SecretSource.read`.
    """
    try:
        # A session asks on the event loop: a pipe that nobody fills must not keep it waiting.
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SecretError(f'"{path}" is not a plain file: write the secret into one')
            data = file.read(SECRET_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise SecretError(
            f'the file "{path}" does not exist: create it with the secret as its only line'
        ) from error
    except PermissionError as error:
        raise SecretError(
            f'the file "{path}" cannot be read by this user (uid {os.geteuid()}): let systemd '
            f"pass it with LoadCredential={credential}:{path} and leave this key out, "
            "or give the file to that user"
        ) from error
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise SecretError(f'the file "{path}" cannot be read ({reason})') from error
    if len(data) > SECRET_BYTES_MAX:
        raise SecretError(
            f'the file "{path}" is larger than {SECRET_BYTES_MAX // 1024} KiB, so it is hardly '
            "the secret: check the path"
        )
    return _decode(data, path)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _decode(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Not "from" the original: that one quotes the bytes, and they are the secret.
        raise SecretError(f'the file "{path}" is not UTF-8: write the secret as text') from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretError(f'the file "{path}" is empty: write the secret as its only line')
    return text
