"""Changing tasks: the questions, the progress, and what is told at the end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asynq.dash.model.changes import STEP, Changed, Target, Verb, change, count
from asynq.dash.widgets.dialogs import Progress
from asynq.errors import AsynqError
from asynq.runtime.safe_text import shown
from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from asynq.dash.views.page import View


async def change_tasks(view: View, verb: Verb, target: Target, known: int | None) -> bool:
    """Ask, do it, and tell what was done. Must be called in a worker.

    Args:
        view: Where the user is.
        verb: What is done.
        target: To which tasks.
        known: Their number; None to count them first.

    Returns:
        Whether something was done, or may have been.
    """
    broker = view.session.broker
    if known is None:
        counting = Progress[int](
            f"Counting {target.described(2).removeprefix('2 ')} …", partial(count, broker, target)
        )
        counted = await view.app.push_screen_wait(counting)
        if counted is None or isinstance(counted, AsynqError):
            view.tell(
                "Nothing was changed." if counted is None else shown(counted), wrong=counted is not None
            )
            return False
        known = counted
    if not known:
        view.tell("There are no such tasks.")
        return False
    question = f"{verb.name.capitalize()} {target.described(known)}?"
    if not await view.confirmed(question, verb.consequence):
        return False
    outcome = await _carried_out(view, verb, target, known)
    if outcome is None:
        view.tell("Stopped. What was done until then stays done.")
    elif isinstance(outcome, AsynqError):
        view.tell(shown(outcome), wrong=True)
    else:
        view.tell(_told(verb, outcome), wrong=bool(outcome.left))
    view.session.read_soon()
    return True


async def _carried_out(view: View, verb: Verb, target: Target, known: int) -> Changed | AsynqError | None:
    broker = view.session.broker
    if target.ids is not None and len(target.ids) <= STEP:
        try:
            return await change(broker, verb, target, lambda _: None)
        except AsynqError as error:
            return error
    title = f"{verb.name.capitalize()} {target.described(known)}"
    return await view.app.push_screen_wait(
        Progress[Changed](title, partial(change, broker, verb, target), known)
    )


def _told(verb: Verb, outcome: Changed) -> str:
    text = f"{plural(outcome.count, 'task')} {verb.past}."
    if outcome.left:
        why = (
            f": {shown(outcome.why, 300)}" if outcome.why is not None else ", because it is no longer active"
        )
        text = f"{text} {outcome.left:,} left as it was{why}"
    return text
