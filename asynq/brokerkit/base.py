"""Base classes of brokers: a backend implements its transactions, sync or async, and gets the rest.

`CalledBroker` is for stores whose driver blocks, `AwaitedBroker` for those whose driver is async. Both divide
calls into transactions, refuse what the capabilities exclude, and notify listeners and watchers.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from asynq.brokerkit.batches import batches, blocking, refused_as, transact_in_turn
from asynq.brokerkit.events.listener import NotifiedListener
from asynq.brokerkit.events.notifier import Notifier
from asynq.brokerkit.events.poller import VersionSource
from asynq.brokerkit.events.watcher import NotifiedWatcher
from asynq.brokerkit.group_commit import GroupCommit
from asynq.brokerkit.per_process import PerProcess
from asynq.errors import AsynqError
from asynq.protocol.answers import unwrap
from asynq.runtime.loop_thread import LoopThread
from asynq.runtime.sync_async import completed
from asynq.runtime.threads import run_in_new_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asynq.brokerkit.events.poller import ChangeSource
    from asynq.clock import Clock
    from asynq.protocol.broker import Capabilities, Listener, Watcher
    from asynq.protocol.ops import Op

T = TypeVar("T")


class _Broker:
    """What both base classes have in common."""

    max_batch: ClassVar[int] = 500
    """Largest number of operations in one transaction, during which other processes may have to wait."""

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        """Create a broker that connects on first use.

        Args:
            capabilities: What the broker can do.
            clock: The time that operations go by. None: the time of the store or of this machine.
        """
        self._capabilities = capabilities
        self.clock = clock
        self._notifiers: PerProcess[Notifier] = PerProcess(Notifier.close)
        weakref.finalize(self, self._notifiers.close)

    @property
    def capabilities(self) -> Capabilities:
        """See Broker."""
        return self._capabilities

    # --- to be overridden as needed ---------------------------------------------------------------------

    def changes(self) -> object:
        """Return a value that differs after every change in the store, whichever process made it.

        It is compared with `==`, up to 125 times per second while anybody waits, on a thread of the kit. It
        must neither block nor raise; None means that it is unknown. Override it if the store has such a
        value. Otherwise a broker reports the changes of its own process only, and its capabilities say
        `wakeup="poll"`.
        """
        return None

    def change_source(self) -> ChangeSource | None:
        """Return what shows the changes of other processes; None if there are none, or nothing shows them.

        By default this polls `changes`. Override it to report events of single queues, or cancellations.
        """
        if self.capabilities.wakeup == "poll":
            return None
        return VersionSource(partial(_call, weakref.WeakMethod(self.changes)))

    def parts(self, ops: Sequence[Op[Any]]) -> Iterable[Sequence[Op[Any]]]:
        """Divide the operations of a call into transactions: by default up to `max_batch` of them in each."""
        return batches(ops, self.max_batch)

    def refusal(self, op: Op[Any]) -> AsynqError | None:
        """Return the answer to an operation that the capabilities exclude, or whose value is too large."""
        return self.capabilities.refusal(op)

    # --- see asynq.protocol.broker.Broker ------------------------------------------------------------------

    def listener(self) -> Listener:
        """See Broker."""
        return NotifiedListener(self._notifier())

    def watcher(self) -> Watcher:
        """See Broker."""
        return NotifiedWatcher(self._notifier())

    def _notifier(self) -> Notifier:
        return self._notifiers.get(lambda: Notifier(self.change_source()))

    def _announce(self, ops: Sequence[Op[Any]], answers: Sequence[Any]) -> None:
        if (notifier := self._notifiers.current()) is not None:
            notifier.announce(ops, answers)

    def _stop_polling(self) -> None:
        if (notifier := self._notifiers.current()) is not None:
            notifier.close()


class CalledBroker(_Broker):
    """Base class for a store whose driver blocks: implement `transact` and, if needed, `close_store`.

    Calls that wait at the same time, from threads and event loops, share a transaction, so the cost of a
    commit is shared by all of them. Blocking calls run on the thread of a caller, awaited calls on one thread
    of the broker.
    """

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        """See the attributes of Broker.

        Args:
            capabilities: What the broker can do.
            clock: The time that operations go by. None: the time of the store or of this machine.
        """
        super().__init__(capabilities, clock)
        self._commits: PerProcess[GroupCommit] = PerProcess(GroupCommit.stop)
        weakref.finalize(self, self._commits.close)

    # --- to be implemented ----------------------------------------------------------------------------------

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        """Carry out operations in one transaction. Called on any thread, on one at a time.

        Args:
            ops: A part of a call, see `parts`, or parts of several calls that have up to `max_batch`
                operations together.

        Returns:
            The answers in order, an AsynqError in place of the answer to an operation that was refused. Use
            `answer` for each operation, or `answer_all` for all of them.

        Raises:
            BrokerFullError: The transaction found no space, and nothing of it remains. Its operations are
                then tried one by one.
            BrokerUnavailable: The store cannot be reached. `maybe_applied` says whether the transaction may
                have been committed.
        """
        raise NotImplementedError

    def close_store(self) -> None:
        """Free what the store holds open in this process. The next `transact` opens it again."""

    # --- for use in `transact` ------------------------------------------------------------------------------

    def answer(self, op: Op[T], carry_out: Callable[[], T]) -> T | AsynqError:
        """Return the answer to an operation, or the error in its place.

        Operations and values that the capabilities exclude are refused, without a call of `carry_out`. When
        `carry_out` raises an AsynqError, or the UnicodeError or OverflowError of a value that cannot be
        stored, it must have undone the operation.
        """
        if refused := self.refusal(op):
            return refused
        try:
            return carry_out()
        except (AsynqError, UnicodeError, OverflowError) as error:
            return refused_as(op, error)

    def answer_all(
        self, ops: Sequence[Op[Any]], carry_out: Callable[[Sequence[Op[Any]]], list[Any]]
    ) -> list[Any]:
        """Return the answers to operations, which `carry_out` carries out together.

        Operations and values that the capabilities exclude are refused, and `carry_out` does not get them. It
        returns the answers to the others in order, an AsynqError in place of one.
        """
        refusals = [self.refusal(op) for op in ops]
        if not any(refusals):
            return carry_out(ops)
        allowed = [op for op, refused in zip(ops, refusals, strict=True) if refused is None]
        answers = iter(carry_out(allowed))
        return [next(answers) if refused is None else refused for refused in refusals]

    # --- see asynq.protocol.broker.Broker ------------------------------------------------------------------

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap(self.execute_many((op,))[0]))

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return completed(transact_in_turn(self.parts(ops), blocking(self._call)))

    def _call(self, part: Sequence[Op[Any]]) -> list[Any]:
        return self._group().call(self._transact, part)

    def _transact(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """Carry out parts of one or more calls in one transaction."""
        answers = self.transact(ops)
        self._announce(ops, answers)
        return answers

    def _group(self) -> GroupCommit:
        return self._commits.get(self._new_group)

    def _new_group(self) -> GroupCommit:
        return GroupCommit("asynq-broker", self.max_batch)

    def close(self) -> None:
        """See Broker. Waits for the calls that are being awaited."""
        if (commits := self._commits.current()) is not None:
            commits.stop()
        self._stop_polling()
        self.close_store()

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap((await self.aexecute_many((op,)))[0]))

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return await transact_in_turn(self.parts(ops), self._submit)

    async def _submit(self, part: Sequence[Op[Any]]) -> list[Any]:
        return await self._group().submit(self._transact, part)

    async def aclose(self) -> None:
        """See Broker. Closes the broker for sync callers as well: they use the same store."""
        await run_in_new_thread(self.close)


class AwaitedBroker(_Broker):
    """Base class for a store whose driver is async: implement `atransact` and, if needed, `aclose_store`.

    Sync calls run on an event loop in a thread of the broker.
    """

    def __init__(self, capabilities: Capabilities, clock: Clock | None = None) -> None:
        """See the attributes of Broker.

        Args:
            capabilities: What the broker can do.
            clock: The time that operations go by. None: the time of the store or of this machine.
        """
        super().__init__(capabilities, clock)
        closing = weakref.WeakMethod(self.aclose)
        self._portal = LoopThread(lambda: _closed(closing))

    # --- to be implemented ----------------------------------------------------------------------------------

    async def atransact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        """Carry out operations in one transaction. Awaited on any event loop, by several tasks at once.

        Arguments, answers and errors are those of `CalledBroker.transact`. Use `answer` for each operation.
        """
        raise NotImplementedError

    async def aclose_store(self) -> None:
        """Free what the running event loop uses. The next `atransact` on it opens it again."""

    # --- for use in `atransact` -----------------------------------------------------------------------------

    async def answer(self, op: Op[T], carry_out: Callable[[], Awaitable[T]]) -> T | AsynqError:
        """Return the answer to an operation, or the error in its place. See `CalledBroker.answer`."""
        if refused := self.refusal(op):
            return refused
        try:
            return await carry_out()
        except (AsynqError, UnicodeError, OverflowError) as error:
            return refused_as(op, error)

    # --- see asynq.protocol.broker.Broker ------------------------------------------------------------------

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap((await self.aexecute_many((op,)))[0]))

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        answers = await transact_in_turn(self.parts(ops), self.atransact)
        self._announce(ops, answers)
        return answers

    async def aclose(self) -> None:
        """See Broker."""
        await self.aclose_store()

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        return cast("T", unwrap(self.execute_many((op,))[0]))

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return self._portal.run(lambda: self.aexecute_many(ops))

    def close(self) -> None:
        """See Broker. Notifications stop until the broker is used again."""
        self._portal.close()
        self._stop_polling()


def _call(method: weakref.WeakMethod[Callable[[], T]]) -> T | None:
    """Call a method of an object that the caller must not keep alive; None once the object is gone."""
    return None if (bound := method()) is None else bound()


async def _closed(closing: weakref.WeakMethod[Any]) -> None:
    if (aclose := closing()) is not None:
        await aclose()
