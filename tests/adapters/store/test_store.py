"""The store on real files: what it keeps, and what it does when the file is bad."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edged.core.errors import StoreError
from edged.core.events import Severity, event
from edged.store import worker as store_worker
from edged.store.file import FILE_NAME, open_file, read_history
from edged.store.rows import Retention
from edged.store.schema import MIGRATIONS
from edged.store.sqlite import Store
from edged.store.values import (
    AlertBatch,
    Notice,
    NoticeKind,
    Persisted,
    Saved,
    SavedAdoption,
    SavedDrain,
    SavedGateway,
    SavedIncident,
    SavedMessage,
    SavedPause,
    SavedSilence,
)

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DRAIN = SavedDrain(
    gateway="node1",
    owner="kim",
    reason="교체",
    since=NOON,
    until=NOON + timedelta(hours=2),
    force=True,
)
PAUSE = SavedPause(owner="kim", since=NOON, until=None)
ADOPTION = SavedAdoption(
    router="hex",
    vip="web",
    rows=({"dst-address": "172.30.1.7/32", "comment": "문 \udcff", "disabled": "no"},),
    at=NOON,
)
GATEWAY = SavedGateway(name="node4", address="172.30.1.23", node="n4", at=NOON)

Open = Callable[..., Awaitable[Store]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Open stores, by default on one file, and close them in the end."""
    stores: list[Store] = []

    async def begin(path: Path | None = tmp_path / FILE_NAME, **options: object) -> Store:
        options = {"wall": lambda: NOON} | options
        stores.append(await Store.open(path, **options))  # type: ignore[arg-type] # passed on
        return stores[-1]

    yield begin
    for store in stores:
        await store.close()


async def found(store: Store) -> Persisted:
    return await store.load()


def kinds(persisted: Persisted) -> list[NoticeKind]:
    return [notice.kind for notice in persisted.notices]


# --- keeping ----------------------------------------------------------------------------------


async def test_everything_a_person_said_is_there_after_a_restart(opened: Open) -> None:
    store = await opened()
    assert await found(store) == Persisted()
    assert await store.save_drain(DRAIN) is Saved.ON_DISK
    assert await store.save_pause(PAUSE) is Saved.ON_DISK
    assert await store.save_adoption(ADOPTION) is Saved.ON_DISK
    assert await store.save_gateway(GATEWAY) is Saved.ON_DISK
    await store.close()
    assert await found(await opened()) == Persisted(
        drains=(DRAIN,),
        pause=PAUSE,
        adoptions=(ADOPTION,),
        gateways=(GATEWAY,),
    )


async def test_what_was_taken_back_is_gone_after_a_restart(opened: Open) -> None:
    store = await opened()
    await store.save_drain(DRAIN)
    await store.save_pause(PAUSE)
    await store.save_adoption(ADOPTION)
    await store.save_gateway(GATEWAY)
    await store.clear_drain("node1")
    await store.clear_pause()
    await store.clear_adoption("hex", "web")
    await store.clear_gateway("node4")
    await store.close()
    assert await found(await opened()) == Persisted()


async def test_text_that_is_no_utf8_does_not_stop_a_drain(opened: Open) -> None:
    store = await opened()
    drain = SavedDrain(gateway="node1", owner="kim", reason="caf\udce9", since=NOON)
    assert await store.save_drain(drain) is Saved.ON_DISK
    await store.close()
    (kept,) = (await found(await opened())).drains
    assert kept.reason == r"caf\udce9"


async def test_only_its_owner_can_read_the_file(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "state" / FILE_NAME
    store = await opened(path)
    await store.save_drain(DRAIN)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes[FILE_NAME] == 0o600
    assert set(modes.values()) == {0o600}


async def test_memory_mode_on_request_is_no_trouble(opened: Open) -> None:
    store = await opened(None)
    assert await store.save_drain(DRAIN) is Saved.IN_MEMORY
    assert store.degraded is None
    assert await found(store) == Persisted()


# --- history ----------------------------------------------------------------------------------


async def test_events_come_back_as_they_were(opened: Open) -> None:
    store = await opened()
    went_down = event("gateway.went_down", 5, gateway="node1", detect_ms=341, witness="node2")
    changed = event("route.changed", 6, vip="web", router="hex", removed=("node1",))
    first, second = store.append_events([went_down, changed], NOON)
    assert (first.seq, second.seq) == (1, 2)
    assert await store.events() == (first, second)
    await store.close()
    store = await opened()
    assert await store.events() == (first, second)
    assert store.append_event(changed, NOON).seq == 3


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"limit": 2}, [5, 6]),
        ({"after_seq": 4}, [5, 6]),
        ({"after_seq": 2, "limit": 1}, [6]),
        ({"since": NOON + timedelta(seconds=4)}, [4, 5, 6]),
        ({"until": NOON + timedelta(seconds=2)}, [1, 2]),
        ({"gateway": "node1"}, [1, 3]),
        ({"vip": "web"}, [2]),
        ({"names": ["route.verified", "gateway.came_up"]}, [2, 3]),
        ({"names": ["gateway.came_up"], "gateway": "node2"}, []),
        ({"min_severity": Severity.WARNING}, [1, 6]),
        ({"min_severity": Severity.CRITICAL}, [6]),
    ],
    ids=str,
)
async def test_a_question_gets_the_newest_events_that_match(
    opened: Open,
    question: dict[str, object],
    numbers: list[int],
) -> None:
    store = await opened()
    happened = [
        event("gateway.went_down", 0, gateway="node1"),
        event("route.verified", 0, vip="web", router="hex"),
        event("gateway.came_up", 0, gateway="node1"),
        event("gateway.undrained", 0, gateway="node2"),
        event("daemon.resumed", 0),
        event("route.contested", 0, router="hex", restored=3),
    ]
    for number, one in enumerate(happened, start=1):
        store.append_event(one, NOON + timedelta(seconds=number))
    answer = await store.events(**question)  # type: ignore[arg-type] # a table of questions
    assert [one.seq for one in answer] == numbers


async def test_the_json_form_of_an_event_is_flat_and_in_utc(opened: Open) -> None:
    store = await opened(None)
    seoul = datetime.fromisoformat("2026-05-01T21:00:00.125+09:00")
    store.append_event(event("route.changed", 6, vip="web", added=("node1",), total_ms=7), seoul)
    (stored,) = await store.events()
    assert stored.document() == {
        "seq": 1,
        "time": "2026-05-01T12:00:00.125Z",
        "name": "route.changed",
        "severity": "info",
        "fields": {"vip": "web", "added": ["node1"], "total_ms": 7},
    }


async def test_history_is_cut_by_age_and_by_rows(
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_worker, "RETENTION_INTERVAL_MS", 0)
    now = NOON
    store = await opened(
        retention=Retention(keep=timedelta(days=1), rows_max=1_200),
        wall=lambda: now,
    )
    happened = event("daemon.resumed", 0)
    store.append_events([happened] * 3_000, NOON)
    store.append_events([happened] * 100, NOON + timedelta(hours=12))
    await store.flush()
    kept = await store.events(limit=5_000)
    assert [kept[0].seq, kept[-1].seq, len(kept)] == [1_901, 3_100, 1_200]
    now = NOON + timedelta(hours=25)
    await store.flush()
    kept = await store.events(limit=5_000)
    assert [kept[0].seq, kept[-1].seq, len(kept)] == [3_001, 3_100, 100]


async def test_writes_are_counted_by_router_and_day(opened: Open) -> None:
    now = NOON
    store = await opened(wall=lambda: now)
    store.count_write("hex")
    store.count_write("hex", 2)
    now += timedelta(days=1)
    store.count_write("hex")
    store.count_write("ccr")
    await store.close()
    store = await opened()
    assert await store.writes() == {"hex": 4, "ccr": 1}
    assert await store.writes(since_day="2026-05-02") == {"hex": 1, "ccr": 1}


async def test_a_storm_beyond_the_bound_is_counted_as_dropped(
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await opened()
    with held(store):
        monkeypatch.setattr(store_worker, "EVENTS_PENDING_MAX", 10)
        for _ in range(15):
            store.append_event(event("daemon.resumed", 0), NOON)
        assert store.dropped == 5
    assert len(await store.events()) == 10


@contextmanager
def held(store: Store) -> Iterator[None]:
    """Keep the store's thread busy, as a hanging disk does."""
    busy, release = threading.Event(), threading.Event()

    def hang(_: sqlite3.Connection) -> None:
        busy.set()
        release.wait(10)

    assert store._worker.submit(hang, lambda _: None)
    assert busy.wait(5)
    try:
        yield
    finally:
        release.set()


async def test_a_hanging_disk_holds_up_nobody(
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edged.store.sqlite.JOB_DEADLINE_MS", 20)
    store = await opened()
    with held(store):
        assert await store.save_drain(DRAIN) is Saved.PENDING
        assert not await store.flush(20)
        with pytest.raises(TimeoutError):
            await store.writes()
        monkeypatch.setattr(store._worker._orders, "maxsize", 1)
        with pytest.raises(StoreError, match="does not keep up"):
            await store.save_pause(PAUSE)
        assert not await store.close(20)
    await asyncio.to_thread(store._worker._thread.join, 5)
    assert (await found(await opened())).drains == (DRAIN,)


async def test_an_order_that_timed_out_is_still_carried_out(
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await opened()
    with held(store), monkeypatch.context() as patched:
        patched.setattr("edged.store.sqlite.JOB_DEADLINE_MS", 20)
        assert await store.save_drain(DRAIN) is Saved.PENDING
    assert await store.flush(5_000)
    await store.close()
    assert (await found(await opened())).drains == (DRAIN,)


# --- bad files --------------------------------------------------------------------------------


async def keep_something(path: Path) -> None:
    store = await Store.open(path, wall=lambda: NOON)
    await store.save_drain(DRAIN)
    for _ in range(2_000):
        store.append_event(event("daemon.resumed", 0, owner="x" * 50), NOON)
    assert await store.close()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8192)


def replace_by_text(path: Path) -> None:
    path.write_text("a shopping list\n" * 400)


def replace_by_other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE drain (bath TEXT)")
        other.commit()


@pytest.mark.parametrize(
    "spoil",
    [truncate, empty, overwrite, replace_by_text, replace_by_other_database],
)
async def test_a_bad_file_is_set_aside_and_edged_starts_paused(
    opened: Open,
    tmp_path: Path,
    spoil: Callable[[Path], None],
) -> None:
    path = tmp_path / FILE_NAME
    await keep_something(path)
    spoil(path)
    spoilt = path.read_bytes()

    store = await opened()
    persisted = await found(store)

    assert persisted.must_pause
    assert persisted.pause is not None
    assert persisted.pause.owner == "edged"
    assert kinds(persisted) == [NoticeKind.SET_ASIDE]
    (aside,) = tmp_path.glob(f"{FILE_NAME}.set-aside-*Z")
    assert aside.name in persisted.notices[0].detail
    assert aside.read_bytes() == spoilt
    assert store.degraded is None
    assert await store.save_drain(DRAIN) is Saved.ON_DISK


async def test_the_pause_after_a_bad_file_outlives_a_crash_before_anybody_saw_it(
    opened: Open,
    tmp_path: Path,
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"rubbish" * 1_000)
    await (await opened()).close()
    persisted = await found(await opened())
    assert not persisted.must_pause
    assert persisted.pause is not None
    assert persisted.pause.until is None


async def test_two_bad_files_in_one_second_both_stay(opened: Open, tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / FILE_NAME).write_bytes(b"rubbish" * 1_000)
        await (await opened(wall=lambda: NOON)).close()
    assert len(list(tmp_path.glob("*.set-aside-20260501T120000Z*"))) == 2


async def test_damage_met_while_running_costs_history_and_no_state(
    opened: Open,
    tmp_path: Path,
) -> None:
    path = tmp_path / FILE_NAME
    await keep_something(path)
    store = await opened()
    told: list[Notice] = []
    store.on_notice(told.append)
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    # The connection's cache would hide the damage for long.
    assert store._worker.submit(_forget_cache, lambda _: None)
    assert await store.save_pause(PAUSE) is Saved.ON_DISK
    await asyncio.sleep(0)
    assert [notice.kind for notice in told] == [NoticeKind.SET_ASIDE]
    await store.close()
    persisted = await found(await opened())
    assert persisted == Persisted(drains=(DRAIN,), pause=PAUSE)


def _forget_cache(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA shrink_memory")
    connection.execute("SELECT sum(length(fields)) FROM event").fetchone()


async def test_a_file_of_a_newer_edged_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    await keep_something(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()

    store = await opened()
    persisted = await found(store)

    assert persisted.must_pause
    assert persisted.pause is not None
    assert kinds(persisted) == [NoticeKind.MEMORY]
    assert "newer edged" in (store.degraded or "")
    assert await store.save_drain(DRAIN) is Saved.IN_MEMORY
    await store.close()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


async def test_a_file_of_an_older_edged_is_brought_forward(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await keep_something(tmp_path / FILE_NAME)
    newer = (*MIGRATIONS, ("CREATE TABLE later (until_ms INTEGER)", "DROP INDEX event_at"))
    monkeypatch.setattr("edged.store.schema.MIGRATIONS", newer)
    persisted = await found(await opened())
    assert persisted == Persisted(drains=(DRAIN,))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert file.execute("SELECT count(*) FROM later").fetchone() == (0,)


async def test_a_migration_that_fails_leaves_the_old_version_whole(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await keep_something(tmp_path / FILE_NAME)
    taken = "INSERT INTO drain VALUES ('node1', '', '', 0, NULL, 0)"
    broken = (*MIGRATIONS, ("CREATE TABLE later (x TEXT)", taken))
    with monkeypatch.context() as patched:
        patched.setattr("edged.store.schema.MIGRATIONS", broken)
        store = await opened()
        persisted = await found(store)
        assert persisted.must_pause
        assert "UNIQUE" in (store.degraded or "")
        await store.close()
    assert await found(await opened()) == Persisted(drains=(DRAIN,))


@pytest.mark.parametrize("where", ["a file stands in the way", "nobody may make folders there"])
async def test_without_a_directory_edged_goes_on_in_memory(
    opened: Open,
    tmp_path: Path,
    where: str,
) -> None:
    if where == "a file stands in the way":
        (tmp_path / "state").write_text("not a folder")
        path = tmp_path / "state" / FILE_NAME
    else:
        path = Path("/proc/edged") / FILE_NAME
    store = await opened(path)
    persisted = await found(store)
    assert kinds(persisted) == [NoticeKind.MEMORY]
    assert not persisted.must_pause
    assert persisted.pause is None
    assert await store.save_drain(DRAIN) is Saved.IN_MEMORY
    assert str(path) in (store.degraded or "")


async def test_a_folder_in_the_place_of_the_file_means_that_the_state_is_unknown(
    opened: Open,
    tmp_path: Path,
) -> None:
    (tmp_path / FILE_NAME).mkdir()
    persisted = await found(await opened())
    assert kinds(persisted) == [NoticeKind.MEMORY]
    assert persisted.must_pause


async def test_a_file_that_cannot_be_written_still_tells_its_state(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await keep_something(tmp_path / FILE_NAME)

    def read_only(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        with closing(connection):
            connection.execute("PRAGMA user_version = 7")
        return connection

    monkeypatch.setattr(store_worker, "open_file", read_only)
    store = await opened()
    persisted = await found(store)
    assert "readonly" in (store.degraded or "")
    assert persisted.drains == (DRAIN,)
    assert not persisted.must_pause


async def test_a_disk_that_hangs_at_the_start_delays_it_only_to_the_deadline(
    opened: Open,
    tmp_path: Path,
) -> None:
    # Opening a pipe that nobody writes to is as dead as a lost network disk.
    os.mkfifo(tmp_path / FILE_NAME)
    store = await opened(deadline_ms=50)
    persisted = await found(store)
    assert persisted.must_pause
    assert kinds(persisted) == [NoticeKind.MEMORY]
    assert "did not answer in time" in persisted.notices[0].detail
    assert await store.save_drain(DRAIN) is Saved.IN_MEMORY


# --- a full disk ------------------------------------------------------------------------------


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Have the kernel refuse to let any file grow beyond `size`, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_disk_that_fills_up_and_is_freed_loses_nothing(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_worker, "RETRY_MS", 20)
    path = tmp_path / FILE_NAME
    await keep_something(path)
    store = await opened()
    told: asyncio.Queue[Notice] = asyncio.Queue()
    store.on_notice(told.put_nowait)
    with files_no_larger_than(4096):
        store.append_event(event("daemon.resumed", 0, owner="full"), NOON)
        assert await store.save_pause(PAUSE) is Saved.IN_MEMORY
        assert await store.clear_drain("node1") is Saved.IN_MEMORY
        assert (await told.get()).kind is NoticeKind.MEMORY
        assert str(path) in (store.degraded or "")
        answer = await store.events(limit=2)
        assert [one.seq for one in answer] == [2_000, 2_001]
    async with asyncio.timeout(5):
        assert (await told.get()).kind is NoticeKind.RECOVERED
    assert store.degraded is None
    assert await store.save_gateway(GATEWAY) is Saved.ON_DISK
    await store.close()
    store = await opened()
    assert await found(store) == Persisted(pause=PAUSE, gateways=(GATEWAY,))
    assert [one.seq for one in await store.events(limit=2)] == [2_000, 2_001]
    assert told.empty()


async def test_a_full_disk_at_the_first_start_is_no_reason_to_pause(
    opened: Open,
    tmp_path: Path,
) -> None:
    with files_no_larger_than(100):
        store = await opened()
        persisted = await found(store)
        assert kinds(persisted) == [NoticeKind.MEMORY]
        assert not persisted.must_pause
        assert await store.save_drain(DRAIN) is Saved.IN_MEMORY
    assert not (tmp_path / FILE_NAME).exists()


async def test_state_that_could_not_be_read_is_not_overwritten_later(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_worker, "RETRY_MS", 20)
    path = tmp_path / FILE_NAME
    hidden = tmp_path / "hidden"
    await keep_something(path)
    path.rename(hidden)
    path.mkdir()
    store = await opened()
    told: asyncio.Queue[Notice] = asyncio.Queue()
    store.on_notice(told.put_nowait)
    other = SavedDrain(gateway="node2", owner="lee", reason="", since=NOON)
    assert (await found(store)).must_pause
    await store.clear_pause()
    await store.save_drain(other)
    path.rmdir()
    hidden.rename(path)
    async with asyncio.timeout(5):
        assert (await told.get()).kind is NoticeKind.RECOVERED
    await store.close()
    assert await found(await opened()) == Persisted(drains=(DRAIN, other))


# --- the end of the process -------------------------------------------------------------------


async def test_a_killed_writer_leaves_what_it_had_confirmed(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    program = """
        import asyncio, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from edged.core.events import event
        from edged.store.sqlite import Store
        from edged.store.values import SavedDrain

        async def main():
            now = datetime(2026, 5, 1, tzinfo=UTC)
            store = await Store.open(Path(sys.argv[1]), wall=lambda: now)
            for number in range(1_000_000):
                for _ in range(20):
                    store.append_event(event("daemon.resumed", 0), now)
                await store.save_drain(
                    SavedDrain(gateway=f"node{number}", owner="", reason="", since=now))
                print(number, flush=True)

        asyncio.run(main())
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), path],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 50:
            break
    writer.kill()
    confirmed = 50
    for line in writer.stdout:
        confirmed = int(line)
    writer.wait(10)
    writer.stdout.close()

    store = await opened()
    persisted = await found(store)

    assert not persisted.must_pause
    assert persisted.notices == ()
    assert len(persisted.drains) in (confirmed + 1, confirmed + 2)
    assert len(await store.events(limit=10_000)) >= min(20 * (confirmed + 1), 10_000)


async def test_history_can_be_read_while_no_edged_runs(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    store = await opened()
    store.append_events([event("daemon.resumed", 0)] * 3, NOON)
    await store.close()
    assert [one.seq for one in read_history(path, limit=2)] == [2, 3]
    with pytest.raises(StoreError, match="cannot be read"):
        read_history(tmp_path / "no-such-file", limit=2)
    assert not (tmp_path / "no-such-file").exists()


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    open_file(path).close()
    before = path.read_bytes()
    open_file(path).close()
    assert len(path.read_bytes()) == len(before)


# --- alerts -----------------------------------------------------------------------------------

INCIDENT = SavedIncident(
    incident="7k2",
    number=7,
    kind="gateway_out",
    severity=Severity.WARNING,
    opened=NOON,
    closed=None,
    title="🔴 web: node2",
    document={"problems": [], "이름": "노드"},
)
MESSAGE = SavedMessage(
    seq=3,
    message="msg_1",
    channel="team",
    incident="7k2",
    created=NOON,
    document={"title": "노드"},
)
SILENCE = SavedSilence(
    number=1,
    owner="kim",
    reason="교체",
    gateway=None,
    vip="web",
    since=NOON,
    until=NOON + timedelta(hours=1),
)


async def test_what_waits_for_people_is_there_after_a_restart(opened: Open) -> None:
    store = await opened()
    batch = AlertBatch(incidents=(INCIDENT,), messages=(MESSAGE,))
    assert await store.save_alerts(batch) is Saved.ON_DISK
    assert await store.save_silence(SILENCE) is Saved.ON_DISK
    await store.close()
    again = await opened()
    kept = await found(again)
    assert (kept.incidents, kept.outbox, kept.silences) == ((INCIDENT,), (MESSAGE,), (SILENCE,))
    assert again.last_incident == 7


async def test_a_closed_incident_is_history_and_a_sent_message_is_gone(opened: Open) -> None:
    store = await opened()
    await store.save_alerts(AlertBatch(incidents=(INCIDENT,), messages=(MESSAGE,)))
    over = replace(INCIDENT, closed=NOON + timedelta(minutes=4))
    await store.save_alerts(AlertBatch(incidents=(over,), removed=(3,)))
    assert await store.incidents() == (over,)
    assert await store.incidents(incident="other") == ()
    await store.close()
    again = await opened()
    kept = await found(again)
    assert (kept.incidents, kept.outbox) == ((), ())
    assert again.last_incident == 7


async def test_events_are_found_by_the_incident_they_were_given_to(opened: Open) -> None:
    store = await opened()
    first = store.append_event(event("gateway.went_down", 0, gateway="node2", check="node2"), NOON)
    store.append_event(event("daemon.resumed", 0), NOON)
    await store.save_alerts(AlertBatch(incidents=(INCIDENT,), events={"7k2": (first.seq,)}))
    (only,) = await store.events(incident="7k2")
    assert only.seq == first.seq
    assert only.fields["incident"] == "7k2"


async def test_incidents_and_messages_are_kept_together_or_not_at_all(opened: Open) -> None:
    store = await opened()
    unfit = replace(MESSAGE, incident=None)  # type: ignore[arg-type] # refused by the table
    with pytest.raises(sqlite3.IntegrityError):
        await store.save_alerts(AlertBatch(incidents=(INCIDENT,), messages=(unfit,)))
    assert await store.incidents() == ()


async def test_a_file_from_before_alerts_is_brought_forward(opened: Open, tmp_path: Path) -> None:
    await keep_something(tmp_path / FILE_NAME)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        for table in ("incident", "outbox", "silence"):
            file.execute(f"DROP TABLE {table}")
        file.execute("PRAGMA user_version = 1")
    store = await opened()
    assert await found(store) == Persisted(drains=(DRAIN,))
    assert await store.save_alerts(AlertBatch(messages=(MESSAGE,))) is Saved.ON_DISK
