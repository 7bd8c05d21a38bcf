"""`Told`: what `asynq migrate` says before and after it copies or moves queues."""

from __future__ import annotations

import shlex
from collections import defaultdict
from typing import TYPE_CHECKING

import typer
from attrs import frozen

from asynq.runtime.safe_text import shown
from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asynq.cli.terminal.output import Output
    from asynq.migration import QueueMigration, RefusedTask, ScheduleMigration

MOST_NAMED = 10
"""Refused tasks of one reason that are named, and reasons that are told. --json has all of them."""


@frozen
class Told:
    """Tells it to people, or with --json to programs."""

    output: Output
    move: bool
    source: str
    """The URL of FROM, without its password."""
    destination: str

    @property
    def _past(self) -> str:
        return "moved" if self.move else "copied"

    @property
    def _paused_in(self) -> str:
        return "FROM" if self.move else "TO"

    @property
    def _way(self) -> str:
        return f"from {self.source} to {self.destination}"

    # --- before -----------------------------------------------------------------------------------------

    def question(self, sizes: Mapping[str, int]) -> str:
        """What will be done, to confirm it."""
        verb = "move" if self.move else "copy"
        return f"{verb} {_tasks(sizes)} {self._way}, and pause {_queues(sizes)} in {self._paused_in}"

    def plan(self, sizes: Mapping[str, int], schedules: Sequence[str]) -> None:
        """What would be done with so many tasks of each queue, and with these schedules."""
        say = self.output.say
        if self.output.as_json:
            for name, size in sizes.items():
                self.output.json({"queue": name, "selected": size, "paused_in": self._paused_in})
            if schedules:
                self.output.json({"schedules": schedules})
            return
        say(f"Up to {_tasks(sizes)} would be {self._past} {self._way}.")
        say("Those that are there already, or collide with others there, are not.")
        for name in sizes:
            say(f"Queue {name!r} would be paused in {self._paused_in}.")
        if schedules:
            names = ", ".join(map(repr, schedules))
            paused = "" if self.move else " Paused in TO."
            say(f"{plural(len(schedules), 'schedule')} would be {self._past}: {names}.{paused}")

    # --- after ------------------------------------------------------------------------------------------

    def queue(self, report: QueueMigration) -> bool:
        """What was done with a queue. False if a task was refused."""
        _tell_refused(report.refused)
        parts = [f"{plural(report.transferred, 'task')} {self._past}"]
        if report.present:
            parts.append(f"{report.present:,} already there")
        if report.refused:
            parts.append(f"{len(report.refused):,} refused")
        if report.active:
            parts.append(f"{report.active:,} active left to their workers")
        if report.held:
            parts.append(f"{report.held:,} held up by others")
        if report.parked:
            parts.append(f"{report.parked:,} left to another migration, which was interrupted")
        self.output.done(
            f"Queue {report.queue!r}: {', '.join(parts)}.",
            {
                "queue": report.queue,
                "transferred": report.transferred,
                "present": report.present,
                "active": report.active,
                "held": report.held,
                "parked": report.parked,
                "refused": [{"id": task.task_id, "reason": task.reason} for task in report.refused],
                "paused_in": self._paused_in,
            },
        )
        return not report.refused

    def interrupted(self) -> None:
        """What to do when it ends before its end."""
        lines = ["Run the same command again to go on."]
        if self.move:
            lines.insert(0, "Tasks that were on their way are parked in FROM or TO. None is lost.")
            lines.append("To undo it, move the queues in the opposite direction.")
        typer.echo(" ".join(lines), err=True)

    def schedules(self, report: ScheduleMigration) -> bool:
        """What was done with schedules. False if one was refused."""
        for name in report.refused:
            reason = "TO has another one of this name, or keeps none"
            typer.echo(f"Error: schedule {shown(name)}: {reason}", err=True)
        if report.transferred or report.present or report.refused:
            paused = "" if self.move or not report.transferred else ", and paused in TO"
            self.output.done(
                f"{plural(len(report.transferred), 'schedule')} {self._past}{paused}.",
                {"schedules": report.transferred, "present": report.present, "refused": report.refused},
            )
        return not report.refused

    def paused(self, queues: Sequence[str]) -> None:
        """Which queues are paused now, and how to resume them."""
        if not queues:
            return
        for name in queues:
            self.output.say(f"Queue {name!r} is paused in {self._paused_in}.")
        url = self.source if self.move else self.destination
        command = shlex.join(["asynq", "queue", "unpause", *queues, "--broker", url])
        self.output.say(f"Resume with: {command}")


def _tasks(sizes: Mapping[str, int]) -> str:
    return f"{plural(sum(sizes.values()), 'task')} of {_queues(sizes)}"


def _queues(names: Iterable[str]) -> str:
    return ", ".join(f"queue {name!r}" for name in names) or "no queue"


def _tell_refused(tasks: Iterable[RefusedTask]) -> None:
    """A line for each task, or one for many that were refused for the same reason."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks:
        by_reason[task.reason].append(shown(task.task_id))
    lines = []
    for reason, ids in by_reason.items():
        if len(ids) > MOST_NAMED:
            named = f"{', '.join(ids[:MOST_NAMED])} and {len(ids) - MOST_NAMED:,} more"
            lines.append(f"TO refused {len(ids):,} tasks, each because {shown(reason)}: {named}")
        else:
            lines += [f"TO refused task {task_id}: {shown(reason)}" for task_id in ids]
    for line in lines[:MOST_NAMED]:
        typer.echo(f"Error: {line}", err=True)
    if len(lines) > MOST_NAMED:
        typer.echo(f"Error: {len(lines) - MOST_NAMED:,} more like these; --json names all of them", err=True)
