"""The interface of what runs the servers, and local processes behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from asynq_topologies.layout import CONFIGURATION
from asynq_topologies.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asynq_topologies.layout import ServerSpec


class EngineError(RuntimeError):
    """Servers cannot be run: what is missing, and how to get it."""


class Host(Protocol):
    """Where one server runs. An operation on a server that does not run has no effect."""

    def start(self) -> None:
        """Start the server, also after `kill`. What it has written to disk is still there."""
        ...

    def pause(self) -> None:
        """Stop the server without closing its connections, like a server that hangs."""
        ...

    def resume(self) -> None:
        """Let a paused server continue."""
        ...

    def kill(self) -> None:
        """End the server at once, like a crash. Returns when it has ended."""
        ...

    @property
    def log(self) -> str:
        """What the server has printed."""
        ...


class ServerEngine(Protocol):
    """Runs the servers of one topology, whose files are in one directory."""

    bind: str
    """The interfaces that servers listen on."""

    def hosts(self, root: Path, servers: Sequence[ServerSpec]) -> Sequence[Host]:
        """Create a host for each server, not yet started.

        Args:
            root: contains a directory for each server, named by its number, with the server's files.
            servers: the servers of the topology.

        Raises:
            EngineError: the engine refuses.
        """
        ...

    def stop(self) -> None:
        """End all servers."""
        ...


class Processes:
    """Local processes of one redis-server executable."""

    bind = "127.0.0.1"

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self._running: list[ServerProcess] = []

    def hosts(self, root: Path, servers: Sequence[ServerSpec]) -> Sequence[Host]:
        """See ServerEngine."""
        self._running = [
            ServerProcess([self._executable, *server_arguments(root, number, server)], root / str(number))
            for number, server in enumerate(servers)
        ]
        return self._running

    def stop(self) -> None:
        """See ServerEngine."""
        for process in self._running:
            process.remove()


def server_arguments(root: Path, number: int, server: ServerSpec) -> list[str]:
    """Arguments of redis-server for one server of a topology, whichever engine runs it."""
    return [str(root / str(number) / CONFIGURATION), *(["--sentinel"] if server.sentinel else [])]
