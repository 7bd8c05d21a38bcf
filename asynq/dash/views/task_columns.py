"""The columns of a table of tasks, by the state of the tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asynq.dash.widgets.cells import CellText, cell
from asynq.dash.widgets.columns import Column
from asynq.runtime.short_texts import data, from_now, plural
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.info import TaskInfo

    Task = TaskInfo[Any, Any]

_ERRORS = frozenset({TaskState.RETRY, TaskState.ARCHIVED})


def columns_of(state: TaskState) -> list[Column[Task]]:
    """The columns for tasks of a state."""
    time = {
        TaskState.SCHEDULED: "due",
        TaskState.RETRY: "due",
        TaskState.ARCHIVED: "archived",
        TaskState.COMPLETED: "completed",
        TaskState.PENDING: "since",
    }.get(state, "note")
    columns: list[Column[Task]] = [
        Column("id", lambda task: cell(task.id), least=9, keep="end"),
        Column("type", lambda task: cell(task.type), least=12),
        Column(time, _time),
        Column("retried", _retried, right=True, drop=1),
        Column("payload", lambda task: cell(data(task.payload, 200), "muted"), least=12, drop=2),
    ]
    if state in _ERRORS:
        columns.append(Column("last error", lambda task: cell(task.last_err, "archived"), least=14))
    elif state is TaskState.COMPLETED:
        columns.append(Column("result", lambda task: cell(data(task.result or b"", 200)), least=10))
    return columns


def _retried(task: Task) -> CellText:
    return CellText(f"{task.retried}/{task.max_retry}", "retry") if task.retried else CellText("-", "muted")


def _time(task: Task) -> CellText:
    if task.orphaned:
        return CellText("worker lost", "archived")
    if task.awaits:
        return CellText(f"after {plural(len(task.awaits), 'task')}", "scheduled")
    if task.waiting:
        return cell(f"in sequence {task.sequence}", "scheduled")
    if task.state in (TaskState.SCHEDULED, TaskState.RETRY):
        return CellText(from_now(task.next_process_at, datetime.now(UTC)), task.state.value)
    return CellText(from_now(task.since, datetime.now(UTC)))
