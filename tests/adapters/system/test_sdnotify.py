"""The service manager's side of the notification socket, played by a real datagram socket."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.system.sdnotify import Notifier, Watchdog, watchdog_ms


class Manager:
    """A service manager's end: receives what a service says."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind(address)

    def receive(self) -> str:
        return self._socket.recv(4096).decode()

    def nothing_came(self) -> bool:
        self._socket.settimeout(0)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(short_tmp_path: Path) -> Iterator[tuple[Manager, Notifier]]:
    address = str(short_tmp_path / "notify")
    played = Manager(address)
    yield played, Notifier({"NOTIFY_SOCKET": address})
    played.close()


def test_the_service_manager_hears_every_word(manager: tuple[Manager, Notifier]) -> None:
    played, notifier = manager
    assert notifier.ready("3/3 in route")
    assert notifier.status("2/3\nin   route")
    assert notifier.stopping()
    assert notifier.alive()
    heard = [played.receive() for _ in range(4)]
    assert heard == [
        "READY=1\nSTATUS=3/3 in route",
        "STATUS=2/3 in route",
        "STOPPING=1",
        "WATCHDOG=1",
    ]


def test_reloading_carries_the_time_without_which_systemctl_hangs(
    manager: tuple[Manager, Notifier],
) -> None:
    played, notifier = manager
    before = time.monotonic_ns() // 1_000
    notifier.reloading()
    first, second = played.receive().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1_000


def test_a_socket_in_the_abstract_name_space_is_found() -> None:
    name = f"edged-test-{secrets.token_hex(8)}"
    played = Manager("\0" + name)
    try:
        assert Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert played.receive() == "READY=1"
    finally:
        played.close()


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    assert not Notifier({}).ready()
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).status("fine")


def test_a_status_is_one_line_of_bounded_length(manager: tuple[Manager, Notifier]) -> None:
    played, notifier = manager
    notifier.status("long " * 1_000)
    assert len(played.receive()) <= len("STATUS=") + 200


@pytest.mark.parametrize(
    ("environ", "interval_ms"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
    ids=["unset", "zero", "not a number", "for anybody", "for us", "for another process"],
)
def test_the_watchdog_interval_is_the_one_meant_for_this_process(
    environ: dict[str, str],
    interval_ms: int | None,
) -> None:
    assert watchdog_ms(environ) == interval_ms


def test_the_watchdog_vouches_only_while_it_is_fed(manager: tuple[Manager, Notifier]) -> None:
    played, notifier = manager
    wedged = threading.Event()
    watchdog = Watchdog(notifier, interval_ms=500, on_wedged=wedged.set)
    watchdog.start()
    try:
        for _ in range(3):
            assert played.receive() == "WATCHDOG=1"
            assert not wedged.is_set()
            watchdog.feed()
        assert wedged.wait(5)
        watchdog.feed()
    finally:
        watchdog.close()


def test_a_closed_watchdog_lets_a_slow_exit_be_slow(manager: tuple[Manager, Notifier]) -> None:
    played, notifier = manager
    wedged = threading.Event()
    watchdog = Watchdog(notifier, interval_ms=50, on_wedged=wedged.set)
    watchdog.start()
    assert played.receive() == "WATCHDOG=1"
    watchdog.close()
    already = wedged.is_set()
    assert wedged.wait(0.03) == already
    assert played.nothing_came()


def test_a_wedged_loop_ends_in_a_stack_dump() -> None:
    program = """
        import asyncio, time
        from edged.system.sdnotify import Notifier, Watchdog

        async def main():
            watchdog = Watchdog(Notifier({}), interval_ms=500)
            watchdog.start()
            for _ in range(30):
                watchdog.feed()
                await asyncio.sleep(0.01)
            this_is_where_it_hangs()

        def this_is_where_it_hangs():
            time.sleep(30)

        asyncio.run(main())
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 70
    assert "does not turn any more" in ended.stderr
    assert "this_is_where_it_hangs" in ended.stderr


def test_a_process_that_was_stopped_for_long_is_not_taken_for_wedged() -> None:
    program = """
        import asyncio
        from edged.system.sdnotify import Notifier, Watchdog

        async def main():
            watchdog = Watchdog(Notifier({}), interval_ms=1_000)
            watchdog.start()
            print("ready", flush=True)
            for _ in range(70):
                watchdog.feed()
                await asyncio.sleep(0.02)

        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        # The one place where time has to pass: the stop must outlast the watchdog's interval.
        time.sleep(1.2)
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()
