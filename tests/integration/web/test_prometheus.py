"""Prometheus' own tools on what edged ships and serves."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from edged.core.types import ProbeReason
from tests.support.documents import node2_refused
from tests.support.pages import ShownApi, probe_result, server_of
from tests.support.parts import require_part

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[3] / "deploy" / "prometheus"


def promtool(*words: str, given: str = "") -> str:
    """Run promtool; return what it says, which has to be good."""
    ran = subprocess.run(
        [require_part("promtool"), *words],
        input=given,
        cwd=DEPLOY,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


async def test_promtool_has_nothing_to_say_about_a_scrape() -> None:
    api = ShownApi(node2_refused())
    server = server_of(api)
    server._metrics.probe("node1", probe_result())
    server._metrics.probe("node2", probe_result(ProbeReason.REFUSED))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await server.stop()
    text = answer.partition("\r\n\r\n")[2]
    assert "edged_probe_duration_seconds_bucket" in text
    assert await asyncio.to_thread(promtool, "check", "metrics", given=text) == ""


def test_the_alert_rules_are_rules() -> None:
    assert "12 rules found" in promtool("check", "rules", "alerts.yml")


def test_the_alert_rules_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
