"""What is wrong is said in one sentence each, all at once, at the place, as a person reads it."""

# ruff: noqa: E501 - the sentences stand here as people read them

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.config.errors import ConfigError, ConfigErrors
from edged.config.layout import layout
from tests.unit.config.files import WELL, complaints, edited, load_text, remarks, sentences

EIGHT_FAULTS = """\
version = 1
mode = "observ"
[[router]]
adress = "172.30.1.1"          # typo
name = "hex"
username = "edged"
password_env = "HEX_PASSWORD"
tls = "off"
[[gateway]]
name = "node1"
address = "10.0.0.999"
[[gateway]]
name = "Node1"
address = "172.30.1.70"
[[vip]]
name = "web"
address = "172.30.1.7"
min_healthy = 3
[vip.probe]
server_name = "edged-probe.example.test"
interval = "2x"
"""

EIGHT_SENTENCES = """\
edged.toml:2:1: error: mode: "observ" is not allowed: write "observe" or "enforce" - did you mean \
"observe"?
      2 | mode = "observ"
edged.toml:4:1: error: router[0].adress: unknown key, and "address" is missing - did you mean \
"address"?
      4 | adress = "172.30.1.1"          # typo
edged.toml:8:1: error: router[0].tls: "off" sends the password as it is: use "pin" or "verify", or \
accept it with insecure = true beside it
      8 | tls = "off"
edged.toml:11:1: error: gateway[0].address: "10.0.0.999" is not an IP address: write the number \
itself, such as "172.30.1.20" (names are not looked up here)
     11 | address = "10.0.0.999"
edged.toml:13:1: error: gateway[1].name: "Node1" is the name of another [[gateway]], too: give each \
its own
     13 | name = "Node1"
edged.toml:17:1: error: vip[0].address: "172.30.1.7" has no prefix length: write "172.30.1.7/32"
     17 | address = "172.30.1.7"
edged.toml:18:1: error: vip[0].min_healthy: 3 is more than the 2 gateways this VIP has: write 1 to \
2, or leave it out for half of them
     18 | min_healthy = 3
edged.toml:21:1: error: vip[0].probe.interval: "2x" is not a duration: write a whole number and a \
unit, such as "500ms", "2s" or "1m"
     21 | interval = "2x"
8 errors"""


def test_eight_faults_are_told_in_one_run_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert complaints(tmp_path, EIGHT_FAULTS) == EIGHT_SENTENCES


def test_machines_get_the_same_as_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_text(tmp_path, f"mod = 1\n{WELL}")
    assert json.loads(json.dumps(caught.value.to_json())) == [
        {
            "file": f"{tmp_path}/edged.toml",
            "line": 1,
            "col": 1,
            "key": "mod",
            "code": "unknown_key",
            "message": "unknown key",
            "hint": "mode",
        }
    ]


def test_errors_are_sorted_and_what_has_no_line_comes_last() -> None:
    def at(line: int, col: int) -> ConfigError:
        return ConfigError(file="f", line=line, col=col, key="k", code="c", message="m")

    errors = ConfigErrors([at(0, 0), at(3, 1), at(2, 9), at(2, 1)])
    assert [(one.line, one.col) for one in errors.errors] == [(2, 1), (2, 9), (3, 1), (0, 0)]


ABOVE_THE_TABLES = {
    "version": (
        "version = 2",
        "version: 2 is too large: 1 is allowed; another format needs another edged",
    ),
    "quoted number": ('version = "1"', 'version: "1" is text: write 1 without quotes'),
    "language": (
        'language = "kr"',
        'language: "kr" is not allowed: write "en" or "ko"',
    ),
    "timezone": (
        'timezone = "Asia/Seul"',
        'timezone: "Asia/Seul" is not a time zone: write one such as "Asia/Seoul"',
    ),
    "no zone at all": (
        'timezone = "/etc"',
        'timezone: "/etc" is not a time zone: write one such as "Asia/Seoul"',
    ),
    "directory": ("state_dir = 5", "state_dir: 5 is not text: write it in quotes"),
    "socket": (
        'control_socket = ""',
        "control_socket: is empty: write a value, or leave the key out",
    ),
    "misspelt table": ("gateways = []", 'gateways: unknown key - did you mean "gateway"?'),
    "stranger": (
        "zzz = 1",
        "zzz: unknown key; the top knows version, mode, language, timezone, state_dir, control_socket",
    ),
    "table as a value": ('web = "x"', "web: is a table: write [web] and its keys below it"),
    "tables as a value": ('channel = "x"', "channel: is a table: write [[channel]] for each one"),
    "child without its parent": (
        'canary = {url = "https://a.test"}',
        "canary: is a table of its parent: write [vip.canary]",
    ),
}


@pytest.mark.parametrize(("line", "sentence"), ABOVE_THE_TABLES.values(), ids=ABOVE_THE_TABLES)
def test_a_fault_at_the_top(tmp_path: Path, line: str, sentence: str) -> None:
    assert sentences(tmp_path, f"{line}\n{WELL}") == [sentence]


REPLACED = {
    "gateway by name": (
        ('address = "172.30.1.20"', 'address = "node1.example.test"'),
        (
            'gateway[0].address: "node1.example.test" is not an IP address: write the number itself, '
            'such as "172.30.1.20" (names are not looked up here)'
        ),
    ),
    "gateway with a prefix": (
        ('address = "172.30.1.20"', 'address = "172.30.1.20/24"'),
        'gateway[0].address: "172.30.1.20/24" has a prefix length: write "172.30.1.20"',
    ),
    "gateway that is nobody": (
        ('address = "172.30.1.20"', 'address = "0.0.0.0"'),
        'gateway[0].address: "0.0.0.0" is not the address of one machine: write the gateway\'s own',
    ),
    "gateway twice": (
        ('address = "172.30.1.70"', 'address = "172.30.1.20"'),
        (
            'gateway[1].address: "172.30.1.20" is the address of another gateway, too: each node stands '
            "here once"
        ),
    ),
    "next hop twice": (
        ('address = "172.30.1.70"', 'address = "172.30.1.70"\nnext_hop = "172.30.1.20"'),
        (
            'gateway[1].next_hop: "172.30.1.20" is the next hop of node1, too: one row cannot tell them '
            "apart"
        ),
    ),
    "name with a blank": (
        ('name = "node1"', 'name = "node 1"'),
        (
            "gateway[0].name: \"node 1\" is not a name: letters, digits, '-', '_' and '.' are allowed, at "
            "most 63, the first a letter or digit"
        ),
    ),
    "name that is an address": (
        ('name = "node1"', 'name = "172.30.1.70"'),
        (
            'gateway[0].name: "172.30.1.70" is an address: give it a name of its own, so that no command '
            "mixes them"
        ),
    ),
    "router with a port": (
        ('address = "172.30.1.1"', 'address = "172.30.1.1:8728"'),
        (
            'router[0].address: "172.30.1.1:8728" holds a port: write address = "172.30.1.1" and '
            "port = 8728"
        ),
    ),
    "router as a URL": (
        ('address = "172.30.1.1"', 'address = "https://172.30.1.1"'),
        (
            'router[0].address: "https://172.30.1.1" is more than a host: write the address or name '
            'alone, such as "172.30.1.1"'
        ),
    ),
    "router with a wrong number": (
        ('address = "172.30.1.1"', 'address = "172.30.1.256"'),
        (
            'router[0].address: "172.30.1.256" is not an IP address: write four numbers up to 255, such '
            'as "172.30.1.1"'
        ),
    ),
    "router with a bad name": (
        ('address = "172.30.1.1"', 'address = "my router"'),
        (
            'router[0].address: "my router" is neither an IP address nor a host name: write one, such as '
            '"172.30.1.1"'
        ),
    ),
    "no tls": (
        ('tls = "off"\ninsecure = true', ""),
        'router[0].tls: is missing: add tls = "pin", with your value',
    ),
    "plain without a word": (
        ("insecure = true\n", ""),
        (
            'router[0].tls: "off" sends the password as it is: use "pin" or "verify", or accept it with '
            "insecure = true beside it"
        ),
    ),
    "anonymous without a word": (
        ('tls = "off"\ninsecure = true', 'tls = "anonymous"'),
        (
            'router[0].tls: "anonymous" cannot tell the router from an impostor: use "pin" or "verify", '
            "or accept it with insecure = true beside it"
        ),
    ),
    "pin of nothing": (
        ('tls = "off"\ninsecure = true', 'tls = "pin"'),
        (
            'router[0].tls: "pin" needs to know the certificate: add fingerprint = "sha256:…", as `edged '
            "init` prints it"
        ),
    ),
    "half a fingerprint": (
        ('tls = "off"\ninsecure = true', 'tls = "pin"\nfingerprint = "sha256:abc"'),
        (
            'router[0].fingerprint: "sha256:abc" is not a SHA-256 fingerprint: write sha256: and 64 hex '
            "digits, as `edged init` prints it"
        ),
    ),
    "authority for a pin": (
        ('tls = "off"', 'tls = "off"\nca_file = "/ca.pem"'),
        (
            'router[0].ca_file: is looked at with tls = "verify" only, and tls is "off": remove one of '
            "them"
        ),
    ),
    "quoted switch": (
        ("insecure = true", 'insecure = "yes"'),
        'router[0].insecure: "yes" is not a switch: write true or false, unquoted',
    ),
    "patient command": (
        ("insecure = true", 'insecure = true\ncommand_timeout = "1m"'),
        'router[0].command_timeout: "1m" is too long: 100ms to 5s are allowed',
    ),
    "single brackets": (
        ("[[router]]", "[router]"),
        "router: may stand there several times: write [[router]] with double brackets",
    ),
    "vip that is a network": (
        ("172.30.1.7/32", "172.30.1.0/24"),
        (
            'vip[0].address: "172.30.1.0/24" is a network, and a VIP is one address: write '
            '"172.30.1.0/32"'
        ),
    ),
    "IPv6 vip without its length": (
        ("172.30.1.7/32", "2001:db8::7"),
        'vip[0].address: "2001:db8::7" has no prefix length: write "2001:db8::7/128"',
    ),
    "vip for everybody": (
        ("172.30.1.7/32", "224.0.0.1/32"),
        'vip[0].address: "224.0.0.1/32" cannot be a VIP: write the address that clients are sent to',
    ),
    "vip by name": (
        ("172.30.1.7/32", "www.example.test"),
        (
            'vip[0].address: "www.example.test" is not an address: write one with its prefix length, such '
            'as "172.30.1.7/32"'
        ),
    ),
    "server name with a blank": (
        ("edged-probe.example.test", "edged probe"),
        (
            'vip[0].probe.server_name: "edged probe" is not a host name: write one, such as '
            "edged-probe.example.test"
        ),
    ),
    "vip that is a gateway": (
        ("172.30.1.7/32", "172.30.1.20/32"),
        'vip[0].address: "172.30.1.20" is the next hop node1, too: a route cannot lead to itself',
    ),
    "no server name": (
        ('server_name = "edged-probe.example.test"', ""),
        (
            'vip[0].probe.server_name: is missing: add server_name = "edged-probe.example.test", with '
            "your value"
        ),
    ),
    "server name by number": (
        ("edged-probe.example.test", "172.30.1.7"),
        (
            'vip[0].probe.server_name: "172.30.1.7" is an address, and TLS sends names only: write a host '
            "name, such as edged-probe.example.test"
        ),
    ),
    "server name as the listener has it": (
        ("edged-probe.example.test", "*.example.test"),
        (
            'vip[0].probe.server_name: "*.example.test" is a wildcard: write one name under it that no '
            'HTTPRoute claims, such as "edged-probe.example.test"'
        ),
    ),
}


@pytest.mark.parametrize(("change", "sentence"), REPLACED.values(), ids=REPLACED)
def test_a_fault_in_a_table(tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    assert sentences(tmp_path, edited(change)) == [sentence]


OF_A_VIP = {
    "distance of BGP": (
        "distance = 20",
        "distance: 20 is too large: 1 to 19 are allowed, so that the route wins against BGP's 20",
    ),
    "no distance": (
        "distance = 0",
        "distance: 0 is too small: 1 to 19 are allowed, so that the route wins against BGP's 20",
    ),
    "unknown gateway": (
        'gateways = ["node1", "nod2"]',
        (
            'gateways[1]: there is no gateway named "nod2": known are node1, node2 - did you mean '
            '"node2"?'
        ),
    ),
    "unknown router": (
        'routers = ["attic"]',
        'routers[0]: there is no router named "attic": known are hex',
    ),
    "gateway named twice": (
        'gateways = ["node1", "node2", "node1"]',
        'gateways[2]: "node1" stands here twice',
    ),
    "no gateway": (
        "gateways = []",
        "gateways: is empty: name at least one, or leave the key out for all",
    ),
    "no list": ('gateways = "node1"', 'gateways: "node1" is not a list: write ["node1"]'),
    "floor above all": (
        "min_healthy = 3",
        (
            "min_healthy: 3 is more than the 2 gateways this VIP has: write 1 to 2, or leave it out for "
            "half of them"
        ),
    ),
    "floor above those named": (
        'min_healthy = 2\ngateways = ["node1"]',
        (
            "min_healthy: 2 is more than the 1 gateway this VIP has: write 1, or leave it out for "
            "half of them"
        ),
    ),
    "mark in the comment": (
        'comment = "mine edged:web"',
        (
            'comment: "mine edged:web" holds edged\'s own mark: write your words only, the mark is added '
            "to them"
        ),
    ),
    "comment of two lines": (
        'comment = "a\\nb"',
        'comment: "a\\nb" holds a control character: write it on one line, without tabs',
    ),
    "key of the probe": ("port = 443", "port: belongs to [vip.probe]: move it below that line"),
    "kubernetes without the API": (
        'from = "kubernetes"\nkube_service = "a/b"',
        'from: "kubernetes" needs the API: add [kubernetes] with enabled = true',
    ),
    "service without a namespace": (
        'kube_service = "gateway-lb"',
        (
            'kube_service: "gateway-lb" is not namespace/name: write both, such as '
            '"kube-system/gateway-lb"'
        ),
    ),
    "canary of no URL": (
        'canary = {url = "www.example.test"}',
        (
            'canary.url: "www.example.test" is not a URL: write one that begins with "https://" or '
            '"http://"'
        ),
    ),
    "strange table": (
        'routing_table = "a b"',
        'routing_table: "a b" is not a routing table: write its name on the router, such as "main"',
    ),
    "canary without its URL": (
        "canary = {}",
        'canary.url: is missing: add url = "https://grafana.example.test/api/health", with your value',
    ),
}


@pytest.mark.parametrize(("line", "sentence"), OF_A_VIP.values(), ids=OF_A_VIP)
def test_a_fault_of_a_vip(tmp_path: Path, line: str, sentence: str) -> None:
    text = edited(('address = "172.30.1.7/32"', f'address = "172.30.1.7/32"\n{line}'))
    assert sentences(tmp_path, text) == [f"vip[0].{sentence}"]


OF_A_PROBE = {
    "key of the vip": (
        "min_healthy = 1",
        "min_healthy: belongs to [[vip]]: move it above [vip.probe]",
    ),
    "key of the top": (
        'mode = "enforce"',
        "mode: belongs to the top of the file: move it above the first table",
    ),
    "misspelt": ('hartbeat = "off"', 'hartbeat: unknown key - did you mean "heartbeat"?'),
    "number for a duration": (
        "interval = 2",
        'interval: 2 has no unit: write "2s" or "2ms" in quotes',
    ),
    "fraction": (
        'interval = "1.5s"',
        (
            'interval: "1.5s" is not a duration: write a whole number and a unit, such as "500ms", "2s" '
            'or "1m"'
        ),
    ),
    "restless": ('interval = "10ms"', 'interval: "10ms" is too short: 100ms to 1m are allowed'),
    "port beyond": ("port = 70000", "port: 70000 is too large: 1 to 65535 are allowed"),
    "port in quotes": ('port = "443"', 'port: "443" is text: write 443 without quotes'),
    "port that is true": (
        "port = true",
        "port: true is not a whole number: write one from 1 to 65535",
    ),
    "profile": (
        'profile = "fats"',
        'profile: "fats" is not allowed: write "default", "fast" or "calm" - did you mean "fast"?',
    ),
    "path": (
        'path = "healthz"',
        'path: "healthz" is not a URL path: write one that begins with "/", without blanks',
    ),
    "two requests in one path": (
        'path = "/ HTTP/1.1"',
        'path: "/ HTTP/1.1" is not a URL path: write one that begins with "/", without blanks',
    ),
    "burst of three": (
        'burst = ["0ms", "50ms", "100ms"]',
        "burst: has 3 items: exactly 4 are allowed",
    ),
    "burst that waits": (
        'burst = ["10ms", "50ms", "100ms", "200ms"]',
        'burst: begins at 10ms: the first probe of a burst starts at once, so write "0ms" first',
    ),
    "burst that turns back": (
        'burst = ["0ms", "50ms", "50ms", "200ms"]',
        (
            "burst: goes from 50ms to 50ms: each probe starts later than the one before, so write the "
            "times in rising order"
        ),
    ),
    "silence before the third probe": (
        'silent_after = "100ms"',
        (
            "silent_after: silent_after is 100ms and the burst's third probe starts at 100ms: three "
            "unanswered SYNs make a gateway silent, so make silent_after later than that probe"
        ),
    ),
    "third probe after the silence": (
        'burst = ["0ms", "50ms", "160ms", "200ms"]',
        (
            "burst: silent_after is 150ms and the burst's third probe starts at 160ms: three unanswered "
            "SYNs make a gateway silent, so make silent_after later than that probe"
        ),
    ),
    "time-out before the silence": (
        'timeout = "140ms"',
        (
            "timeout: timeout is 140ms and silent_after 150ms: the first probe would give up before its "
            "answer stops counting, so make timeout at least as long"
        ),
    ),
    "time-out beyond the next probe": (
        'timeout = "2s"',
        (
            "timeout: timeout is 2s and interval 1s: a probe has to end before the next begins, so make "
            "timeout the shorter"
        ),
    ),
    "requests more often than probes": (
        'request_interval = "900ms"',
        (
            "request_interval: request_interval is 900ms and interval 1s: full requests are some of the "
            "routine probes, so make request_interval at least as long as interval"
        ),
    ),
    "beats rarer than probes": (
        'heartbeat_interval = "2s"',
        (
            "heartbeat_interval: heartbeat_interval is 2s and interval 1s: heartbeats fill the time "
            'between probes, so make it the shorter, or write heartbeat = "off"'
        ),
    ),
    "beats that outlive their connection": (
        'heartbeat_deadline = "1100ms"',
        (
            "heartbeat_deadline: heartbeat_deadline is 1100ms and interval 1s: the next probe replaces "
            "the held connection before a beat could be missed, so make it shorter"
        ),
    ),
    "slower below the floor": (
        'below_floor_interval = "2s"',
        (
            "below_floor_interval: below_floor_interval is 2s and down_interval 1s: below the floor edged "
            "looks more often, not less, so make below_floor_interval the shorter"
        ),
    ),
    "mixture through the profile": (
        'profile = "calm"\ntimeout = "250ms"',
        (
            "timeout: timeout is 250ms and silent_after 400ms: the first probe would give up before its "
            "answer stops counting, so make timeout at least as long"
        ),
    ),
}


@pytest.mark.parametrize(("line", "sentence"), OF_A_PROBE.values(), ids=OF_A_PROBE)
def test_a_fault_of_a_probe(tmp_path: Path, line: str, sentence: str) -> None:
    assert sentences(tmp_path, f"{WELL}{line}\n") == [f"vip[0].probe.{sentence}"]


BELOW = {
    "vip without a probe": (
        '[[vip]]\nname = "mail"\naddress = "172.30.1.8/32"',
        "vip[1].probe: is missing: each [[vip]] needs a [vip.probe] of its own, right below it",
    ),
    "route with two keepers": (
        '[[vip]]\nname = "mail"\naddress = "172.30.1.7/32"\n[vip.probe]\nserver_name = "a.test"',
        (
            'vip[1].address: "172.30.1.7/32" on hex is kept by the VIP web already: one route has one '
            "keeper"
        ),
    ),
    "other family": (
        '[[gateway]]\nname = "node3"\naddress = "2001:db8::3"',
        (
            'gateway[2].address: "2001:db8::3" is IPv6, and the VIP web is IPv4: set next_hop to the '
            "node's IPv4 address"
        ),
    ),
    "hold-down that shrinks": (
        '[hold_down]\nbase = "10m"',
        (
            "hold_down.base: max is 5m and base 10m: the longest wait cannot be shorter than the first, "
            "so make max at least base"
        ),
    ),
    "page for everybody": (
        '[web]\nlisten = "0.0.0.0:9780"',
        (
            "web.listen: 0.0.0.0 can be reached from other machines, and the page has no password: write "
            '"127.0.0.1:9780", or accept it with allow_remote = true beside it'
        ),
    ),
    "selector": (
        '[kubernetes]\nenabled = true\nnode_selector = "role=edge; drop"',
        (
            'kubernetes.node_selector: "role=edge; drop" is not a label selector: write one as kubectl -l '
            'takes it, such as "node-role.kubernetes.io/worker"'
        ),
    ),
    "label": (
        '[kubernetes]\nenabled = true\ndrain_labels = ["a/b", "a=b"]',
        (
            'kubernetes.drain_labels[1]: "a=b" is not a label key: write one such as '
            '"example.test/maintenance"'
        ),
    ),
    "annotation prefix": (
        '[kubernetes]\nenabled = true\nannotation_prefix = "edged/"',
        (
            'kubernetes.annotation_prefix: "edged/" is not an annotation prefix: write the part before '
            'the slash, such as "edged"'
        ),
    ),
    "kubernetes vip without its Service": (
        (
            '[[vip]]\nname = "b"\naddress = "172.30.1.8/32"\nfrom = "kubernetes"\n[vip.probe]\n'
            'server_name = "a.test"\n[kubernetes]\nenabled = true'
        ),
        (
            'vip[1].from: "kubernetes" needs to know the Service: add kube_service = '
            '"kube-system/gateway-lb", with your names'
        ),
    ),
    "no events": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nevents = []',
        'channel[0].events: is empty: name events, or write ["*"] for all',
    ),
    "page on a bare IPv6 address": (
        '[web]\nlisten = "::1:9780"',
        (
            'web.listen: "::1:9780" is not address:port: write one such as "127.0.0.1:9780" or '
            '"[::1]:9780", or "" for no listener'
        ),
    ),
    "page on a name": (
        '[web]\nlisten = "mgmt:9780"',
        (
            'web.listen: "mgmt:9780" is not address:port: write one such as "127.0.0.1:9780" or '
            '"[::1]:9780", or "" for no listener'
        ),
    ),
    "page without a port": (
        '[web]\nlisten = "127.0.0.1"',
        (
            'web.listen: "127.0.0.1" is not address:port: write one such as "127.0.0.1:9780" or '
            '"[::1]:9780", or "" for no listener'
        ),
    ),
    "double brackets": (
        '[[bgp]]\npolicy = "off"',
        "bgp: stands there once: write [bgp] with single brackets",
    ),
    "type of channel": (
        '[[channel]]\nname = "a"\ntype = "slak"',
        (
            'channel[0].type: "slak" is not allowed: write "slack", "discord", "telegram", "ntfy", '
            '"dooray", "jandi", "naverworks", "kakaowork", "teams", "mattermost", "googlechat", '
            '"pagerduty", "alertmanager" or "webhook" - did you mean "slack"?'
        ),
    ),
    "no type of channel": (
        '[[channel]]\nname = "a"\nurl = "https://a.test"',
        (
            'channel[0].type: is missing: write type = "slack", "discord", "telegram", "ntfy", "dooray", '
            '"jandi", "naverworks", "kakaowork", "teams", "mattermost", "googlechat", "pagerduty", '
            '"alertmanager" or "webhook"'
        ),
    ),
    "key of another channel": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nchat_id = "5"',
        "channel[0].chat_id: is no key of this type of channel, but of telegram: remove it",
    ),
    "chat as a number": (
        '[[channel]]\nname = "a"\ntype = "telegram"\ntoken = "x"\nchat_id = -100',
        'channel[0].chat_id: -100 is not text: write it in quotes, such as "-100"',
    ),
    "channel without its URL": (
        '[[channel]]\nname = "a"\ntype = "slack"',
        (
            "channel[0].url: is missing: set one of url_file, url_env, url_credential or url, set the "
            'variable EDGED_CHANNEL__URL, or pass the systemd credential "channel-a-url"'
        ),
    ),
    "severity": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nmin_severity = "error"',
        (
            'channel[0].min_severity: "error" is not allowed: write "debug", "info", "warning" or '
            '"critical"'
        ),
    ),
    "quiet hours": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nquiet_hours = "22-7"',
        (
            'channel[0].quiet_hours: "22-7" is not a span of the day: write it as "22:00-07:00" or '
            '"22:00-07:00 Asia/Seoul"'
        ),
    ),
    "quiet hours of nowhere": (
        (
            '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\n'
            'quiet_hours = "22:00-07:00 Asia/Seul"'
        ),
        'channel[0].quiet_hours: "Asia/Seul" is not a time zone: write one such as "Asia/Seoul"',
    ),
    "quiet all day": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nquiet_hours = "07:00-07:00"',
        'channel[0].quiet_hours: "07:00-07:00" begins and ends at once: write two different times',
    ),
    "events": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nevents = ["gateway"]',
        (
            'channel[0].events[0]: "gateway" does not name events: write a name such as "route.changed", '
            'a kind such as "gateway.*", or "*"'
        ),
    ),
    "unknown vip": (
        '[[channel]]\nname = "a"\ntype = "slack"\nurl = "https://a.test"\nvips = ["wep"]',
        'channel[0].vips[0]: there is no vip named "wep": known are web - did you mean "web"?',
    ),
    "switch without its URL": (
        "[dead_mans_switch]",
        (
            "dead_mans_switch.url: is missing: set one of url_file, url_env, url_credential or url, set "
            'the variable EDGED_DEAD_MANS_SWITCH__URL, or pass the systemd credential "dead-mans-switch-url"'
        ),
    ),
}


@pytest.mark.parametrize(("lines", "sentence"), BELOW.values(), ids=BELOW)
def test_a_fault_further_down(tmp_path: Path, lines: str, sentence: str) -> None:
    assert sentences(tmp_path, f"{WELL}{lines}\n") == [sentence]


def test_a_misspelt_password_is_one_fault(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"', 'pasword = "x"'))
    assert sentences(tmp_path, text) == [
        'router[0].pasword: unknown key - did you mean "password"?'
    ]


def test_a_system_without_time_zones_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slim containers have none; the system's call is made to find nothing."""
    monkeypatch.setattr("edged.config.checks.ZoneInfo", {}.__getitem__)
    monkeypatch.setattr("edged.config.checks.available_timezones", set)
    assert sentences(tmp_path, f'timezone = "Asia/Seoul"\n{WELL}') == [
        'timezone: "Asia/Seoul" cannot be looked up: install the tzdata package of the system'
    ]


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    assert complaints(tmp_path, "") == (
        "edged.toml:1:1: error: router: there is no [[router]]: add a router, such as [[router]] "
        'with name = "hex"\n'
        "edged.toml:1:1: error: gateway: there is no [[gateway]]: add the nodes, such as "
        '[[gateway]] with name = "node1"\n'
        "edged.toml:1:1: error: vip: there is no [[vip]]: add the address they serve, such as "
        '[[vip]] with name = "web"\n'
        "3 errors"
    )


SYNTAX = {
    "text without quotes": (
        "mode = observe\n",
        (
            'edged.toml:1:8: error: this is not TOML: text needs quotes, so write mode = "observe"\n'
            "      1 | mode = observe\n1 error"
        ),
    ),
    "duration without quotes": (
        "version = 1\n[bgp]\ndown_for = 5m # long\n",
        (
            'edged.toml:3:13: error: this is not TOML: text needs quotes, so write down_for = "5m"\n'
            "      3 | down_for = 5m # long\n1 error"
        ),
    ),
    "key twice": (
        'mode = "observe"\nmode = "enforce"\n',
        (
            "edged.toml:2:17: error: this key is set twice: keep one of the two\n"
            '      2 | mode = "enforce"\n1 error'
        ),
    ),
    "probe twice": (
        "[[vip]]\n[vip.probe]\nport = 1\n[vip.probe]\n",
        (
            "edged.toml:4:11: error: a second [vip.probe] needs a [[vip]] of its own above it\n"
            "      4 | [vip.probe]\n1 error"
        ),
    ),
    "table twice": (
        "[web]\n[web]\n",
        (
            "edged.toml:2:5: error: [web] stands there twice: put its keys into one, or write [[web]]\n"
            "      2 | [web]\n1 error"
        ),
    ),
    "open bracket": (
        "version = 1\n[web\n",
        (
            "edged.toml:2:5: error: this is not TOML (expected ']' at the end of a table declaration)\n"
            "      2 | [web\n1 error"
        ),
    ),
    "open list": (
        "x = [1\n",
        "edged.toml:1:7: error: this is not TOML (unclosed array)\n      1 | x = [1\n1 error",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), SYNTAX.values(), ids=SYNTAX)
def test_what_is_not_toml_is_shown_at_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaints(tmp_path, text) == complaint


REMARKS = {
    "one gateway": (
        ('[[gateway]]\nname = "node2"\naddress = "172.30.1.70"\n', ""),
        (
            "vip[0].name: has a single gateway, and the last one is never taken out: edged can only "
            "report"
        ),
    ),
    "floor of all": (
        ("[vip.probe]", "min_healthy = 2\n[vip.probe]"),
        (
            "vip[0].min_healthy: 2 is the number of gateways, so a silent one leaves only when the router "
            "confirms it, and a hung one never"
        ),
    ),
    "gateway of no vip": (
        ("[vip.probe]", 'gateways = ["node2"]\nmin_healthy = 1\n[vip.probe]'),
        'gateway[0].name: "node1" is in no [[vip]]\'s gateways, so nobody probes it',
    ),
    "adoption while observing": (
        ("[vip.probe]", "adopt = true\n[vip.probe]"),
        (
            'vip[0].adopt: marks rows in enforce mode only, and mode is "observe": `edged adopt` does it '
            "by hand"
        ),
    ),
    "numbers of no heartbeat": (
        ("[vip.probe]", '[vip.probe]\nheartbeat = "off"\nheartbeat_interval = "50ms"'),
        'vip[0].probe.heartbeat_interval: has no effect with heartbeat = "off"',
    ),
    "idle kubernetes": (
        ("[[router]]", '[kubernetes]\nlease = "edged/edged"\n[[router]]'),
        "kubernetes.lease: has no effect until [kubernetes] has enabled = true",
    ),
    "needless courage": (
        ('tls = "off"', 'tls = "verify"'),
        'router[0].insecure: has no effect with tls = "verify"',
    ),
}


@pytest.mark.parametrize(("change", "remark"), REMARKS.values(), ids=REMARKS)
def test_what_is_allowed_and_hardly_meant_is_a_warning(
    tmp_path: Path, change: tuple[str, str], remark: str
) -> None:
    assert remark in remarks(tmp_path, edited(change))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1" + "9" * 5_000,
        "x = " + "[" * 5_000 + "]" * 5_000,
        "router = 5",
        "vip = [1, 2]",
        'gateway = ["a", {}]',
        "[vip]",
        "bgp = []",
        "[[vip.probe]]",
        "a = nan",
        "mode = 1979-05-27",
    ],
)
def test_no_text_that_is_toml_is_a_bug_of_ours(tmp_path: Path, text: str) -> None:
    assert "error" in complaints(tmp_path, text)


LINES = WELL.splitlines()
VALUES = ["5", "-1", "true", '""', '"x"', '"1s"', "[]", '["x", 1]', "{}", "{a = 1}", "[{}]", "1.5"]
HEADERS = ["[vip.probe]", "[[vip]]", "[vip.canary]", "[router]", "[[channel]]", "[web]", "[[bgp]]"]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good file in which a few lines were dropped, doubled, moved or given another value."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "value", "header", "key"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "value":
                lines[at] = f"{lines[at].partition(' = ')[0]} = {draw(st.sampled_from(VALUES))}"
            case "header":
                lines.insert(at, draw(st.sampled_from(HEADERS)))
            case _:
                key = draw(st.sampled_from(sorted(ALL_KEYS)))
                lines.insert(at, f"{key} = {draw(st.sampled_from(VALUES))}")
    return "\n".join(lines) + "\n"


ALL_KEYS = {
    *layout().keys,
    *(key for table in layout().keys.values() for key in table.keys),
    *layout().keys["vip"].keys["probe"].keys,
}


@given(text=damaged())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_damaged_is_told_in_our_own_words(tmp_path: Path, text: str) -> None:
    """No other exception, every line inside the file, none of pydantic's phrases, one line each."""
    try:
        load_text(tmp_path, text)
    except ConfigErrors as errors:
        for error in errors.errors:
            assert 1 <= error.line <= len(text.splitlines()), error
            assert "nput should" not in error.message, error
            assert "\n" not in error.message, error
