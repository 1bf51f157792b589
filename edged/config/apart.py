"""Loading in a process of its own: pydantic stays there, and no event loop waits for it.

Checking a file takes pydantic's models, some 15 MB that a daemon would carry for ever, and half a
second, in which a reload would stall the probes. So a short-lived child reads and checks, and hands
the finished values over a pipe. Where no child can be started, the caller does it itself.
"""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edged.config.errors import ConfigError, ConfigErrors
from edged.config.loaded import Loaded
from edged.config.secret import Secret

DEADLINE_S: Final = 20.0
"""A slow machine takes two seconds; a hung disk must not take for ever."""


class _Pickler(pickle.Pickler):
    """Lets a secret through this one pipe; everywhere else it refuses to be written."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - as pickle has it
        if isinstance(obj, Secret):
            return Secret, (obj.reveal(),)
        return NotImplemented


class Loading:
    """A child process that reads and checks the configuration while its parent does other things.

    A start imports what the daemon is made of meanwhile, which takes as long.
    """

    __slots__ = ("_child", "_environ", "_path")

    def __init__(self, path: Path | str | None, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._child: subprocess.Popen[bytes] | None = None
        words = [] if path is None else [os.fspath(path)]
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "edged.config.apart", *words],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return

    def result(self) -> Loaded:
        """Wait for the outcome; to be asked once.

        Raises:
            ConfigErrors: the configuration cannot be used, for each of its reasons.
        """
        try:
            outcome = pickle.loads(self._wait())  # noqa: S301 - written by our own child
        except (OSError, subprocess.SubprocessError, pickle.UnpicklingError, EOFError):
            return _load_here(self._path, self._environ)
        if isinstance(outcome, Loaded):
            return outcome
        raise ConfigErrors(outcome)

    def _wait(self) -> bytes:
        if self._child is None:
            raise EOFError
        with self._child as child:
            try:
                written, _ = child.communicate(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        if child.returncode != 0:
            raise EOFError
        return written


def load_apart(path: Path | str | None, environ: Mapping[str, str]) -> Loaded:
    """Find, read and check the configuration in a child process.

    Raises:
        ConfigErrors: the configuration cannot be used, for each of its reasons.
    """
    return Loading(path, environ).result()


def _load_here(path: Path | str | None, environ: Mapping[str, str]) -> Loaded:
    from edged.config.load import load  # noqa: PLC0415 - brings pydantic along

    return load(path, environ)


def main() -> int:
    """Load what the arguments and the environment name, and write the outcome to the pipe."""
    path = sys.argv[1] if len(sys.argv) > 1 else None
    outcome: Loaded | tuple[ConfigError, ...]
    try:
        outcome = _load_here(path, os.environ)
    except ConfigErrors as errors:
        outcome = tuple(errors.errors)
    written = io.BytesIO()
    _Pickler(written, protocol=pickle.HIGHEST_PROTOCOL).dump(outcome)
    sys.stdout.buffer.write(written.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
