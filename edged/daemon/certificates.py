"""Certificates: from what the gateways serve to warnings. Never evidence about a gateway."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from edged.core.events import Event, Severity, event
from edged.core.types import CoreConfig
from edged.probes.certificate import CertificateFacts, CertificateFault

WARN_DAYS: Final = 14
CRITICAL_DAYS: Final = 3
MIXED_MS: Final = 600_000
"""Different leaves behind one VIP are normal during a renewal, and odd after ten minutes."""


class Certificates:
    """What each check serves, and what people were told about it already."""

    def __init__(self) -> None:
        self._facts: dict[str, CertificateFacts] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._mixed_since_ms: dict[str, int] = {}

    @property
    def known(self) -> Mapping[str, CertificateFacts]:
        """The latest facts of each check."""
        return self._facts

    def observe(
        self,
        check: str,
        facts: CertificateFacts,
        core: CoreConfig,
        *,
        wall: datetime,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """Take one look at a leaf; returns each warning once per leaf."""
        self._facts[check] = facts
        names = {one.key: one.gateway for one in core.checks}
        gateway = names.get(check, check)
        found = [*self._expiry(check, gateway, facts, wall=wall, now_ms=now_ms)]
        if facts.fault in {CertificateFault.NAME_MISMATCHED, CertificateFault.NOT_YET_VALID}:
            found.extend(self._mismatch(check, gateway, facts, now_ms, facts.detail))
        for vip in core.vips:
            if check in vip.checks:
                found.extend(self._mixed(vip.name, vip.checks, names, now_ms))
        return tuple(found)

    def _once(self, check: str, digest: str, what: str) -> bool:
        key = (check, digest, what)
        fresh = key not in self._told
        self._told = {k for k in self._told if k[0] != check or k[1] == digest} | {key}
        return fresh

    def _expiry(
        self,
        check: str,
        gateway: str,
        facts: CertificateFacts,
        *,
        wall: datetime,
        now_ms: int,
    ) -> Iterator[Event]:
        days = facts.days_left(wall)
        life = (facts.not_after - facts.not_before).days
        for limit, severity in ((CRITICAL_DAYS, Severity.CRITICAL), (WARN_DAYS, Severity.WARNING)):
            if days >= min(limit, max(life // 3, 1)):
                continue
            if self._once(check, facts.digest, f"expiry {limit}"):
                yield event(
                    "certificate.expiring",
                    now_ms,
                    severity,
                    gateway=gateway,
                    names=facts.names,
                    not_after=facts.not_after.isoformat(),
                    days=days,
                )
            return

    def _mismatch(
        self,
        check: str,
        gateway: str,
        facts: CertificateFacts,
        now_ms: int,
        detail: str,
    ) -> Iterator[Event]:
        if self._once(check, facts.digest, detail):
            yield event(
                "certificate.mismatched",
                now_ms,
                gateway=gateway,
                detail=detail,
                digest=facts.digest[:16],
            )

    def _mixed(
        self,
        vip: str,
        checks: tuple[str, ...],
        names: Mapping[str, str],
        now_ms: int,
    ) -> Iterator[Event]:
        """Tell when gateways of one VIP have served different leaves for ten minutes."""
        facts = {key: self._facts[key] for key in checks if key in self._facts}
        newest = max((one.not_before for one in facts.values()), default=None)
        old = [key for key, one in facts.items() if one.not_before != newest]
        if not old:
            self._mixed_since_ms.pop(vip, None)
            return
        since_ms = self._mixed_since_ms.setdefault(vip, now_ms)
        if now_ms - since_ms < MIXED_MS:
            return
        for key in old:
            gateway = names.get(key, key)
            yield from self._mismatch(
                key, gateway, facts[key], now_ms, f"{gateway} still serves the old certificate"
            )
