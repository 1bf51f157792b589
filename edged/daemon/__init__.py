"""The daemon: wires configuration, core, sockets and people together, and decides nothing."""

from collections.abc import Mapping
from pathlib import Path


def run(*, config_path: Path | None, once: bool, environ: Mapping[str, str]) -> int:
    """Run until a signal ends it (or once), and return the exit code.

    Raises:
        ConfigErrors: the configuration cannot be used; nothing has been touched.
    """
    # All imports here, for `edged status` must stay quick.
    from edged.config.apart import Loading  # noqa: PLC0415

    loading = Loading(config_path, environ)
    from edged.daemon.process import run_daemon  # noqa: PLC0415

    return run_daemon(config_path=config_path, once=once, environ=environ, loading=loading)


__all__ = ["run"]
