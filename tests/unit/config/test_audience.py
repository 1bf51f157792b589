"""What nobody would hear, and ways out that die with what they should report."""

from dataclasses import replace
from pathlib import Path

from edged.config.audience import audience
from edged.config.load import load
from edged.config.types import Config, DeadMansSwitchConfig
from tests.support.alerts import channel, secret

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def example() -> Config:
    return load(EXAMPLE, {}, check_secrets=False).config


def heard(config: Config) -> Config:
    """Return a configuration in which somebody hears everything."""
    return replace(
        config,
        channels=(channel(),),
        dead_mans_switch=DeadMansSwitchConfig(
            url=secret("https://hc.example.test/ping"), interval_ms=30_000
        ),
    )


def test_without_channels_and_switch_it_is_said_what_nobody_hears() -> None:
    silent = audience(example())
    assert len(silent) == 2
    assert "dead_mans_switch" in silent[1]
    assert "the router dies" in silent[1]


def test_nothing_is_said_where_all_is_well() -> None:
    assert audience(heard(example())) == ()


def test_a_way_behind_the_vip_or_a_node_is_named() -> None:
    config = heard(example())
    vip = config.vips[0].address.partition("/")[0]
    node = config.gateways[0].address
    config = replace(
        config,
        channels=(channel(url=f"https://{vip}/hook"), channel(name="mm", url=f"http://{node}:1/x")),
        web=replace(config.web, public_url="https://edged.example.test"),
    )
    gone = "it is gone when it would be needed"
    assert audience(config) == (
        f"channel slack lies behind the VIP {config.vips[0].name}: {gone}",
        f"channel mm lies behind the node {config.gateways[0].name}: {gone}",
    )
    looked_up = audience(config, lambda name: (vip,) if name == "edged.example.test" else ())
    assert looked_up[0].startswith("web.public_url lies behind the VIP")
