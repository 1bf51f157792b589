"""The daemon: wires configuration, core, sockets and people together, and decides nothing."""

from collections.abc import Mapping
from pathlib import Path


def run(*, config_path: Path | None, once: bool, environ: Mapping[str, str]) -> int:
    """Run until a signal ends it (or once), and return the exit code.

    Raises:
        ConfigErrors: the configuration cannot be used; nothing has been touched.
    """
    from edged.daemon.process import run_daemon  # noqa: PLC0415 - `edged status` must stay quick

    return run_daemon(config_path=config_path, once=once, environ=environ)


__all__ = ["run"]
