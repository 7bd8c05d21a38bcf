"""`FilterBar`: a line to filter by, which tells what was typed once the typing pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.timer import Timer

PAUSE = 0.2
"""Seconds without a key after which the text is used."""
MAX_LENGTH = 200


class FilterBar(Input):
    """A line for a filter. It is hidden while it is empty and not in use."""

    DEFAULT_CSS = """
    FilterBar { display: none; height: 1; border: none; padding: 0 1; background: $boost; }
    FilterBar:focus { border: none; height: 1; }
    FilterBar.-used { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear filter"),
        Binding("enter,down", "leave", "Back to the list"),
    ]

    class Filtered(Message):
        """Another text is to be filtered by."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, hint: str) -> None:
        super().__init__(placeholder=hint, max_length=MAX_LENGTH, compact=True, select_on_focus=False)
        self.text = ""
        """What is filtered by."""
        self._pause: Timer | None = None

    def open(self) -> None:
        """Let the user type. What is there already is selected: the first key replaces it."""
        self.add_class("-used")
        self.focus()
        self.select_all()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Wait until the typing pauses."""
        message.stop()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE, self._tell)

    def _tell(self) -> None:
        if self._pause is not None:
            self._pause.stop()
            self._pause = None
        if self.value.strip() != self.text:
            self.text = self.value.strip()
            self.post_message(self.Filtered(self.text))

    def clear_filter(self) -> None:
        """Filter by nothing."""
        self.value = ""
        self._tell()
        self.remove_class("-used")

    def action_clear(self) -> None:
        """Filter by nothing, and go back to the list."""
        self.clear_filter()
        self.screen.focus_next()

    def forget(self) -> None:
        """Filter by nothing, without telling so."""
        self.value = self.text = ""
        self.remove_class("-used")

    def action_leave(self) -> None:
        """Go back to what is filtered."""
        self._tell()
        self.set_class(bool(self.text), "-used")
        self.screen.focus_next()
