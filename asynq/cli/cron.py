"""`asynq cron`: the periodic tasks of running schedulers, and the schedules that are kept in the broker."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asynq.cli.arguments import read_duration, read_payload, usage_error
from asynq.cli.command_group import command_group
from asynq.cli.completion import queue_names
from asynq.cli.session import JSON, BrokerURL, Yes, connected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.presence import SchedulerEntry
    from asynq.scheduler.schedules import Schedules
    from asynq.scheduler.stored import ScheduleInfo

app = command_group("List and change periodic tasks.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
Spec = Annotated[str, typer.Argument(metavar="SPEC", help="When it runs, e.g. '0 8 * * *' or '@every 5m'.")]
TaskTypeName = Annotated[str, typer.Argument(metavar="TYPE", help="Type of the tasks.")]
PayloadText = Annotated[
    str | None, typer.Argument(metavar="[PAYLOAD]", help="Their payload: JSON, or any other text.")
]
Zone = Annotated[
    str | None,
    typer.Option("--zone", metavar="NAME", help="Time zone, e.g. Europe/Berlin. [default: UTC]"),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", metavar="NUMBER", min=0, help="At most so many; 0 is all.")
]


@app.command("ls")
@app.command("list", hidden=True)
def ls(*, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """List the schedules in the broker, and the periodic tasks of running schedulers."""
    from asynq.cli.terminal.output import Output
    from asynq.inspector.inspector import Inspector
    from asynq.runtime.short_texts import data, from_now

    def row(item: dict[str, Any]) -> list[object]:
        return [
            item["name"],
            item["spec"],
            item["task_type"],
            item["queue"] or "",
            item["zone"] or "",
            data(item["payload"], 40),
            "paused" if item["paused"] else from_now(item["next_run_at"]),
            from_now(item["last_run_at"]) or "not yet",
            "broker" if item["stored"] else "scheduler",
        ]

    output = Output(as_json=as_json)
    with connected(broker) as made:
        entries = Inspector(made).scheduler_entries()
        stored = _stored(made)
        output.each(
            ["name", "spec", "type", "queue", "zone", "payload", "next", "last", "kept in"],
            _periodic(stored, entries),
            row,
            empty="There are no periodic tasks.",
        )
        if not entries and not all(schedule.paused for schedule in stored):
            output.say("No scheduler is online, so none of them is enqueued. Start one: asynq scheduler.")


def _stored(broker: Broker) -> tuple[ScheduleInfo, ...]:
    from asynq.errors import UnsupportedOperationError
    from asynq.scheduler.schedules import Schedules

    with suppress(UnsupportedOperationError):
        return Schedules(broker).list()
    return ()


def _periodic(stored: Sequence[ScheduleInfo], entries: Sequence[SchedulerEntry]) -> Iterator[dict[str, Any]]:
    """The schedules in the broker, then the entries of schedulers that are not among them."""
    for schedule in stored:
        yield {
            "name": schedule.name,
            "spec": schedule.spec,
            "zone": schedule.location,
            "task_type": schedule.task_type,
            "queue": schedule.queue,
            "payload": schedule.payload,
            "paused": schedule.paused,
            "next_run_at": schedule.next_run_at,
            "last_run_at": schedule.last_run_at,
            "entry_id": schedule.entry_id,
            "stored": True,
        }
    known = {schedule.entry_id for schedule in stored}
    for entry in entries:
        if entry.id not in known:
            yield {
                "name": entry.id,
                "spec": entry.spec,
                "zone": None,
                "task_type": entry.task_type,
                "queue": None,
                "payload": entry.payload,
                "paused": False,
                "next_run_at": entry.next_enqueue_at,
                "last_run_at": entry.prev_enqueue_at,
                "entry_id": entry.id,
                "stored": False,
            }


@app.command()
def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule, or id of the entry.")],
    *,
    limit: Limit = 30,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Show the tasks that a periodic task enqueued at its ticks, latest first, without runs by hand."""
    from itertools import chain, islice

    from asynq.cli.terminal.output import Output
    from asynq.errors import EntryNotFoundError
    from asynq.inspector.inspector import Inspector
    from asynq.runtime.short_texts import at, from_now

    with connected(broker) as made:
        items = _periodic(_stored(made), Inspector(made).scheduler_entries())
        ids = [item["entry_id"] for item in items if name in (item["name"], item["entry_id"])]
        # What an entry enqueued remains when no scheduler has it any more.
        events = iter(Inspector(made).enqueue_events(ids[0] if ids else name))
        first = next(events, None)
        if first is None and not ids:
            raise EntryNotFoundError(name)
        Output(as_json=as_json).each(
            ["task id", "enqueued", ""],
            islice(chain([first] if first else [], events), limit or None),
            lambda event: [event.task_id, at(event.enqueued_at), from_now(event.enqueued_at)],
            empty=f"{name!r} has enqueued nothing. Runs by hand are not among these.",
        )


@app.command()
def add(
    name: Name,
    spec: Spec,
    task_type: TaskTypeName,
    payload: PayloadText = None,
    *,
    zone: Zone = None,
    queue: Annotated[
        str | None,
        typer.Option("--queue", "-q", metavar="NAME", autocompletion=queue_names, help="Queue of the tasks."),
    ] = None,
    max_retry: Annotated[
        int | None, typer.Option("--max-retry", metavar="NUMBER", min=0, help="Their retries.")
    ] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="Of a run.")] = None,
    unique: Annotated[
        str | None, typer.Option("--unique", metavar="DURATION", help="Refuse equal tasks for this long.")
    ] = None,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Keep a schedule in the broker, or change the one of this name. A ScheduleRunner enqueues its tasks.

    A change keeps the zone, the queue and the other options that are not given, and the payload of a task of
    the same type.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from asynq.client.task import Task

    given = {
        "queue": queue,
        "max_retry": max_retry,
        "timeout": None if timeout is None else read_duration("--timeout", timeout),
        "unique": None if unique is None else read_duration("--unique", unique),
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    try:
        location = None if zone is None else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise usage_error(f"--zone {zone!r}: there is no such time zone") from None
    with _schedules(broker, create=True) as schedules:
        existed = any(schedule.name == name for schedule in schedules.list())
        schedules.set(
            name, spec, Task(task_type, read_payload(payload)), location=location, keep=True, **options
        )
        info = schedules.get(name)
        done = "is changed" if existed else "is kept in the broker"
        _done(f"Schedule {name!r} {done}: zone {info.location}, queue {info.queue!r}.", info, as_json=as_json)


@app.command()
def pause(name: Name, *, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Let a schedule enqueue nothing until it is unpaused."""
    with _schedules(broker) as schedules:
        schedules.pause(name)
        _done(f"Schedule {name!r} is paused.", schedules.get(name), as_json=as_json)


@app.command()
@app.command("resume", hidden=True)
def unpause(name: Name, *, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Let a schedule enqueue tasks again."""
    with _schedules(broker) as schedules:
        schedules.unpause(name)
        _done(f"Schedule {name!r} is no longer paused.", schedules.get(name), as_json=as_json)


@app.command("rm")
@app.command("remove", hidden=True)
def rm(name: Name, *, yes: Yes = False, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Delete a schedule from the broker. Tasks that it enqueued remain."""
    from asynq.cli.terminal.confirm import confirm

    with _schedules(broker) as schedules:
        schedule = schedules.get(name)
        confirm(f"delete schedule {name!r} ({schedule.spec}, {schedule.task_type})", yes=yes)
        schedules.remove(name)
        _done(f"Schedule {name!r} was deleted.", schedule, as_json=as_json)


@app.command()
def run(name: Name, *, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Enqueue the task of a schedule now, besides its ticks."""
    from asynq.cli.task_enqueue import enqueued_task
    from asynq.cli.terminal.output import Output

    with _schedules(broker) as schedules:
        info = schedules.run(name)
        text = f"Task {info.id!r} was enqueued to queue {info.queue!r}."
        Output(as_json=as_json).done(text, enqueued_task(info))


@contextmanager
def _schedules(broker: str | None, *, create: bool = False) -> Iterator[Schedules]:
    from asynq.scheduler.schedules import Schedules

    with connected(broker, create=create) as made:
        yield Schedules(made)


def _done(text: str, schedule: object, *, as_json: bool) -> None:
    from asynq.cli.terminal.output import Output
    from asynq.runtime.plain import plain

    Output(as_json=as_json).done(text, plain(schedule))
