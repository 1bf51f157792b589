"""A relay in front of gateways that can fall silent, as a node without power does.

Silent: nothing is forwarded any more, and the accept queue is kept full, so that the kernel drops
the next SYN without an answer. That needs no rights. A peer's data is still acknowledged by our
kernel, but nothing of the gateway comes back.

One process for all gateways; commands are lines on standard input (`silent N`, `serve N`), answers
are the monotonic time at which the command took effect.
"""

import asyncio
import contextlib
import socket
import sys
import time

BACKLOG = 128


class Relay:
    def __init__(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        self._listen = listen
        self._target = target
        self._pairs: set[socket.socket] = set()
        self._fillers: list[socket.socket] = []
        self._silent = False
        self._listener = socket.create_server(listen, backlog=BACKLOG)
        self._listener.settimeout(0.0)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        while not self._silent:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(0.0)
            gateway = socket.socket()
            gateway.settimeout(0.0)
            try:
                gateway.connect(self._target)
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                gateway.close()
                continue
            for sock in (client, gateway):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs |= {client, gateway}
            self._loop.add_reader(client, self._pass, client, gateway)
            self._loop.add_reader(gateway, self._pass, gateway, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        if self._silent:
            return
        try:
            data = source.recv(65_536)
            if data:
                target.sendall(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        for sock in (source, target):
            self._loop.remove_reader(sock)
            self._pairs.discard(sock)
            sock.close()

    def silent(self) -> float:
        """Fall silent."""
        self._silent = True
        for sock in self._pairs:
            self._loop.remove_reader(sock)
        self._loop.remove_reader(self._listener)
        at = time.monotonic()
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.settimeout(0.0)
            with contextlib.suppress(BlockingIOError):
                filler.connect(self._listen)
            self._fillers.append(filler)
        return at

    def serve(self) -> float:
        """Come back, as after a reboot: what was open is gone."""
        for sock in (*self._pairs, *self._fillers):
            sock.close()
        self._pairs.clear()
        self._fillers.clear()
        self._listener.close()
        self._listener = socket.create_server(self._listen, backlog=BACKLOG)
        self._listener.settimeout(0.0)
        self._silent = False
        self._loop.add_reader(self._listener, self._accept)
        return time.monotonic()


async def main(words: list[str]) -> None:
    port, inner = int(words[0]), int(words[1])
    relays = [Relay((outside, port), (inside, inner)) for outside, inside in _pairs(words[2:])]
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        verb, number = line.decode().split()
        relay = relays[int(number)]
        print(relay.silent() if verb == "silent" else relay.serve(), flush=True)


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(one, other) for one, _, other in (word.partition("=") for word in words)]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
