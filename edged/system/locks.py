"""One process per directory: a lock that goes with the process, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edged.core.errors import EdgedError

NAME: Final = "edged.lock"
_PID_BYTES_MAX: Final = 20


@contextlib.contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Hold a directory while the block runs; None, or one that cannot be written, is not held.

    Raises:
        EdgedError: Another process holds it.
    """
    descriptor = None if folder is None else _open(folder)
    if folder is None or descriptor is None:
        yield
        return
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int | None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
        raise EdgedError(
            f"another edged{f' (pid {pid})' if pid else ''} keeps its state in {folder}: stop it "
            "first, or give this one a state_dir of its own"
        ) from None
    except OSError:
        return  # a file system without locks; then nobody can tell
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
