"""From a valid file to the frozen values of `edged.config.types`.

Owns every default that depends on something else: the profile, the other tables, the environment.
It checks nothing; what arrives here has passed the models and `edged.config.lint`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

from edged.config import model, types
from edged.config.checks import normal_fingerprint, parse_listen
from edged.config.durations import parse_duration
from edged.config.findings import KeyPath
from edged.config.profiles import PROFILES
from edged.config.secret import SecretSource

API_PORT = 8_728
API_TLS_PORT = 8_729

Sources = Mapping[KeyPath, SecretSource]


def convert(
    root: model.Root, sources: Sources, environ: Mapping[str, str], directory: Path
) -> types.Config:
    """Return the configuration.

    Args:
        root: The file, valid.
        sources: Where each secret is, by the path of its plain key.
        environ: For what systemd says about directories.
        directory: Relative paths in the file begin here.
    """
    routers = tuple(
        _router(one, sources["router", index, "password"], directory)
        for index, one in enumerate(root.router)
    )
    gateways = tuple(_gateway(one) for one in root.gateway)
    return types.Config(
        version=root.version,
        mode=root.mode,
        language=root.language,
        timezone=root.timezone,
        state_dir=_state_dir(root.state_dir, environ, directory),
        control_socket=_control_socket(root.control_socket, environ, directory),
        routers=routers,
        gateways=gateways,
        vips=tuple(
            _vip(one, [router.name for router in routers], [gateway.name for gateway in gateways])
            for one in root.vip
        ),
        bgp=types.BgpConfig(
            policy=root.bgp.policy,
            down_for_ms=_ms(root.bgp.down_for),
            poll_interval_ms=_ms(root.bgp.poll_interval),
        ),
        hold_down=types.HoldDownConfig(
            base_ms=_ms(root.hold_down.base),
            max_ms=_ms(root.hold_down.max),
            forget_after_ms=_ms(root.hold_down.forget_after),
        ),
        kubernetes=_kubernetes(root.kubernetes, directory),
        web=_web(root.web),
        log=types.LogConfig(format=root.log.format, level=root.log.level),
        history=types.HistoryConfig(keep_ms=_ms(root.history.keep), max_rows=root.history.max_rows),
        alerts=types.AlertsConfig(
            group_window_ms=_ms(root.alerts.group_window),
            reminder_ms=_ms(root.alerts.reminder),
        ),
        channels=tuple(
            _channel(one, index, root.language, sources) for index, one in enumerate(root.channel)
        ),
        dead_mans_switch=None
        if root.dead_mans_switch is None
        else types.DeadMansSwitchConfig(
            url=sources["dead_mans_switch", "url"],
            interval_ms=_ms(root.dead_mans_switch.interval),
        ),
    )


def _ms(text: str) -> int:
    found = parse_duration(text)
    assert found is not None, text
    return found


def _path(text: str, directory: Path) -> Path:
    return directory / Path(text).expanduser()


def _state_dir(text: str | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    if text is None:
        # systemd lists several with colons; ours is the first.
        return Path(environ.get("STATE_DIRECTORY", "").split(":")[0] or "/var/lib/edged")
    return _path(text, directory) if text else None


def _control_socket(text: str | None, environ: Mapping[str, str], directory: Path) -> Path:
    if text is None:
        runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        return Path(runtime or "/run/edged") / "control.sock"
    return _path(text, directory)


def _router(router: model.Router, password: SecretSource, directory: Path) -> types.RouterConfig:
    default_port = API_PORT if router.tls is types.RouterTls.OFF else API_TLS_PORT
    return types.RouterConfig(
        name=router.name,
        address=router.address,
        port=default_port if router.port is None else router.port,
        username=router.username,
        password=password,
        tls=router.tls,
        insecure=router.insecure,
        fingerprint=None if router.fingerprint is None else normal_fingerprint(router.fingerprint),
        ca_file=None if router.ca_file is None else _path(router.ca_file, directory),
        command_timeout_ms=_ms(router.command_timeout),
        reconcile_interval_ms=_ms(router.reconcile_interval),
    )


def _gateway(gateway: model.Gateway) -> types.GatewayConfig:
    return types.GatewayConfig(
        name=gateway.name,
        address=str(ipaddress.ip_address(gateway.address)),
        next_hop=str(ipaddress.ip_address(gateway.next_hop or gateway.address)),
    )


def _vip(vip: model.Vip, routers: list[str], gateways: list[str]) -> types.VipConfig:
    return types.VipConfig(
        name=vip.name,
        address=str(ipaddress.ip_interface(vip.address)),
        distance=vip.distance,
        routers=tuple(routers if vip.routers is None else vip.routers),
        gateways=tuple(gateways if vip.gateways is None else vip.gateways),
        all_gateways=vip.gateways is None,
        min_healthy=vip.min_healthy,
        routing_table=vip.routing_table,
        comment=vip.comment,
        adopt=vip.adopt,
        on_human_edit=vip.on_human_edit,
        check_gateway=vip.check_gateway,
        source=vip.source,
        kube_service=vip.kube_service,
        kube_gateway=vip.kube_gateway,
        probe=_probe(vip.probe),
        canary=None
        if vip.canary is None
        else types.CanaryConfig(url=vip.canary.url, interval_ms=_ms(vip.canary.interval)),
    )


def _probe(probe: model.Probe) -> types.ProbeConfig:
    numbers = PROFILES[probe.profile]

    def either(text: str | None, profile_ms: int) -> int:
        return profile_ms if text is None else _ms(text)

    burst = numbers.burst_ms
    if probe.burst is not None:
        first, second, third, fourth = (_ms(text) for text in probe.burst)
        burst = (first, second, third, fourth)
    return types.ProbeConfig(
        server_name=probe.server_name,
        port=probe.port,
        path=probe.path,
        profile=probe.profile,
        verify=probe.verify,
        heartbeat=probe.heartbeat,
        interval_ms=_ms(probe.interval),
        request_interval_ms=_ms(probe.request_interval),
        timeout_ms=either(probe.timeout, numbers.timeout_ms),
        burst_ms=burst,
        silent_after_ms=either(probe.silent_after, numbers.silent_after_ms),
        heartbeat_interval_ms=either(probe.heartbeat_interval, numbers.heartbeat_interval_ms),
        heartbeat_deadline_ms=either(probe.heartbeat_deadline, numbers.heartbeat_deadline_ms),
        rise=probe.rise,
        stable_for_ms=_ms(probe.stable_for),
        down_interval_ms=_ms(probe.down_interval),
        below_floor_interval_ms=_ms(probe.below_floor_interval),
    )


def _kubernetes(table: model.Kubernetes, directory: Path) -> types.KubernetesConfig:
    return types.KubernetesConfig(
        enabled=table.enabled,
        kubeconfig=None if table.kubeconfig is None else _path(table.kubeconfig, directory),
        node_selector=table.node_selector,
        cordon=table.cordon,
        drain_marks=table.drain_marks,
        annotation_prefix=table.annotation_prefix,
        drain_labels=tuple(table.drain_labels),
        daemonset=table.daemonset,
        lease=table.lease,
    )


def _web(web: model.Web) -> types.WebConfig:
    listen = parse_listen(web.listen)
    return types.WebConfig(
        listen=None if listen is None else types.ListenAddress(host=listen[0], port=listen[1]),
        allow_remote=web.allow_remote,
        public_url=web.public_url,
    )


def _channel(
    channel: model.AnyChannel, index: int, language: types.Language, sources: Sources
) -> types.ChannelConfig:
    return types.ChannelConfig(
        name=channel.name,
        type=types.ChannelType(channel.type),
        min_severity=channel.min_severity,
        events=tuple(channel.events),
        vips=None if channel.vips is None else tuple(channel.vips),
        language=channel.language or language,
        quiet_hours=None if channel.quiet_hours is None else _quiet_hours(channel.quiet_hours),
        proxy=channel.proxy,
        url=sources.get(("channel", index, "url")),
        token=sources.get(("channel", index, "token")),
        routing_key=sources.get(("channel", index, "routing_key")),
        secret=sources.get(("channel", index, "secret")),
        chat_id=channel.chat_id if isinstance(channel, model.Telegram) else None,
        thread_id=channel.thread_id
        if isinstance(channel, model.Telegram | model.Discord)
        else None,
        silent=channel.silent if isinstance(channel, model.Telegram | model.Discord) else False,
        topic=channel.topic if isinstance(channel, model.Ntfy) else None,
        bot_name=channel.bot_name if isinstance(channel, model.Dooray) else None,
        bot_icon=channel.bot_icon if isinstance(channel, model.Dooray) else None,
        email=channel.email if isinstance(channel, model.Jandi) else None,
    )


def _quiet_hours(text: str) -> types.QuietHours:
    span, _, zone = text.partition(" ")
    start, _, end = span.partition("-")
    return types.QuietHours(
        start_minute=_minute(start), end_minute=_minute(end), timezone=zone or None
    )


def _minute(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
