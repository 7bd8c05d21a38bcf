"""Operations, and the small steps that they consist of, inside a transaction."""

from __future__ import annotations

from hashlib import blake2b
from itertools import islice, takewhile
from struct import pack
from sys import maxsize
from typing import TYPE_CHECKING, Any, ClassVar

from asynq import TaskState, errors
from asynq.brokerkit.records import DUE_LISTING, LockRecord, QueueRecord, TaskRecord, decode, encode
from asynq.brokerkit.transitions import RunEnd, RunEnding, end_of
from asynq.protocol import ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmdb import Transaction

    from asynq.protocol.message import Delivery, Lease, QueueStats, StoredTask


def key_of(kind: str, *names: str) -> bytes:
    """Return the key of a record. Names are hashed: LMDB limits keys to 511 bytes, not names."""
    text = "".join(f"{len(name)}:{name}" for name in names)
    return f"{kind}:".encode() + blake2b(text.encode(), digest_size=16).digest()


def place(rank: int, *names: str) -> bytes:
    """Return the position of this rank in the listing of these names, in the order of ranks."""
    return key_of("listing", *names) + pack(">Q", rank + 2**63)


def entries(task: TaskRecord) -> dict[bytes, bytes]:
    """Return all that is stored of a task: its record, and its key in each listing."""
    key = key_of("task", task.queue, task.id)
    return {key: encode(task), **{place(task.rank, *names) + key: key for names in task.listings()}}


class Steps:
    """The steps of operations. Each keeps one promise, inside a transaction."""

    def __init__(self, txn: Transaction[bytes], now: int) -> None:
        self._txn, self.now = txn, now
        self._queues: dict[str, QueueRecord] = {}

    def find(self, queue: str, task_id: str) -> TaskRecord | None:
        stored = self._txn.get(key_of("task", queue, task_id))
        return decode(TaskRecord, stored) if stored else None

    def first(
        self, *names: str, limit: int = ops.MAX_BATCH, to: int = maxsize, skip: int = 0
    ) -> list[TaskRecord]:
        """Return the first tasks of the listing of these names, with a rank of at most `to`."""
        keys = self._between(key_of("listing", *names), place(to, *names) + b"\xff")
        return [decode(TaskRecord, self._txn.get(key, b"")) for key in islice(keys, skip, skip + limit)]

    def owns(self, task: TaskRecord, token: str) -> bool:
        """Return whether the lease of the task has this token."""
        return task.state is TaskState.ACTIVE and task.token == token

    def put(self, task: TaskRecord) -> TaskRecord:
        """Store a task and list it."""
        for key, value in entries(task).items():
            self._txn.put(key, value)
        self.queue(task.queue).resize(task.state, 1)
        return task

    def replace(self, task: TaskRecord, by: TaskRecord | None) -> None:
        """Replace the record of a task, or remove it."""
        for key in entries(task):
            self._txn.delete(key)
        self.queue(task.queue).resize(task.state, -1)
        if by is not None:
            self.put(by)

    def delete(self, task: TaskRecord) -> None:
        """Delete a task, and release its lock."""
        self.replace(task, None)
        self.release(task, "done", "start")

    def trim(self, queue: str, max_size: int, max_age: int, limit: int) -> int:
        """Delete archived tasks that are too many or too old, oldest first. Returns their number."""
        surplus = self.queue(queue).size(TaskState.ARCHIVED) - max_size
        oldest = enumerate(self.first(queue, TaskState.ARCHIVED, limit=limit))
        doomed = [task for number, task in oldest if number < surplus or task.rank + max_age <= self.now]
        for task in doomed:
            self.delete(task)
        return len(doomed)

    def queue(self, name: str) -> QueueRecord:
        """Return the record of a queue. `save` stores changes of it."""
        if name not in self._queues:
            stored = self._txn.get(key_of("queue", name))
            self._queues[name] = decode(QueueRecord, stored) if stored else QueueRecord(name)
        return self._queues[name]

    def listed(self) -> tuple[str, ...]:
        """Return the names of the queues that have had a task."""
        queues = (decode(QueueRecord, stored) for stored in self._between(b"queue:", b"queue;"))
        return tuple(sorted(queue.name for queue in queues if queue.listed))

    def save(self) -> None:
        """Store the queues that have changed."""
        for queue in self._queues.values():
            key, stored = key_of("queue", queue.name), encode(queue)
            if stored != (self._txn.get(key) or encode(QueueRecord(queue.name))):
                self._txn.put(key, stored)

    def tail(self, queue: str) -> int:
        return self.queue(queue).tail()

    def lock(self, name: str) -> LockRecord | None:
        """Return the lock of this name, if it is held."""
        stored = self._txn.get(key_of("lock", name))
        lock = decode(LockRecord, stored) if stored else None
        return lock if lock and lock.held(self.find(lock.queue, lock.task_id), self.now) else None

    def take(self, lock: LockRecord) -> None:
        self._txn.put(key_of("lock", lock.name), encode(lock))

    def release(self, task: TaskRecord, *until: str) -> None:
        """Release the lock of the task, if it is one of these kinds."""
        lock = self.lock(task.unique_key)
        if lock and lock.owned_by(task) and lock.until in until:
            self._txn.delete(key_of("lock", lock.name))

    def sweep(self, limit: int) -> None:
        """Delete free locks among `limit` locks: since keys are hashes, different ones each time."""
        some = islice(self._between(key_of("lock", str(self.now)), b"lock;"), limit)
        for name in [decode(LockRecord, stored).name for stored in some]:
            if self.lock(name) is None:
                self._txn.delete(key_of("lock", name))

    def _between(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Yield the values of the keys from `start` up to, and without, `end`."""
        cursor = self._txn.cursor()
        found = cursor.iternext() if cursor.set_range(start) else iter(())
        return (value for _, value in takewhile(lambda item: item[0] < end, found))


class Store(Steps):
    """The operations; `asynq.protocol.ops` documents their laws. Override a step to break one."""

    def enqueue(self, op: ops.Enqueue) -> ops.Enqueued:
        message = op.message
        if present := self.find(message.queue, message.id):
            if present.enqueue_id == op.enqueue_id:
                return present.answer
            if op.on_conflict == "reject" or not present.finished:
                raise errors.TaskIDConflictError(message.queue, message.id, present.state)
            self.delete(present)
        if op.unique:  # an error changes nothing: the broker undoes what was done so far
            if (held := self.lock(message.unique_key)) and not op.unique.replaces(held.until):
                raise errors.DuplicateTaskError(message.queue, message.type, held.task_id)
            if held and (rival := self.find(held.queue, held.task_id)) and rival.waiting:
                self.delete(rival)
            self.take(LockRecord.of(op, self.now))
        return self.put(TaskRecord.of(op, self.tail(message.queue), self.now)).answer

    def dequeue(self, op: ops.Dequeue) -> tuple[Delivery, ...]:
        # A call sent again gets the same tasks first. Recovery archives those damaged since.
        taken = [delivery for task in self.first(op.token) if (delivery := task.delivery(self.now))]
        for order in op.orders[len(taken) :]:
            found = (self._take(queue, op) for queue in order)
            if delivery := next(filter(None, found), None):
                taken.append(delivery)
        return tuple(taken)

    def _take(self, name: str, op: ops.Dequeue) -> Delivery | None:
        queue = self.queue(name)
        if queue.paused or queue.size(TaskState.ACTIVE) >= op.limits.get(name, maxsize):
            return None
        for _ in range(ops.MAX_BATCH):  # limits how many damaged tasks one call archives
            for task in self.first(name, TaskState.PENDING, limit=1):
                taken = task.moved(TaskState.ACTIVE, self.now + op.lease, self.now, op.token)
                if delivery := taken.delivery(self.now):
                    self.replace(task, taken)
                    self.release(task, "start")
                    return delivery
                self.replace(task, task.set_aside(self.now))
        return None

    def _owned(self, lease: Lease) -> TaskRecord:
        task = self.find(lease.queue, lease.task_id)
        if task is None or not self.owns(task, lease.token):
            raise errors.LeaseLostError(lease.queue, lease.task_id)
        return task

    def extend_lease(self, op: ops.ExtendLease) -> ops.Extended:
        task = self._owned(op.lease)
        until = max(task.rank, self.now + op.duration)
        self.replace(task, task.moved(task.state, until, self.now, task.token))
        return ops.Extended(expires_at=until)

    def write_result(self, op: ops.WriteResult) -> None:
        task = self._owned(op.lease)
        self.replace(task, task.moved(task.state, task.rank, self.now, task.token, result=op.result))

    def done(self, op: ops.Done) -> None:
        task = self._owned(op.delivery.lease)
        self.delete(task)
        self.queue(task.queue).count(self.now, failed=False)

    def settle(self, op: ops.Complete | ops.Retry | ops.Archive | ops.Requeue) -> None:
        lease, end = op.delivery.lease, end_of(op, self.now)
        task = self.find(lease.queue, lease.task_id)
        # By the token that stays with the task, a settlement sent again is recognized.
        if task is None or (task.state, task.token) != (end.state, lease.token):
            self._end(self._owned(lease), op, end)

    def _end(self, task: TaskRecord, op: RunEnding, end: RunEnd) -> None:
        self.replace(task, task.ended(op, self.queue(task.queue).head(), self.now))
        if end.counts:
            self.queue(task.queue).count(self.now, failed=end.failed)
        if end.state is TaskState.COMPLETED:
            self.release(task, "done", "start")
        elif isinstance(op, ops.Archive | ops.Recover) and end.state is TaskState.ARCHIVED:
            self.trim(task.queue, op.max_size, op.max_age, ops.MAX_BATCH)

    def forward(self, op: ops.Forward) -> ops.Forwarded:
        due = self.first(op.queue, DUE_LISTING, limit=op.limit, to=self.now)
        for task in due:
            self.replace(task, task.moved(TaskState.PENDING, self.tail(op.queue), self.now))
        following = [task.rank for task in self.first(op.queue, DUE_LISTING, limit=1)]
        return ops.Forwarded(moved=len(due), next_due=min(following, default=None))

    def list_lost_leases(self, op: ops.ListLostLeases) -> ops.LostLeases:
        expired = self.first(op.queue, TaskState.ACTIVE, limit=op.limit, to=self.now)
        found = [(task, task.lost()) for task in expired]
        damaged = [task for task, lost in found if lost is None]
        for task in damaged:
            self.replace(task, task.set_aside(self.now))
        leases = tuple(lost for _, lost in found if lost)
        return ops.LostLeases(leases=leases, set_aside=tuple(task.id for task in damaged))

    def recover(self, op: ops.Recover) -> bool:
        task = self.find(op.lost.message.queue, op.lost.message.id)
        if task is None or task.state is not TaskState.ACTIVE or task.observed != op.lost.observed:
            return False
        self._end(task, op, end_of(op, self.now))
        return True

    def purge_completed(self, op: ops.PurgeCompleted) -> int:
        self.sweep(op.limit)
        ended = self.first(op.queue, TaskState.COMPLETED, limit=op.limit, to=self.now)
        for task in ended:
            self.delete(task)
        return len(ended)

    def get_queue_stats(self, op: ops.GetQueueStats) -> QueueStats:
        # Tasks put at the head come first. They are few, and the oldest of the others follow.
        return self.queue(op.queue).stats(self.first(op.queue, TaskState.PENDING), self.now)

    def get_task(self, op: ops.GetTask) -> StoredTask:
        task = self.find(op.queue, op.task_id)
        if task is None or (stored := task.stored(self.now)) is None:
            raise errors.TaskNotFoundError(op.queue, op.task_id)
        return stored

    def list_tasks(self, op: ops.ListTasks) -> tuple[StoredTask, ...]:
        if not self.queue(op.queue).listed:
            raise errors.QueueNotFoundError(op.queue)
        page = self.first(op.queue, op.state, limit=op.limit, skip=op.offset)
        return tuple(stored for task in page if (stored := task.stored(self.now)))

    HANDLERS: ClassVar[dict[type[ops.Op[Any]], Callable[[Any, Any], Any]]] = {
        ops.Enqueue: enqueue, ops.Dequeue: dequeue, ops.ExtendLease: extend_lease,
        ops.WriteResult: write_result, ops.Done: done, ops.Complete: settle, ops.Retry: settle,
        ops.Archive: settle, ops.Requeue: settle, ops.Forward: forward, ops.Recover: recover,
        ops.ListLostLeases: list_lost_leases, ops.PurgeCompleted: purge_completed,
        ops.TrimArchive: lambda self, op: self.trim(op.queue, op.max_size, op.max_age, op.limit),
        ops.AdoptOrphans: lambda _self, _op: ops.Adopted(adopted=0, dropped=0, cursor=0),  # there are none
        ops.Ping: lambda self, _op: self.now,
        ops.PauseQueue: lambda self, op: self.queue(op.queue).pause(paused=True),
        ops.UnpauseQueue: lambda self, op: self.queue(op.queue).pause(paused=False),
        ops.ListQueues: lambda self, _op: self.listed(),
        ops.GetQueueStats: get_queue_stats, ops.GetTask: get_task, ops.ListTasks: list_tasks,
    }  # fmt: skip
