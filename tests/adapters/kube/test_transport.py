"""The lean way into kubernetes_asyncio, and the ordinary one behind it."""

import subprocess
import sys

PROGRAM = """
import sys
from edged.kube import transport
if {broken}:
    def fail():
        sys.modules["kubernetes_asyncio"] = sys.modules["kubernetes_asyncio.client"] = sys
        raise AttributeError("laid out differently")
    transport._enter_without_init = fail
found = transport.library()
configuration = found.configuration()
configuration.host = "https://127.0.0.1"
print(len([name for name in sys.modules if name.startswith("kubernetes_asyncio")]))
"""


def modules(*, broken: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(broken=broken)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_only_configuration_and_transport_are_loaded() -> None:
    assert modules(broken=False) < 20


def test_another_layout_is_imported_as_its_authors_meant_it() -> None:
    assert modules(broken=True) > 500
