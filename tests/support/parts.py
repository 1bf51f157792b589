"""Optional parts of the tests: programs and rights that not every machine has.

A test that needs one calls `require_part`; without the part it is skipped with a reason. In CI
(`EDGED_CI=1`) nothing may be skipped: there a missing part is a failure.
"""

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

CI: Final = os.environ.pop("EDGED_CI", "") == "1"
"""Taken out of the environment: edged itself refuses variables that it does not know."""

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"


def require_part(name: str) -> str:
    """Return the path of the part `name`, or skip the calling test (fail it in CI).

    Raises:
        ValueError: no such part is known.
    """
    try:
        finder = _PARTS[name]
    except KeyError:
        raise ValueError(f"unknown part {name!r}; known: {', '.join(sorted(_PARTS))}") from None
    found, reason = finder()
    if found is not None:
        return found
    if CI:
        pytest.fail(f"CI must have every part, but {reason}", pytrace=False)
    pytest.skip(reason)


Finder = Callable[[], tuple[str | None, str]]


def _program(program: str, advice: str) -> Finder:
    def find() -> tuple[str | None, str]:
        beside_python = str(Path(sys.executable).parent)
        path = os.pathsep.join([beside_python, os.environ.get("PATH", os.defpath), _SYSTEM_PATH])
        return shutil.which(program, path=path), f"there is no {program}: {advice}"

    return find


@functools.cache
def _network_namespaces() -> tuple[str | None, str]:
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        return None, "network namespaces need root and the program unshare"
    tried = subprocess.run(
        [unshare, "--net", "ip", "link", "set", "lo", "up"],
        check=False,
        capture_output=True,
        text=True,
        timeout=10,
    )
    if tried.returncode != 0:
        return None, f"this machine forbids network namespaces: {tried.stderr.strip()}"
    return unshare, ""


@functools.cache
def _first_process() -> tuple[str | None, str]:
    nspawn = shutil.which("systemd-nspawn")
    if os.geteuid() != 0 or nspawn is None:
        return None, "a machine of its own needs root and systemd-nspawn (apt: systemd-container)"
    return nspawn, ""


def _api_server() -> tuple[str | None, str]:
    """Find the folder with kube-apiserver and etcd: $KUBEBUILDER_ASSETS, else what we built."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    root = Path(__file__).parents[2]
    folder = Path(named) if named else root / ".cache" / "kube-apiserver" / "current"
    for name in ("kube-apiserver", "etcd"):
        if not os.access(folder / name, os.X_OK):
            advice = "correct KUBEBUILDER_ASSETS" if named else "build it: make ci-parts (needs Go)"
            return None, f"there is no {name} in {folder}: {advice}"
    if not named and _built_from(folder) != _sources(root / "tests" / "kube" / "apiserver"):
        return None, f"{folder} was built from other sources: make ci-parts (needs Go)"
    return str(folder), ""


def _built_from(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / "sources.sha256").read_text().splitlines()
    except OSError:
        return {}
    return {name: digest for digest, name in (line.split() for line in lines)}


def _sources(folder: Path) -> dict[str, str]:
    names = ["build", "go.mod", "go.sum", "cmd/etcd/main.go", "cmd/kube-apiserver/main.go"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _browser() -> tuple[str | None, str]:
    """Chromium is the system's; Playwright, which drives it, is a Python package."""
    if importlib.util.find_spec("playwright") is None:
        return None, "there is no playwright: make ci-parts"
    return _program("chromium", "sudo apt-get install chromium")()


def _axe() -> tuple[str | None, str]:
    script = Path(__file__).parents[2] / ".cache/axe/node_modules/axe-core/axe.min.js"
    return (str(script), "") if script.exists() else (None, "there is no axe-core: make ci-parts")


_PARTS: Final[dict[str, Finder]] = {
    "envoy": _program("envoy", "its wheel does not exist for this platform"),
    "bird": _program("bird", "sudo apt-get install bird2"),
    "systemd-nspawn": _first_process,
    "systemd-analyze": _program("systemd-analyze", "sudo apt-get install systemd"),
    "curl": _program("curl", "sudo apt-get install curl"),
    "docker-compose": _program("docker-compose", "sudo apt-get install docker-compose"),
    "groff": _program("groff", "sudo apt-get install groff-base"),
    "faketime": _program("faketime", "sudo apt-get install faketime"),
    "strace": _program("strace", "sudo apt-get install strace"),
    "go": _program("go", "install Go 1.24 or newer to build the kube-apiserver"),
    "kube-apiserver": _api_server,
    "axe": _axe,
    "chromium": _browser,
    "promtool": _program("promtool", "sudo apt-get install prometheus"),
    "root-netns": _network_namespaces,
}
