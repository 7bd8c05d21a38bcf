"""`TabLine`: the names of views on one line, one of which is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult


PADDING = 2
"""Columns around a name."""


class TabName(Static):
    """The name of a view. A click shows it."""

    DEFAULT_CSS = """
    TabName { width: auto; height: 1; padding: 0 1; color: $text-muted; }
    TabLine.-narrow TabName { padding: 0 1 0 0; }
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
    """Names of views, each with the number of its key before it.

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
        self._labels = {name: f"{key} {label}" for key, (name, label) in enumerate(names, 1)}

    def compose(self) -> ComposeResult:
        """The names."""
        for name, label in self._labels.items():
            yield TabName(Text(label), name=name, classes="-shown" if name == self.shown else "")

    def label(self, *ways: Mapping[str, str]) -> None:
        """Show this of each view, in the first of the ways for which there is room, else in the last one."""
        for way in ways:
            labels = {name: f"{key} {way[name]}" for key, name in enumerate(self.names, 1)}
            if sum(cell_len(label) + PADDING for label in labels.values()) <= self.size.width:
                break
        self.set_class(len(ways) > 1 and way is ways[-1], "-narrow")
        for name, label in labels.items():
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
