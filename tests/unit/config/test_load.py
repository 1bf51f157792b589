"""Where the configuration is found, and what becomes of a good one."""

from pathlib import Path

import pytest

from edged.config import load as loading
from edged.config.errors import ConfigErrors
from edged.config.load import load
from edged.config.types import (
    ChannelType,
    Heartbeat,
    Language,
    ListenAddress,
    Mode,
    ProbeConfig,
    Profile,
    QuietHours,
    RouterTls,
    Severity,
    Verify,
)
from tests.unit.config.files import ENVIRON, WELL, edited, load_text, remarks, sentences


def write(file: Path, name: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(edited(('name = "hex"', f'name = "{name}"')))
    file.chmod(0o600)
    return file


def test_the_first_of_four_places_is_used_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SEARCH", (Path("edged.toml"), tmp_path / "etc/config.toml"))
    option = write(tmp_path / "option.toml", "option")
    variable = write(tmp_path / "variable.toml", "variable")
    here = write(tmp_path / "edged.toml", "here")
    system = write(tmp_path / "etc/config.toml", "system")
    environ = {**ENVIRON, "EDGED_CONFIG": str(variable)}

    found = [load(option, environ), load(None, environ), load(None, ENVIRON)]
    here.unlink()
    found.append(load(None, ENVIRON))

    assert [one.config.routers[0].name for one in found] == ["option", "variable", "here", "system"]
    assert [one.source for one in found] == [str(option), str(variable), "edged.toml", str(system)]


def test_the_usual_places_are_the_documented_ones() -> None:
    assert [str(path) for path in loading.SEARCH] == ["edged.toml", "/etc/edged/config.toml"]


def test_no_file_and_no_variable_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SEARCH", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(ConfigErrors) as caught:
        load(None, {"PATH": "/bin"})
    assert caught.value.render().replace(f"{tmp_path}/", "") == (
        "configuration: error: there is none: looked for a and b; `edged init` writes one, "
        "--config or EDGED_CONFIG names one elsewhere\n1 error"
    )


def test_a_named_file_that_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "typo.toml", ENVIRON)
    assert caught.value.render().replace(f"{tmp_path}/", "") == (
        "typo.toml: error: does not exist: check the path, or let `edged init` write one\n1 error"
    )


def test_a_file_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(b"version = 1\n# caf\xe9\n")
    with pytest.raises(ConfigErrors) as caught:
        load(file, {})
    assert "edged.toml: error: is not UTF-8 in line 2: save it as UTF-8" in caught.value.render()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"cannot be read \(is a directory\)"):
        load(tmp_path, {})


def test_a_file_the_user_may_not_read_says_how_to_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system call is made to refuse: root, as in containers, may read everything."""

    def refuse(_path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edged.config.load.os.geteuid", lambda: 998)
    monkeypatch.setattr("edged.config.load.Path.open", refuse)
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "edged.toml", {})
    assert caught.value.errors[0].message == (
        "cannot be read by this user (uid 998): give it to the group of the service, with mode 0640"
    )


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(b"#" * (loading.FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigErrors, match="is larger than 1024 KiB: check the path"):
        load(file, {})


def test_a_file_written_on_windows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(b"\xef\xbb\xbf" + WELL.replace("\n", "\r\n").encode())
    assert load(file, ENVIRON).config.routers[0].name == "hex"


def test_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    config = load_text(tmp_path, WELL).config
    assert (config.mode, config.language, config.timezone) == (Mode.OBSERVE, Language.ENGLISH, None)
    assert (str(config.state_dir), str(config.control_socket)) == (
        "/var/lib/edged",
        "/run/edged/control.sock",
    )
    router = config.routers[0]
    assert (router.command_timeout_ms, router.reconcile_interval_ms) == (1_000, 10_000)
    vip = config.vips[0]
    assert (vip.distance, vip.routing_table, vip.min_healthy) == (10, "main", None)
    assert (vip.routers, vip.gateways, vip.all_gateways) == (("hex",), ("node1", "node2"), True)
    assert config.web.listen == ListenAddress(host="127.0.0.1", port=9780)
    assert (config.bgp.down_for_ms, config.bgp.poll_interval_ms) == (300_000, 5_000)
    assert (config.hold_down.base_ms, config.hold_down.max_ms) == (30_000, 300_000)
    assert (config.history.keep_ms, config.history.max_rows) == (7_776_000_000, 100_000)
    assert (config.alerts.group_window_ms, config.alerts.reminder_ms) == (2_000, 3_600_000)
    assert not config.kubernetes.enabled
    assert config.kubernetes.lease is None
    assert config.channels == ()
    assert config.dead_mans_switch is None


def probe_of(profile: Profile, **numbers: object) -> ProbeConfig:
    common: dict[str, object] = {
        "server_name": "edged-probe.example.test",
        "port": 443,
        "path": "/.well-known/edged",
        "profile": profile,
        "verify": Verify.WARN,
        "heartbeat": Heartbeat.H2_PING,
        "interval_ms": 1_000,
        "request_interval_ms": 10_000,
        "rise": 3,
        "stable_for_ms": 2_000,
        "down_interval_ms": 1_000,
        "below_floor_interval_ms": 250,
    }
    return ProbeConfig(**{**common, **numbers})  # type: ignore[arg-type]  # a table of its fields


DEFAULT = probe_of(
    Profile.DEFAULT,
    burst_ms=(0, 50, 100, 200),
    timeout_ms=250,
    silent_after_ms=150,
    heartbeat_interval_ms=100,
    heartbeat_deadline_ms=100,
)
FAST = probe_of(
    Profile.FAST,
    burst_ms=(0, 20, 40, 100),
    timeout_ms=200,
    silent_after_ms=60,
    heartbeat_interval_ms=25,
    heartbeat_deadline_ms=40,
)
CALM = probe_of(
    Profile.CALM,
    burst_ms=(0, 100, 200, 400),
    timeout_ms=500,
    silent_after_ms=400,
    heartbeat_interval_ms=250,
    heartbeat_deadline_ms=250,
)


@pytest.mark.parametrize("probe", [DEFAULT, FAST, CALM], ids=lambda probe: str(probe.profile))
def test_a_profile_sets_every_number(tmp_path: Path, probe: ProbeConfig) -> None:
    config = load_text(tmp_path, f'{WELL}profile = "{probe.profile}"\n').config
    assert config.vips[0].probe == probe


def test_a_number_set_by_itself_leaves_the_profiles_others(tmp_path: Path) -> None:
    text = f'{WELL}profile = "fast"\ntimeout = "300ms"\nheartbeat_deadline = "50ms"\n'
    assert load_text(tmp_path, text).config.vips[0].probe == probe_of(
        Profile.FAST,
        burst_ms=(0, 20, 40, 100),
        timeout_ms=300,
        silent_after_ms=60,
        heartbeat_interval_ms=25,
        heartbeat_deadline_ms=50,
    )


def test_each_number_can_be_set(tmp_path: Path) -> None:
    text = f"""{WELL}
port = 8443
path = "/x"
verify = "off"
heartbeat = "h2_ping"
interval = "2s"
request_interval = "20s"
timeout = "400ms"
burst = ["0ms", "10ms", "20ms", "30ms"]
silent_after = "50ms"
heartbeat_interval = "70ms"
heartbeat_deadline = "80ms"
rise = 5
stable_for = "9s"
down_interval = "3s"
below_floor_interval = "600ms"
"""
    assert load_text(tmp_path, text).config.vips[0].probe == ProbeConfig(
        server_name="edged-probe.example.test",
        port=8443,
        path="/x",
        profile=Profile.DEFAULT,
        verify=Verify.OFF,
        heartbeat=Heartbeat.H2_PING,
        interval_ms=2_000,
        request_interval_ms=20_000,
        timeout_ms=400,
        burst_ms=(0, 10, 20, 30),
        silent_after_ms=50,
        heartbeat_interval_ms=70,
        heartbeat_deadline_ms=80,
        rise=5,
        stable_for_ms=9_000,
        down_interval_ms=3_000,
        below_floor_interval_ms=600,
    )


def test_systemds_directories_are_used(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "RUNTIME_DIRECTORY": "/run/c"}
    config = load_text(tmp_path, WELL, environ).config
    assert (str(config.state_dir), str(config.control_socket)) == (
        "/var/lib/a",
        "/run/c/control.sock",
    )


def test_a_directory_in_the_file_wins_over_systemds(tmp_path: Path) -> None:
    text = f'state_dir = "here"\ncontrol_socket = "/tmp/s"\n{WELL}'
    config = load_text(tmp_path, text, {"STATE_DIRECTORY": "/a", "RUNTIME_DIRECTORY": "/b"}).config
    assert (config.state_dir, str(config.control_socket)) == (tmp_path / "here", "/tmp/s")


def test_no_state_dir_keeps_nothing(tmp_path: Path) -> None:
    config = load_text(tmp_path, f'state_dir = ""\n{WELL}', {"STATE_DIRECTORY": "/a"}).config
    assert config.state_dir is None


def test_the_api_port_follows_tls(tmp_path: Path) -> None:
    digits = ":".join(["AB"] * 32)
    pin = edited(
        ('tls = "off"', 'tls = "pin"'), ("insecure = true", f'fingerprint = "SHA256:{digits}"')
    )
    plain, pinned = load_text(tmp_path, WELL).config, load_text(tmp_path, pin).config
    chosen = load_text(tmp_path, edited(("tls =", "port = 18728\ntls ="))).config
    assert [one.routers[0].port for one in (plain, pinned, chosen)] == [8728, 8729, 18728]
    assert pinned.routers[0].tls is RouterTls.PIN
    assert pinned.routers[0].fingerprint == "sha256:" + "ab" * 32


def test_addresses_are_written_in_one_way(tmp_path: Path) -> None:
    text = edited(
        ('address = "172.30.1.20"', 'address = "172.30.1.20"\nnext_hop = "2001:DB8:0::20"'),
        ('address = "172.30.1.70"', 'address = "2001:db8::0070"'),
        ("172.30.1.7/32", "2001:DB8::7/128"),
    )
    config = load_text(tmp_path, text).config
    assert [(one.address, one.next_hop) for one in config.gateways] == [
        ("172.30.1.20", "2001:db8::20"),
        ("2001:db8::70", "2001:db8::70"),
    ]
    assert (config.vips[0].address, config.vips[0].is_ipv6) == ("2001:db8::7/128", True)


def test_an_ipv4_vip_is_none_of_ipv6(tmp_path: Path) -> None:
    assert not load_text(tmp_path, WELL).config.vips[0].is_ipv6


def test_two_vips_have_their_own_gateways_and_probes(tmp_path: Path) -> None:
    text = f"""{WELL}
[vip.canary]
url = "https://www.example.test/"

[[vip]]
name = "mail"
address = "172.30.1.8/32"
gateways = ["node2", "node1"]
from = "kubernetes"
kube_service = "mail/lb"
[vip.probe]
server_name = "probe.example.test"
port = 993

[kubernetes]
enabled = true
"""
    web, mail = load_text(tmp_path, text).config.vips
    assert web.canary is not None
    assert (web.canary.url, web.canary.interval_ms) == ("https://www.example.test/", 5_000)
    assert (mail.gateways, mail.all_gateways) == (("node2", "node1"), False)
    assert (mail.source, mail.kube_service, mail.probe.port) == ("kubernetes", "mail/lb", 993)


CHANNELS = {
    ChannelType.SLACK: 'url = "https://a.test/x"',
    ChannelType.DISCORD: 'url = "https://a.test/x"\nthread_id = "5"\nsilent = true',
    ChannelType.TELEGRAM: 'token = "t"\nchat_id = "-100"\nthread_id = "7"\nsilent = true',
    ChannelType.NTFY: 'url = "https://a.test"\ntopic = "x"\ntoken = "t"',
    ChannelType.DOORAY: 'url = "https://a.test/x"\nbot_name = "b"\nbot_icon = "https://a.test/i"',
    ChannelType.JANDI: 'url = "https://a.test/x"\nemail = "a@example.test"',
    ChannelType.NAVERWORKS: 'url = "https://a.test/x"',
    ChannelType.KAKAOWORK: 'url = "https://a.test/x"',
    ChannelType.TEAMS: 'url = "https://a.test/x"',
    ChannelType.MATTERMOST: 'url = "https://a.test/x"',
    ChannelType.GOOGLECHAT: 'url = "https://a.test/x"',
    ChannelType.PAGERDUTY: 'routing_key = "k"',
    ChannelType.ALERTMANAGER: 'url = "https://a.test/"\ntoken = "t"',
    ChannelType.WEBHOOK: 'url = "https://a.test/x"\nsecret = "whsec_eA=="',
}


def test_every_type_of_channel_is_tried_below() -> None:
    assert set(CHANNELS) == set(ChannelType)


@pytest.mark.parametrize("kind", ChannelType)
def test_a_channel_of_each_type_is_read(tmp_path: Path, kind: ChannelType) -> None:
    text = f'{WELL}[[channel]]\nname = "c"\ntype = "{kind}"\n{CHANNELS[kind]}\n'
    (channel,) = load_text(tmp_path, text).config.channels
    given = {line.partition(" = ")[0]: line.partition(" = ")[2] for line in text.splitlines()}
    for key in ("url", "token", "secret", "routing_key"):
        source = getattr(channel, key)
        expected = given.get(key, "").strip('"') or None
        assert (source and source.read().reveal()) == expected, key
    assert (channel.type, channel.name, channel.min_severity) == (kind, "c", Severity.WARNING)
    keys = ("chat_id", "thread_id", "topic", "email", "bot_icon")
    after = text.partition("[[channel]]")[2]
    for key in keys:
        expected = given[key].strip('"') if f"{key} =" in after else None
        assert getattr(channel, key) == expected, key
    assert channel.silent == ("silent = true" in after)


def test_what_all_channels_have_is_read(tmp_path: Path) -> None:
    text = f"""language = "ko"
{WELL}
[[channel]]
name = "a"
type = "slack"
url = "https://a.test/x"
[[channel]]
name = "b"
type = "slack"
url = "https://a.test/x"
min_severity = "info"
events = ["gateway.*", "route.changed"]
vips = ["web"]
language = "en"
quiet_hours = "22:30-07:00 Asia/Seoul"
proxy = "http://proxy.example.test:3128"
"""
    plain, full = load_text(tmp_path, text).config.channels
    assert (plain.language, plain.events, plain.vips) == (Language.KOREAN, ("*",), None)
    assert (full.language, full.events) == (Language.ENGLISH, ("gateway.*", "route.changed"))
    assert (full.vips, full.proxy) == (("web",), "http://proxy.example.test:3128")
    assert full.quiet_hours == QuietHours(start_minute=1_350, end_minute=420, timezone="Asia/Seoul")


def test_no_listener_is_a_choice(tmp_path: Path) -> None:
    assert load_text(tmp_path, f'{WELL}[web]\nlisten = ""\n').config.web.listen is None


def test_an_open_page_is_a_choice_too(tmp_path: Path) -> None:
    text = f'{WELL}[web]\nlisten = "[::]:9780"\nallow_remote = true\n'
    assert load_text(tmp_path, text).config.web.listen == ListenAddress(host="::", port=9780)


def test_discovery_needs_no_gateway_in_the_file(tmp_path: Path) -> None:
    text = WELL[: WELL.index("[[gateway]]")] + WELL[WELL.index("[[vip]]") :]
    discovered = f'{text}[kubernetes]\nenabled = true\nnode_selector = "role=edge"\n'
    vip = load_text(tmp_path, discovered).config.vips[0]
    assert (vip.gateways, vip.all_gateways) == ((), True)
    assert sentences(tmp_path, text) == [
        'gateway: there is no [[gateway]]: add the nodes, such as [[gateway]] with name = "node1"'
    ]


def test_what_each_value_comes_from_is_known(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, WELL, {"EDGED_ROUTER__PORT": "8730", "EDGED_MODE": "enforce"})
    origins = {key: text.replace(f"{tmp_path}/", "") for key, text in loaded.origins.items()}
    assert origins["router[0].port"] == "EDGED_ROUTER__PORT"
    assert origins["mode"] == "EDGED_MODE"
    assert origins["gateway[1].address"] == "edged.toml:15"
    assert origins["vip[0].probe.server_name"] == "edged.toml:22"
    assert "language" not in origins


def test_a_good_file_earns_no_remark(tmp_path: Path) -> None:
    assert remarks(tmp_path, WELL) == []
