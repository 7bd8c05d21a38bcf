"""A bar chart of a report as SVG: one panel per row, one bar per system, marks for floor and goal."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from asynq.bench.display import number
from asynq.bench.system import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.bench.report import Report, RowResult
    from asynq.bench.summary import Summary

WIDTH = 760
LABEL, BARS, VALUE = 110, 470, 180
"""Widths of the three columns."""
BAR, GAP = 16, 6
TITLE = 26
MARGIN = 12

STYLE = """
text { font: 12px sans-serif; fill: #57606a; }
.title { font-weight: bold; fill: #24292f; }
.ours { fill: #0969da; }
.peer { fill: #8c959f; }
.range { stroke: #24292f; stroke-width: 1; }
.floor { stroke: #cf222e; stroke-width: 2; }
.goal { stroke: #1a7f37; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #8b949e; }
  .title { fill: #e6edf3; }
  .range { stroke: #e6edf3; }
}
"""


def chart(report: Report) -> str:
    """The chart. Rows that have neither a floor nor another system are left out."""
    parts: list[str] = []
    top = MARGIN
    for result in report.results:
        if result.peers or result.row.floor is not None:
            panel, height = _panel(result, top)
            parts += panel
            top += height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}"'
        f' viewBox="0 0 {WIDTH} {top}" role="img">'
    )
    legend = "Median of each measure. Thin lines: smallest and largest. Red: floor. Green: goal."
    return "\n".join(
        [
            head,
            f"<title>asynq bench</title><desc>{legend}</desc>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(result: RowResult, top: int) -> tuple[list[str], int]:
    """The elements of one row, and their height."""
    bars = {OURS.name: result.measured, **result.peers}
    marks = list(_marks(result))
    largest = max([*(summary.highest for summary in bars.values()), *(value for _, value in marks)]) or 1.0
    scale = BARS / largest
    title = f"{result.row.title} ({result.row.unit}, {result.row.better.value} is better)"
    parts = [f'<text class="title" x="{MARGIN}" y="{top + 16}">{escape(title)}</text>']
    y = top + TITLE
    for name, summary in bars.items():
        parts += _bar(name, summary, y, scale)
        y += BAR + GAP
    for kind, value in marks:
        x = LABEL + value * scale
        parts.append(
            f'<line class="{kind}" x1="{x:.1f}" y1="{top + TITLE - 3}" x2="{x:.1f}" y2="{y - GAP + 3}"/>'
        )
    return parts, y + MARGIN - top


def _marks(result: RowResult) -> Iterator[tuple[str, float]]:
    """Floor and goal in the unit of the row."""
    factor = result.measured.median / result.relative.median if result.relative else 1.0
    for kind, value in (("floor", result.row.floor), ("goal", result.row.goal)):
        if value is not None:
            yield kind, value * factor


def _bar(name: str, summary: Summary, y: int, scale: float) -> list[str]:
    kind = "ours" if name == OURS.name else "peer"
    middle = y + BAR / 2
    low, high = LABEL + summary.lowest * scale, LABEL + summary.highest * scale
    width = max(summary.median * scale, 1)
    return [
        f'<text x="{LABEL - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}"/>',
        f'<line class="range" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text x="{WIDTH - MARGIN}" y="{y + 12}" text-anchor="end">{number(summary.median)}</text>',
    ]
