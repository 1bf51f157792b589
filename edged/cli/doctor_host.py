"""`doctor` on this host: the configuration, clock, state, daemon, cluster, names and unit."""

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edged.cli.client import NoDaemon
from edged.cli.context import Context
from edged.cli.doctor_checks import Check, fail, ok, warn
from edged.config.loaded import Loaded
from edged.config.secret import SecretError
from edged.config.types import Config
from edged.core.errors import EdgedError
from edged.system import clock

UNIT: Final = Path("/etc/systemd/system/edged.service")
YEAR_LEAST: Final = 2025
KUBE_EVENTS: Final = 50


def configuration(loaded: Loaded) -> Iterator[Check]:
    """Say what the file is worth, and whether anybody would be told of trouble."""
    config = loaded.config
    yield ok("configuration", f"{loaded.source}: valid, mode {config.mode.value}")
    for warning in loaded.warnings:
        yield warn("configuration", warning.render(severity="warning"), "edged check-config")
    if not config.channels:
        yield warn(
            "configuration",
            "no [[channel]]: nobody is told when a gateway dies",
            "add one (config.example.toml), then edged alerts test",
        )
    else:
        names = ", ".join(channel.name for channel in config.channels)
        yield ok(
            "configuration", f"channels {names}: secrets can be read (edged alerts test sends)"
        )
    if config.dead_mans_switch is None:
        yield warn(
            "configuration",
            "no [dead_mans_switch]: nobody notices when edged or its line dies",
            "add one, from a service outside this network",
        )


def host(config: Config, context: Context) -> Iterator[Check]:
    """Look at what edged needs of the machine it runs on."""
    now = clock.wall()
    if now.year < YEAR_LEAST:
        yield fail(
            "this host", f"the clock says {now:%Y-%m-%d}", "set it (NTP); history depends on it"
        )
    else:
        yield ok("this host", f"the clock says {now:%Y-%m-%d %H:%M} UTC")
    yield _state(config)
    yield _daemon(config, context)
    yield from _kubernetes(config, context)
    yield from _names(config)
    if UNIT.exists():
        yield ok("this host", f"systemd unit {UNIT} is there")
    else:
        yield warn(
            "this host",
            f"no {UNIT}: edged does not return after a reboot",
            "edged install-files --write, or run it as a container",
        )


def _state(config: Config) -> Check:
    folder = config.state_dir
    if folder is None:
        return warn(
            "this host",
            'state_dir = "": a restart forgets drains and unsent alerts',
            "leave the key out, if this host has a disk",
        )
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return ok("this host", f"state directory {folder} can be written")
    if (folder / "edged.sqlite3").exists() or not os.access(existing, os.X_OK):
        return warn("this host", f"{folder} belongs to another user, as under systemd")
    return fail(
        "this host",
        f"state directory {folder} cannot be written by this user",
        f"mkdir -p {folder} and give it to edged's user, or use the systemd unit",
    )


def _daemon(config: Config, context: Context) -> Check:
    try:
        document = context.client.get("status")
    except NoDaemon as error:
        return warn(
            "this host", f"no daemon answers: {error}", "edged run, or systemctl start edged"
        )
    except EdgedError as error:
        return warn("this host", f"the daemon answered with a refusal: {error}")
    del config
    return ok("this host", f"the daemon runs: {document['mode']}, {document['level']}")


def _kubernetes(config: Config, context: Context) -> Iterator[Check]:
    """Repeat what the daemon found out about the cluster; it alone has a watch."""
    area = "kubernetes"
    if not config.kubernetes.enabled:
        return
    try:
        summary = str(context.client.get("status").get("kubernetes", ""))
        names = "kube.forbidden,kube.warning_found,kube.watch_lost"
        events = context.client.get("events", {"names": names, "limit": KUBE_EVENTS})["events"]
    except EdgedError:
        yield warn(area, "not checked: no daemon answers", "edged run, then edged doctor again")
        return
    yield ok(area, summary)
    told = {json.dumps(event["fields"], sort_keys=True): event for event in events}
    for event in told.values():
        fields = event["fields"]
        words = [str(fields[key]) for key in ("kind", "verb", "object", "detail") if key in fields]
        fix = str(fields.get("fix") or "deploy/kubernetes/rbac.yaml has every right, one by one")
        yield warn(area, f"{event['name']}: {' '.join(words)}", fix)


def _names(config: Config) -> Iterator[Check]:
    """Look up every host that edged talks to by name."""
    hosts = {router.address for router in config.routers} | set(_channel_hosts(config))
    for host in sorted(hosts):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield _resolved(host)


def _channel_hosts(config: Config) -> Iterator[str]:
    sources = [channel.url for channel in config.channels]
    if config.dead_mans_switch is not None:
        sources.append(config.dead_mans_switch.url)
    for source in filter(None, sources):
        try:
            host = urlsplit(source.read().reveal()).hostname
        except (SecretError, ValueError):
            continue
        if host:
            yield host


def _resolved(host: str) -> Check:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        fix = "correct the name, or this host's name servers (resolvectl status)"
        return warn("this host", f"DNS does not know {host}: {error.strerror or error}", fix)
    return ok("this host", f"DNS knows {host}")
