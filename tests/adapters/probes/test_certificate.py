"""What is read from a certificate, and what is found wrong with it."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.probes.certificate import (
    CertificateFacts,
    CertificateFault,
    CertificateWatch,
    client_context,
    inspect,
    leaf_context,
)
from edged.probes.target import Target
from edged.probes.tls import digest_of
from tests.support.certificates import SERVER_NAME, WILDCARD, Pair, authority_pem, pair
from tests.support.gateways import StandIn, auto, hang, over_tls, refused_port
from tests.support.probing import CHECK, target_at


@contextmanager
def serving(certificate: Pair, *, port: int = 0) -> Iterator[Target]:
    with StandIn(over_tls(auto(), certificate=certificate), port=port) as gateway:
        yield target_at(gateway.port)


@pytest.fixture
def issuers(tmp_path: Path) -> Path:
    """Return a file with the issuer of all test certificates."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority_pem())
    return path


CASES = [
    pytest.param(pair(), True, None, id="good"),
    pytest.param(pair(), False, CertificateFault.ISSUER_UNKNOWN, id="unknown issuer"),
    pytest.param(pair(days=-3), True, CertificateFault.EXPIRED, id="expired"),
    pytest.param(pair(days=400), True, CertificateFault.NOT_YET_VALID, id="not yet valid"),
    pytest.param(pair("a.example"), True, CertificateFault.NAME_MISMATCHED, id="another name"),
]


@pytest.mark.parametrize(("certificate", "known", "fault"), CASES)
async def test_names_dates_and_the_fault_are_told(
    issuers: Path, certificate: Pair, *, known: bool, fault: CertificateFault | None
) -> None:
    with serving(certificate) as target:
        facts = await inspect(
            target,
            certificate.leaf_der,
            verifying=client_context(issuers if known else None),
        )

    assert facts is not None
    assert facts.fault is fault
    assert bool(facts.detail) is (fault is not None)
    assert facts.names in {(WILDCARD,), ("a.example",)}
    assert facts.digest == digest_of(certificate.leaf_der)
    assert facts.not_after - facts.not_before == dt.timedelta(days=365)
    assert facts.issuer


def test_days_left_are_whole_and_negative_once_it_has_run_out() -> None:
    end = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
    facts = CertificateFacts(
        digest="d", names=(), issuer="", not_before=end - dt.timedelta(days=90), not_after=end
    )

    assert facts.days_left(end - dt.timedelta(days=13, hours=23)) == 13
    assert facts.days_left(end + dt.timedelta(hours=1)) == -1


def test_no_context_is_strict() -> None:
    """Python 3.13 made its default strict: a private issuer without keyUsage would be refused."""
    for context in (client_context(), leaf_context(pair().leaf_der)):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED


async def test_another_leaf_than_the_one_seen_says_nothing() -> None:
    with serving(pair()) as target:
        facts = await inspect(target, pair(days=91).leaf_der, verifying=client_context())

    assert facts is None


async def test_a_gateway_that_does_not_answer_says_nothing() -> None:
    der = pair().leaf_der
    verifying = client_context()
    with StandIn(hang) as deaf:
        for port in (deaf.port, refused_port()):
            facts = await inspect(target_at(port), der, verifying=verifying, deadline_ms=40)
            assert facts is None


# --- the watch ----------------------------------------------------------------------------------


class Reports:
    """Collects what the watch reports."""

    def __init__(self) -> None:
        self.found: list[tuple[str, CertificateFacts]] = []
        self.more = asyncio.Event()

    def __call__(self, check: str, facts: CertificateFacts) -> None:
        self.found.append((check, facts))
        self.more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.found) < count:
                self.more.clear()
                await self.more.wait()


async def test_the_watch_looks_once_at_each_new_leaf(issuers: Path) -> None:
    reports = Reports()
    old, new = pair(), pair(days=91)
    with serving(old) as target:
        watch = CertificateWatch({CHECK: target}, reports, ca_file=issuers)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            watch.seen(CHECK, old.leaf_der)
            watch.seen("nobody", old.leaf_der)
            await reports.until(1)
            with serving(new) as moved:
                watch.reconfigure({CHECK: moved})
                watch.seen(CHECK, new.leaf_der)
                await reports.until(2)
            await asyncio.sleep(0.02)
            watch.stop()

    assert [check for check, _ in reports.found] == [CHECK, CHECK]
    digests = [facts.digest for _, facts in reports.found]
    assert digests == [digest_of(old.leaf_der), digest_of(new.leaf_der)]


async def test_what_was_found_out_about_a_leaf_that_is_gone_is_not_told(issuers: Path) -> None:
    reports = Reports()
    with serving(pair()) as target:
        watch = CertificateWatch({CHECK: target}, reports, ca_file=issuers)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            watch.seen(CHECK, pair().leaf_der)
            await asyncio.sleep(0)
            watch.seen(CHECK, pair(days=91).leaf_der)
            await asyncio.sleep(0.05)
            watch.stop()

    assert reports.found == []


async def test_the_watch_looks_again_after_an_hour(issuers: Path) -> None:
    reports = Reports()
    with serving(pair()) as target:
        watch = CertificateWatch({CHECK: target}, reports, ca_file=issuers)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            watch.seen(CHECK, pair().leaf_der)
            await reports.until(1)
            await asyncio.sleep(0)
            left_s = watch._due_s[CHECK] - asyncio.get_running_loop().time()
            watch._due_s[CHECK] = 0.0
            watch._changed.set()
            await reports.until(2)
            watch.stop()

    assert 3_590 < left_s <= 3_600


async def test_a_gateway_that_is_down_is_looked_at_again_soon_and_does_not_spin() -> None:
    reports = Reports()
    watch = CertificateWatch({CHECK: target_at(refused_port())}, reports)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(watch.run())
        watch.seen(CHECK, pair().leaf_der)
        await asyncio.sleep(0.03)
        left_s = watch._due_s[CHECK] - asyncio.get_running_loop().time()
        watch.stop()

    assert reports.found == []
    assert 50 < left_s <= 60


def test_the_probe_name_fits_the_wildcard() -> None:
    """Else the table above would call the good certificate mismatched for the wrong reason."""
    assert SERVER_NAME.split(".", 1)[1] == WILDCARD.split(".", 1)[1]
