"""The report on a terminal, and its headline, which all other forms repeat."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from asynq.runtime.safe_text import shown
from asynq_conformance.promises import LAYERS, Promise
from asynq_conformance.report.outcomes import SHOWN, figures, statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq_conformance.promises import Layer
    from asynq_conformance.report.outcomes import ConformanceReport, LawOutcome

STYLES: Final = {
    "failed": "bold red",
    "unknown": "bold magenta",
    "known": "yellow",
    "weaker": "cyan",
    "ok": "green",
    "skipped": "dim",
    "none": "dim",
}
LEGEND: Final = (
    "ok -2: two of its tests were skipped; W: a weaker promise, verified; xfail: known to fail; "
    "unknown: could not be found out; -: no test of it ran"
)
MOST_LINES: Final = 12
"""Lines of one kind of detail; the files hold all of them."""


def title(report: ConformanceReport) -> str:
    """What was run."""
    parts = ["asynq conformance", f"spec {report.spec}"]
    parts += [
        f"{name} {report.run[name]}" for name in ("profile", "seed") if report.run.get(name) is not None
    ]
    return ", ".join(parts)


def headline(report: ConformanceReport) -> list[str]:
    """The figures that matter, a line each."""
    lines = [_layer_line(report, layer) for layer in report.layers]
    unknown = len(report.of("unknown"))
    lines.append(f"xfail: {len(report.of('known'))}, unknown: {unknown}, failed: {len(report.of('failed'))}")
    return lines


def _layer_line(report: ConformanceReport, layer: Layer) -> str:
    outcomes = report.layer(layer)
    found = ", ".join(f"{number} {SHOWN[status]}" for status, number in statuses(outcomes).items())
    seconds = sum(outcome.seconds for outcome in outcomes)
    return f"layer {layer}, {LAYERS[layer]}: " + ", ".join([found, *counted(outcomes), f"{seconds:.0f} s"])


def counted(outcomes: Iterable[LawOutcome]) -> list[str]:
    """What tests counted, added up, in words: `7 500 steps`, `312/312 transitions reached`."""
    found = figures(outcomes)
    told = []
    for name, number in found.items():
        if f"{name}_reached" in found:
            told.append(f"{_spaced(found[f'{name}_reached'])}/{_spaced(number)} {_words(name)} reached")
        elif not name.endswith("_reached") or name.removesuffix("_reached") not in found:
            told.append(f"{_spaced(number)} {_words(name)}")
    return told


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _words(name: str) -> str:
    return name.replace("_", " ")


def details(report: ConformanceReport) -> Iterator[str]:
    """Why cells are not simply ok, a line each."""
    yield from report.complaints
    for outcome in report.of("unknown"):
        yield f"unknown, {outcome.fact.column}: {outcome.test}: {outcome.reason}"
    for outcome in report.of("known"):
        yield f"xfail, {outcome.fact.column}: {outcome.test}: {outcome.reason}"
    weaker = (
        f"W, {outcome.fact.column}, {' '.join(outcome.fact.promises)}: {outcome.reason}"
        for outcome in report.of("weaker")
    )
    yield from dict.fromkeys(weaker)
    for column, reason, number in report.skip_reasons():
        yield f"skipped, {column}: {number} tests: {reason}"


def limited(lines: list[str]) -> list[str]:
    """The first lines as a terminal may show them, and how many there are besides."""
    lines = [shown(line) for line in lines]
    if len(lines) <= MOST_LINES:
        return lines
    return [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} lines more in the report's files"]


def plain(report: ConformanceReport) -> str:
    """The report as text without any colour, however wide."""
    rows = [[title(report), *report.columns]]
    rows += [
        [
            f"{promise.name:<3} {promise.value}",
            *(report.cell(promise, column).text for column in report.columns),
        ]
        for promise in Promise
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    table = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in rows]
    lines = [*table, "", LEGEND, *headline(report), *limited(list(details(report)))]
    return "\n".join(line.rstrip() for line in lines)


def coloured(report: ConformanceReport, width: int) -> str:
    """The report for a person, in the colours and width of their terminal."""
    from rich import box
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title(report)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("promise", ratio=1)
    for column in report.columns:
        table.add_column(Text(column), no_wrap=True)
    for promise in Promise:
        cells = [report.cell(promise, column) for column in report.columns]
        table.add_row(
            promise.name, promise.value, *(Text(cell.text, style=STYLES[cell.status]) for cell in cells)
        )
    lines = [*headline(report), *limited(list(details(report)))]
    page = Group(table, Text(LEGEND, style="dim"), *map(Text, lines))
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False)
    with screen.capture() as captured:
        screen.print(page)
    return captured.get().rstrip("\n")
