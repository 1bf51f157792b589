"""The example configuration starts as shipped, once the environment says where everything is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.cli.client import Client, NoDaemon
from edged.cli.demo_gateways import ADDRESSES
from edged.cli.demo_lab import clean_environ
from tests.support.daemon import world

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_example_observes_with_only_places_and_secrets_replaced(short_tmp_path: Path) -> None:
    with world(short_tmp_path, start=False) as made:
        (lab,) = short_tmp_path.glob("*.toml")
        fingerprint = lab.read_text().partition('fingerprint = "')[2].partition('"')[0]
        port = next(iter(made.gateways.values())).port
        socket = short_tmp_path / "example.sock"
        environ = clean_environ(os.environ) | {
            "EDGED_ROUTER__ADDRESS": "127.0.0.1",
            "EDGED_ROUTER__PORT": str(made.router.port),
            "EDGED_ROUTER__PASSWORD_FILE": str(made.router.password_file),
            "EDGED_ROUTER__FINGERPRINT": fingerprint,
            "EDGED_VIP__PROBE__PORT": str(port),
            "EDGED_STATE_DIR": str(short_tmp_path / "example-state"),
            "EDGED_CONTROL_SOCKET": str(socket),
            "EDGED_WEB__LISTEN": "",
        }
        for index, address in enumerate(ADDRESSES.values()):
            environ[f"EDGED_GATEWAY__{index}__ADDRESS"] = address
        with (short_tmp_path / "example.log").open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "edged.cli.main", "run", "--config", str(EXAMPLE)],
                env=environ,
                stdout=log,
                stderr=log,
            )
        try:
            client = Client(socket, deadline_ms=5_000)

            def all_up() -> bool:
                try:
                    (vip,) = client.get("status")["vips"]
                except NoDaemon:
                    return False
                return all(
                    one["state"] == "UP" and one["in_route"] is False for one in vip["gateways"]
                )

            made.wait("three gateways are up, and none is edged's yet", all_up, 30.0)
            status = client.get("status")
            assert status["mode"] == "observe"
            assert {f["reason"] for f in status["vips"][0]["frozen"]} >= {
                "observing",
                "not_adopted",
            }
            assert made.own_writes() == []
        finally:
            daemon.terminate()
            assert daemon.wait(5.0) == 0
