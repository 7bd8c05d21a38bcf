"""Who did what, when, to how many tasks, and undoing it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from types import NoneType
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.errors import AsynqError
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.errors import RequestError
from asynq.web.api.selection import MAX_IDS
from asynq.web.undo import TaskUndo, Undone

if TYPE_CHECKING:
    from asynq.web.audit import AuditEntry
    from asynq.web.call import WebCall


class AuditItem(Struct, kw_only=True):
    """An action."""

    id: int
    at: datetime
    user: str
    action: str
    """The `operationId` of the endpoint."""
    what: str
    changed: int | None
    """Number of tasks; null if it was not about tasks."""
    remark: str
    """What else there is to know of its end; "" for nothing."""
    end: Literal["done", "unchanged", "stopped", "failed"]
    """"unchanged": it came too late to change anything."""
    error: str
    """Why it failed; "" if it did not."""
    can_be_undone: bool


class AuditList(Struct, kw_only=True):
    """The last actions."""

    actions: list[AuditItem]


class UndoPreview(Struct, kw_only=True):
    """What an undo would do."""

    what: str
    changed: int | None
    """Tasks that the action changed."""
    remembered: int | None = None
    """Those that can be put back if nobody changed them; None if it was not about tasks."""
    looked_at: int = 0
    """The last of them, as many as are looked at."""
    still: int = 0
    """Those of these that are still where the action put them."""
    warning: str = ""
    """What a user should know before; "" for nothing."""


class OneAction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names an action."""

    action_id: int


@endpoint("GET", "/audit", asked=Nothing, answer=AuditList)
async def list_audit(call: WebCall, asked: Nothing) -> AuditList:
    """The last actions of all users, latest first. The log has all of them."""
    return AuditList(
        actions=[
            AuditItem(
                id=entry.id,
                at=entry.at,
                user=entry.outcome.user,
                action=entry.outcome.action,
                what=entry.outcome.what,
                changed=entry.outcome.changed,
                remark=entry.outcome.remark,
                end=entry.end,
                error=entry.error,
                can_be_undone=entry.outcome.undo is not None,
            )
            for entry in call.web.audit
        ]
    )


@endpoint(
    "POST",
    "/audit/{action_id}:undo",
    asked=OneAction,
    answer=NoneType,
    says=lambda asked: f"undo the action {asked.action_id}",
)
async def undo_action(call: WebCall, asked: OneAction) -> None:
    """Undo an action, once. Tasks that went on, or for which the archive has no room, stay where they are."""
    entry = _undoable(call, asked)
    undo, entry.outcome.undo = entry.outcome.undo, None
    call.noted.what = f"undo: {entry.outcome.what}"
    try:
        undone = await undo() if undo else None
    except AsynqError:
        entry.outcome.undo = undo
        raise
    if isinstance(undone, Undone):
        call.noted.changed = undone.changed
        call.noted.remark = undone.remark
        if not undone.changed:
            call.noted.unchanged = True
            call.noted.remark = f"nothing could be put back: {undone.remark or 'no task is left'}"


def _undoable(call: WebCall, asked: OneAction) -> AuditEntry:
    """The action, if it can be undone. RequestError if not."""
    entry = call.web.audit.find(asked.action_id)
    if entry is None:
        raise RequestError(404, "action_not_found", f"there is no action {asked.action_id}")
    if entry.outcome.undo is None:
        raise RequestError(409, "not_undoable", "this action cannot be undone, or has been undone")
    return entry


async def undo_preview(call: WebCall, asked: OneAction) -> UndoPreview:
    """What an undo would do now. RequestError if the action cannot be undone."""
    outcome = _undoable(call, asked).outcome
    preview = UndoPreview(what=outcome.what, changed=outcome.changed)
    if isinstance(outcome.undo, TaskUndo):
        preview.looked_at = min(len(outcome.undo), MAX_IDS)
        preview.remembered = len(outcome.undo)
        preview.still = await outcome.undo.still(MAX_IDS)
        preview.warning = await outcome.undo.warning()
    return preview
