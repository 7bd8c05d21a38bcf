"""Values used by programs: few names, so that operations meet, and times related to one another."""

from __future__ import annotations

from hypothesis import strategies as st

from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.protocol.uniqueness import unique_key
from asynq.task_state import TaskState

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

QUEUES = ("a", "b", "c")
IDS = tuple(f"t{number}" for number in range(8))
GROUPS = ("g", "h")
SEQUENCES = ("s", "r")
PROGRAM_PAYLOADS = (b"one", b"two")
TYPE = "type"

LEASE = 30 * SECOND
GROUP_GRACE = 20 * SECOND
LONGEST_DELAY = 45 * SECOND
HOLD = 2 * MINUTE
COMPLETED_RETENTION = 90
OLDEST = HOUR
"""Age at which archived tasks are trimmed."""
FAR_FUTURE = 30 * DAY

UNIQUE: tuple[ops.Unique | None, ...] = (
    None,
    None,
    ops.Unique(ttl=2 * MINUTE),
    ops.Unique(ttl=MINUTE),
    ops.Unique(ttl=MINUTE, until="expiry"),
    ops.Unique(ttl=2 * MINUTE, until="start"),
    ops.Unique(ttl=MINUTE, keep=True),
    ops.Unique(ttl=MINUTE, until="start", keep=True),
    ops.Unique(ttl=2 * MINUTE, until="start", on_duplicate="replace"),
)

LIVING = (
    TaskState.PENDING,
    TaskState.ACTIVE,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.AGGREGATING,
)

queues = st.sampled_from(QUEUES)
ids = st.sampled_from(IDS)
groups = st.sampled_from(GROUPS)
sequences = st.sampled_from(SEQUENCES)
payloads = st.sampled_from(PROGRAM_PAYLOADS)
unique = st.sampled_from(UNIQUE)
index = st.integers(0, 15)
"""The element with this index, modulo the number of elements."""
offsets = st.sampled_from((0, -1, 1))


def message(
    queue: str,
    task_id: str,
    payload: bytes,
    unique: ops.Unique | None,
    *,
    group: str = "",
    sequence: str = "",
) -> TaskMessage:
    """A message with this id."""
    return TaskMessage(
        id=task_id,
        type=TYPE,
        queue=queue,
        payload=payload,
        max_retry=1,
        retention=COMPLETED_RETENTION,
        unique_key=unique_key(queue, TYPE, payload) if unique else "",
        group=group,
        headers={SEQUENCE_HEADER: sequence} if sequence else {},
    )
