"""The broker: operations in transactions, and LMDB's errors as asynq's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lmdb

from asynq import errors
from asynq.broker import Capabilities
from asynq.clock import Clock, SystemClock
from asynq.faces import CalledBroker
from asynq.ops import Enqueue, Op, all_operations
from asynq_lmdb.file import File, opened
from asynq_lmdb.operations import HANDLERS
from asynq_lmdb.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITIES: Final = Capabilities(
    backend="lmdb",
    durability="power",
    multi_process=True,
    wakeup="push",
    groups=False,
    unsupported=frozenset(set(all_operations()) - HANDLERS.keys()),
)


class LmdbBroker(CalledBroker):
    """Keeps tasks in an LMDB file on a local disk, shared by any number of processes of one machine.

    path: the file, made if there is none. clock: what operations go by, None for this machine's. max_size:
    bytes that tasks may fill; then enqueues raise BrokerFullError, all else goes on (in one process, the
    first broker that opens a file decides). store: what makes the steps operations consist of.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock | None = None,
        max_size: int = 1 << 30,
        store: type[Store] = Store,
    ) -> None:
        super().__init__(CAPABILITIES, clock)
        self._path, self._max_size, self._store = str(Path(path).resolve()), max_size, store
        self._file: File | None = None

    def __repr__(self) -> str:
        return f"LmdbBroker({self._path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._path, self.clock, self._max_size, self._store)

    def close(self) -> None:
        """See Broker."""
        self._file = None

    def changes(self) -> object:
        """The number of the last transaction, whichever process made it."""
        try:
            return self.file().env.info()["last_txnid"]
        except lmdb.Error:
            return None

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        """See CalledBroker."""
        answers: list[Any] = []
        try:
            file = self.file()
            with file.env.begin(write=not all(op.read_only for op in ops)) as txn:
                # After the wait for other writers: an instant from before it may be older than theirs.
                now = (self.clock or SystemClock()).now()
                answers = [self._answer(file, txn, op, now) for op in ops]
        except (lmdb.MapFullError, lmdb.DiskError) as error:
            # Nothing of the transaction is left. By themselves, some of the operations may find room.
            if len(ops) > 1:
                return [answer for op in ops for answer in self.transact([op])]
            return [errors.BrokerFullError(f"{self._path}: {error}")]
        except lmdb.Error as error:
            if self._file is None:
                raise errors.BrokerRefusedError(f"{self._path} cannot be opened: {error}") from error
            raise errors.BrokerUnavailable(f"{self._path}: {error}", maybe_applied=bool(answers)) from error
        return answers

    def _answer(self, file: File, txn: lmdb.Transaction[bytes], op: Op[Any], now: int) -> Any:
        """The operation's answer, or its error; then the transaction inside the transaction is undone."""
        try:
            if (handler := HANDLERS.get(type(op))) is None:
                raise errors.UnsupportedOperationError(type(op).__name__, "lmdb")
            if op.read_only:
                return handler(self._store(file, txn, now), op)
            with file.env.begin(write=True, parent=txn) as step:
                store = self._store(file, step, now)
                answer = handler(store, op)
                store.save()
                if isinstance(op, Enqueue) and store.size() > self._max_size:
                    raise errors.BrokerFullError(f"{self._path}: tasks fill {self._max_size} bytes")
                return answer
        except errors.AsynqError as error:
            return error
        except (UnicodeEncodeError, OverflowError) as error:
            return errors.BrokerRefusedError(f"{type(op).__name__} holds what cannot be stored: {error}")

    def file(self) -> File:
        """The file, open in this process."""
        if self._file is None or self._file.pid != os.getpid():
            self._file = opened(self._path, self._max_size)
        return self._file


def _reopened(path: str, clock: Clock | None, max_size: int, store: type[Store]) -> LmdbBroker:
    return LmdbBroker(path, clock=clock, max_size=max_size, store=store)
