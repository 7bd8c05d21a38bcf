"""`asynq enqueue`: one task, or many from JSON lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asynq.cli.arguments import read_duration, read_payload, refusal, usage_error
from asynq.cli.completion import queue_names
from asynq.cli.session import FAILED, JSON, BrokerURL, connected
from asynq.cli.task_changes import ProcessAt, ProcessIn, read_due, read_instant
from asynq.errors import AsynqError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.client.task import Task

STDIN = "-"
"""In place of a type: the tasks are read from standard input."""

TaskTypeName = Annotated[
    str,
    typer.Argument(metavar="TYPE", help="Type of the task; - reads tasks from standard input as JSON lines."),
]
PayloadText = Annotated[
    str | None, typer.Argument(metavar="[PAYLOAD]", help="The payload: JSON, or any other text.")
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME",
        autocompletion=queue_names,
        help="Name of the queue. [default: default]",
    ),
]
TaskID = Annotated[str | None, typer.Option("--id", metavar="ID", help="Id of the task. [default: random]")]
MaxRetry = Annotated[
    int | None, typer.Option("--max-retry", metavar="NUMBER", min=0, help="Retries. [default: 25]")
]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="Longest time of a run. [default: 30m]")
]
Deadline = Annotated[
    str | None, typer.Option("--deadline", metavar="TIME", help="When every run must have ended: ISO 8601.")
]
Retention = Annotated[
    str | None, typer.Option("--retention", metavar="DURATION", help="How long the completed task is kept.")
]
Unique = Annotated[
    str | None, typer.Option("--unique", metavar="DURATION", help="Refuse equal tasks for this long.")
]
Group = Annotated[
    str | None, typer.Option("--group", metavar="NAME", help="Group in which it is aggregated.")
]
Sequence_ = Annotated[
    str | None, typer.Option("--sequence", metavar="NAME", help="Sequence in which it runs.")
]
Header = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME=TEXT", help="A header. Repeatable.")
]


def enqueue(
    task_type: TaskTypeName,
    payload: PayloadText = None,
    *,
    queue: Queue = None,
    task_id: TaskID = None,
    max_retry: MaxRetry = None,
    process_in: ProcessIn = None,
    process_at: ProcessAt = None,
    timeout: Timeout = None,
    deadline: Deadline = None,
    retention: Retention = None,
    unique: Unique = None,
    group: Group = None,
    sequence: Sequence_ = None,
    header: Header = None,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Enqueue a task, or many from standard input.

    A line of standard input is a JSON object with a type and, if there are any, a payload and options:
    {"type": "email:send", "payload": {"user_id": 42}, "queue": "low", "process_in": "5m"}. Options of the
    command line apply to lines that do not have them.
    """
    durations = {"timeout": timeout, "retention": retention, "unique": unique}
    given = {
        "queue": queue,
        "task_id": task_id,
        "max_retry": max_retry,
        "group": group,
        "sequence": sequence,
        "deadline": None if deadline is None else read_instant("--deadline", deadline),
        **{
            name: None if text is None else read_duration(f"--{name}", text)
            for name, text in durations.items()
        },
        **read_due(process_in, process_at),
    }
    options = {name: value for name, value in given.items() if value is not None}
    headers = _read_headers(header or [])
    if task_type == STDIN:
        if payload is not None:
            raise refusal("the payloads of tasks from standard input are in their lines")
        if task_id is not None:
            raise usage_error("--id: tasks from standard input have their ids in their lines")
        _enqueue_lines(options, headers, broker, as_json=as_json)
    else:
        _enqueue_one(task_type, payload, options, headers, broker, as_json=as_json)


def _read_headers(texts: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise usage_error(f"--header {text!r}: use NAME=TEXT")
        headers[name] = value
    return headers


def _enqueue_one(
    task_type: str,
    payload: str | None,
    options: dict[str, Any],
    headers: dict[str, str],
    broker: str | None,
    *,
    as_json: bool,
) -> None:
    from asynq.cli.terminal.output import Output
    from asynq.client.client import Client
    from asynq.client.task import Task

    with connected(broker, create=True) as made:
        info = Client(made).enqueue(Task(task_type, read_payload(payload), headers=headers, **options))
        Output(as_json=as_json).done(
            f"Task {info.id!r} was enqueued to queue {info.queue!r} ({info.state.value}).",
            enqueued_task(info),
        )


def enqueued_task(info: Any) -> dict[str, object]:
    """What a program wants to know about a task that was enqueued."""
    return {"id": info.id, "queue": info.queue, "state": info.state, "next_process_at": info.next_process_at}


def _enqueue_lines(
    options: dict[str, Any], headers: dict[str, str], broker: str | None, *, as_json: bool
) -> None:
    """Enqueue what comes in, as it comes in. Refused tasks are told one by one, and the others enqueued."""
    from asynq.cli.task_lines import BadLineError, batches
    from asynq.cli.terminal.output import Output
    from asynq.cli.terminal.progress import progress
    from asynq.client.client import Client
    from asynq.runtime.safe_text import shown
    from asynq.runtime.short_texts import plural

    enqueued = refused = 0
    bad: BadLineError | None = None
    with connected(broker, create=True) as made, progress("enqueued", None) as update:
        client = Client(made)
        try:
            for batch in batches(sys.stdin.buffer, options, headers):
                tasks: list[Task[Any, Any]] = [task for _, task in batch]
                for (number, _), answer in zip(batch, client.enqueue_many(tasks), strict=True):
                    if isinstance(answer, AsynqError):
                        typer.echo(f"line {number}: {shown(answer)}", err=True)
                        refused += 1
                    else:
                        enqueued += 1
                update(enqueued)
        except BadLineError as error:
            bad = error
    if bad is not None:
        typer.echo(f"Error: {shown(str(bad))}. Only the lines before it were enqueued.", err=True)
    text = f"{plural(enqueued, 'task')} enqueued" + (f", {refused:,} refused." if refused else ".")
    Output(as_json=as_json).done(text, {"enqueued": enqueued, "refused": refused})
    if refused or bad is not None:
        raise typer.Exit(FAILED)
