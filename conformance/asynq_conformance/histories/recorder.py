"""A broker that writes down all that is asked of it, and how it ended."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asynq.errors import AsynqError
from asynq.protocol.answers import may_be_applied
from asynq_conformance.histories.record import EventKind, HistoryEvent, to_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from asynq.clock import Clock
    from asynq.protocol.broker import Broker, Capabilities, Listener, Watcher
    from asynq.protocol.ops import Op

T = TypeVar("T")

CLOCKS = "clocks"
"""Name of the notes that tell what the wall clock showed: how far it was moved during the run."""


class HistoryRecorder:
    """Writes the events of one process to its file. Usable from any thread.

    Each event is in the file before the call goes on, so that a process killed at any instant leaves no
    effect without the call that had it.
    """

    def __init__(
        self,
        path: Path,
        process: str,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self.process = process
        self.now = monotonic_ns
        """The clock of the record."""
        self._wall = wall_ns
        self._numbers = itertools.count()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.note_clocks()

    def invoke(self, ops: Sequence[Op[Any]]) -> list[int]:
        """Write that these calls begin; their numbers."""
        numbers = [next(self._numbers) for _ in ops]
        self._write(zip(numbers, [EventKind.INVOKE] * len(ops), ops, ops, strict=True))
        return numbers

    def end(self, numbers: Sequence[int], ops: Sequence[Op[Any]], answers: Sequence[Any]) -> None:
        """Write how these calls ended: with an answer, or an AsynqError in its place."""
        self._write(zip(numbers, map(_kind, answers), ops, answers, strict=True))

    def leave_open(self, numbers: Sequence[int], ops: Sequence[Op[Any]], reason: BaseException) -> None:
        """Write that nobody will know how these calls ended."""
        text = f"{type(reason).__name__}: {reason}"
        self._write((number, EventKind.INFO, op, text) for number, op in zip(numbers, ops, strict=True))

    def note(self, what: str, **facts: Any) -> None:
        """Write a note: what was done, in which phase of it, with which facts."""
        self._put(to_line(HistoryEvent(self.process, -1, self.now(), EventKind.NOTE, what, facts)))

    def note_clocks(self) -> None:
        """Write what the wall clock shows now."""
        self.note(CLOCKS, wall=self._wall())

    def close(self) -> None:
        """Write the wall clock once more, and close the file."""
        self.note_clocks()
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, events: Any) -> None:
        at = self.now()
        lines = [
            to_line(HistoryEvent(self.process, number, at, kind, type(op).__name__, value))
            for number, kind, op, value in events
        ]
        self._put(b"".join(lines))

    def _put(self, text: bytes) -> None:
        os.write(self._file, text)


def _kind(answer: Any) -> EventKind:
    if not isinstance(answer, AsynqError):
        return EventKind.OK
    return EventKind.INFO if may_be_applied(answer) else EventKind.FAIL


class RecordingBroker:
    """A broker that does what another does, and writes it down. An operation of a batch is a call of its own.

    The call begins before anything is sent and ends after the answer has come, so what is written never makes
    an operation seem shorter than it was.
    """

    def __init__(self, broker: Broker, recorder: HistoryRecorder) -> None:
        self.inner = broker
        self.recorder = recorder

    @property
    def capabilities(self) -> Capabilities:
        """What the recorded broker can do."""
        return self.inner.capabilities

    @property
    def clock(self) -> Clock | None:
        """The clock of the recorded broker."""
        return self.inner.clock

    def execute(self, op: Op[T], /) -> T:
        """Carry out one operation, recorded."""
        numbers = self.recorder.invoke([op])
        try:
            answer = self.inner.execute(op)
        except BaseException as error:
            self._failed(numbers, [op], error)
            raise
        self.recorder.end(numbers, [op], [answer])
        return answer

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Carry out many operations, each recorded."""
        numbers = self.recorder.invoke(ops)
        try:
            answers = self.inner.execute_many(ops)
        except BaseException as error:
            self._failed(numbers, ops, error)
            raise
        self.recorder.end(numbers, ops, answers)
        return answers

    async def aexecute(self, op: Op[T], /) -> T:
        """`execute`, awaited. Cancelled, it may have taken effect."""
        numbers = self.recorder.invoke([op])
        try:
            answer = await self.inner.aexecute(op)
        except BaseException as error:
            self._failed(numbers, [op], error)
            raise
        self.recorder.end(numbers, [op], [answer])
        return answer

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """`execute_many`, awaited. Cancelled, it may have taken effect."""
        numbers = self.recorder.invoke(ops)
        try:
            answers = await self.inner.aexecute_many(ops)
        except BaseException as error:
            self._failed(numbers, ops, error)
            raise
        self.recorder.end(numbers, ops, answers)
        return answers

    def _failed(self, numbers: Sequence[int], ops: Sequence[Op[Any]], error: BaseException) -> None:
        if isinstance(error, AsynqError):
            self.recorder.end(numbers, ops, [error] * len(ops))
        else:
            self.recorder.leave_open(numbers, ops, error)

    def close(self) -> None:
        """Free the plain face's connections of the recorded broker."""
        self.inner.close()

    async def aclose(self) -> None:
        """Free the connections of the recorded broker that the running event loop uses."""
        await self.inner.aclose()

    def listener(self) -> Listener:
        """The recorded broker's events; they are not written down."""
        return self.inner.listener()

    def watcher(self) -> Watcher:
        """Tells of changes to single tasks; they are not written down."""
        return self.inner.watcher()
