"""Text of users in a cell of the screen: safe, on one line, as wide as it may be."""

from __future__ import annotations

from typing import Literal

from attrs import frozen
from rich.cells import cell_len, set_cell_size

from asynq.runtime.safe_text import escaped

Keep = Literal["start", "end"]
MAX_CELL = 400
"""Characters of a text that are looked at: no cell is wider."""
_LEVELS = "▁▂▃▄▅▆▇█"


@frozen
class CellText:
    """A safe text and the name of its style: "" for that of the row."""

    text: str
    style: str = ""

    @property
    def width(self) -> int:
        """Columns of the screen."""
        return cell_len(self.text)


def cell(value: object, style: str = "") -> CellText:
    """Any value as one line without control characters. Numbers have separators; 0 is muted."""
    if isinstance(value, int) and not isinstance(value, bool):
        return CellText(f"{value:,}", style if value else "muted")
    return CellText(escaped(str(value)[:MAX_CELL]), style)


def fitted(text: str, width: int, *, right: bool = False, keep: Keep = "start") -> str:
    """A text in exactly so many columns, shortened with an ellipsis: its start is kept, or its end."""
    length = cell_len(text)
    if length > width and keep == "end":
        return f"…{set_cell_size(text[::-1], width - 1)[::-1]}" if width > 0 else ""
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def short_count(count: int) -> str:
    """A number in at most five characters: 999, 12.3k, 4.5M."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            value = count / factor
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}{unit}"
    return str(count)


def sparkline(values: list[float | None]) -> str:
    """Values as one line of bars; a space where there is no value."""
    highest = max((value for value in values if value is not None), default=0.0)
    return "".join(" " if value is None else _bar(value, highest) for value in values)


def _bar(value: float, highest: float) -> str:
    if highest <= 0 or value <= 0:
        return _LEVELS[0]
    return _LEVELS[min(int(value / highest * len(_LEVELS)), len(_LEVELS) - 1)]
