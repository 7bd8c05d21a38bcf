"""`Line`: one line of text."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Line(Static):
    """One line of text, cut where there is no room."""

    DEFAULT_CSS = """
    Line { height: 1; }
    """
    text = ""

    def show(self, text: str) -> None:
        """Show a text, which must be safe. Nothing else moves, so that it costs little."""
        if text != self.text:
            self.text = text
            self.update(Text(text, no_wrap=True, overflow="ellipsis"), layout=False)
