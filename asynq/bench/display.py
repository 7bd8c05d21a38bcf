"""Output for people: a progress bar on a terminal, plain lines elsewhere, and the table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from asynq.bench.report import GO
from asynq.bench.summary import RowVerdict
from asynq.bench.system import OURS
from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from typing import IO

    from rich.console import Console

    from asynq.bench.report import Report, RowResult
    from asynq.bench.summary import Summary

MAX_REASON = 300
"""Characters of a reason. The JSON report has all of it."""
STYLES = {RowVerdict.GOAL: "green", RowVerdict.MISSED: "bold red"}


class BenchBar:
    """A progress bar, for terminals."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
            console=console,
        )
        self._bar = self._progress.add_task("", total=None, what="")

    def update(self, done: int, total: int, what: str) -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=done, total=total, what=what)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class BenchLines:
    """A line per measurement, for files and pipes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def update(self, done: int, total: int, what: str) -> None:
        """Print what is measured next."""
        if what:
            print(f"{done + 1}/{total} {what}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def display_for(console: Console) -> BenchBar | BenchLines:
    """Choose the display for the console: a bar for a terminal, lines for anything else."""
    return BenchBar(console) if console.is_terminal else BenchLines(console.file)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(summary: Summary) -> str:
    """The median, with the smallest and the largest sample if there are several."""
    if len(summary.samples) == 1:
        return number(summary.median)
    return f"{number(summary.median)} ({number(summary.lowest)}-{number(summary.highest)})"


def bound(result: RowResult, value: float | None, times_go: float | None) -> str:
    """A floor or a goal, in the unit of the result."""
    if value is None:
        return "-"
    unit = result.row.calibration or result.row.unit
    go = f" and {times_go:g} x Go" if times_go and GO in result.peers else ""
    return f"{value:g} {unit}{go}"


def print_report(console: Console, report: Report) -> None:
    """Print the results, what other systems did, and what the ratios are relative to."""
    console.print(_results(report))
    if report.peers:
        console.print(_comparison(report))

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    machine = report.facts["machine"]
    say(f"{machine['python']}, {machine['build']}")
    for name, (title, summary) in report.calibrations.items():
        say(f"{name}: {title}: {spread(summary)} /s")
    for system in (OURS, *report.peers) if report.peers else ():
        say(f"{system.name} {system.version}: {system.options}")
    reasons: dict[str, list[str]] = {}
    for name, reason in report.unmeasured.items():
        reasons.setdefault(reason, []).append(name)
    for reason, left_out in reasons.items():
        say(f"not measured: {', '.join(left_out)}: {shown(reason, MAX_REASON)}")


def _results(report: Report) -> Table:
    table = Table("measure")
    for column in ("result", "median (min-max)", "floor", "goal"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for result in report.results:
        unit = result.row.calibration or result.row.unit
        table.add_row(
            result.row.title,
            "" if result.relative is None else f"{number(result.measured.median)} {result.row.unit}",
            f"{spread(result.result)} {unit}",
            bound(result, result.row.floor, result.row.go_floor),
            bound(result, result.row.goal, result.row.go_goal),
            Text(result.verdict.value, style=STYLES.get(result.verdict, "")),
        )
    return table


def _comparison(report: Report) -> Table:
    """The medians of all systems. A gap: the system does not have it, or failed."""
    table = Table("measure", "unit")
    names = [system.name for system in report.peers]
    for name in (OURS.name, *names):
        table.add_column(name, justify="right")
    for result in report.results:
        if result.peers:
            medians = {name: number(summary.median) for name, summary in result.peers.items()}
            table.add_row(
                result.row.title,
                result.row.unit,
                number(result.measured.median),
                *(medians.get(name, "") for name in names),
            )
    return table
