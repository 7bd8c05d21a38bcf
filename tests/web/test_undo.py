"""What is remembered of changes of tasks, so that they can be undone."""

from __future__ import annotations

from datetime import UTC, datetime

from asynq import MemoryBroker, TaskState
from asynq.web.audit import AuditLog, Outcome
from asynq.web.undo import TaskUndo
from tests.web.store import Store


def outcome(undo: TaskUndo, changed: int = 1) -> Outcome:
    made = Outcome("local", "run_all_tasks", "run", changed=changed)
    made.undone_by(undo)
    return made


def undo_of(count: int, limit: int) -> TaskUndo:
    """The undo of running so many archived tasks."""
    broker = MemoryBroker()
    store = Store(broker)
    undo = TaskUndo(broker, limit)
    task = store.inspector.task("mail", store.archive("a"))
    for _ in range(count):
        undo.moved(task, TaskState.PENDING)
    broker.close()
    return undo


def test_only_the_first_tasks_are_remembered_and_that_is_said() -> None:
    assert outcome(undo_of(3, limit=3)).remark == ""
    assert outcome(undo_of(5, limit=3)).remark == "only the first 3 of these can be undone"


def test_an_action_that_was_broken_off_can_be_undone_as_far_as_it_went() -> None:
    audit = AuditLog(10, lambda: datetime.now(UTC))
    audit.failed(outcome(undo_of(1, limit=3)), RuntimeError())
    audit.failed(outcome(undo_of(1, limit=3), changed=0), RuntimeError())
    assert [entry.outcome.undo is not None for entry in audit] == [False, True]


def test_the_oldest_undos_are_forgotten_when_all_together_are_too_large() -> None:
    audit = AuditLog(100, lambda: datetime.now(UTC))
    large = undo_of(20_000, limit=20_000)
    for _ in range(4):
        audit.ended(outcome(large))
    assert [entry.outcome.undo is not None for entry in audit] == [True, True, False, False]
