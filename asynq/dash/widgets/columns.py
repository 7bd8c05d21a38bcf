"""`Column`: one column of a grid, and which columns fit into a width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.dash.widgets.cells import CellText, Keep

R = TypeVar("R")
GAP = "  "


@frozen
class Column(Generic[R]):
    """One column."""

    title: str
    """Titles of a grid differ."""
    cell: Callable[[R], CellText]
    right: bool = False
    least: int = 0
    """The width down to which the column may be shortened; 0: never."""
    keep: Keep = "start"
    """What is shown of a text that is shortened."""
    drop: int = 0
    """The order in which columns are left out where there is no room, 1 first; 0: never."""


def fit(
    columns: Sequence[Column[Any]],
    rows: Sequence[Sequence[CellText]],
    width: int,
    widest: dict[str, int],
) -> list[tuple[Column[Any], int]]:
    """The columns that fit into a width, each with its own.

    Args:
        columns: All columns.
        rows: What the visible rows have in each.
        width: The width of all together.
        widest: The width of each column so far: it does not become narrower, so that nothing jumps about.
    """
    for place, column in enumerate(columns):
        title = len(column.title)
        longest = max((row[place].width for row in rows), default=0)
        widest[column.title] = max(widest.get(column.title, 0), longest, title)
    chosen = list(columns)
    for column in sorted((each for each in columns if each.drop), key=lambda each: each.drop):
        if _least(chosen, widest) <= width:
            break
        chosen.remove(column)
    sizes = {column.title: _least_of(column, widest) for column in chosen}
    for _ in range(width - _least(chosen, widest)):
        shortened = [title for title, size in sizes.items() if size < widest[title]]
        if not shortened:
            break
        sizes[min(shortened, key=lambda title: sizes[title])] += 1
    return [(column, sizes[column.title]) for column in chosen]


def _least(columns: Sequence[Column[Any]], widest: dict[str, int]) -> int:
    return sum(_least_of(column, widest) + len(GAP) for column in columns)


def _least_of(column: Column[Any], widest: dict[str, int]) -> int:
    natural = widest[column.title]
    return min(natural, max(column.least, len(column.title))) if column.least else natural
