"""Variables win over the file, can stand alone, and are never ignored in silence."""

# ruff: noqa: E501 - the sentences stand here as people read them

from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.config.environment import find_key, variable_name
from edged.config.errors import ConfigErrors
from edged.config.findings import KeyPath
from edged.config.layout import Kind, Shape, layout
from edged.config.load import load
from edged.config.types import Heartbeat, Mode
from tests.unit.config.files import WELL, complaints, load_text, sentences

ALONE = {
    "EDGED_MODE": "enforce",
    "EDGED_ROUTER__NAME": "hex",
    "EDGED_ROUTER__ADDRESS": "172.30.1.1",
    "EDGED_ROUTER__USERNAME": "edged",
    "EDGED_ROUTER__PASSWORD": "correct horse",
    "EDGED_ROUTER__TLS": "off",
    "EDGED_ROUTER__INSECURE": "true",
    "EDGED_GATEWAY__0__NAME": "node1",
    "EDGED_GATEWAY__0__ADDRESS": "172.30.1.20",
    "EDGED_GATEWAY__1__NAME": "node2",
    "EDGED_GATEWAY__1__ADDRESS": "172.30.1.70",
    "EDGED_VIP__NAME": "web",
    "EDGED_VIP__ADDRESS": "172.30.1.7/32",
    "EDGED_VIP__PROBE__SERVER_NAME": "edged-probe.example.test",
    "EDGED_VIP__PROBE__BURST": "0ms, 60ms, 110ms, 210ms",
    "EDGED_CHANNEL__NAME": "team",
    "EDGED_CHANNEL__TYPE": "slack",
    "EDGED_CHANNEL__URL": "https://hooks.example.test/x",
}


def from_variables(environ: dict[str, str], tmp_path: Path) -> list[str]:
    """Return the complaints about variables alone."""
    with pytest.raises(ConfigErrors) as caught:
        load(None, environ)
    assert str(tmp_path) not in caught.value.render()
    return caught.value.render().splitlines()


@pytest.fixture(autouse=True)
def no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.config.load.SEARCH", (tmp_path / "none",))


def test_a_whole_configuration_can_be_variables() -> None:
    loaded = load(None, ALONE)
    config = loaded.config
    assert loaded.source == "environment"
    assert loaded.warnings == ()
    assert (config.mode, config.routers[0].name, config.routers[0].port) == (
        Mode.ENFORCE,
        "hex",
        8728,
    )
    assert [one.address for one in config.gateways] == ["172.30.1.20", "172.30.1.70"]
    assert config.vips[0].probe.burst_ms == (0, 60, 110, 210)
    assert config.channels[0].url is not None
    assert config.channels[0].url.read().reveal() == "https://hooks.example.test/x"


def test_what_is_lacking_names_the_variable_to_set(tmp_path: Path) -> None:
    assert from_variables({"EDGED_ROUTER__NAME": "hex", "EDGED_VIP__1__NAME": "x"}, tmp_path) == [
        (
            "environment: error: vip[1].name: there is no vip 0 before it: number them 0, 1, 2 and "
            "so on"
        ),
        "        | EDGED_VIP__1__NAME=x",
        (
            "environment: error: router[0].address: is missing: set "
            "EDGED_ROUTER__ADDRESS=172.30.1.1, with your value"
        ),
        (
            "environment: error: router[0].username: is missing: set EDGED_ROUTER__USERNAME=edged, "
            "with your value"
        ),
        "environment: error: router[0].tls: is missing: set EDGED_ROUTER__TLS=pin, with your value",
        (
            "environment: error: gateway: there is no [[gateway]]: add the nodes, such as "
            '[[gateway]] with name = "node1"'
        ),
        (
            "environment: error: router[0].password: is missing: set one of password_file, "
            "password_env, password_credential or password, set the variable EDGED_ROUTER__PASSWORD, "
            'or pass the systemd credential "router-password"'
        ),
        "6 errors",
    ]


def test_a_lacking_probe_names_the_variable_to_set(tmp_path: Path) -> None:
    environ = {key: value for key, value in ALONE.items() if "PROBE" not in key}
    assert from_variables(environ, tmp_path) == [
        "environment: error: vip[0].probe: is missing: set EDGED_VIP__PROBE__SERVER_NAME",
        "1 error",
    ]


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    environ = {
        "EDGED_GATEWAY__1__ADDRESS": "172.30.1.71",
        "EDGED_GATEWAY__2__NAME": "node3",
        "EDGED_GATEWAY__2__ADDRESS": "172.30.1.82",
        "EDGED_VIP__PROBE__HEARTBEAT": "off",
        "EDGED_WEB__LISTEN": "",
        "EDGED_BGP__DOWN_FOR": "9m",
    }
    config = load_text(tmp_path, WELL, environ).config
    assert [one.address for one in config.gateways] == ["172.30.1.20", "172.30.1.71", "172.30.1.82"]
    assert config.vips[0].probe.heartbeat is Heartbeat.OFF
    assert config.web.listen is None
    assert config.bgp.down_for_ms == 540_000


def test_a_bad_variable_is_shown_as_it_was_set(tmp_path: Path) -> None:
    assert complaints(tmp_path, WELL, {"EDGED_VIP__PROBE__PORT": "https"}) == (
        'environment: error: vip[0].probe.port: "https" is not a whole number: write one from 1 '
        "to 65535\n"
        "        | EDGED_VIP__PROBE__PORT=https\n"
        "1 error"
    )


def test_a_typo_in_a_name_is_an_error(tmp_path: Path) -> None:
    unknown = "unknown variable: edged reads EDGED_TABLE__KEY, and nothing else of that name"
    environ = {"EDGED_ROUTR__ADDRESS": "x", "EDGED_LOG_LEVEL": "debug", "EDGED_ZZZ": "1"}
    assert sentences(tmp_path, WELL, environ) == [
        f'EDGED_LOG_LEVEL: {unknown} - did you mean "EDGED_LOG__LEVEL"?',
        f'EDGED_ROUTR__ADDRESS: {unknown} - did you mean "EDGED_ROUTER__ADDRESS"?',
        f"EDGED_ZZZ: {unknown}",
    ]


def test_a_typo_keeps_the_number_in_the_hint(tmp_path: Path) -> None:
    (sentence,) = sentences(tmp_path, WELL, {"EDGED_GATEWAY__1__ADRESS": "172.30.1.9"})
    assert sentence.endswith('did you mean "EDGED_GATEWAY__1__ADDRESS"?')


def test_one_key_by_two_names_is_an_error(tmp_path: Path) -> None:
    environ = {"EDGED_ROUTER__PORT": "1", "EDGED_ROUTER__0__PORT": "2"}
    assert sentences(tmp_path, WELL, environ) == [
        "router[0].port: is set by EDGED_ROUTER__PORT already: keep one of the two"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "EDGED_CONFIG",
        "HEX_PASSWORD",
        "EDGED_SERVICE_HOST",
        "EDGED_SERVICE_PORT",
        "EDGED_SERVICE_PORT_HTTP",
        "EDGED_PORT",
        "EDGED_PORT_9780_TCP",
        "EDGED_PORT_9780_TCP_ADDR",
        "EDGED_WEB_PORT_9780_TCP_PROTO",
        "EDGED_WEB_SERVICE_HOST",
    ],
)
def test_what_kubernetes_and_edged_itself_set_is_let_through(tmp_path: Path, name: str) -> None:
    """A Service called edged puts such names into every Pod of its namespace."""
    assert load_text(tmp_path, WELL, {name: "x"}).config.mode is Mode.OBSERVE


def test_a_variable_the_file_points_to_may_be_called_anything(tmp_path: Path) -> None:
    text = WELL.replace("HEX_PASSWORD", "EDGED_HEX_PW")
    config = load_text(tmp_path, text, {"EDGED_HEX_PW": "geheim"}).config
    assert config.routers[0].password.read().reveal() == "geheim"


def all_paths(shape: Shape, path: KeyPath = ()) -> Iterator[KeyPath]:
    for key, below in shape.keys.items():
        if not below.is_table:
            yield (*path, key)
        elif below.kind is Kind.TABLES:
            yield from all_paths(below, (*path, key, 0))
            yield from all_paths(below, (*path, key, 3))
        else:
            yield from all_paths(below, (*path, key))


def test_every_key_has_a_variable_of_its_own() -> None:
    paths = list(all_paths(layout()))
    names = [variable_name(path) for path in paths]
    assert len(set(names)) == len(paths) > 100
    for path, name in zip(paths, names, strict=True):
        found = find_key(name)
        assert found is not None, name
        assert found[0] == path


@pytest.mark.parametrize(
    "name", ["EDGED_ROUTER", "EDGED_ROUTER__0", "EDGED_", "EDGED_VIP__9999__NAME"]
)
def test_a_table_by_itself_is_no_key(name: str) -> None:
    assert find_key(name) is None
