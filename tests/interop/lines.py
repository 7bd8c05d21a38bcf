"""A program that takes requests and gives replies and events, each a line of JSON; see go/main.go."""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REPLY_TIMEOUT = 60.0
"""Seconds that a program may take to reply."""
EXIT_TIMEOUT = 30.0
"""Seconds that a program may take to finish its tasks and exit."""
SHOWN_LOG = 4000
"""Characters of a program's log that an error shows."""


class PeerError(Exception):
    """The other program refused a request. `kind` is the same for both languages."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


@frozen
class Event:
    """A run that began, or one that was told to end."""

    event: str
    task: str
    type: str
    payload: bytes
    headers: Mapping[str, str]
    queue: str
    retried: int
    max_retry: int
    deadline: float
    """Unix seconds when the run must end."""
    at: float
    """Unix seconds when the run began."""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Event:
        """Decode a line."""
        return cls(
            **{**line, "payload": decoded(line["payload"]), "headers": line["headers"] or {}},
        )


def encoded(data: bytes) -> str:
    """Bytes as they stand in a line."""
    return base64.b64encode(data).decode()


def decoded(text: str | None) -> bytes:
    """The bytes in a line; Go's nil is empty."""
    return base64.b64decode(text or "")


class LineProgram:
    """A running program. What it logs goes to a file."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=environment,
            )
        self._events: list[Event] = []
        self._replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._number = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def log(self) -> str:
        """The end of what it logged."""
        return self._log.read_text()[-SHOWN_LOG:]

    def ask(self, op: str, **fields: Any) -> Any:
        """Send a request and wait for its reply.

        Returns:
            The value of the reply.

        Raises:
            PeerError: The program refused the request.
        """
        self._number += 1
        line = json.dumps({"number": self._number, "op": op, **fields})
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        try:
            reply = self._replies.get(timeout=REPLY_TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"no reply to {op!r} within {REPLY_TIMEOUT:g} s:\n{self.log}") from None
        assert reply.get("number") == self._number, f"the program ended during {op!r}:\n{self.log}"
        if error := reply.get("error"):
            raise PeerError(reply["kind"], error)
        return reply["value"]

    def runs(self, task: str | None = None) -> list[Event]:
        """The runs that began so far, of one task or of all."""
        self._catch_up()
        return [one for one in self._events if one.event == "run" and task in {None, one.task}]

    def told_to_end(self) -> list[str]:
        """Ids of tasks whose runs were told to end."""
        self._catch_up()
        return [one.task for one in self._events if one.event == "told to end"]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does. All that it wrote has been read when this returns."""
        self.process.kill()
        self._wait()

    def close(self) -> None:
        """Let it finish the tasks in hand and exit; a program that has ended is left alone."""
        if self.process.poll() is None and self.process.stdin:
            self.process.stdin.close()
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _catch_up(self) -> None:
        """Read all events written before this call: the reply to a request comes after them."""
        if self.process.poll() is None and self.process.stdin and not self.process.stdin.closed:
            self.ask("sync")

    def _wait(self) -> None:
        self.process.wait(EXIT_TIMEOUT)
        self._reader.join(EXIT_TIMEOUT)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            value = json.loads(line)
            if "event" in value:
                self._events.append(Event.of(value))
            else:
                self._replies.put(value)
        self._replies.put({})
