"""Dialogs: a question, the progress of what was asked for, the keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from asynq.errors import AsynqError
from asynq.runtime.safe_text import escaped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from textual.app import ComposeResult

T = TypeVar("T")
BAR = 40

_CSS = """
    { align: center middle; }
    .dialog {
        width: 72; max-width: 95%; height: auto; max-height: 95%; padding: 1 2;
        background: $panel; border: round $primary;
    }
    .dialog Static { width: 1fr; }
    .keys { color: $text-muted; margin-top: 1; }
"""


class Confirm(ModalScreen[bool]):
    """Asks whether to do something. The answer is no unless `y` is pressed."""

    DEFAULT_CSS = f"Confirm {_CSS}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q,enter", "answer(False)", "No"),
    ]

    def __init__(self, question: str, consequence: str = "") -> None:
        super().__init__()
        self.question = escaped(question)
        self.consequence = escaped(consequence)

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical(classes="dialog"):
            yield Static(Text(self.question, style="bold"))
            if self.consequence:
                yield Static(Text(self.consequence))
            yield Static(Text("y  do it     n  leave it"), classes="keys")

    def action_answer(self, answer: bool) -> None:  # noqa: FBT001 - the shape of an action
        """Answer."""
        self.dismiss(answer)


class Progress(ModalScreen["T | AsynqError | None"], Generic[T]):
    """Runs something that takes its time; Esc stops it between two steps.

    The answer is what it returns, its error, or None if it was stopped.

    Args:
        title: What is done.
        work: Does it, and tells how many so far.
        total: How many it will be; None if that is not known.
    """

    DEFAULT_CSS = f"Progress {_CSS}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "stop", "Stop")]

    def __init__(
        self, title: str, work: Callable[[Callable[[int], None]], Awaitable[T]], total: int | None = None
    ) -> None:
        super().__init__()
        self._heading = escaped(title)
        self._work = work
        self._total = total
        self._job: asyncio.Task[Any] | None = None

    def compose(self) -> ComposeResult:
        """The progress."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._heading, style="bold"))
            yield Static(Text(""), id="bar")
            yield Static(Text("esc  stop; what is done stays done"), classes="keys")

    def on_mount(self) -> None:
        """Begin."""
        self._job = asyncio.create_task(self._run())

    def on_unmount(self) -> None:
        """Leave nothing running."""
        if self._job is not None:
            self._job.cancel()

    async def _run(self) -> None:
        answer: T | AsynqError | None = None
        try:
            answer = await self._work(self._tell)
        except AsynqError as error:
            answer = error
        except asyncio.CancelledError:
            if not self.is_attached:
                raise
        self._job = None
        self.dismiss(answer)

    def _tell(self, count: int) -> None:
        text = f"{count:,}"
        if self._total:
            share = min(count / self._total, 1.0)
            full = round(share * BAR)
            text = f"{'█' * full}{'░' * (BAR - full)}  {count:,} of {self._total:,}"
        self.query_one("#bar", Static).update(Text(text))

    def action_stop(self) -> None:
        """Stop."""
        if self._job is not None:
            self._job.cancel()


class Keys(ModalScreen[None]):
    """Shows keys and what they do."""

    DEFAULT_CSS = f"Keys {_CSS} Keys .dialog {{ width: 76; }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close"),
    ]

    def __init__(self, title: str, sections: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> None:
        super().__init__()
        self._heading = title
        self._sections = sections

    def compose(self) -> ComposeResult:
        """The keys."""
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        for title, keys in self._sections:
            table.add_row(Text(title, style="bold underline"), "")
            for key, text in keys:
                table.add_row(Text(key, style="bold"), Text(text))
        with VerticalScroll(classes="dialog"):
            yield Static(Text(self._heading, style="bold"))
            yield Static(table)
            yield Static(Text("esc  close"), classes="keys")
