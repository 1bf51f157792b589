"""The container files: what they name exists, and what they set is understood.

The image itself is built and tried by `make container`.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from edged.config.load import load
from tests.support.parts import require_part
from tests.unit.config.files import WELL

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()


def compose() -> dict[str, Any]:
    service = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["edged"]
    assert isinstance(service, dict)
    return service


def variables() -> dict[str, dict[str, str]]:
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/deployment.yaml").read_text())
    deployment = next(one for one in documents if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {
        "compose": compose()["environment"],
        "kubernetes": {one["name"]: one["value"] for one in container["env"]},
    }


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_the_variables_are_understood_and_the_password_is_found(where: str, tmp_path: Path) -> None:
    text = WELL.replace('password_env = "HEX_PASSWORD"\n', "")
    (tmp_path / "config.toml").write_text(text)
    (tmp_path / "router-password").write_text("secret")
    environ = variables()[where] | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert environ.pop("EDGED_CONFIG") == "/etc/edged/config.toml"
    loaded = load(tmp_path / "config.toml", environ)
    assert loaded.config.routers[0].password.read().reveal() == "secret"
    assert str(loaded.config.control_socket) == "/run/edged/control.sock"
    assert str(loaded.config.state_dir) == "/var/lib/edged"


def test_variables_alone_configure_everything() -> None:
    environ = {
        "EDGED_ROUTER__NAME": "hex",
        "EDGED_ROUTER__ADDRESS": "172.30.1.1",
        "EDGED_ROUTER__USERNAME": "edged",
        "EDGED_ROUTER__PASSWORD": "secret",
        "EDGED_ROUTER__TLS": "pin",
        "EDGED_ROUTER__FINGERPRINT": "sha256:" + "5a" * 32,
        "EDGED_GATEWAY__0__NAME": "node1",
        "EDGED_GATEWAY__0__ADDRESS": "172.30.1.20",
        "EDGED_GATEWAY__1__NAME": "node2",
        "EDGED_GATEWAY__1__ADDRESS": "172.30.1.70",
        "EDGED_VIP__NAME": "web",
        "EDGED_VIP__ADDRESS": "172.30.1.7/32",
        "EDGED_VIP__PROBE__SERVER_NAME": "edged-probe.example.test",
    }
    loaded = load(None, environ)
    assert loaded.source == "environment"
    assert [one.name for one in loaded.config.gateways] == ["node1", "node2"]


def test_the_image_copies_what_there_is_and_installs_by_hash_only() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    installs = re.findall(r"pip install .*--requirement \S+", CONTAINERFILE)
    assert len(installs) == 2
    assert all("--require-hashes" in one for one in installs)
    assert "http" not in re.sub(r"^#.*$", "", CONTAINERFILE, flags=re.MULTILINE)


def test_the_bill_of_materials_lists_what_is_installed() -> None:
    script = ROOT / "scripts/sbom"
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, timeout=30)
    components = {one["name"]: one for one in json.loads(done.stdout)["components"]}
    for name in ("aiohttp", "librouteros", "h11"):
        assert components[name]["version"] == version(name)
        assert components[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert components["edged"]["type"] == "application"


@pytest.mark.parametrize("wrong", [False, True])
def test_compose_itself_understands_every_key(tmp_path: Path, *, wrong: bool) -> None:
    text = (ROOT / "deploy/compose.yaml").read_text()
    file = tmp_path / "compose.yaml"
    file.write_text(text.replace("read_only:", "readonly:") if wrong else text)
    done = subprocess.run(
        [require_part("docker-compose"), "--file", str(file), "config", "--quiet"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode != 0) is wrong, done.stderr
    assert ("services.edged: 'readonly'" in done.stderr) is wrong


def test_nothing_runs_as_root_and_the_root_is_read_only() -> None:
    assert re.search(r"^USER 65532:65532$", CONTAINERFILE, re.MULTILINE)
    service = compose()
    assert service["user"] == "65532:65532"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_a_shutdown_never_waits_for_edged(tmp_path: Path) -> None:
    """The script ends well, whatever edged does, and asks what it says it asks."""
    asked = tmp_path / "asked"
    fake = tmp_path / "edged"
    fake.write_text(f'#!/bin/sh\necho "$@" > {asked}\nexit 1\n')
    fake.chmod(0o755)
    script = ROOT / "deploy/sidecar/prestop.sh"
    done = subprocess.run(
        ["sh", str(script), "node2"],
        check=False,
        capture_output=True,
        text=True,
        env={"EDGED": str(fake), "PATH": "/usr/bin:/bin"},
        timeout=10,
    )
    assert done.returncode == 0
    assert "did not take node2 out" in done.stderr
    assert asked.read_text().startswith("drain node2 --reason shutdown of node2 --for 30m --wait")
