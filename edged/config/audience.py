"""Who would hear: what nobody is told of, and ways out that die with what they should report.

Pure but for the secrets that hold a channel's URL; names are looked up by whoever passes `resolve`.
"""

import ipaddress
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from edged.config.secret import SecretError
from edged.config.types import ChannelConfig, Config

Resolve = Callable[[str], tuple[str, ...]]


def no_look_up(name: str) -> tuple[str, ...]:
    """Return no address: for a check that must not touch the network."""
    del name
    return ()


def audience(config: Config, resolve: Resolve = no_look_up) -> tuple[str, ...]:
    """Return sentences about what nobody would hear; none where all is well."""
    return (*_unheard(config), *_behind(config, resolve))


def _unheard(config: Config) -> Iterator[str]:
    if not config.channels:
        yield (
            "no [[channel]] is configured: whatever happens stands in the log and on the page only"
        )
    if config.dead_mans_switch is None:
        yield (
            "no [dead_mans_switch] is configured: nobody hears when edged itself, its host, its "
            "line or the router dies"
        )


def _behind(config: Config, resolve: Resolve) -> Iterator[str]:
    """Yield what lies behind the VIP or on a node, and goes when they go."""
    places = {vip.address.partition("/")[0]: f"the VIP {vip.name}" for vip in config.vips}
    places |= {one.address: f"the node {one.name}" for one in config.gateways}
    for what, host in _ways(config):
        addresses = (host,) if _is_address(host) else resolve(host)
        place = next((places[one] for one in addresses if one in places), None)
        if place is not None:
            yield f"{what} lies behind {place}: it is gone when it would be needed"


def _ways(config: Config) -> Iterator[tuple[str, str]]:
    if config.web.public_url is not None and (host := _host(config.web.public_url)):
        yield "web.public_url", host
    for channel in config.channels:
        if host := _host(_url(channel)):
            yield f"channel {channel.name}", host
        if channel.proxy is not None and (host := _host(channel.proxy)):
            yield f"the proxy of channel {channel.name}", host
    switch = config.dead_mans_switch
    if switch is not None:
        try:
            url = switch.url.read().reveal()
        except SecretError:
            return
        if host := _host(url):
            yield "dead_mans_switch", host


def _url(channel: ChannelConfig) -> str:
    if channel.url is None:
        return ""
    try:
        return channel.url.read().reveal()
    except SecretError:
        return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
