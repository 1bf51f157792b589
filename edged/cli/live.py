"""A view that is drawn again in place, where the terminal can; plain lines where it cannot.

Leaves the terminal as it was, also after Ctrl-C: the cursor is shown again, the last view stays.
"""

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self, TextIO

from edged.cli.render import Terminal, write_lines

HIDE_CURSOR: Final = "\x1b[?25l"
SHOW_CURSOR: Final = "\x1b[?25h"
CLEAR_TO_END: Final = "\x1b[0J"
CLEAR_LINE: Final = "\x1b[K"
HEIGHT_DEFAULT: Final = 24


class LiveView:
    """Shows one text at a time; `say` puts lasting lines above it."""

    def __init__(self, stream: TextIO, terminal: Terminal) -> None:
        self._stream = stream
        self._live = terminal.live
        self._shown = 0
        self._key: str | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._write(HIDE_CURSOR)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live and kind is not BrokenPipeError:
            self._write(SHOW_CURSOR)

    def update(self, text: str, *, key: str | None = None) -> None:
        """Show a text instead of the one before.

        Args:
            text: the whole view, in lines.
            key: what the view says, without its clock: where nothing can be drawn in place, a
                view is printed again only when this changes. Default: the text.
        """
        wanted = text if key is None else key
        lines = text.rstrip("\n").split("\n")
        if not self._live:
            if wanted != self._key:
                write_lines([*([""] if self._key is not None else []), *lines], self._stream)
            self._key = wanted
            return
        height = self._height() - 1
        lines = lines[:height]
        drawn = "".join(f"{line}{CLEAR_LINE}\n" for line in lines)
        self._write(f"{self._up()}{drawn}{CLEAR_TO_END}")
        self._shown = len(lines)
        self._key = wanted

    def say(self, lines: Iterable[str]) -> None:
        """Print lines that stay, above the view; the next `update` draws it below them."""
        if self._live:
            self._write(f"{self._up()}{CLEAR_TO_END}")
            self._shown = 0
        write_lines(lines, self._stream)

    def _up(self) -> str:
        return f"\x1b[{self._shown}A\r" if self._shown else "\r"

    def _height(self) -> int:
        try:
            return max(2, os.get_terminal_size(self._stream.fileno()).lines)
        except (OSError, ValueError):
            return HEIGHT_DEFAULT

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding, "replace"))
        self._stream.flush()
