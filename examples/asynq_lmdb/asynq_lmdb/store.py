"""The steps operations are made of, each one small promise inside a transaction."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from msgspec import DecodeError
from msgspec.structs import replace

from asynq.bookkeeping import set_aside, whole_second
from asynq.message import TaskState
from asynq_lmdb import records
from asynq_lmdb.records import LATEST, Lock, Queue, Task, encode, entries, entry, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmdb import Transaction

    from asynq.message import TaskMessage
    from asynq_lmdb.file import File


DAY: Final = 24 * 3600 * 1000
EVER: Final = "ever"


class Store:
    """What one operation sees of the file. Override one step, and the broker has exactly that defect."""

    def __init__(self, file: File, txn: Transaction[bytes], now: int) -> None:
        self._file, self._txn, self.now = file, txn, now
        self._queues: dict[str, Queue] = {}

    # --- tasks

    def find(self, queue: str, task_id: str) -> Task | None:
        """The task of this id."""
        return self._read(key_of("task", queue, task_id))

    def first(self, queue: str, state: str, limit: int, upto: int = LATEST, offset: int = 0) -> list[Task]:
        """The first tasks of a state, with a rank up to `upto`."""
        return list(islice(self._listed(key_of("state", queue, state), upto), offset, offset + limit))

    def held(self, token: str) -> list[Task]:
        """The tasks taken with this token."""
        return list(self._listed(key_of("held", token)))

    def owns(self, task: Task, token: str) -> bool:
        """True if the lease of the task has this token."""
        return task.state is TaskState.ACTIVE and task.token == token

    def put(self, task: Task) -> None:
        """Store a task, and list it."""
        key = key_of("task", task.queue, task.id)
        self._txn.put(key, encode(task), db=self._file.tasks)
        for place in entries(task):
            self._txn.put(place, b"", db=self._file.index)
        sizes = self.queue(task.queue).sizes
        sizes[task.state] = sizes.get(task.state, 0) + 1

    def remove(self, task: Task) -> None:
        """Undo `put`."""
        self._txn.delete(key_of("task", task.queue, task.id), db=self._file.tasks)
        for place in entries(task):
            self._txn.delete(place, db=self._file.index)
        self.queue(task.queue).sizes[task.state] -= 1

    def move(self, task: Task, state: TaskState, rank: int, token: str = "", **changes: Any) -> Task:
        """The task as it stands elsewhere from now on. Without a token its lease is over."""
        self.remove(task)
        since = self.now if state is TaskState.PENDING else 0
        moved = replace(task, state=state, rank=rank, token=token, since=since, **changes)
        self.put(moved)
        return moved

    def delete(self, task: Task) -> None:
        """Forget the task, and the lock it owns."""
        self.remove(task)
        self.release(task, "done", "start")

    def message(self, task: Task) -> TaskMessage | None:
        """The message of a task. One that cannot be decoded is set aside in the archive: None."""
        try:
            return records.message_of(task.message)
        except DecodeError as error:
            aside = set_aside(task.queue, task.id, task.message, str(error), task.lock)
            self.move(task, TaskState.ARCHIVED, whole_second(self.now), message=encode(aside))
            return None

    def trim(self, queue: str, max_size: int, max_age: int, limit: int) -> int:
        """Delete archived tasks that are too many or too old, oldest first; how many."""
        surplus = self.queue(queue).sizes.get(TaskState.ARCHIVED, 0) - max_size
        oldest = enumerate(self.first(queue, TaskState.ARCHIVED, limit))
        doomed = [task for place, task in oldest if place < surplus or task.rank + max_age <= self.now]
        for task in doomed:
            self.delete(task)
        return len(doomed)

    # --- queues

    def queue(self, name: str) -> Queue:
        """The record of a queue. What is changed in it, `save` stores."""
        if name not in self._queues:
            stored = self._txn.get(key_of("queue", name), db=self._file.queues)
            self._queues[name] = Queue(name) if stored is None else records.queue_of(stored)
        return self._queues[name]

    def queues(self) -> list[Queue]:
        """The records of all queues."""
        return [records.queue_of(stored) for _, stored in self._txn.cursor(self._file.queues)]

    def save(self) -> None:
        """Store what has become of the queues."""
        for name, queue in self._queues.items():
            key, stored = key_of("queue", name), encode(queue)
            if stored != (self._txn.get(key, db=self._file.queues) or encode(Queue(name))):
                self._txn.put(key, stored, db=self._file.queues)

    def tail(self, queue: str) -> int:
        """The rank behind all pending tasks."""
        self.queue(queue).tail += 1
        return self.queue(queue).tail

    def head(self, queue: str) -> int:
        """The rank before all pending tasks."""
        self.queue(queue).head -= 1
        return self.queue(queue).head

    def count(self, queue: str, *, failed: bool) -> None:
        """Count one run as ended, and as failed, today and ever."""
        self.queue(queue).runs = {
            days: (ended + 1, bad + failed) for days, (ended, bad) in self.runs(queue).items()
        }

    def runs(self, queue: str) -> dict[str, tuple[int, int]]:
        """Runs that ended and that failed, today and ever."""
        counted = self.queue(queue).runs
        return {days: counted.get(days, (0, 0)) for days in (str(self.now // DAY), EVER)}

    # --- locks

    def lock(self, name: str) -> Lock | None:
        """The lock of this name while it is held: until its time ends or, if it is kept, its task does."""
        stored = self._txn.get(key_of(name), db=self._file.locks)
        if stored is None or (lock := records.lock_of(stored)).expires_at > self.now:
            return records.lock_of(stored) if stored else None
        owner = self.find(lock.queue, lock.task_id) if lock.keep else None
        return lock if owner and owner.lock == name and owner.state not in records.FINISHED else None

    def take_lock(self, lock: Lock) -> None:
        """Let the lock be held."""
        self._txn.put(key_of(lock.name), encode(lock), db=self._file.locks)

    def release(self, task: Task, *until: str) -> None:
        """Free the lock the task owns, if it is of a kind that is freed here."""
        stored = self._txn.get(key_of(task.lock), db=self._file.locks)
        lock = records.lock_of(stored) if stored else None
        if lock and (lock.queue, lock.task_id) == (task.queue, task.id) and lock.until in until:
            self._txn.delete(key_of(lock.name), db=self._file.locks)

    def sweep_locks(self, limit: int) -> None:
        """Forget those of `limit` locks that nobody holds. Keys are hashes, so they are others every time."""
        cursor = self._txn.cursor(self._file.locks)
        cursor.set_range(key_of(str(self.now)))
        for key, stored in list(islice(cursor, limit)):
            if self.lock(records.lock_of(stored).name) is None:
                self._txn.delete(key, db=self._file.locks)

    # --- the file

    def size(self) -> int:
        """Bytes of the pages in use."""
        stats = [self._txn.stat(db) for db in self._file.all]
        return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _read(self, key: bytes) -> Task | None:
        stored = self._txn.get(key, db=self._file.tasks)
        return records.task_of(stored) if stored else None

    def _listed(self, listing: bytes, upto: int = LATEST) -> Iterator[Task]:
        cursor, end = self._txn.cursor(self._file.index), entry(listing, upto, b"\xff" * 16)
        if cursor.set_range(listing):
            for place in takewhile(end.__ge__, cursor.iternext(values=False)):
                if task := self._read(place[-16:]):
                    yield task
