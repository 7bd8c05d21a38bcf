"""The other face of a broker that has one: for backends whose store is natural to call, or to await.

A backend subclasses one of these and writes the face its store has; the other comes with it. Neither decides
what an operation does.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, ParamSpec, TypeVar, cast

from asynq.brokerkit.changes import ChangeListener, ChangeWatcher
from asynq.errors import AsynqError, BrokerFullError, BrokerRefusedError, BrokerUnavailable
from asynq.protocol.answers import unwrap
from asynq.runtime.loop_thread import Portal
from asynq.runtime.threads import Answer, DaemonThreads, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from asynq.clock import Clock
    from asynq.protocol.broker import Capabilities, Listener, Watcher
    from asynq.protocol.ops import Op

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

THREADS: Final = 4
"""Calls that are awaited at once. They are the broker's own: what users run in threads cannot hold it up."""


class _Faces:
    """What both have in common: what a broker says of itself, and how it tells of changes."""

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        self.capabilities = capabilities
        self.clock = clock

    def changes(self) -> object:
        """What differs once anything in the store has changed, whoever changed it. Never blocks or raises.

        It is compared a hundred times a second while anybody waits. To be written where the store has such a
        number; without it nobody is told, and the capabilities say `wakeup="poll"`.
        """
        return None

    def listener(self) -> Listener:
        """See Broker."""
        return ChangeListener(self.changes)

    def watcher(self) -> Watcher:
        """See Broker."""
        return ChangeWatcher(self.changes)


class CalledBroker(_Faces):
    """Awaits in threads what a backend calls: `transact` and, if there is anything to free, `close`."""

    batch: ClassVar[int] = 500
    """Most operations of one transaction, during which others may have to wait."""

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        super().__init__(capabilities, clock)
        self._pools: dict[int, DaemonThreads] = {}
        """By process: threads do not come along through a fork."""

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        """Carry out up to `batch` operations: answers in order, an AsynqError in the place of a refused one.

        Called from any thread, from several at once. BrokerFullError when the transaction found no room and
        nothing of it is left: some of the operations may then find room by themselves. BrokerUnavailable
        when the store cannot be reached; it says whether any of the operations may have been applied.
        """
        raise NotImplementedError

    def answer(self, op: Op[T], carry_out: Callable[[], T]) -> T | AsynqError:
        """The answer to an operation, or the error in its place: what `transact` needs for each of them.

        Refused are operations that the capabilities leave out, values that are larger than they say, and
        values that no store can hold. By then the error has passed through `carry_out`, where a transaction
        undoes what the operation has done.
        """
        if refused := self.capabilities.refusal(op):
            return refused
        try:
            return carry_out()
        except AsynqError as error:
            return error
        except (UnicodeError, OverflowError) as error:
            return BrokerRefusedError(f"{type(op).__name__} holds what cannot be stored: {error}", final=True)

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        answers: list[T | AsynqError] = []
        for start in range(0, len(ops), self.batch):
            try:
                answers += self._transacted(ops[start : start + self.batch])
            except BrokerUnavailable as error:
                maybe_applied = error.maybe_applied or bool(answers)
                raise BrokerUnavailable(error.reason, maybe_applied) from error
        return answers

    def _transacted(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        try:
            return self.transact(ops)
        except BrokerFullError as error:
            return [error] if len(ops) == 1 else [self._transacted([op])[0] for op in ops]

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap(self.execute_many([op])[0]))

    def close(self) -> None:
        """See Broker."""

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap((await self.aexecute_many([op]))[0]))

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return await self._awaited(partial(self.execute_many, ops))

    async def aclose(self) -> None:
        """See Broker. The threads end as well."""
        try:
            await self._awaited(self.close)
        finally:
            if (threads := self._pools.pop(os.getpid(), None)) is not None:
                threads.shutdown(wait=False)

    async def _awaited(self, call: Callable[[], R]) -> R:
        answer: Answer[R] = Answer()
        return await taken(self._submit(answer.fill, call), answer)

    def _submit(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        while True:
            # Another thread may have closed the broker in between.
            with suppress(RuntimeError):
                return self._pool().submit(call, *args, **kwargs)

    def _pool(self) -> DaemonThreads:
        pid = os.getpid()
        if pid not in self._pools:
            pool = self._pools.setdefault(pid, DaemonThreads(THREADS, "asynq-broker"))
            weakref.finalize(self, pool.shutdown, wait=False)
        return self._pools[pid]


class AwaitedBroker(_Faces):
    """Calls, on an event loop in a thread of its own, what a backend awaits: `aexecute_many` and `aclose`.

    `aclose` frees what the running event loop used; the thread's own loop closes like any other.
    """

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        super().__init__(capabilities, clock)
        closing = weakref.WeakMethod(self.aclose)
        self._portal = Portal(lambda: _closed(closing))

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker. To be written, for use from any event loop."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """See Broker."""

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap((await self.aexecute_many([op]))[0]))

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap(self.execute_many([op])[0]))

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return self._portal.run(lambda: self.aexecute_many(ops))

    def close(self) -> None:
        """See Broker."""
        self._portal.close()


async def _closed(closing: weakref.WeakMethod[Any]) -> None:
    """Close the broker, if it is still there to be closed: its portal must not be what keeps it alive."""
    if (aclose := closing()) is not None:
        await aclose()
