"""Optional parts of the tests: programs and rights that not every machine has.

A test that needs one calls `require_part`; without the part it is skipped with a reason. In CI
(`EDGED_CI=1`) nothing may be skipped: there a missing part is a failure.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

CI: Final = os.environ.get("EDGED_CI") == "1"

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


_PARTS: Final[dict[str, Finder]] = {
    "envoy": _program("envoy", "its wheel does not exist for this platform"),
    "bird": _program("bird", "sudo apt-get install bird2"),
    "go": _program("go", "install Go 1.24 or newer to build the kube-apiserver"),
    "chromium": _program("chromium", "sudo apt-get install chromium"),
    "root-netns": _network_namespaces,
}
