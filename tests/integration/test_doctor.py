"""`doctor` in a whole small world: what is fine is called fine, what is broken gets its fix."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.demo_lab import VIP, Daemon, Folder
from edged.cli.main import main
from tests.support.daemon import World, world

pytestmark = pytest.mark.integration


@pytest.fixture
def w(request: pytest.FixtureRequest) -> Iterator[World]:
    version = getattr(request, "param", "6.49.10")
    with Folder("edged-t-") as folder, world(folder, routeros=version, start=False) as made:
        yield made


def examine(
    w: World, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    code = main(["doctor", "--json", "--config", str(w.daemon.config), *words])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edged.doctor/v1"
    return code, document["checks"]


def texts(checks: list[dict[str, Any]], level: str) -> str:
    return "\n".join(f"{one['text']} [{one['fix']}]" for one in checks if one["level"] == level)


@pytest.mark.parametrize("w", ["6.49.10", "7.16.2"], indirect=True)
def test_a_healthy_world_has_nothing_wrong_and_nothing_is_written(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    code, checks = examine(w, capsys)
    assert texts(checks, "fail") == ""
    assert code == 0
    fine = texts(checks, "ok")
    assert "valid, mode enforce" in fine
    assert "group" in fine
    assert "has read, write, api and test" in fine
    for number in (1, 2, 3):
        assert f"BGP with node{number} is established" in fine
    assert fine.count("TCP, TLS as edged-probe.example.test, HTTP 404") == 3
    known = texts(checks, "warn")
    assert "is there, without edged's mark" in known
    assert "no daemon answers" in known
    assert w.router.writes() == []


def test_each_broken_assumption_is_found_and_has_a_fix(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    w["node2"].child.end()
    node1 = {"to-addresses": "127.0.20.1", "to-ports": str(w["node1"].port)}
    rule = {"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "8443"}
    w.router.ask(do="edit", path="/ip/firewall/nat/add", words=rule | node1 | {"comment": "short"})
    users = w.router.ask(do="rows", menu="/user")["rows"]
    (group,) = [row["group"] for row in users if row["name"] == "edged"]
    rows = w.router.ask(do="rows", menu="/user/group")["rows"]
    (row_id,) = [row[".id"] for row in rows if row["name"] == group]
    change = {".id": row_id, "policy": "!test,ssh"}
    w.router.ask(do="edit", path="/user/group/set", words=change)
    code, checks = examine(w, capsys)
    assert code == 1
    wrong = texts(checks, "fail")
    assert "refused" in wrong
    assert "edged probe node2 --trace" in wrong
    assert f"group {group} lacks test [/user group set {group} policy=read,write,api,test]" in wrong
    assert "goes straight to node1" in wrong
    assert "to-addresses=172.30.1.7" in wrong
    assert f"[/user group set {group} policy=!ssh]" in texts(checks, "warn")


def test_a_route_that_is_missing_or_not_ours_is_told_apart(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    w.start_daemon()
    w.wait_settled()
    _, checks = examine(w, capsys)
    assert "are edged's, next hops" in texts(checks, "ok")
    assert "the daemon runs: enforce" in texts(checks, "ok")
    words = {"dst-address": VIP, "gateway": "127.0.20.9", "distance": "5"}
    w.router.ask(do="edit", path="/ip/route/add", words=words)
    _, checks = examine(w, capsys)
    assert "is not edged's and would win or share the route" in texts(checks, "fail")


def test_a_second_edged_with_the_same_account_is_seen(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    w.start_daemon()
    w.wait_settled()
    _, checks = examine(w, capsys)
    assert "nobody else is logged in as edged" in texts(checks, "ok")
    other = Daemon(w.folder / "two")
    other.folder.mkdir()
    text = w.daemon.config.read_text().replace(f'"{w.daemon.socket}"', f'"{other.socket}"')
    other.config.write_text(text.replace(f'"{w.folder}/state"', '""'))
    try:
        other.start(w.ending)
        w.wait("logged in", lambda: other.status()["vips"][0]["in_sync"])
        _, checks = examine(w, capsys)
    finally:
        other.child.end()
    assert "edged has 5 API sessions from this host; one edged needs two" in texts(checks, "warn")


LADDER = {
    "chain": "input",
    "protocol": "tcp",
    "connection-state": "new",
    "action": "add-src-to-address-list",
    "address-list": "black",
    "address-list-timeout": "1d",
    "comment": "brute force",
}


@pytest.mark.parametrize("w", ["6.49.10", "7.16.2"], indirect=True)
def test_firewall_rules_that_count_or_ban_this_host_are_named(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    _, checks = examine(w, capsys)
    assert "no firewall rule counts edged's own sessions" in texts(checks, "ok")
    port = str(w.router.port)
    w.router.ask(do="edit", path="/ip/firewall/filter/add", words={**LADDER, "dst-port": port})
    drop = {"chain": "input", "action": "drop", "src-address-list": "black"}
    w.router.ask(do="edit", path="/ip/firewall/filter/add", words=drop)
    code, checks = examine(w, capsys)
    known = texts(checks, "warn")
    assert code == 0
    assert 'they come again and again: *1 "brute force" (add-src-to-address-list black)' in known
    accept = f"action=accept protocol=tcp src-address=127.0.0.1 dst-port={port}"
    assert f"[/ip firewall filter add chain=input {accept}" in known
    entry = {"list": "black", "address": "127.0.0.1", "timeout": "1d"}
    w.router.ask(do="edit", path="/ip/firewall/address-list/add", words=entry)
    code, checks = examine(w, capsys)
    assert code == 1
    assert "is on the router's list black for 23h59m" in texts(checks, "fail")
    # The printed cure is taken by the router, and cures.
    words = {"chain": "input", "action": "accept", "protocol": "tcp", "src-address": "127.0.0.1"}
    words |= {"dst-port": port, "comment": "edged", "place-before": "*1"}
    w.router.ask(do="edit", path="/ip/firewall/filter/add", words=words)
    _, checks = examine(w, capsys)
    assert "no firewall rule counts edged's own sessions" in texts(checks, "ok")


@pytest.mark.parametrize(
    ("w", "speed"),
    [
        ("6.49.10", "every 10 s, two misses (11 to 21 s)"),
        ("7.16.2", "every 10 s, two misses (11 to 21 s)"),
        ("7.22.3", "every 100ms, 2 misses of 5ms"),
    ],
    indirect=["w"],
)
def test_check_gateway_is_told_with_the_timers_of_this_router(
    w: World, speed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    w.start_daemon()
    w.wait_settled()
    _, checks = examine(w, capsys)
    assert "web: no check-gateway, so nobody but edged takes a dead node out" in texts(checks, "ok")
    for row in w.router.rows():
        words = {".id": row[".id"], "check-gateway": "ping"}
        w.router.ask(do="edit", path="/ip/route/set", words=words)
    timers = {"check-gateway-ping-interval": "100ms", "check-gateway-ping-timeout": "5ms"}
    if w.router.version == "7.22.3":
        w.router.ask(do="edit", path="/routing/settings/set", words=timers)
    _, checks = examine(w, capsys)
    assert "check-gateway=ping on" in texts(checks, "ok")
    assert f"the router itself looks {speed}" in texts(checks, "ok")
    hasty = "gives a node 5ms to answer a ping" in texts(checks, "warn")
    assert hasty == (w.router.version == "7.22.3")


def test_the_traffic_policy_is_not_checked_without_a_cluster_and_says_how(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    _, checks = examine(w, capsys)
    known = texts(checks, "warn")
    assert "externalTrafficPolicy of the VIP's Service: not checked" in known
    assert "kubectl -n kube-system get service gateway-lb -o jsonpath=" in known


def test_a_cluster_that_cannot_be_asked_is_said_with_its_reason(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    text = w.daemon.config.read_text().replace(
        "[vip.probe]", 'kube_service = "edge/front"\n\n[vip.probe]', 1
    )
    absent = w.folder / "kubeconfig"
    w.daemon.config.write_text(f'{text}\n[kubernetes]\nenabled = true\nkubeconfig = "{absent}"\n')
    _, checks = examine(w, capsys)
    known = texts(checks, "warn")
    assert f"not checked: {absent}: " in known
    assert "kubectl -n edge get service front" in known


def test_a_chat_service_that_has_no_address_is_told(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    text = w.daemon.config.read_text()
    channel = '[[channel]]\nname = "team"\ntype = "slack"\nurl = "https://no.invalid/T0KEN"\n'
    w.daemon.config.write_text(f"{text}\n{channel}\n[kubernetes]\nenabled = true\n")
    _, checks = examine(w, capsys)
    known = texts(checks, "warn")
    assert "DNS does not know no.invalid" in known
    assert "T0KEN" not in json.dumps(checks)
    assert "not checked: no daemon answers" in known


def test_a_router_that_refuses_the_login_is_one_line(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    w.router.password_file.write_text("wrong")
    code, checks = examine(w, capsys)
    assert code == 1
    assert "refused the login of 'edged'" in texts(checks, "fail")


def test_the_bundle_holds_the_report_and_no_secret(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = w.router.password
    hook = "https://chat.example.test/hooks/T0KEN-CANARY-1234"
    text = w.daemon.config.read_text()
    channel = f'\n[[channel]]\nname = "team"\ntype = "slack"\nurl = "{hook}"\n'
    w.daemon.config.write_text(f"{text}# note: {secret}\n{channel}")
    target = w.folder / "bundle.tar.gz"
    _, checks = examine(w, capsys, "--bundle", str(target))
    with tarfile.open(target) as archive:
        files = {Path(one.name).name: archive.extractfile(one) for one in archive.getmembers()}
        found = {name: file.read().decode() for name, file in files.items() if file is not None}
    names = {"doctor.json", "host.json", "status.json", "plan.json", "events.json", "config.toml"}
    assert set(found) == names
    assert json.loads(found["doctor.json"])["checks"]
    assert checks
    for text in found.values():
        assert secret not in text
        assert "CANARY" not in text
    assert 'address = "172.30.1.7/32"' in found["config.toml"]
