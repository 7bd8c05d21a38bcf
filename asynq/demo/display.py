"""Output of the demo: a progress bar on a terminal, plain lines elsewhere, and a table at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from typing import IO

    from rich.console import Console

    from asynq.demo.report import DemoReport


class BarDisplay:
    """A progress bar, for terminals."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("completed"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", justify="right"),
            TimeElapsedColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("completed", total=None, rate="")
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)

    def update(self, completed: int, total: int) -> None:
        """Move the bar."""
        rate = completed / (time.monotonic() - self._started)
        self._progress.update(self._bar, completed=completed, total=total, rate=f"{rate:.0f}/s")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class LineDisplay:
    """At most one line per second, for files and pipes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._next = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stream, flush=True)

    def update(self, completed: int, total: int) -> None:
        """Print the progress, once per second and at the end."""
        if time.monotonic() >= self._next or completed == total:
            self._next = time.monotonic() + 1.0
            self.say(f"{completed} of {total} tasks completed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def display_for(console: Console) -> BarDisplay | LineDisplay:
    """Choose the display for the console: a bar for a terminal, lines for anything else."""
    return BarDisplay(console) if console.is_terminal else LineDisplay(console.file)


def print_table(console: Console, report: DemoReport) -> None:
    """Print the report as a table."""
    # As Text, because a path with brackets must not be parsed as markup.
    directory = shown(report.directory)
    table = Table(title=Text(f"{report.files} files of {directory} in {report.seconds:.1f} s"))
    table.add_column("tasks")
    for column in ("enqueued", "completed", "run more than once", "lost", "per second"):
        table.add_column(column, justify="right")
    for kind, tally in {**report.tallies, "total": report.total}.items():
        table.add_row(
            kind,
            str(tally.enqueued),
            str(tally.completed),
            str(tally.run_more_than_once),
            str(tally.lost),
            f"{report.per_second(tally):.0f}",
            style="bold red" if tally.lost else None,
            end_section=tally is list(report.tallies.values())[-1],
        )
    console.print(table)
