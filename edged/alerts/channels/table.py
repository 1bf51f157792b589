"""Every service by its type, and a channel's configuration made ready to be used."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from edged.alerts.channels import (
    alertmanager,
    discord,
    dooray,
    googlechat,
    jandi,
    kakaowork,
    mattermost,
    naverworks,
    ntfy,
    pagerduty,
    slack,
    teams,
    telegram,
    webhook,
)
from edged.alerts.channels.base import Endpoint, Service
from edged.config.secret import SecretSource
from edged.config.types import ChannelConfig, ChannelType

SERVICES: Final[Mapping[ChannelType, Service]] = MappingProxyType(
    {
        ChannelType.ALERTMANAGER: alertmanager.SERVICE,
        ChannelType.DISCORD: discord.SERVICE,
        ChannelType.DOORAY: dooray.SERVICE,
        ChannelType.GOOGLECHAT: googlechat.SERVICE,
        ChannelType.JANDI: jandi.SERVICE,
        ChannelType.KAKAOWORK: kakaowork.SERVICE,
        ChannelType.MATTERMOST: mattermost.SERVICE,
        ChannelType.NAVERWORKS: naverworks.SERVICE,
        ChannelType.NTFY: ntfy.SERVICE,
        ChannelType.PAGERDUTY: pagerduty.SERVICE,
        ChannelType.SLACK: slack.SERVICE,
        ChannelType.TEAMS: teams.SERVICE,
        ChannelType.TELEGRAM: telegram.SERVICE,
        ChannelType.WEBHOOK: webhook.SERVICE,
    },
)


def endpoint_of(config: ChannelConfig, host: str, hide: Callable[[str], None]) -> Endpoint:
    """Read a channel's secrets now; each is registered with `hide` before it is used.

    Raises:
        SecretError: One of them cannot be read.
    """

    def read(source: SecretSource | None) -> str:
        if source is None:
            return ""
        text = source.read().reveal().strip()
        hide(text)
        return text

    secrets = tuple(read(config.secret).split())
    for secret in secrets:
        hide(secret)
    return Endpoint(
        url=read(config.url),
        token=read(config.token),
        routing_key=read(config.routing_key),
        secrets=secrets,
        chat_id=config.chat_id or "",
        thread_id=config.thread_id or "",
        silent=config.silent,
        topic=config.topic or "",
        bot_name=config.bot_name or "",
        bot_icon=config.bot_icon or "",
        email=config.email or "",
        host=host,
    )
