"""A task as a row of the table, and the message in it."""

from __future__ import annotations

import base64
import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from asynq.brokerkit.transitions import set_aside
from asynq.protocol.message import Delivery, StoredTask, TaskMessage
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

# In the order of TaskMessage's fields.
MESSAGE_COLUMNS = (
    "id", "type", "queue", "payload", "headers", "max_retry", "retried", "error", "last_failed_at", "timeout",
    "deadline", "retention", "completed_at", "unique_key", "group_name",
)  # fmt: skip
_TYPES = (str, str, str, bytes, str, int, int, str, int, int, int, int, int, str, str)
_texts = itemgetter(*(position for position, kind in enumerate(_TYPES) if kind is str))

TIMED_STATES = frozenset(
    {TaskState.SCHEDULED, TaskState.RETRY, TaskState.COMPLETED, TaskState.ARCHIVED, TaskState.ACTIVE}
)
"""States in which the rank is an instant that users see."""


class UndecodableError(Exception):
    """A row contains a value that no enqueue has written."""


class TaskRow(NamedTuple):
    """The columns that move a task: all but its origin and the message, which may be damaged."""

    seq: int
    queue: str
    id: str
    state: str
    rank: int
    unique_key: str
    group_name: str
    lease_token: str | None
    lease_losses: int
    cancel: str
    set_id: str | None
    headers: str

    @property
    def sequence(self) -> str:
        """Name of the sequence of the task; "" for none, or if the headers cannot be read."""
        if SEQUENCE_HEADER not in self.headers:
            return ""
        try:
            return _headers(self.headers).get(SEQUENCE_HEADER, "")
        except UndecodableError:
            return ""


class Origin(NamedTuple):
    """How a task was enqueued. Only an enqueue with its id asks for this: each column of a row costs time."""

    enqueue_id: str
    created_at: int
    scheduled_for: int


class FullRow(NamedTuple):
    """All columns of a task but its origin."""

    task: TaskRow
    content: tuple[Any, ...]
    pending_since: int
    result: Any


TASK_COLUMNS = TaskRow._fields
_OTHER_COLUMNS = tuple(name for name in MESSAGE_COLUMNS if name not in TASK_COLUMNS)
# Each column once: the driver takes three locks to read one.
ROW_COLUMNS = (*TASK_COLUMNS, *_OTHER_COLUMNS, "pending_since", "result")
_content = itemgetter(*(ROW_COLUMNS.index(name) for name in MESSAGE_COLUMNS))
SELECT_TASK = f"SELECT {', '.join(TASK_COLUMNS)} FROM tasks"
SELECT_ORIGIN = f"SELECT {', '.join(Origin._fields)} FROM tasks"
SELECT_ROW = f"SELECT {', '.join(ROW_COLUMNS)} FROM tasks"


def row_of(columns: tuple[Any, ...]) -> FullRow:
    """Return the row with these values of ROW_COLUMNS."""
    return FullRow(TaskRow._make(columns[: len(TASK_COLUMNS)]), _content(columns), columns[-2], columns[-1])


def encode(message: TaskMessage) -> tuple[Any, ...]:
    """Return the values of MESSAGE_COLUMNS."""
    return (
        message.id,
        message.type,
        message.queue,
        message.payload,
        encode_headers(message.headers) if message.headers else "{}",
        message.max_retry,
        message.retried,
        message.error,
        message.last_failed_at,
        message.timeout,
        message.deadline,
        message.retention,
        message.completed_at,
        message.unique_key,
        message.group,
    )


def decode(row: FullRow) -> TaskMessage:
    """Return the message of a row. UndecodableError names the column that cannot be read."""
    content = row.content
    if tuple(map(type, content)) != _TYPES or not _is_text("".join(_texts(content))):
        raise UndecodableError(_fault(row))
    return TaskMessage(
        id=content[0],
        type=content[1],
        queue=content[2],
        payload=content[3],
        headers=_headers(content[4]),
        max_retry=content[5],
        retried=content[6],
        error=content[7],
        last_failed_at=content[8],
        timeout=content[9],
        deadline=content[10],
        retention=content[11],
        completed_at=content[12],
        unique_key=content[13],
        group=content[14],
    )


def delivery(
    row: FullRow, message: TaskMessage, expires_at: int, token: str, now: int, *, since: int = 0
) -> Delivery:
    """Return the delivery of a row to the holder of the token. `since`: since when the task was pending."""
    return Delivery(
        message=message,
        token=token,
        expires_at=expires_at,
        lease_losses=row.task.lease_losses,
        cancel=row.task.cancel,
        delivered_at=now,
        pending_since=since,
    )


def stored(row: FullRow, now: int) -> StoredTask:
    """Return the row as inspectors see it. Raises UndecodableError like `decode`."""
    task, state = row.task, TaskState(row.task.state)
    if row.result is not None and type(row.result) is not bytes:
        raise UndecodableError(f"result is {type(row.result).__name__}, not bytes")
    return StoredTask(
        message=decode(row),
        state=state,
        due_at=task.rank if state in TIMED_STATES else 0,
        result=row.result,
        pending_since=row.pending_since,
        orphaned=state is TaskState.ACTIVE and (task.rank <= now or task.lease_token is None),
    )


def replacement(row: FullRow, reason: str) -> TaskMessage:
    """Return a message that can be decoded. Its payload is the row as it was, as JSON."""
    task = row.task
    readable = isinstance(task.id, str) and _is_text(task.id)
    task_id = task.id if readable else f"undecodable-{task.seq}"
    columns = {**dict(zip(MESSAGE_COLUMNS, row.content, strict=True)), "result": row.result}
    lock = task.unique_key if isinstance(task.unique_key, str) and _is_text(task.unique_key) else ""
    return set_aside(task.queue, task_id, json.dumps(columns, default=_base64).encode(), reason, lock)


def encode_headers(headers: Mapping[str, str]) -> str:
    """Return the column of headers."""
    return json.dumps(dict(headers), ensure_ascii=False)


def _headers(text: str) -> dict[str, str]:
    if text == "{}":
        return {}
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UndecodableError(f"headers are not JSON: {error}") from None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise UndecodableError("headers are not a JSON object of strings")
    return headers


def _fault(row: FullRow) -> str:
    for name, wanted, value in zip(MESSAGE_COLUMNS, _TYPES, row.content, strict=True):
        if type(value) is not wanted:
            return f"{name} is {type(value).__name__}, not {wanted.__name__}"
        if not _is_text(value):
            return f"{name} is not UTF-8"
    raise AssertionError("unreachable")


def _is_text(value: object) -> bool:
    """Return False for a string that was not valid UTF-8 in the database."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"a column cannot hold a {type(value).__name__}")
    return {"base64": base64.b64encode(value).decode()}
