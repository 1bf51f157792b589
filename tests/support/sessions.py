"""Opening sessions in tests: one line instead of eight."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edged.router.session import (
    CommandDeadline,
    RouterTarget,
    Session,
    TlsMode,
    make_tls_context,
    open_session,
)

PASSWORD = "secret"


def now_us() -> int:
    """Return the monotonic clock in microseconds."""
    return time.monotonic_ns() // 1_000


def target(
    port: int,
    *,
    tls: TlsMode = TlsMode.OFF,
    fingerprint: str = "",
    ca_file: str | None = None,
    address: str = "127.0.0.1",
) -> RouterTarget:
    """Return a router on loopback."""
    return RouterTarget(
        name="hex",
        address=address,
        port=port,
        username="edged",
        tls=tls,
        fingerprint=fingerprint,
        ca_file=ca_file,
    )


@asynccontextmanager
async def opened(
    router: RouterTarget,
    *,
    password: str = PASSWORD,
    deadline_ms: int = 1_000,
    open_deadline_ms: int = 1_000,
    deadline: CommandDeadline | None = None,
    on_end: Callable[[], None] = lambda: None,
) -> AsyncIterator[Session]:
    """Open a session for the length of a block."""
    session = await open_session(
        router,
        context=make_tls_context(router),
        password=lambda: password,
        deadline=deadline or CommandDeadline(deadline_ms),
        now_us=now_us,
        on_end=on_end,
        open_deadline_ms=open_deadline_ms,
    )
    try:
        yield session
    finally:
        session.abort()
