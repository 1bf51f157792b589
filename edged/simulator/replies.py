"""What a command can answer: rows, an end, a wait, a followed table, or a trap."""

from dataclasses import dataclass, field

Words = dict[str, str]
"""Attribute words of one row, without the leading `=`."""


class Trap(Exception):
    """A command was refused: `!trap` with this message, then `!done`.

    Categories (MikroTik manual, API page): 0 missing item or command, 1 argument value,
    2 interrupted, 3 scripting, 4 general, 5 API, 6 TTY, 7 value of `:return`. Most recorded traps
    carry none.
    """

    def __init__(
        self,
        message: str,
        *,
        category: int | None = None,
        before: "Trap | None" = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
        self.before = before

    def sentences(self) -> list[list[str]]:
        """Return the words of the `!trap` replies; one command can draw two."""
        words = ["!trap"]
        if self.category is not None:
            words.append(f"=category={self.category}")
        words.append(f"=message={self.message}")
        return [*(self.before.sentences() if self.before else []), words]


@dataclass(frozen=True, slots=True)
class Row:
    """One `!re`."""

    words: Words

    def sentence(self) -> list[str]:
        """Return the reply's words."""
        return ["!re", *(f"={name}={value}" for name, value in self.words.items())]


@dataclass(frozen=True, slots=True)
class Empty:
    """`!empty`: a print without rows, from 7.18 on."""

    def sentence(self) -> list[str]:
        """Return the reply's words."""
        return ["!empty"]


@dataclass(frozen=True, slots=True)
class Done:
    """`!done`, with `=ret=` where the command returns a value."""

    ret: str | None = None

    def sentence(self) -> list[str]:
        """Return the reply's words."""
        return ["!done"] if self.ret is None else ["!done", f"=ret={self.ret}"]


@dataclass(frozen=True, slots=True)
class Pause:
    """The router takes this long before it goes on, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Follow:
    """From here on every change of the menu is sent, until the command is cancelled."""

    menu: str
    queries: tuple[str, ...] = ()
    proplist: tuple[str, ...] | None = None
    extra: Words = field(default_factory=dict)


Step = Row | Empty | Done | Pause | Follow
