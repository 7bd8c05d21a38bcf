"""The broker: transactions on a file, and the translation of LMDB errors."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lmdb

from asynq import errors
from asynq.brokerkit.base import CalledBroker
from asynq.brokerkit.handles import Handles
from asynq.clock import Clock, SystemClock
from asynq.protocol.broker import Capabilities
from asynq.protocol.ops import Enqueue, Op, all_operations
from asynq.protocol.value_sizes import MAX_VALUE_BYTES
from asynq_lmdb.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Stores = Callable[[lmdb.Transaction[bytes], int], Store]

CAPABILITIES: Final = Capabilities(
    backend="lmdb",
    durability="power",
    multi_process=True,
    concurrent_calls=False,
    groups=False,
    unsupported=frozenset(all_operations()) - Store.HANDLERS.keys(),
    max_value_bytes=MAX_VALUE_BYTES,
)

_FILES: Final = Handles(lmdb.Environment.close)
"""LMDB allows a process to open a file only once."""


class LmdbBroker(CalledBroker):
    """Keeps tasks in an LMDB file on a local disk, shared by any number of processes of one machine.

    path: the file, created if missing. clock: the time that operations go by; None: this machine's. max_size:
    bytes that tasks may fill; then enqueues raise BrokerFullError, and nothing else does (in one process, the
    first broker that opens a file decides). store: what carries out operations.
    """

    def __init__(
        self, path: str | Path, *, clock: Clock | None = None, max_size: int = 1 << 30, store: Stores = Store
    ) -> None:
        super().__init__(CAPABILITIES, clock)
        self._path, self._max_size, self._store = str(Path(path).resolve()), max_size, store
        self._file: lmdb.Environment | None = None

    def __repr__(self) -> str:
        return f"LmdbBroker({self._path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(LmdbBroker, clock=self.clock, max_size=self._max_size, store=self._store)
        return again, (self._path,)

    def file(self) -> lmdb.Environment:
        """Return the file, which stays open in this process while a broker uses it."""
        self._file = _FILES.get(self._path, self._open)
        return self._file

    def _open(self) -> lmdb.Environment:
        size = 2 * self._max_size + (16 << 20)  # LMDB copies pages before it frees them
        file = lmdb.open(self._path, subdir=False, map_size=size, max_readers=1024)
        file.reader_check()
        return file

    def close_store(self) -> None:
        self._file = None

    def changes(self) -> object:
        """Return the number of the last transaction of any process."""
        with suppress(lmdb.Error):
            return self.file().info()["last_txnid"]
        return None

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        answers: list[Any] = []
        try:
            file = self.file()
            with file.begin(write=not all(op.read_only for op in ops)) as txn:
                # Read after the wait for other writers: an earlier instant may be older than theirs.
                now = (self.clock or SystemClock()).now()
                answers = [self.answer(op, partial(self._carry_out, file, txn, now, op)) for op in ops]
        except (lmdb.MapFullError, lmdb.DiskError) as error:
            raise errors.BrokerFullError(f"{self._path}: {error}") from error
        except lmdb.Error as error:
            if self._file is None:
                raise errors.BrokerRefusedError(f"{self._path} cannot be opened: {error}") from error
            raise errors.BrokerUnavailable(f"{self._path}: {error}", maybe_applied=bool(answers)) from error
        return answers

    def _carry_out(self, file: lmdb.Environment, txn: lmdb.Transaction[bytes], now: int, op: Op[Any]) -> Any:
        # In a nested transaction: an error undoes this operation alone.
        with nullcontext(txn) if op.read_only else file.begin(write=True, parent=txn) as step:
            store = self._store(step, now)
            answer = store.HANDLERS[type(op)](store, op)
            store.save()
            pages = step.stat(file.open_db())
            used = pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
            if isinstance(op, Enqueue) and used * pages["psize"] > self._max_size:
                raise errors.BrokerFullError(f"{self._path}: tasks fill {self._max_size} bytes")
            return answer
