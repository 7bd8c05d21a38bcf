"""`asynq migrate`: copy or move queues to another broker."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asynq.cli.arguments import usage_error
from asynq.cli.session import FAILED, JSON, Yes, connected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.migration import QueueMigration
    from asynq.protocol.broker import Broker
    from asynq.task_state import TaskState

    Counts = Mapping[str, Mapping[TaskState, int]]

From = Annotated[str, typer.Argument(metavar="FROM", help="URL of the broker that has the queues.")]
To = Annotated[str, typer.Argument(metavar="TO", help="URL of the broker that gets them.")]
Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", metavar="NAME", help="Only this queue; may be repeated. [default: all]"),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        help="Only tasks of this state; may be repeated. [default: all but active]",
    ),
]
Move = Annotated[bool, typer.Option("--move", help="Delete in FROM what is in TO.")]
Wait = Annotated[bool, typer.Option("--wait", help="With --move: wait for active tasks, and move them too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]

PAUSE = 0.5
"""Seconds between two looks at active tasks, or at another migration."""
PATIENCE = 15.0
"""Seconds to wait for another migration, which may have been killed and not be running any more."""


def migrate(
    source: From,
    destination: To,
    *,
    queues: Queues = None,
    states: States = None,
    move: Move = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JSON = False,
) -> None:
    """Copy or move queues to another broker.

    Everything that belongs to the tasks goes with them, and the schedules that enqueue into the queues,
    while servers run on both sides. It can be interrupted at any time: the same command goes on where it
    ended. Copied queues are paused in TO, moved ones in FROM.
    """
    from asynq.cli.terminal.confirm import confirm
    from asynq.cli.terminal.migration import Told
    from asynq.cli.terminal.output import Output
    from asynq.errors import AsynqError
    from asynq.migration import migrate_schedules
    from asynq.migration.schedules import plan_schedules
    from asynq.protocol.connect import redact_url

    if wait and not move:
        raise usage_error("--wait: only a move waits for active tasks; add --move")
    if source == destination:
        raise usage_error("FROM and TO are the same broker")
    wanted = _states(states)
    output = Output(as_json=as_json)
    told = Told(output, move=move, source=redact_url(source), destination=redact_url(destination))
    with connected(destination, "TO", create=True) as there, connected(source, "FROM") as here:
        counts = _counts(here, queues, wanted)
        sizes = {name: sum(each.values()) for name, each in counts.items()}
        if dry_run:
            told.plan(sizes, [] if states else plan_schedules(here, queues=queues))
            return
        confirm(told.question(sizes), yes=yes)
        try:
            reports = _migrate(here, there, counts, wanted, move=move, wait=wait)
        except (AsynqError, KeyboardInterrupt):
            told.interrupted()
            raise
        schedules = None if states else migrate_schedules(here, there, queues=queues, move=move)
    done = [told.queue(report) for report in reports]
    done.append(schedules is None or told.schedules(schedules))
    told.paused([report.queue for report in reports])
    if not all(done) or (move and any(report.left for report in reports)):
        raise typer.Exit(FAILED)


def _states(names: Sequence[str] | None) -> Sequence[TaskState]:
    from asynq.migration.engine import MOVABLE

    for name in names or ():
        if name not in MOVABLE:
            raise usage_error(f"--state {name!r}: use one of {', '.join(MOVABLE)}")
    return [state for state in MOVABLE if not names or state in names]


def _skip(name: str) -> None:
    """Tell of a listed queue that was deleted meanwhile, or whose name no command can state."""
    from asynq.runtime.safe_text import shown

    typer.echo(f"Error: queue {shown(name)} is listed, but cannot be found: skipped", err=True)


def _counts(broker: Broker, queues: Sequence[str] | None, states: Sequence[TaskState]) -> Counts:
    from asynq.errors import QueueNotFoundError
    from asynq.protocol.ops import GetQueueStats, ListQueues

    names = [*dict.fromkeys(queues)] if queues else broker.execute(ListQueues())
    stats = {}
    for name in names:
        try:
            stats[name] = broker.execute(GetQueueStats(queue=name))
        except QueueNotFoundError:
            if queues:
                raise
            _skip(name)
    return {name: {state: getattr(each, state.value) for state in states} for name, each in stats.items()}


def _migrate(
    source: Broker,
    destination: Broker,
    counts: Counts,
    states: Sequence[TaskState],
    *,
    move: bool,
    wait: bool,
) -> list[QueueMigration]:
    from asynq.cli.terminal.progress import progress
    from asynq.errors import QueueNotFoundError

    reports: list[QueueMigration] = []
    total = sum(sum(sizes.values()) for sizes in counts.values())
    with progress("move" if move else "copy", total) as update:
        for name in counts:
            before = sum(report.transferred + report.present for report in reports)
            further = partial(_further, update, before)
            options = {"queues": [name], "states": states, "move": move, "progress": further}
            try:
                report = _run(source, destination, options)
            except QueueNotFoundError:
                _skip(name)
                continue
            while wait and report.left:
                time.sleep(PAUSE)
                report = _together(report, _run(source, destination, options))
            reports.append(report)
    return reports


def _further(update: Callable[[int], None], before: int, _: str, count: int) -> None:
    update(before + count)


def _run(source: Broker, destination: Broker, options: Mapping[str, Any]) -> QueueMigration:
    """Transfer what can be transferred of one queue now, as soon as no other migration of it runs."""
    from asynq.migration import MigrationRunningError, migrate

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            [report] = migrate(source, destination, **options)
        except MigrationRunningError as running:
            if running.taken_over or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return report


def _together(before: QueueMigration, after: QueueMigration) -> QueueMigration:
    """The report of two runs, one after the other."""
    after.transferred += before.transferred
    after.present += before.present
    known = {task.task_id for task in after.refused}
    after.refused[:0] = [task for task in before.refused if task.task_id not in known]
    return after
