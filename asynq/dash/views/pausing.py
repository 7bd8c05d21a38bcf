"""Pausing a queue, and ending its pause, after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq.runtime.safe_text import shown
from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from asynq.dash.views.page import View
    from asynq.info import QueueInfo


def pause_or_unpause(view: View, info: QueueInfo) -> None:
    """Ask, then do it."""
    view.run_worker(_pause(view, info), group="change", exclusive=True)


async def _pause(view: View, info: QueueInfo) -> None:
    pending = plural(info.pending, "pending task")
    if info.paused:
        question = f"Unpause queue {info.queue!r}?"
        consequence = f"Workers take its tasks again: {pending} at the moment."
    else:
        question = f"Pause queue {info.queue!r}?"
        consequence = f"Workers take no more tasks from it: {pending} at the moment. All else continues."
    if not await view.confirmed(question, consequence):
        return
    inspector = view.session.inspector
    try:
        changed = await (inspector.unpause if info.paused else inspector.pause)(info.queue)
    except AsynqError as error:
        view.tell(shown(error), wrong=True)
        return
    state = "no longer paused" if info.paused else "paused"
    view.tell(
        f"Queue {info.queue!r} is {state}." if changed else f"Queue {info.queue!r} was {state} already."
    )
    view.session.read_soon()
