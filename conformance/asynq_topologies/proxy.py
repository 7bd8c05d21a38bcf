"""A TCP proxy in front of a server, for a network that fails at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Proxy:
    """Passes bytes both ways, until told to fail. A context manager that closes it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._counting = threading.Lock()
        self._to_lose = 0
        self._needle = b""
        self._refusing = False
        self._passing = threading.Event()
        self._passing.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.connections = 0
        """How many were accepted."""
        self.lost = 0
        """How many replies were lost."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the proxy answers."""
        host, port = self.address
        return f"redis://{host}:{port}"

    @property
    def address(self) -> tuple[str, int]:
        """The same as host and port."""
        host, port = self._listener.getsockname()
        return host, port

    def lose_replies(self, count: int = 1, *, to: bytes) -> None:
        """Close the connection in place of the reply to the next `count` requests that contain `to`."""
        self._to_lose, self._needle = count, to

    def cut(self) -> None:
        """Close all connections."""
        while self._pairs:
            for end in self._pairs.pop():
                _close(end)

    def hold(self) -> None:
        """Pass nothing, as a network does that drops packets: connections stay, also new ones."""
        self._passing.clear()

    def refuse(self) -> None:
        """Close all connections, also new ones."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Pass bytes again; those that were held first, though who sent them may have given up."""
        self._refusing = False
        self._passing.set()

    def close(self) -> None:
        """Close all connections and the listening socket."""
        _close(self._listener)
        self.heal()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _close(client)
                continue
            self.connections += 1
            self._pairs.append((client, server))
            doomed = threading.Event()
            for run, source, sink in ((self._requests, client, server), (self._replies, server, client)):
                threading.Thread(target=run, args=(source, sink, doomed), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                with self._counting:
                    if self._to_lose and self._needle in data and not doomed.is_set():
                        self._to_lose -= 1
                        doomed.set()
                self._passing.wait()
                server.sendall(data)
        _close(server)

    def _replies(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if doomed.is_set():
                    with self._counting:
                        self.lost += 1
                    break
                self._passing.wait()
                client.sendall(data)
        _close(client)
        _close(server)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
