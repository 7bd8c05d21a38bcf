"""`TabLine`: the names of views on one line, one of which is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class TabName(Static):
    """The name of a view. A click shows it."""

    DEFAULT_CSS = """
    TabName { width: auto; height: 1; padding: 0 1; color: $text-muted; }
    TabName:hover { background: $surface-lighten-1; }
    TabName.-shown { color: $text; background: $primary 40%; text-style: bold; }
    TabName.-shown:nocolor { text-style: reverse bold; }
    """

    class Clicked(Message):
        """The name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def on_click(self) -> None:
        """Tell the line of names."""
        self.post_message(self.Clicked(self.name or ""))


class TabLine(Horizontal):
    """Names of views.

    Args:
        names: The name of each view, and what is shown of it. The first one is shown at first.
    """

    DEFAULT_CSS = """
    TabLine { height: 1; background: $surface; overflow: hidden; }
    """

    class Changed(Message):
        """Another view is to be shown."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, names: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.names = [name for name, _ in names]
        self.shown = self.names[0]
        self._labels = dict(names)

    def compose(self) -> ComposeResult:
        """The names."""
        for name, label in self._labels.items():
            yield TabName(Text(label), name=name, classes="-shown" if name == self.shown else "")

    def label(self, name: str, label: str) -> None:
        """Show this of a view."""
        if self._labels[name] != label:
            self._labels[name] = label
            self._tab(name).update(Text(label))

    def choose(self, name: str) -> None:
        """Show a view."""
        if name == self.shown:
            return
        self._tab(self.shown).remove_class("-shown")
        self._tab(name).add_class("-shown")
        self.shown = name
        self.post_message(self.Changed(name))

    def step(self, by: int) -> None:
        """Show the next view, or the one before."""
        self.choose(self.names[(self.names.index(self.shown) + by) % len(self.names)])

    def on_tab_name_clicked(self, message: TabName.Clicked) -> None:
        """Show the view whose name was clicked."""
        message.stop()
        self.choose(message.name)

    def _tab(self, name: str) -> TabName:
        return next(each for each in self.query(TabName) if each.name == name)
