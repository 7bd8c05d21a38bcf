"""`outlook`: what happens to a task next, and when, as a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asynq.instants import duration_of
from asynq.protocol.ops import MAX_ARCHIVED, MAX_ARCHIVED_AGE
from asynq.runtime.short_texts import at, from_now, plural, short_duration
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.info import TaskInfo
    from asynq.protocol.presence import ServerInfo


def outlook(
    task: TaskInfo[Any, Any],
    *,
    server: ServerInfo | None = None,
    paused: bool = False,
    served: bool = True,
    now: datetime | None = None,
) -> str:
    """What happens to a task next, and when, in English.

    Args:
        task: The task.
        server: The server that runs it, if it is known.
        paused: Whether its queue is paused.
        served: Whether a server that is online serves its queue.
        now: The present, for durations; by default that of this machine.
    """
    now = now or datetime.now(UTC)
    if task.waiting:
        return _turn(task)
    if task.state is TaskState.ACTIVE:
        return _run(task, server, now)
    if task.state is TaskState.PENDING:
        return _pending(task, now, paused=paused, served=served)
    if task.state is TaskState.SCHEDULED:
        return _due(task, now, "It is due")
    if task.state is TaskState.RETRY:
        due = _due(task, now, f"Retry {task.retried} of {task.max_retry} is due")
        return f"{due} {_failing(task)}"
    if task.state is TaskState.COMPLETED:
        return _kept(task, now)
    if task.state is TaskState.AGGREGATING:
        return f"It waits in group {task.group!r} until the group is aggregated into one task."
    return (
        "It does not run again unless it is run by hand. "
        f"The archive of a queue keeps {MAX_ARCHIVED:,} tasks, for {duration_of(MAX_ARCHIVED_AGE).days} days."
    )


def _failing(task: TaskInfo[Any, Any]) -> str:
    """What failures lead to: the attempt after the last retry is the last one."""
    left = task.max_retry - task.retried + 1
    more, again = ("more ", " again") if task.retried else ("", "")
    if left > 1:
        return f"It is archived after {left} {more}failures."
    return f"If it fails{again}, it is archived."


def _turn(task: TaskInfo[Any, Any]) -> str:
    if task.awaits:
        return f"It waits until {plural(len(task.awaits), 'other task')} succeeded."
    return f"It waits for its turn in sequence {task.sequence!r}."


def _pending(task: TaskInfo[Any, Any], now: datetime, *, paused: bool, served: bool) -> str:
    text = "It runs as soon as a worker is free."
    if paused or not served:
        reasons = ("its queue is paused" * paused, "no server serves its queue" * (not served))
        text = f"It waits: {', and '.join(filter(None, reasons))}."
    if task.since is None or task.since >= now:
        return text
    return f"{text} It has waited for {short_duration(now - task.since)}."


def _due(task: TaskInfo[Any, Any], now: datetime, text: str) -> str:
    due = task.next_process_at
    return f"{text} now." if due is None or due <= now else f"{text} {from_now(due, now)}, at {at(due)}."


def _run(task: TaskInfo[Any, Any], server: ServerInfo | None, now: datetime) -> str:
    if task.orphaned:
        return "Its worker is lost. Another one recovers it, and it runs again or is archived."
    run = next((each for each in server.workers if each.task_id == task.id), None) if server else None
    if server is None or run is None:
        return f"A worker runs it. {_failing(task)}"
    since = short_duration(max(now - run.started_at, timedelta(0)))
    return (
        f"{server.host}:{server.pid} has run it for {since}. The run must end {from_now(run.deadline, now)}, "
        f"at {at(run.deadline)}. {_failing(task)}"
    )


def _kept(task: TaskInfo[Any, Any], now: datetime) -> str:
    if task.completed_at is None:
        return "It is done. It is deleted when its retention is over."
    ends = task.completed_at + task.retention
    when = f"{from_now(ends, now)}, at {at(ends)}" if ends > now else "now"
    return f"It is done. It is deleted {when}."
