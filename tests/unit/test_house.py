"""The rules that the tools check are themselves in force."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CONTRACTS = [
    ("edged/core/health.py", "import asyncio", "The core does no I/O"),
    ("edged/core/health.py", "import edged.system", "Imports point down"),
    ("edged/core/health.py", "import edged.core.engine", "Inside the core"),
    ("edged/core/clever.py", "", "Inside the core"),
    ("edged/web/page.py", "import edged.store", "brothers never meet"),
    ("edged/simulator/wire.py", "import edged.router", "brothers never meet"),
    ("edged/stray.py", "", "Imports point down"),
    ("edged/daemon.py", "import librouteros", "librouteros lives in router"),
    ("edged/daemon.py", "import kubernetes_asyncio", "kubernetes_asyncio lives in kube"),
    ("edged/cli/client.py", "import aiohttp", "aiohttp lives in"),
    ("edged/router/session.py", "import h11", "h11 lives in probes"),
    ("edged/daemon.py", "import pydantic", "pydantic lives in config"),
    ("edged/daemon.py", "import sqlite3", "sqlite3 lives in store"),
    ("edged/router/session.py", "import structlog", "structlog lives in system"),
    ("edged/store/sqlite.py", "import prometheus_client", "prometheus_client lives in web"),
    ("edged/probes/held.py", "import h2", "no test tool"),
]


@pytest.mark.parametrize(("module", "line", "contract"), CONTRACTS)
def test_an_import_that_points_the_wrong_way_is_found(
    tmp_path: Path,
    module: str,
    line: str,
    contract: str,
) -> None:
    house = tmp_path / "edged"
    packages = ["core", "system", "config", "probes", "router", "store", "web", "simulator", "cli"]
    for package in ["", *packages]:
        (house / package).mkdir()
        (house / package / "__init__.py").touch()
    (house / "core" / "engine.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    (house / module.removeprefix("edged/")).write_text(f"{line}\n")

    linted = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "NO_COLOR": "1", "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    broken = [text for text in linted.stdout.splitlines() if text.endswith("BROKEN")]
    assert linted.returncode == 1, linted.stdout + linted.stderr
    assert any(contract in text for text in broken), linted.stdout + linted.stderr
