"""Geometry of the charts, which templates draw as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 600
HEIGHT = 100
"""Size of the drawing area of a chart, in units of its own."""
_BAR = 100
_GAP = 0.25
"""Share of the width of a bar that is left free beside it."""


@frozen
class Box:
    """A rectangle."""

    kind: str
    """What it stands for: a state, "succeeded" or "failed"."""
    x: float
    y: float
    width: float
    height: float
    label: str = ""


def line(values: Sequence[float], top: float, places: int = 0) -> str:
    """The points of a line through the values, from left to right.

    Args:
        values: The values. There is no line through one alone.
        top: The value at the upper edge.
        places: Values that have room; fewer of them end at the right. If 0, they fill the width.
    """
    if len(values) < 2:
        return ""
    across = _across(WIDTH, len(values), places)
    return " ".join(f"{x:.1f},{_height(value, top):.1f}" for x, value in zip(across, values, strict=True))


def area(values: Sequence[float], top: float, places: int = 0) -> str:
    """The points of the area below such a line."""
    points = line(values, top, places)
    return f"{points.partition(',')[0]},{HEIGHT} {points} {WIDTH},{HEIGHT}" if points else ""


def spark(values: Sequence[float], places: int) -> str:
    """The points of a small line in a box of 60 by 20, as high as its highest value; "" if all are 0."""
    top = max(values, default=0.0)
    if len(values) < 2 or not top:
        return ""
    across = _across(60, len(values), places)
    return " ".join(f"{x:.0f},{19 - 18 * value / top:.0f}" for x, value in zip(across, values, strict=True))


def gauge(used: float, of: float) -> Box:
    """The filled part of a bar, which is full where all is used."""
    share = min(used / of, 1.0) if of else 0.0
    return Box("full" if share == 1 else "", 0, 0, round(_BAR * share, 2), 10)


def share_bar(parts: Iterable[tuple[str, int]]) -> list[Box]:
    """One bar with a part for each name, as wide as its share. What is there is visible, however small."""
    given = [(name, number) for name, number in parts if number]
    total = sum(number for _, number in given)
    widths = [max(_BAR * number / total, 2.0) for _, number in given]
    scale = _BAR / sum(widths) if widths else 1.0
    boxes: list[Box] = []
    x = 0.0
    for (name, number), width in zip(given, widths, strict=True):
        boxes.append(Box(name, round(x, 2), 0, round(width * scale, 2), 10, f"{number:,} {name}"))
        x += width * scale
    return boxes


def most(days: Iterable[tuple[str, int, int]]) -> int:
    """The most runs of a day."""
    return max((succeeded + failed for _, succeeded, failed in days), default=0)


def columns(days: Sequence[tuple[str, int, int]]) -> list[Box]:
    """A column for each day: its label, and its runs that succeeded and failed, one above the other."""
    top = most(days) or 1
    width = WIDTH / max(len(days), 1)
    boxes: list[Box] = []
    for place, (label, succeeded, failed) in enumerate(days):
        text = f"{label}: {succeeded:,} succeeded, {failed:,} failed"
        x, bar = place * width + width * _GAP / 2, width * (1 - _GAP)
        low, high = HEIGHT * failed / top, HEIGHT * succeeded / top
        boxes.append(Box("failed", round(x, 2), round(HEIGHT - low, 2), round(bar, 2), round(low, 2), text))
        y = HEIGHT - low - high
        boxes.append(Box("succeeded", round(x, 2), round(y, 2), round(bar, 2), round(high, 2), text))
    return boxes


def round_top(values: Iterable[float]) -> float:
    """A round number that is not below any of them: 1, 2, 5, 10, 20, 50..."""
    highest, top = max(values, default=0.0), 1.0
    while top < highest:
        for factor in (2, 2.5, 2):
            if top >= highest:
                break
            top *= factor
    return top


def _across(width: float, number: int, places: int) -> list[float]:
    """Where each of that many values is, two at least, with the last one at the right edge."""
    step = width / (max(number, places) - 1)
    first = width - step * (number - 1)
    return [first + place * step for place in range(number)]


def _height(value: float, top: float) -> float:
    return HEIGHT - HEIGHT * min(value, top) / top
