"""Drawing of a history around a violation: a lane for each process, a bar for each call."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq_conformance.evidence import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 1000
GUTTER: Final = 110
"""Width of the margin with the names of the processes."""
RIGHT: Final = 20
LONGEST_NAME: Final = 15
ROW: Final = 24
BAR: Final = 16
AXIS: Final = 26
CHARACTER: Final = 6.4
"""Approximate width of a character."""
TICKS: Final = 6


@frozen
class _Scale:
    """Conversion of seconds to horizontal positions."""

    start: float
    end: float

    def x(self, instant: float) -> float:
        share = (instant - self.start) / (self.end - self.start)
        return round(GUTTER + share * (WIDTH - GUTTER - RIGHT), 1)


@frozen
class _Bar:
    span: Span
    left: float
    right: float
    row: int

    @property
    def label_fits(self) -> bool:
        return self.right - self.left > len(self.span.op) * CHARACTER + 8


def read_spans(plain: Sequence[Mapping[str, Any]]) -> list[Span]:
    """The spans of a timeline that evidence reported."""
    return [Span(**span) for span in plain]


def draw(title: str, spans: Sequence[Span]) -> str:
    """The timeline as an SVG element; "" without spans. The page's style defines the colours."""
    if not spans:
        return ""
    ends = [span.start if span.end is None else span.end for span in spans]
    first, last = min(span.start for span in spans), max(ends)
    margin = (last - first) * 0.02 or 0.001
    scale = _Scale(first - margin, last + margin)
    parts: list[str] = []
    top = 4
    for number, process in enumerate(dict.fromkeys(span.process for span in spans)):
        bars = _bars([span for span in spans if span.process == process], scale)
        height = (max(bar.row for bar in bars) + 1) * ROW + 8
        parts.append(_lane(process, bars, top, height, shaded=number % 2 == 0))
        top += height
    parts.append(_axis(scale, first, top))
    height = top + AXIS
    label = escape(title, quote=True)
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _bars(spans: Sequence[Span], scale: _Scale) -> list[_Bar]:
    """Assign a row to each bar, so that neither bars nor labels overlap."""
    bars: list[_Bar] = []
    taken: list[float] = []
    for span in sorted(spans, key=lambda span: span.start):
        left = scale.x(span.start)
        right = WIDTH - RIGHT if span.end is None else max(scale.x(span.end), left + 3)
        words = len(span.op) * CHARACTER
        needed = right if right - left > words + 8 else right + words + 10
        begins = left if needed <= WIDTH else left - words - 8  # then the label is on the left of the bar
        row = next((row for row, until in enumerate(taken) if until <= begins), len(taken))
        taken[row : row + 1] = [min(needed, WIDTH)]
        bars.append(_Bar(span, left, right, row))
    return bars


def _lane(process: str, bars: Sequence[_Bar], top: int, height: int, *, shaded: bool) -> str:
    shade = f'<rect class="lane" x="0" y="{top}" width="{WIDTH}" height="{height}"/>' if shaded else ""
    name = f'<text class="process" x="8" y="{top + 20}">{escape(_short(process))}</text>'
    return shade + name + "".join(_drawn(bar, top) for bar in bars)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _drawn(bar: _Bar, top: int) -> str:
    span, y = bar.span, top + 6 + bar.row * ROW
    if bar.label_fits:
        x, anchor, words = (bar.left + bar.right) / 2, "middle", "inside"
    elif bar.right + len(span.op) * CHARACTER + 10 <= WIDTH:
        x, anchor, words = bar.right + 5, "start", "beside"
    else:
        x, anchor, words = bar.left - 5, "end", "beside"
    strong = " marked" if span.marked else ""
    return (
        f"<g><title>{escape(_label(span))}</title>"
        f'<rect class="bar {escape(span.outcome)}{strong}" x="{bar.left}" y="{y}" rx="3" '
        f'width="{bar.right - bar.left:.1f}" height="{BAR}"/>'
        f'<text class="{words}{strong}" x="{x:.1f}" y="{y + 12}" text-anchor="{anchor}">'
        f"{escape(span.op)}</text></g>"
    )


def _label(span: Span) -> str:
    took = "end unknown" if span.end is None else f"{(span.end - span.start) * 1000:.1f} ms"
    return " ".join(filter(None, [span.process, span.op, f"{span.outcome} ({took})", span.text]))


def _axis(scale: _Scale, zero: float, top: int) -> str:
    step = _nice((scale.end - scale.start) / TICKS)
    instants = [number * step for number in range(int((scale.end - zero) / step) + 1)]
    decimals = max(0, -int(f"{step * 1000:e}".partition("e")[2]))
    ticks = "".join(
        f'<line class="tick" x1="{scale.x(zero + at)}" x2="{scale.x(zero + at)}" y1="0" y2="{top + 4}"/>'
        f'<text class="tick" x="{scale.x(zero + at)}" y="{top + 18}" text-anchor="middle">'
        f"{at * 1000:.{decimals}f}{' ms' if number == 0 else ''}</text>"
        for number, at in enumerate(instants)
    )
    return f'<g class="axis">{ticks}</g>'


def _nice(length: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that is at least this long."""
    power: float = 10 ** int(f"{length:e}".partition("e")[2])
    return next((factor * power for factor in (1, 2, 5) if factor * power >= length), 10 * power)
