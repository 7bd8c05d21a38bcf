"""`asynq task`: list, inspect and change tasks, one or all that are selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.command_group import command_group
from asynq.cli.completion import STATES
from asynq.cli.selection import (
    Error,
    Group,
    NewerThan,
    OlderThan,
    Payload,
    Queue,
    State,
    Type,
    selected,
)
from asynq.cli.session import JSON, BrokerURL, inspecting
from asynq.cli.task_changes import add_changes
from asynq.cli.task_enqueue import enqueue
from asynq.cli.task_places import QueueOfID, find_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq.info import FailureInfo, FollowerInfo, TaskInfo

app = command_group("List, inspect and change tasks.")

DEFAULT_LIMIT = 100
COLUMNS = ("state", "id", "type", "payload", "time", "retried", "last error")
ATTEMPTS = ("attempt", "failed", "ran for", "became", "error")
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        metavar="NUMBER",
        min=0,
        help=f"At most so many; 0 is all. [default: {DEFAULT_LIMIT}, JSON all]",
    ),
]
TaskID = Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")]


@app.command("ls")
@app.command("list", hidden=True)
def ls(
    *,
    queue: Queue = "default",
    state: State = None,
    group: Group = None,
    type_pattern: Type = None,
    payload: Payload = None,
    error: Error = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = None,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """List the tasks of a queue: all, or those of a state that are selected."""
    from itertools import islice

    from asynq.cli.terminal.output import Output

    chosen = [
        selected(
            queue,
            each,
            group,
            type_pattern=type_pattern,
            payload=payload,
            error=error,
            older_than=older_than,
            newer_than=newer_than,
        )
        for each in ([state] if state is not None else ["aggregating"] if group is not None else STATES)
    ]
    bound = limit if limit is not None else 0 if as_json else DEFAULT_LIMIT
    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        tasks = (task for part in chosen for task in part.tasks(inspector))
        count = output.each(
            COLUMNS[1:] if state is not None else COLUMNS,
            islice(tasks, bound or None),
            (lambda task: _row(task)[1:]) if state is not None else _row,
            empty="There are no such tasks.",
            right=["retried"],
            optional=("retried", "payload", "last error"),
        )
        if bound and count == bound and next(tasks, None) is not None:
            output.say(f"The first {bound} are shown: --limit 0 shows all.")


def _row(task: TaskInfo) -> list[object]:
    from asynq.runtime.short_texts import data

    return [
        task.state.value,
        task.id,
        task.type,
        data(task.payload),
        _time(task),
        f"{task.retried}/{task.max_retry}" if task.retried else "",
        task.last_err[:200],
    ]


def _time(task: TaskInfo) -> str:
    """When the task runs, or since when it is in its state."""
    from asynq.runtime.short_texts import from_now

    if task.orphaned:
        return "its worker is lost"
    if task.waiting:
        return _turn(task, task.sequence)
    if task.state.value in ("scheduled", "retry"):
        return from_now(task.next_process_at)
    return from_now(task.since)


def _turn(task: TaskInfo, sequence: str) -> str:
    """When a task without a due time runs."""
    from asynq.runtime.short_texts import plural

    if task.awaits:
        return f"after {plural(len(task.awaits), 'task')}"
    return f"after others of {sequence}"


@app.command()
def inspect(
    task_id: TaskID, *, queue: QueueOfID = None, broker: BrokerURL = None, as_json: JSON = False
) -> None:
    """Show everything about a task."""
    from asynq.cli.terminal.output import Output
    from asynq.runtime.shown_data import pretty

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        task = find_task(inspector, queue, task_id)
        if as_json:
            output.json(task)
        else:
            output.details(_details(task))
            if task.failures:
                output.say("failed attempts:")
                output.table(ATTEMPTS, map(_attempt, reversed(task.failures)), right=["attempt", "ran for"])
            for title, value in (("payload", task.payload), ("result", task.result or b"")):
                if value:
                    output.say(f"{title}:")
                    output.block(pretty(value))


def _attempt(failure: FailureInfo) -> tuple[object, ...]:
    from asynq.runtime.short_texts import from_now, short_duration

    ran_for = "" if failure.ran_for is None else short_duration(failure.ran_for)
    return failure.number, from_now(failure.at), ran_for, failure.became.value, failure.error


def _details(task: TaskInfo) -> list[tuple[str, object]]:
    from asynq.runtime.short_texts import at_from_now, short_duration

    return [
        ("id", task.id),
        ("queue", task.queue),
        ("type", task.type),
        ("state", "active, its worker is lost" if task.orphaned else task.state.value),
        ("since", at_from_now(task.since)),
        ("next run", _turn(task, "its sequence") if task.waiting else at_from_now(task.next_process_at)),
        ("retried", f"{task.retried} of {task.max_retry}"),
        ("last error", task.last_err),
        ("failed", at_from_now(task.last_failed_at)),
        ("completed", at_from_now(task.completed_at)),
        ("timeout", short_duration(task.timeout) if task.timeout else ""),
        ("deadline", at_from_now(task.deadline)),
        ("retention", short_duration(task.retention) if task.retention else ""),
        ("group", task.group),
        ("sequence", task.sequence),
        *(("waits for", f"{member} of queue {queue}") for queue, member in task.awaits),
        *_followers(task.then, "then"),
        *((f"header {name}", value) for name, value in task.headers.items()),
    ]


def _followers(then: Iterable[FollowerInfo], name: str) -> Iterator[tuple[str, object]]:
    """A line for each task that follows, above those of the tasks that follow it in turn."""
    for follower in then:
        yield name, f"{follower.type} {follower.id} of queue {follower.queue}"
        yield from _followers(follower.then, f"{name} then")


add_changes(app)
app.command("enqueue", hidden=True)(enqueue)
