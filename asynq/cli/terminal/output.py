"""`Output`: a table for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import TYPE_CHECKING

from asynq.runtime.plain import plain
from asynq.runtime.safe_text import shown, shown_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO, Any

    from rich.console import Console, RenderableType
    from rich.table import Table

    Row = Sequence[object]

_STYLES = {
    "pending": "cyan",
    "active": "green",
    "scheduled": "blue",
    "retry": "yellow",
    "archived": "red",
    "aggregating": "magenta",
    "completed": "dim",
    "paused": "yellow",
    "stopped": "yellow",
}
"""Colours of states. A state is always also a word."""
_PAGE = 1000
"""Rows of one table. More rows make more tables, so that any number takes little memory."""
_GAP = 2
"""Spaces between two columns of a table."""
_WHOLE = 36
"""Texts up to the length of an id are never shortened."""
_SHORTENED = 12


class Output:
    """What a command prints: with --json objects, one a line; else tables and lines."""

    def __init__(self, *, as_json: bool, stream: IO[str] | None = None) -> None:
        self.as_json = as_json
        self._stream = stream or sys.stdout

    def each(
        self,
        columns: Sequence[str],
        items: Iterable[Any],
        row: Callable[[Any], Row],
        *,
        empty: str = "",
        right: Sequence[str] = (),
        optional: Sequence[str] = (),
    ) -> int:
        """Print items: JSON lines as they come, or a table with a row for each.

        Args:
            columns: Titles of the columns.
            items: What is printed.
            row: The cells of an item.
            empty: What is said to people if there is no item.
            right: Columns of numbers, which are aligned to the right.
            optional: Columns that may be left out where there is no room, the first ones first.

        Returns:
            The number of items.
        """
        count = 0
        if self.as_json:
            for item in items:
                self.json(item)
                count += 1
            return count
        rows = map(row, items)
        while page := list(islice(rows, _PAGE)):
            self.table(columns, page, right=right, optional=optional)
            count += len(page)
        if not count and empty:
            self.say(empty)
        return count

    def json(self, item: object) -> None:
        """Print one object on one line."""
        print(json.dumps(plain(item), ensure_ascii=False), file=self._stream)

    def say(self, text: str) -> None:
        """Print a line, for people only."""
        if not self.as_json:
            print(shown(text), file=self._stream)

    def block(self, text: str) -> None:
        """Print several lines, for people only."""
        if not self.as_json:
            print(shown_lines(text), file=self._stream)

    def done(self, text: str, item: Mapping[str, object]) -> None:
        """Tell what was done: the text to people, the object to programs."""
        if self.as_json:
            self.json(item)
        else:
            self.say(text)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Row],
        *,
        right: Sequence[str] = (),
        optional: Sequence[str] = (),
    ) -> None:
        """Print a table. `optional` columns are left out, the first ones first, while it is too wide."""
        console = self.console()
        self.show(console, table_of(columns, rows, console.width, right=right, optional=optional))

    def details(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print names with their values, one a line. Pairs without a value are left out."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            if value not in (None, ""):
                table.add_row(name, _cell(value))
        self.show(self.console(), table)

    def show(self, console: Console, page: RenderableType) -> None:
        """Print a page on a console of this output. Lines of a file or a pipe end with their text."""
        if console.is_terminal:
            console.print(page)
            return
        with console.capture() as captured:
            console.print(page)
        for line in captured.get().splitlines():
            print(line.rstrip(" "), file=self._stream)

    def console(self) -> Console:
        """A console on the output. Lines of a file or a pipe are as long as they need to be."""
        from rich.console import Console

        console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = 10_000
        return console


def table_of(
    columns: Sequence[str],
    rows: Iterable[Row],
    width: int,
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Table:
    """A table of at most this width, as far as leaving out and shortening columns can make it."""
    from rich.table import Table

    texts = [cells(*row) for row in rows]
    widths = {
        column: max([len(column), *(row[place].cell_len for row in texts)])
        for place, column in enumerate(columns)
    }
    for column in optional:
        if _needed(widths) <= width:
            break
        del widths[column]
    _shorten(widths, width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold underline")
    for column in columns:
        if column in widths:
            table.add_column(
                column,
                justify="right" if column in right else "left",
                no_wrap=True,
                overflow="ellipsis",
                width=widths[column],
            )
    for row in texts:
        table.add_row(*(cell for column, cell in zip(columns, row, strict=True) if column in widths))
    return table


def _needed(widths: Mapping[str, int]) -> int:
    """The least width of a table. Only long texts are shortened."""
    return sum(min(each, _SHORTENED) if each > _WHOLE else each for each in widths.values()) + _gaps(widths)


def _gaps(widths: Mapping[str, int]) -> int:
    return _GAP * (len(widths) - 1)


def _shorten(widths: dict[str, int], width: int) -> None:
    """Shorten the longest texts until the table has this width, if they can be."""
    long = [column for column, each in widths.items() if each > _WHOLE]
    excess = sum(widths.values()) + _gaps(widths) - width
    while excess > 0 and long:
        longest = max(long, key=widths.__getitem__)
        if widths[longest] <= _SHORTENED:
            return
        widths[longest] -= 1
        excess -= 1


def cells(*values: object) -> list[Any]:
    """Values as cells of a table: safe to show, numbers with separators, states in their colours."""
    return [_cell(value) for value in values]


def _cell(value: object) -> Any:
    from rich.text import Text

    text = shown(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value)
    return Text(text, style=_STYLES.get(text, ""))
