"""A reload says what changes, what waits for a restart, and no secret."""

from pathlib import Path

from edged.config.diff import Change, diff
from tests.unit.config.files import WELL, load_text

CHANNEL = '[[channel]]\nname = "team"\ntype = "slack"\nurl = "https://a.test/geheim"\n'


def changes(
    tmp_path: Path, old: str, new: str, environ: tuple[dict[str, str], dict[str, str]] = ({}, {})
) -> list[Change]:
    before = load_text(tmp_path, old, environ[0]).config
    return diff(before, load_text(tmp_path, new, environ[1]).config)


def test_nothing_changes_by_itself(tmp_path: Path) -> None:
    assert changes(tmp_path, WELL, WELL) == []


def test_a_duration_is_shown_as_it_is_written(tmp_path: Path) -> None:
    new = f'{WELL}profile = "fast"\ntimeout = "250ms"\n'
    assert changes(tmp_path, WELL, new) == [
        Change(key='vip "web".probe.profile', old="default", new="fast", live=True),
        Change(
            key='vip "web".probe.burst',
            old="[0s, 50ms, 100ms, 200ms]",
            new="[0s, 20ms, 40ms, 100ms]",
            live=True,
        ),
        Change(key='vip "web".probe.silent_after', old="150ms", new="60ms", live=True),
        Change(key='vip "web".probe.heartbeat_interval', old="100ms", new="25ms", live=True),
        Change(key='vip "web".probe.heartbeat_deadline', old="100ms", new="40ms", live=True),
    ]


def test_a_gateway_put_first_is_one_gateway(tmp_path: Path) -> None:
    first = '[[gateway]]\nname = "node0"\naddress = "172.30.1.10"\n\n'
    new = WELL.replace('[[gateway]]\nname = "node1"', f'{first}[[gateway]]\nname = "node1"')
    assert changes(tmp_path, WELL, new) == [
        Change(
            key='vip "web".gateways', old="[node1, node2]", new="[node0, node1, node2]", live=True
        ),
        Change(key='gateway "node0".name', old=None, new="node0", live=True),
        Change(key='gateway "node0".address', old=None, new="172.30.1.10", live=True),
        Change(key='gateway "node0".next_hop', old=None, new="172.30.1.10", live=True),
    ]


def test_what_is_opened_once_needs_a_restart(tmp_path: Path) -> None:
    new = (
        f'state_dir = ""\ncontrol_socket = "/tmp/s"\nmode = "enforce"\n{WELL}'
        '[web]\nlisten = "[::1]:1"\npublic_url = "https://e.test"\n'
        '[log]\nformat = "json"\nlevel = "debug"\n'
    )
    found = {one.key: (one.old, one.new, one.live) for one in changes(tmp_path, WELL, new)}
    assert found == {
        "mode": ("observe", "enforce", True),
        "state_dir": ("/var/lib/edged", None, False),
        "control_socket": ("/run/edged/control.sock", "/tmp/s", False),
        "web.listen": ("127.0.0.1:9780", "[::1]:1", False),
        "web.public_url": (None, "https://e.test", True),
        "log.format": ("auto", "json", False),
        "log.level": ("info", "debug", True),
    }


def test_a_new_secret_shows_as_stars(tmp_path: Path) -> None:
    found = changes(
        tmp_path,
        WELL + CHANNEL,
        WELL + CHANNEL.replace("geheim", "anders"),
        ({"HEX_PASSWORD": "alt"}, {"HEX_PASSWORD": "neu"}),
    )
    assert found == [
        Change(key='router "hex".password', old="***", new="***", live=True),
        Change(key='channel "team".url', old="***", new="***", live=True),
    ]


def test_quiet_hours_and_switches_read_as_in_the_file(tmp_path: Path) -> None:
    new = f'{WELL}{CHANNEL}quiet_hours = "22:30-07:05 Asia/Seoul"\n[kubernetes]\ncordon = true\n'
    old = f'{WELL}{CHANNEL}quiet_hours = "22:00-07:00"\n'
    assert changes(tmp_path, old, new) == [
        Change(key="kubernetes.cordon", old="false", new="true", live=False),
        Change(
            key='channel "team".quiet_hours',
            old="22:00-07:00",
            new="22:30-07:05 Asia/Seoul",
            live=True,
        ),
    ]


def test_a_canary_that_appears_is_two_keys(tmp_path: Path) -> None:
    new = f'{WELL}[vip.canary]\nurl = "https://www.example.test/"\n'
    assert [(one.key, one.old, one.new) for one in changes(tmp_path, WELL, new)] == [
        ('vip "web".canary.url', None, "https://www.example.test/"),
        ('vip "web".canary.interval', None, "5s"),
    ]


def test_the_source_of_a_vip_is_called_from(tmp_path: Path) -> None:
    kubernetes = "[kubernetes]\nenabled = true\n"
    new = WELL.replace("[vip.probe]", 'from = "kubernetes"\nkube_service = "a/b"\n[vip.probe]')
    assert [
        (one.key, one.new) for one in changes(tmp_path, WELL + kubernetes, new + kubernetes)
    ] == [
        ('vip "web".from', "kubernetes"),
        ('vip "web".kube_service', "a/b"),
    ]
