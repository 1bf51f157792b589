"""The read-only server of a whole edged: it shows what happened, and nobody waits for it."""

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import World, world

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, str]:
    """Ask the server; status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except urllib.error.URLError as error:
        return 0, str(error)


def sample(port: int, series: str) -> float | None:
    """Return one sample of a scrape."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", get(port, "/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else None


def log_lines(w: World, name: str) -> list[dict[str, Any]]:
    lines = (w.folder / "edged.log").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in read if line["event"] == name]


def test_page_api_and_metrics_tell_one_story_and_remember_it_after_a_restart(
    short_tmp_path: Path,
) -> None:
    port = free_port()
    with world(short_tmp_path, settings={"listen": f"127.0.0.1:{port}"}) as w:
        w.wait("ready", lambda: get(port, "/readyz")[0] == 200, 10)
        w.wait_settled()
        w["node2"].kill()
        w.wait("it leaves", lambda: w.in_route() == ["node1", "node3"])
        w.wait("it is read back", lambda: "read back as written" in get(port, "/")[1])

        assert "node2 out of the route · 2 of 3 left" in get(port, "/")[1]
        status = json.loads(get(port, "/api/v1/status")[1])
        assert status["schema"] == "edged.status/v1"
        assert status["vips"][0]["observed"] == {"hex": ["node1", "node3"]}
        events = json.loads(get(port, "/api/v1/events?names=gateway.went_down")[1])["events"]
        assert [one["fields"]["gateway"] for one in events] == ["node2"]
        assert sample(port, 'edged_gateway_healthy{gateway="node2",vip="web"}') == 0
        assert sample(port, 'edged_route_gateways{kind="actual",router="hex",vip="web"}') == 2
        down = 'edged_gateway_transitions_total{gateway="node2",to="down"}'
        assert sample(port, down) == 1
        assert sample(port, "edged_detection_seconds_count") == 1
        passed = 'edged_probe_duration_seconds_count{check="connect",gateway="node1"}'
        assert (sample(port, passed) or 0) > 0
        read = sample(port, 'edged_last_reconcile_timestamp_seconds{router="hex",vip="web"}')
        assert abs((read or 0) - time.time()) < 10

        w.daemon.child.send(signal.SIGKILL)
        w.daemon.child.wait(5)
        w.start_daemon()
        w.wait("it is back", lambda: get(port, "/readyz")[0] == 200, 10)
        words = "took node2 out of the route on hex"
        w.wait("the past is back", lambda: words in get(port, "/")[1])


def test_a_taken_port_is_said_once_and_had_as_soon_as_it_is_free(short_tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with world(short_tmp_path, settings={"listen": f"127.0.0.1:{port}"}) as w:
            w.wait_settled()
            w["node2"].kill()
            w.wait("the route is kept all the same", lambda: w.in_route() == ["node1", "node3"])
            told = log_lines(w, "web.unavailable")
            assert len(told) == 1
            assert f"127.0.0.1:{port}" in told[0]["detail"]
            taken.close()
            w.wait("the page comes", lambda: get(port, "/healthz")[0] == 200, 15)


def test_a_reload_changes_the_language_of_the_page(short_tmp_path: Path) -> None:
    port = free_port()
    listen = f"127.0.0.1:{port}"
    with world(short_tmp_path, settings={"listen": listen}) as w:
        w.wait("it is there", lambda: get(port, "/")[0] == 200, 10)
        assert '<html lang="en">' in get(port, "/")[1]
        w.configure(listen=listen, language="ko")
        w.daemon.child.send(signal.SIGHUP)
        w.wait("it speaks Korean", lambda: '<html lang="ko">' in get(port, "/")[1])
        assert sample(port, "edged_config_last_reload_successful") == 1
