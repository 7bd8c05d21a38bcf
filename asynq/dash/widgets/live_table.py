"""`LiveTable`: a table of which only the visible rows are formatted, with a cursor and marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from attrs import frozen
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from asynq.dash.widgets.cells import CellText, fitted
from asynq.dash.widgets.columns import GAP, Column, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from rich.style import Style
    from textual import events

R = TypeVar("R")
STYLES = (
    "header", "sorted", "cursor", "muted", "note", "mark",
    "pending", "active", "scheduled", "retry", "archived", "aggregating", "completed",
)  # fmt: skip
"""Names of the styles of cells."""
Side = Literal["next", "previous", "first", "last"]


class LiveTable(Widget, Generic[R], can_focus=True):
    """A table. Its rows may be a page of many more: then `Turn` asks for another one.

    Args:
        columns: What is shown of a row.
        key: What identifies a row from one refresh to the next.
        paged: Whether there are more rows than those that it is given.
        empty: What is said if there are none.
    """

    DEFAULT_CSS = """
    LiveTable { height: 1fr; width: 1fr; background: $background; }
    LiveTable > .table--header { color: $text-muted; text-style: bold; background: $surface; }
    LiveTable > .table--sorted { color: $text-primary; text-style: bold underline; background: $surface; }
    LiveTable > .table--cursor { background: $surface-lighten-2; }
    LiveTable:focus > .table--cursor { background: $primary 40%; text-style: bold; }
    LiveTable:nocolor > .table--cursor { text-style: reverse; }
    LiveTable > .table--muted { text-style: dim; }
    LiveTable > .table--note { color: $text-muted; text-style: italic; }
    LiveTable > .table--pending { color: $text-primary; }
    LiveTable > .table--active { color: $text-success; }
    LiveTable > .table--scheduled { color: $text-secondary; }
    LiveTable > .table--retry { color: $text-warning; }
    LiveTable > .table--archived { color: $text-error; }
    LiveTable > .table--aggregating { color: $text-accent; }
    LiveTable > .table--completed { color: $text-muted; }
    LiveTable > .table--mark { color: $text-warning; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{name}" for name in STYLES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "end(-1)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
        Binding("enter", "choose", "Open"),
    ]

    class Chosen(Message):
        """A row was chosen with Enter or a click on the cursor."""

        def __init__(self, grid: LiveTable[Any], row: object) -> None:
            super().__init__()
            self.grid = grid
            self.row = row

    class Turn(Message):
        """Another page is wanted."""

        def __init__(self, grid: LiveTable[Any], side: Side) -> None:
            super().__init__()
            self.grid = grid
            self.side = side

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key: Callable[[R], Hashable],
        *,
        paged: bool = False,
        empty: str = "",
        id: str | None = None,  # noqa: A002 - as textual names it
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.paged = paged
        self.empty = empty
        self.sorted_by = ""
        self.rows: Sequence[R] = ()
        self.marks: dict[Hashable, R] = {}
        self.cursor = 0
        self._key = key
        self._top = 0
        self._shown: Page | None = None
        self._widest: dict[str, int] = {}

    # --- what is shown ----------------------------------------------------------------------------------

    def show(self, rows: Sequence[R], *, cursor: int | None = None) -> None:
        """Show rows. The cursor stays on its row if that is still there, unless it is told where to go."""
        if cursor is None:
            current = self.current
            key = None if current is None else self._key(current)
            found = (place for place, row in enumerate(rows) if self._key(row) == key)
            cursor = self.cursor if key is None else next(found, self.cursor)
        self.rows = rows
        self.cursor = cursor
        self.again()

    def say(self, text: str) -> None:
        """Say this instead of rows while there are none."""
        self.empty = text
        self.again()

    def again(self) -> None:
        """Format the rows again, because something that they show has changed."""
        self.cursor = max(min(self.cursor, len(self.rows) - 1), 0)
        room = self.room
        self._top = max(min(self._top, self.cursor, len(self.rows) - room), self.cursor - room + 1, 0)
        self._shown = None
        self.refresh()

    @property
    def current(self) -> R | None:
        """The row of the cursor; None if there are no rows."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def visible_rows(self) -> Sequence[R]:
        """The rows on the screen."""
        return self.rows[self._top : self._top + self.room]

    @property
    def room(self) -> int:
        """How many rows fit."""
        return max(self.size.height - 1, 1)

    def shows(self, title: str) -> bool:
        """Whether a column is shown: some are left out on narrow screens."""
        return any(column.title == title for column, _ in self._page.columns)

    def reset(self) -> None:
        """Forget marks, cursor and widths: other rows follow."""
        self.marks.clear()
        self._widest.clear()
        self.cursor = self._top = 0
        self.show(())

    def toggle_mark(self) -> None:
        """Mark the row of the cursor, or no longer, and go to the next one."""
        if self.current is not None:
            key = self._key(self.current)
            if self.marks.pop(key, None) is None:
                self.marks[key] = self.current
            self.action_move(1)
            self.again()

    # --- drawing ----------------------------------------------------------------------------------------

    @property
    def _page(self) -> Page:
        if self._shown is None:
            cells = [[column.cell(row) for column in self.columns] for row in self.visible_rows]
            self._shown = Page(cells, fit(self.columns, cells, self.size.width - 2, self._widest))
        return self._shown

    def render_line(self, y: int) -> Strip:
        """Draw a line: that of the titles, or a row."""
        width = self.size.width
        place = self._top + y - 1
        if y == 0:
            return self._titles(width)
        if place >= len(self.rows) or y > len(self._page.cells):
            text = f"  {self.empty}" if y == 2 and not self.rows else ""
            return Strip([Segment(fitted(text, width), self._style("note"))], width)
        return self._row(self._page.cells[y - 1], place, width)

    def _titles(self, width: int) -> Strip:
        plain, special = self._style("header"), self._style("sorted")
        segments = [Segment("  ", plain)]
        for column, room in self._page.columns:
            chosen = column.title == self.sorted_by
            title = column.title
            segments.append(Segment(fitted(title, room, right=column.right), special if chosen else plain))
            segments.append(Segment(GAP, plain))
        return Strip(segments).adjust_cell_length(width, plain)

    def _row(self, cells: Sequence[CellText], place: int, width: int) -> Strip:
        base = self._style("cursor") if place == self.cursor else self.rich_style
        marked = self._key(self.rows[place]) in self.marks
        sign = "●" if marked else ">" if place == self.cursor else " "
        segments = [Segment(f"{sign} ", base + self._style("mark", partial=True))]
        by_title = dict(zip((column.title for column in self.columns), cells, strict=True))
        for column, room in self._page.columns:
            each = by_title[column.title]
            style = base + self._style(each.style, partial=True) if each.style else base
            text = fitted(each.text, room, right=column.right, keep=column.keep)
            segments.append(Segment(text, style))
            segments.append(Segment(GAP, base))
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, name: str, *, partial: bool = False) -> Style:
        return self.get_component_rich_style(f"table--{name}", partial=partial)

    def on_resize(self) -> None:
        """Fit the columns again."""
        self._widest.clear()
        self.again()

    # --- moving -----------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the cursor, beyond an end to the page behind it."""
        to = self.cursor + by
        if self.paged and not 0 <= to < len(self.rows):
            self.post_message(self.Turn(self, "next" if by > 0 else "previous"))
            return
        self.cursor = to
        self.again()

    def action_page(self, by: int) -> None:
        """Move by a page."""
        if self.paged:
            self.post_message(self.Turn(self, "next" if by > 0 else "previous"))
        else:
            self.action_move(by * self.room)

    def action_end(self, side: int) -> None:
        """Move to the first or the last row."""
        if self.paged:
            self.post_message(self.Turn(self, "last" if side > 0 else "first"))
        else:
            self.action_move(side * len(self.rows))

    def action_choose(self) -> None:
        """Choose the row of the cursor."""
        if self.current is not None:
            self.post_message(self.Chosen(self, self.current))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to a row; choose it if the cursor was there."""
        place = self._top + event.y - 1
        if event.y and place < len(self.rows):
            if place == self.cursor:
                self.action_choose()
            self.cursor = place
            self.again()

    def on_mouse_scroll_down(self) -> None:
        """Move down."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """Move up."""
        self.action_move(-1)


@frozen
class Page:
    """The formatted rows on the screen."""

    cells: Sequence[Sequence[CellText]]
    columns: Sequence[tuple[Column[Any], int]]
    """The columns that fit, with their widths."""
