"""What a failed run changes in the row of its task: Retry, Archive and Recover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.brokerkit.transitions import end_of, message_of
from asynq_sqlite.store import free_space
from asynq_sqlite.store.rows import encode_headers

if TYPE_CHECKING:
    from asynq.protocol.ops import Archive, Recover, Retry
    from asynq_sqlite.store.connection import StoreConnection


def failure_columns(session: StoreConnection, op: Retry | Archive | Recover, now: int) -> dict[str, Any]:
    """Return the new values of columns. A full file gets the beginning of the error, and no history."""
    after = end_of(op, now).message
    columns: dict[str, Any] = {
        "last_failed_at": after.last_failed_at,
        "retried": after.retried,
        "error": free_space.fitted(session, op.error),
    }
    if after.headers is not message_of(op).headers and not free_space.is_full(session):
        columns["headers"] = encode_headers(after.headers)
    return columns
