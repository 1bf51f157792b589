"""One control plane for all tests here; each test fills it anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kube_plane import ControlPlane, control_plane
from tests.support.kube_world import populate
from tests.support.parts import require_part


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane for the tests of one module."""
    binaries = require_part("kube-apiserver")
    with control_plane(binaries, tmp_path_factory.mktemp("plane") / "run") as plane:
        yield plane


@pytest.fixture
def plane(shared_plane: ControlPlane) -> ControlPlane:
    """Return the control plane with three nodes, their Pods and the VIP's Service."""
    populate(shared_plane)
    return shared_plane


@pytest.fixture
def kubeconfig(shared_plane: ControlPlane, tmp_path: Path) -> Path:
    """Return an administrator's kubeconfig."""
    return shared_plane.kubeconfig(tmp_path)
