"""One connection to the simulated router: login, tags, commands beside each other, faults.

Sources: MikroTik manual, API page; recorded failure texts of logins, `/quit` and `/cancel`.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from edged.simulator.faults import Fault, FaultKind, Faults
from edged.simulator.grammar import read_request, tag_of
from edged.simulator.query import matches, select
from edged.simulator.replies import Follow, Pause, Step, Trap, Words
from edged.simulator.router import SimulatedRouter
from edged.simulator.system import stamp
from edged.simulator.versions import Version
from edged.simulator.views import ActiveUser
from edged.simulator.wire import (
    Limits,
    Sentence,
    SentenceDecoder,
    WireError,
    encode_sentence,
)

READ_BYTES = 65_536
"""Bytes taken from a socket at once."""

COMMANDS_IN_FLIGHT = 64
"""Most commands one session runs at once; one more ends it."""

FOLLOW_ROWS = 10_000
"""Most changes kept for a follower that does not read; beyond that its connection is dropped."""

LOGINS_PER_CONNECTION = 10
"""Most attempts on one connection; the real figure is not known, only that there is one."""

BEFORE_LOGIN = Limits(word_bytes=1_024, sentence_bytes=4_096, sentence_words=16)
"""A router takes only short sentences before the login (manual); the figures are ours."""

_FLOOD_ROW = ("!re", "=.id=*FFFF", "=comment=" + "x" * 1_000)


class _Command:
    """A sentence that is being answered."""

    __slots__ = ("tag", "task")

    def __init__(self, tag: str | None) -> None:
        self.tag = tag
        self.task: asyncio.Task[None] | None = None


class Session:
    """One connection."""

    def __init__(
        self,
        router: SimulatedRouter,
        faults: Faults,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        key: str,
    ) -> None:
        self._router = router
        self._faults = faults
        self._reader = reader
        self._writer = writer
        self._key = key
        name: tuple[str, int] | None = writer.get_extra_info("peername")
        self._remote = (name[0], name[1]) if name else ("127.0.0.1", 0)
        self._via = "api" if writer.get_extra_info("ssl_object") is None else "api-ssl"
        self._user: str | None = None
        self._challenge: bytes | None = None
        self._attempts = 0
        self._commands: set[_Command] = set()
        self._in_order = asyncio.Lock()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()

    async def run(self) -> None:
        """Serve the connection until one side ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                with contextlib.suppress(ConnectionError, WireError, TimeoutError):
                    await self._read(group)
                for command in list(self._commands):
                    if command.task is not None:
                        command.task.cancel()
        finally:
            self._leave()

    async def ignore(self) -> None:
        """Say nothing until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(READ_BYTES):
                pass

    async def _read(self, group: asyncio.TaskGroup) -> None:
        decoder = SentenceDecoder(BEFORE_LOGIN)
        while data := await self._reader.read(READ_BYTES):
            for sentence in decoder.feed(data):
                if len(self._commands) >= COMMANDS_IN_FLIGHT:
                    return
                if self._user is not None:
                    self._start(group, sentence)
                elif not await self._before_login(sentence):
                    return
            if self._user is not None:
                decoder.set_limits(Limits())

    def _leave(self) -> None:
        if self._router.active.pop(self._key, None) is not None:
            self._router.log("system,info,account", f"user {self._user} logged out via {self._via}")

    # Logging in.

    async def _before_login(self, sentence: Sentence) -> bool:
        """Handle a sentence of nobody; false ends the connection."""
        if sentence[0] == "/quit":
            return await self._end("session terminated on request")
        if sentence[0] != "/login":
            return await self._end("not logged in")
        self._attempts += 1
        if self._attempts > LOGINS_PER_CONNECTION:
            return await self._end("too many login attempts")
        command = _Command(tag_of(sentence))
        await self._delay(sentence[0])
        fault = self._faults.take(sentence[0])
        if fault is not None and await self._fail_unapplied(fault, command):
            return True
        reply = self._login(sentence, refused=fault is not None and not _is_cut(fault))
        if fault is not None and _is_cut(fault):
            self._cut(fault, reply)
            return False
        for words in reply:
            await self._send(words, command.tag)
        return True

    def _login(self, sentence: Sentence, *, refused: bool) -> list[list[str]]:
        try:
            request = read_request(sentence)
        except Trap as trap:
            return [*trap.sentences(), ["!done"]]
        words = request.arguments
        if self._router.old_login and "response" not in words:
            self._challenge = secrets.token_bytes(16)
            return [["!done", f"=ret={self._challenge.hex()}"]]
        name = words.get("name", "")
        if refused or not self._proves(name, words):
            self._router.counters.logins_refused += 1
            self._router.log(
                "system,error,critical",
                f"login failure for user {name} from {self._peer()} via {self._via}",
            )
            text = "cannot log in" if self._router.old_login else _WRONG_LOGIN
            return [["!trap", f"=message={text}"], ["!done"]]
        self._enter(name)
        return [["!done"]]

    def _proves(self, name: str, words: Words) -> bool:
        password = self._router.users.password_of(name)
        if password is None or not self._router.users.admits(name, source=self._peer()):
            return False
        if self._router.old_login:
            return self._challenge is not None and secrets.compare_digest(
                words["response"], _challenge_response(self._challenge, password)
            )
        given = words.get("password", "").encode("utf-8", "surrogateescape")
        return secrets.compare_digest(given, password.encode())

    def _enter(self, name: str) -> None:
        self._user = name
        self._router.counters.logins += 1
        self._router.users.note_login(
            name, stamp(Version.parse(self._router.version), self._router.now())
        )
        self._router.active[self._key] = ActiveUser(
            name=name,
            address=self._peer(),
            port=self._remote[1],
            via=self._via,
            since=self._router.now(),
        )
        self._router.log(
            "system,info,account", f"user {name} logged in from {self._peer()} via {self._via}"
        )

    def _peer(self) -> str:
        return self._remote[0]

    # Commands.

    def _start(self, group: asyncio.TaskGroup, sentence: Sentence) -> None:
        command = _Command(tag_of(sentence))
        self._commands.add(command)
        command.task = group.create_task(self._run_command(sentence, command))

    async def _run_command(self, sentence: Sentence, command: _Command) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                if command.tag is None and not _is_control(sentence[0]):
                    async with self._in_order:
                        await self._answer(sentence, command)
                else:
                    await self._answer(sentence, command)
        finally:
            self._commands.discard(command)

    async def _answer(self, sentence: Sentence, command: _Command) -> None:
        await self._delay(sentence[0])
        fault = self._faults.take(sentence[0])
        if fault is not None and await self._fail_unapplied(fault, command):
            return
        match sentence[0]:
            case "/quit":
                await self._end("session terminated on request")
            case "/cancel":
                await self._cancel(sentence, command)
            case "/login":
                await self._send_all(self._login(sentence, refused=False), command.tag)
            case _:
                await self._execute(sentence, command, fault)

    async def _execute(self, sentence: Sentence, command: _Command, fault: Fault | None) -> None:
        assert self._user is not None
        steps = self._router.execute(sentence, user=self._user)
        if fault is not None:
            replies = _replies_at_once(steps)
            if fault.kind is FaultKind.HANG:
                await _forever()
            self._cut(fault, replies)
            return
        try:
            for step in steps:
                await self._take(step, command)
        except Trap as trap:
            await self._send_all([*trap.sentences(), ["!done"]], command.tag)

    async def _take(self, step: Step, command: _Command) -> None:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Follow():
                await self._follow(step, command)
            case _:
                await self._send(step.sentence(), command.tag)

    async def _follow(self, follow: Follow, command: _Command) -> None:
        """Send every change of a menu until the command is cancelled or the session ends."""
        queue: asyncio.Queue[Words] = asyncio.Queue()

        def hear(menu: str, row: Words, dead: bool) -> None:  # noqa: FBT001 - a listener's form
            if menu != follow.menu:
                return
            if queue.qsize() >= FOLLOW_ROWS:
                self.abort()
            elif dead:
                queue.put_nowait({".id": row[".id"], ".dead": "true"})
            elif matches(row, follow.queries):
                queue.put_nowait(select(row, follow.proplist))

        with _subscription(self._router.subscribe(hear)):
            while True:
                row = await queue.get()
                await self._send(["!re", *_attributes(row)], command.tag)

    async def _cancel(self, sentence: Sentence, command: _Command) -> None:
        """Interrupt commands, in the recorded order: their traps, our end, their ends."""
        try:
            wanted = read_request(sentence).arguments.get("tag")
        except Trap as trap:
            await self._send_all([*trap.sentences(), ["!done"]], command.tag)
            return
        others = [
            one
            for one in self._commands
            if one is not command and (wanted is None or one.tag == wanted)
        ]
        for one in others:
            if one.task is not None:
                one.task.cancel()
            await self._send(["!trap", "=category=2", "=message=interrupted"], one.tag)
        await self._send(["!done"], command.tag)
        for one in others:
            await self._send(["!done"], one.tag)

    # Faults.

    async def _delay(self, path: str) -> None:
        seconds = self._faults.take_delay_s(path)
        if seconds:
            await asyncio.sleep(seconds)

    async def _fail_unapplied(self, fault: Fault, command: _Command) -> bool:
        """Do the faults that keep a command from being run; true if that was one of them."""
        match fault.kind:
            case FaultKind.HANG if self._user is None:
                await self.ignore()
            case FaultKind.HANG if not fault.applied:
                await _forever()
            case FaultKind.CUT_BEFORE:
                self.abort()
            case FaultKind.REFUSE if fault.text:
                trap = Trap(fault.text, category=fault.category)
                self._router.counters.traps += 1
                await self._send_all([*trap.sentences(), ["!done"]], command.tag)
            case FaultKind.GARBAGE:
                self._writer.write(fault.payload)
                await self._writer.drain()
            case FaultKind.FLOOD:
                while True:
                    await self._send(_FLOOD_ROW, command.tag)
            case _:
                return False
        return True

    def _cut(self, fault: Fault, replies: Sequence[Sequence[str]]) -> None:
        """Drop the connection after a command, before or in the middle of its reply."""
        if fault.kind is FaultKind.CUT_MID_REPLY and replies:
            payload = encode_sentence(replies[0])
            self._writer.write(payload[: len(payload) // 2])
            self._writer.close()
        else:
            self.abort()

    # Sending.

    async def _end(self, reason: str) -> bool:
        """Say `!fatal`, whose reason is a bare word, and close."""
        await self._send(["!fatal", reason], None)
        self._writer.close()
        return False

    async def _send_all(self, sentences: Iterable[Sequence[str]], tag: str | None) -> None:
        for words in sentences:
            await self._send(words, tag)

    async def _send(self, words: Sequence[str], tag: str | None) -> None:
        tagged = words if tag is None else [words[0], f".tag={tag}", *words[1:]]
        self._writer.write(encode_sentence(tagged))
        await self._writer.drain()


_WRONG_LOGIN = "invalid user name or password (6)"


def _challenge_response(challenge: bytes, password: str) -> str:
    """Return `00` and the MD5 of a zero byte, the password and the challenge."""
    digest = hashlib.md5(b"\0" + password.encode() + challenge, usedforsecurity=False)
    return "00" + digest.hexdigest()


async def _forever() -> None:
    """Wait until cancelled, which the end of the session does."""
    await asyncio.Event().wait()


def _is_control(path: str) -> bool:
    """Commands about other commands do not wait for them."""
    return path in {"/cancel", "/quit"}


def _is_cut(fault: Fault) -> bool:
    return fault.kind in {FaultKind.CUT_AFTER, FaultKind.CUT_MID_REPLY}


def _attributes(row: Words) -> list[str]:
    return [f"={name}={value}" for name, value in row.items()]


def _replies_at_once(steps: Iterator[Step]) -> list[list[str]]:
    """Run a command to its end without waiting, for replies that will not arrive anyway."""
    replies: list[list[str]] = []
    try:
        for step in steps:
            if isinstance(step, Follow) or len(replies) >= FOLLOW_ROWS:
                break
            if not isinstance(step, Pause):
                replies.append(step.sentence())
    except Trap as trap:
        replies += trap.sentences()
    return replies


@contextlib.contextmanager
def _subscription(undo: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    finally:
        undo()
