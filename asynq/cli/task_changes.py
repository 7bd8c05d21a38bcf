"""`asynq task run`, `archive`, `delete`, `cancel`, `reschedule`: tasks by id, or all that are selected."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import frozen

from asynq.cli.arguments import read_duration, refusal, usage_error
from asynq.cli.selection import (
    Error,
    Group,
    NewerThan,
    OlderThan,
    Payload,
    Selected,
    State,
    Type,
    selected,
)
from asynq.cli.session import FAILED, JSON, BrokerURL, Yes, inspecting, tell
from asynq.cli.task_places import QueueOfID, find_task
from asynq.errors import AsynqError, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.inspector.inspector import Inspector


@frozen
class Change:
    """What a command does to tasks."""

    verb: str
    past: str
    one: Callable[[Inspector, str | None, str], object]
    """For a queue, None for any, and an id. False if there was nothing to change."""
    many: Callable[[Inspector, Selected, Callable[[int], None]], int]
    """For all that are selected, with what to tell the progress to; the number of those that it changed."""
    waiting: bool = True
    """Whether it changes tasks that wait in sequences or for other tasks, too."""


class Then(StrEnum):
    """What becomes of a cancelled task."""

    archive = "archive"
    retry = "retry"


IDs = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Ids of tasks, or else options that select tasks.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the tasks that are selected.")]
ThenOption = Annotated[Then, typer.Option("--then", help="What becomes of the tasks.")]
ProcessIn = Annotated[
    str | None, typer.Option("--process-in", metavar="DURATION", help="Time until they are due, e.g. 2h.")
]
ProcessAt = Annotated[
    str | None, typer.Option("--process-at", metavar="TIME", help="When they are due: ISO 8601 with a zone.")
]


def add_changes(app: typer.Typer) -> None:
    """Add the commands."""
    moves = (
        ("run", "made pending", "Make tasks pending now.", ("runall",)),
        ("archive", "archived", "Move tasks to the archive.", ("archiveall",)),
        ("delete", "deleted", "Delete tasks.", ("rm", "remove", "deleteall")),
    )
    for verb, past, help_text, aliases in moves:
        command = _move(verb, past)
        app.command(verb, help=f"{help_text} By id, or all that are selected.")(command)
        for alias in aliases:
            app.command(alias, hidden=True)(command)
    app.command("cancel")(cancel)
    app.command("reschedule")(reschedule)


def _move(verb: str, past: str) -> Callable[..., None]:
    """The command that runs, archives or deletes."""

    def one(inspector: Inspector, queue: str | None, task_id: str) -> object:
        return getattr(inspector, f"{verb}_task")(queue or find_task(inspector, None, task_id).queue, task_id)

    def many(inspector: Inspector, chosen: Selected, progress: Callable[[int], None]) -> int:
        moved: int = getattr(inspector, f"{verb}_all")(
            chosen.queue, chosen.state, chosen.group, where=chosen.where, progress=progress
        )
        return moved

    def command(
        ids: IDs = None,
        *,
        queue: QueueOfID = None,
        state: State = None,
        group: Group = None,
        type_pattern: Type = None,
        payload: Payload = None,
        error: Error = None,
        older_than: OlderThan = None,
        newer_than: NewerThan = None,
        dry_run: DryRun = False,
        yes: Yes = False,
        broker: BrokerURL = None,
        as_json: JSON = False,
    ) -> None:
        conditions = _conditions(type_pattern, payload, error, older_than, newer_than)
        change = Change(verb, past, one, many, waiting=verb != "run")
        chosen = _selection(ids, queue or "default", state, group, conditions)
        _carry_out(change, chosen or (queue, ids or []), broker, dry_run=dry_run, yes=yes, as_json=as_json)

    return command


def cancel(
    ids: IDs = None,
    *,
    queue: QueueOfID = None,
    then: ThenOption = Then.archive,
    all_active: Annotated[bool, typer.Option("--all", help="All active tasks of --queue.")] = False,
    type_pattern: Type = None,
    payload: Payload = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """End the runs of active tasks: by id, or with --all, --type or --payload those of a queue."""

    def one(inspector: Inspector, queue: str | None, task_id: str) -> object:
        told = inspector.cancel(task_id, queue=queue, then=then.value)
        if not told:
            find_task(inspector, queue, task_id)  # an error if there is none
        return told

    def many(inspector: Inspector, chosen: Selected, progress: Callable[[int], None]) -> int:
        return inspector.cancel_all(chosen.queue, where=chosen.where, then=then.value, progress=progress)

    conditions = _conditions(type_pattern, payload, None, None, None)
    filtered = all_active or any(conditions.values())
    chosen = _selection(ids, queue or "default", "active" if filtered else None, None, conditions)
    change = Change("cancel", "told to end", one, many)
    _carry_out(change, chosen or (queue, ids or []), broker, dry_run=dry_run, yes=yes, as_json=as_json)


def reschedule(
    ids: IDs = None,
    *,
    process_in: ProcessIn = None,
    process_at: ProcessAt = None,
    queue: QueueOfID = None,
    state: State = None,
    type_pattern: Type = None,
    payload: Payload = None,
    error: Error = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Change when scheduled or retried tasks are due: by id, or all that are selected."""
    due = read_due(process_in, process_at)
    if not due:
        raise refusal("give --process-in or --process-at")

    def one(inspector: Inspector, queue: str | None, task_id: str) -> object:
        return inspector.reschedule(queue or find_task(inspector, None, task_id).queue, task_id, **due)

    def many(inspector: Inspector, chosen: Selected, progress: Callable[[int], None]) -> int:
        return inspector.reschedule_all(
            chosen.queue, chosen.state, where=chosen.where, progress=progress, **due
        )

    conditions = _conditions(type_pattern, payload, error, older_than, newer_than)
    chosen = _selection(ids, queue or "default", state, None, conditions)
    change = Change("reschedule", "rescheduled", one, many, waiting=False)
    _carry_out(change, chosen or (queue, ids or []), broker, dry_run=dry_run, yes=yes, as_json=as_json)


def read_due(process_in: str | None, process_at: str | None) -> dict[str, Any]:
    """The due time that the options give: as process_in, process_at, or none."""
    if process_in is not None and process_at is not None:
        raise refusal("give --process-in or --process-at, not both")
    if process_in is not None:
        return {"process_in": read_duration("--process-in", process_in)}
    return {} if process_at is None else {"process_at": read_instant("--process-at", process_at)}


def read_instant(option: str, text: str) -> datetime:
    """Parse a time in ISO 8601 with a time zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise usage_error(f"{option} {text!r}: use ISO 8601, such as 2030-01-31T08:00:00Z") from None
    if instant.utcoffset() is None:
        raise usage_error(f"{option} {text!r}: add the time zone, such as Z or +02:00")
    return instant


def _conditions(
    type_pattern: str | None,
    payload: str | None,
    error: str | None,
    older_than: str | None,
    newer_than: str | None,
) -> dict[str, Any]:
    return {
        "type_pattern": type_pattern,
        "payload": payload,
        "error": error,
        "older_than": older_than,
        "newer_than": newer_than,
    }


def _selection(
    ids: Sequence[str] | None,
    queue: str,
    state: str | None,
    group: str | None,
    conditions: dict[str, Any],
) -> Selected | None:
    """The tasks that the options select; None if they are given by their ids."""
    if ids:
        if state is not None or group is not None or any(conditions.values()):
            raise refusal("give ids, or options that select tasks, not both")
        return None
    if state is None:
        raise refusal(
            "give the ids of tasks, or select tasks with --state, or active ones to cancel with --all"
        )
    return selected(queue, state, group, **conditions)


def _carry_out(
    change: Change,
    tasks: Selected | tuple[str | None, Sequence[str]],
    broker: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Change the tasks that are selected, or those of a queue that are given by their ids."""
    if isinstance(tasks, tuple):
        _change_each(change, *tasks, broker, dry_run=dry_run, as_json=as_json)
    else:
        _change_all(change, tasks, broker, dry_run=dry_run, yes=yes, as_json=as_json)


def _change_each(
    change: Change, queue: str | None, ids: Sequence[str], broker: str | None, *, dry_run: bool, as_json: bool
) -> None:
    """Change tasks that are given by their ids. One that cannot be changed does not keep others from it."""
    from asynq.cli.terminal.output import Output

    if dry_run:
        raise usage_error("--dry-run: there is nothing to count, the tasks are given by their ids")
    output = Output(as_json=as_json)
    failed = False
    with inspecting(broker) as inspector:
        for task_id in ids:
            try:
                changed = change.one(inspector, queue, task_id) is not False
            except BrokerUnavailable:
                raise
            except AsynqError as error:
                tell(error, inspector)
                failed = True
                continue
            text = f"Task {task_id!r} was {change.past}." if changed else f"Task {task_id!r} is not active."
            output.done(text, {"id": task_id, "changed": changed})
            failed |= not changed
    if failed:
        raise typer.Exit(FAILED)


def _change_all(
    change: Change, chosen: Selected, broker: str | None, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Count the tasks, ask, and change them."""
    from asynq.cli.terminal.confirm import confirm
    from asynq.cli.terminal.output import Output
    from asynq.cli.terminal.progress import progress
    from asynq.runtime.short_texts import plural

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        count = chosen.count(inspector, waiting=change.waiting)
        if dry_run:
            output.done(f"{plural(count, 'task')} would be {change.past}: {chosen}.", {"selected": count})
            return
        if count:
            confirm(f"{change.verb} {plural(count, 'task')}: {chosen}", yes=yes)
        with progress(change.verb, count) as update:
            changed = change.many(inspector, chosen, update)
        output.done(f"{plural(changed, 'task')} {change.past}.", {"selected": count, "changed": changed})
