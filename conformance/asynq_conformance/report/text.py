"""The report for a terminal, and the headline that all formats repeat."""

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
    "unknown: could not be determined; -: not tested"
)
MOST_LINES: Final = 12
"""Maximum number of printed details. The files contain all of them."""


def title(report: ConformanceReport) -> str:
    """Title: version, profile and seed."""
    parts = ["asynq conformance", f"spec {report.spec}"]
    parts += [
        f"{name} {report.run[name]}" for name in ("profile", "seed") if report.run.get(name) is not None
    ]
    return ", ".join(parts)


def headline(report: ConformanceReport) -> list[str]:
    """The most important figures, one line each."""
    lines = [f"servers: {report.run['servers']}"] if "servers" in report.run else []
    lines += [_layer_line(report, layer) for layer in report.layers]
    unknown = len(report.of("unknown"))
    lines.append(f"xfail: {len(report.of('known'))}, unknown: {unknown}, failed: {len(report.of('failed'))}")
    return lines


def _layer_line(report: ConformanceReport, layer: Layer) -> str:
    outcomes = report.layer(layer)
    found = ", ".join(f"{number} {SHOWN[status]}" for status, number in statuses(outcomes).items())
    seconds = sum(outcome.seconds for outcome in outcomes)
    return f"layer {layer}, {LAYERS[layer]}: " + ", ".join([found, *counted(outcomes), f"{seconds:.0f} s"])


def counted(outcomes: Iterable[LawOutcome]) -> list[str]:
    """Sums of the reported figures in words, such as `7 500 steps` or `312/312 transitions reached`."""
    found = figures(outcomes)
    words = []
    for name, number in found.items():
        if f"{name}_reached" in found:
            words.append(f"{_spaced(found[f'{name}_reached'])}/{_spaced(number)} {_words(name)} reached")
        elif not name.endswith("_reached") or name.removesuffix("_reached") not in found:
            words.append(f"{_spaced(number)} {_words(name)}")
    return words


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _words(name: str) -> str:
    return name.replace("_", " ")


def details(report: ConformanceReport) -> Iterator[str]:
    """One line for each reason why a cell is not simply ok."""
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
    """The first lines, made safe for a terminal, and the number of omitted ones."""
    lines = [shown(line) for line in lines]
    if len(lines) <= MOST_LINES:
        return lines
    return [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} more lines in the files of the report"]


def plain(report: ConformanceReport) -> str:
    """The report as plain text, without colours and without a width limit."""
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
    """The report in colours, for a terminal of this width."""
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
