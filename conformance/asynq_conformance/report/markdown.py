"""The report as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq_conformance.promises import Promise
from asynq_conformance.report import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asynq_conformance.report.outcomes import ConformanceReport


def as_markdown(report: ConformanceReport) -> str:
    """The report as Markdown, for a repository page or a comment on a change."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: ConformanceReport) -> Iterator[str]:
    yield from (f"# {text.title(report)}", "")
    yield from _table(
        ["", "Promise", *report.columns],
        (
            [promise.name, promise.value, *(report.cell(promise, column).text for column in report.columns)]
            for promise in Promise
        ),
    )
    yield from ("", text.LEGEND, "", *(f"- {line}" for line in text.headline(report)))
    if found := list(text.details(report)):
        yield from ("", "## Details", "", *(f"- {line}" for line in found))
    if failed := report.of("failed"):
        yield from ("", "## Failures")
        for outcome in failed:
            yield from ("", f"### {outcome.fact.column}: {outcome.test}", "")
            yield from ("```text", outcome.reason.replace("```", "'''"), "```", "")
            yield f"To repeat it: `{outcome.repeat}`"
    if report.about:
        yield from ("", "## Backends", "")
        yield from (
            f"- {column}: " + ", ".join(f"{name} {value}" for name, value in report.about[column].items())
            for column in report.columns
            if report.about.get(column)
        )
    yield from ("", "## Run", "", *(f"- {name}: {value}" for name, value in report.run.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
