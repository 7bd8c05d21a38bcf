"""`Chart`: values over time as bars, with the highest value, the last one and the times."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from asynq.dash.widgets.cells import fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style

EIGHTHS = " ▁▂▃▄▅▆▇█"
AXIS = 8
"""Columns of the numbers at the left."""


class Chart(Widget):
    """A chart.

    Args:
        title: What is shown.
        form: Formats a value.
        style: Name of the style of the bars: "good", "bad" or "plain".
        highest: The value of a full bar, if it does not follow from the values.
    """

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; background: $background; margin: 0 1 0 0; }
    Chart > .chart--title { text-style: bold; color: $text; }
    Chart > .chart--axis { color: $text-muted; }
    Chart > .chart--plain { color: $text-primary; }
    Chart > .chart--good { color: $text-success; }
    Chart > .chart--bad { color: $text-error; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--title",
        "chart--axis",
        "chart--plain",
        "chart--good",
        "chart--bad",
    }

    def __init__(
        self,
        title: str,
        form: Callable[[float], str],
        *,
        style: str = "plain",
        highest: float | None = None,
        id: str | None = None,  # noqa: A002 - as textual names it
    ) -> None:
        super().__init__(id=id)
        self.values: Sequence[float | None] = ()
        self._title = title
        self._form = form
        self._bars = style
        self._highest = highest
        self._since = ""
        self._lines: list[str] = []

    @property
    def parts(self) -> int:
        """How many values fit."""
        return max(self.size.width - AXIS - 1, 1)

    def show(self, values: Sequence[float | None], since: str) -> None:
        """Show values, the latest one last. `since` names the time of the first one."""
        self.values = values
        self._since = since
        self._lines = bars(values, max(self.size.height - 2, 1), self._top)
        self.refresh()

    def on_resize(self) -> None:
        """Draw the bars again."""
        self.show(self.values[-self.parts :], self._since)

    @property
    def _top(self) -> float:
        """The value of a full bar."""
        highest = max((value for value in self.values if value is not None), default=0.0)
        return max(highest, self._highest or 0.0)

    def render_line(self, y: int) -> Strip:
        """Draw a line: the title, bars, or the times."""
        width, height = self.size
        axis, title = self._style("axis"), self._style("title")
        if y == 0:
            last = next((value for value in reversed(self.values) if value is not None), None)
            now = "" if last is None else self._form(last)
            room = max(width - len(now) - 1, 0)
            segments = [
                Segment(fitted(self._title, room), title),
                Segment(f"{now} ", self._style(self._bars)),
            ]
        elif y == height - 1:
            start = " " * (AXIS + 1) + self._since
            segments = [Segment(fitted(start, width - 4) + "now", axis)]
        else:
            number = self._form(self._top) if y == 1 and self._top else "0" if y == height - 2 else ""
            line = self._lines[y - 1] if y - 1 < len(self._lines) else ""
            segments = [
                Segment(fitted(number, AXIS, right=True) + "│", axis),
                Segment(line, self._style(self._bars)),
            ]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"chart--{name}")


def bars(values: Sequence[float | None], height: int, top: float) -> list[str]:
    """Lines of bars of this height, the upper one first. Only a value of 0 has no bar at all."""
    levels = [_level(value, height * 8, top) for value in values]
    return [
        "".join(EIGHTHS[min(max(level - line * 8, 0), 8)] for level in levels)
        for line in range(height - 1, -1, -1)
    ]


def _level(value: float | None, whole: int, top: float) -> int:
    if value is None or value <= 0 or top <= 0:
        return 0
    return max(min(round(value / top * whole), whole), 1)
