"""Records of tasks, queues and locks, and the effect of operations on them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from asynq.brokerkit.records import DAY_MS, DUE_LISTING, LockRecord, QueueRecord, TaskRecord, decode, encode
from asynq.brokerkit.transitions import UNDECODABLE, end_of
from asynq.errors import QueueNotFoundError
from asynq.protocol.failures import without_failures
from asynq.protocol.message import Delivery, LostLease, TaskMessage
from asynq.protocol.ops import Archive, Complete, Enqueue, Recover, Requeue, Retry, Unique
from asynq.task_state import TaskState

NOW = 1_700_000_000_500
SECOND = 1_700_000_001_000
"""NOW, rounded up."""
MESSAGE = TaskMessage(id="t", type="mail", queue="q", max_retry=2, retention=60, unique_key="lock")


def enqueue(**options: Any) -> Enqueue:
    return Enqueue(message=MESSAGE, enqueue_id="e", **options)


def running() -> TaskRecord:
    return TaskRecord.of(enqueue(), 1, NOW).moved(TaskState.ACTIVE, NOW + 30_000, NOW, "token")


def delivered(task: TaskRecord) -> Delivery:
    delivery = task.delivery(NOW)
    assert delivery is not None
    return delivery


def lost(task: TaskRecord) -> LostLease:
    lease = task.lost()
    assert lease is not None
    return lease


def test_a_record_survives_a_round_trip() -> None:
    lock = LockRecord.of(enqueue(unique=Unique(ttl=1000, keep=True)), NOW)
    queue = QueueRecord("q", paused=True, sizes={"pending": 2}, runs={"ever": (3, 1)})
    for record in (running(), lock, queue):
        assert decode(type(record), encode(record)) == record


def test_a_body_that_is_nested_too_deeply_cannot_be_decoded() -> None:
    task = replace(running(), body=b"\x81\xa1h" + b"\x91" * 100_000)
    assert task.message() is None
    message = task.set_aside(NOW).message()
    assert message is not None
    assert "recursion" in message.error


# --- tasks


def test_an_enqueued_task_is_pending_or_scheduled() -> None:
    pending = TaskRecord.of(enqueue(), 7, NOW)
    assert (pending.state, pending.rank, pending.pending_since) == (TaskState.PENDING, 7, NOW)
    assert pending.answer.due_at == NOW
    scheduled = TaskRecord.of(enqueue(process_in=250), 7, NOW)
    assert (scheduled.state, scheduled.rank, scheduled.pending_since) == (TaskState.SCHEDULED, SECOND, 0)
    assert scheduled.answer.due_at == SECOND


@pytest.mark.parametrize(
    ("state", "listings"),
    [
        (TaskState.PENDING, [("q", "pending")]),
        (TaskState.RETRY, [("q", "retry"), ("q", DUE_LISTING)]),
        (TaskState.SCHEDULED, [("q", "scheduled"), ("q", DUE_LISTING)]),
        (TaskState.ACTIVE, [("q", "active"), ("token",)]),
        (TaskState.COMPLETED, [("q", "completed")]),
    ],
)
def test_a_task_is_in_the_lists_of_its_state(state: TaskState, listings: list[Any]) -> None:
    assert list(running().moved(state, 1, NOW, "token").listings()) == listings


def test_a_running_task_is_shown_as_active() -> None:
    task = replace(running(), lease_losses=2)
    assert (delivered(task).message, delivered(task).lease.token) == (MESSAGE, "token")
    assert (delivered(task).lease_losses, lost(task).lease_losses) == (2, 2)
    for now, orphaned in ((NOW, False), (NOW + 30_000, True)):
        stored = task.stored(now)
        assert stored is not None
        assert (stored.due_at, stored.orphaned) == (NOW + 30_000, orphaned)


def test_a_damaged_task_is_not_shown_and_can_be_archived() -> None:
    task = replace(running(), body=b"\xc1")
    assert (task.message(), task.delivery(NOW), task.lost(), task.stored(NOW)) == (None, None, None, None)
    aside = task.set_aside(NOW)
    assert (aside.state, aside.rank, aside.token) == (TaskState.ARCHIVED, SECOND, "")
    message = aside.message()
    assert message is not None
    assert (message.type, message.payload, message.unique_key) == (UNDECODABLE, b"\xc1", "lock")
    assert message.error.startswith("set aside: MessagePack")


DELIVERY = delivered(running())
FAILED = replace(MESSAGE, error="why", last_failed_at=NOW // 1000)
RETRIED = replace(FAILED, retried=1)


def unmarked(task: TaskRecord) -> TaskMessage:
    """The message without its failed attempts."""
    message = task.message()
    assert message is not None
    return replace(message, headers=without_failures(message.headers))


@pytest.mark.parametrize(
    ("op", "state", "rank", "message", "counted"),
    [
        (
            Complete(delivery=DELIVERY),
            TaskState.COMPLETED,
            SECOND + 60_000,
            replace(MESSAGE, completed_at=NOW // 1000),
            (True, False),
        ),
        (Requeue(delivery=DELIVERY), TaskState.PENDING, -3, MESSAGE, (False, False)),
        (Archive(delivery=DELIVERY, error="why"), TaskState.ARCHIVED, SECOND, FAILED, (True, True)),
        (
            Retry(delivery=DELIVERY, delay=9_000, error="why"),
            TaskState.RETRY,
            SECOND + 9_000,
            RETRIED,
            (True, True),
        ),
        (
            Retry(delivery=DELIVERY, delay=9_000, error="why", failure=False),
            TaskState.RETRY,
            SECOND + 9_000,
            FAILED,
            (False, False),
        ),
    ],
)
def test_a_settlement_ends_a_run(
    op: Complete | Requeue | Archive | Retry,
    state: TaskState,
    rank: int,
    message: TaskMessage,
    counted: tuple[bool, bool],
) -> None:
    ended = running().ended(op, -3, NOW)
    assert (ended.state, ended.rank, unmarked(ended), ended.token) == (state, rank, message, "token")
    end = end_of(op, NOW)
    assert (end.counts, end.failed) == counted


@pytest.mark.parametrize(("to", "rank"), [("pending", -3), ("retry", SECOND + 9_000), ("archived", SECOND)])
def test_a_recovery_ends_a_run_and_records_the_loss(to: Any, rank: int) -> None:
    ended = running().ended(Recover(lost=lost(running()), to=to, error="why", delay=9_000), -3, NOW)
    assert (ended.state, ended.rank, unmarked(ended)) == (TaskState(to), rank, RETRIED)
    assert (ended.token, ended.lease_losses) == ("", 1)


def test_a_recovery_never_exceeds_the_maximum_of_retries() -> None:
    spent = replace(MESSAGE, retried=2)
    lease = LostLease(message=spent, observed="")
    assert end_of(Recover(lost=lease, to="archived", error="why"), NOW).message.retried == 2


@pytest.mark.parametrize(("written", "result"), [(None, b"progress"), (b"", b""), (b"42", b"42")])
def test_a_result_replaces_the_previous_one(written: bytes | None, result: bytes) -> None:
    task = replace(running(), result=b"progress")
    assert task.ended(Complete(delivery=DELIVERY, result=written), -3, NOW).result == result


# --- locks


def test_a_lock_is_held_until_it_expires() -> None:
    lock = LockRecord.of(enqueue(unique=Unique(ttl=2000), process_in=250), NOW)
    assert lock.expires_at == SECOND + 2000
    assert lock.owned_by(running())
    assert not lock.owned_by(replace(running(), id="other"))
    assert lock.held(None, SECOND + 1999)
    assert not lock.held(running(), SECOND + 2000)


def test_a_kept_lock_is_held_as_long_as_its_task_exists() -> None:
    lock = LockRecord.of(enqueue(unique=Unique(ttl=1000, keep=True)), NOW)
    assert lock.held(running(), NOW + DAY_MS)
    archived = running().moved(TaskState.ARCHIVED, NOW, NOW)
    for owner in (None, archived, replace(running(), unique_key="another")):
        assert not lock.held(owner, NOW + DAY_MS)


def test_an_enqueue_without_a_lock_creates_none() -> None:
    with pytest.raises(ValueError, match="asks for no lock"):
        LockRecord.of(enqueue(), NOW)


# --- queues


def test_a_queue_has_daily_and_total_counters() -> None:
    queue = QueueRecord("q")
    queue.resize(TaskState.PENDING, 2)
    for instant in (NOW - DAY_MS, NOW, NOW):
        queue.count(instant, failed=instant == NOW)
    pending = [replace(running(), pending_since=since) for since in (NOW - 100, NOW - 300)]
    stats = queue.stats(pending, NOW)
    assert (stats.processed, stats.failed, stats.processed_total, stats.failed_total) == (2, 2, 3, 2)
    assert (stats.pending, stats.size, stats.latency) == (2, 2, 300)


def test_a_queue_is_listed_after_its_first_task() -> None:
    queue = QueueRecord("q")
    assert queue.pause(paused=True)
    assert not queue.pause(paused=True)
    with pytest.raises(QueueNotFoundError):
        queue.stats((), NOW)
    queue.resize(TaskState.PENDING, 1)
    queue.resize(TaskState.PENDING, -1)
    assert queue.stats((), NOW).latency == 0
    assert queue.stats((), NOW).paused


def test_ranks_for_the_tail_and_the_head_surround_all_others() -> None:
    queue = QueueRecord("q")
    tails, heads = zip(*[(queue.tail(), queue.head()) for _ in range(3)], strict=True)
    assert [*heads[::-1], *tails] == sorted([*heads, *tails])
    assert len({*heads, *tails}) == 6
