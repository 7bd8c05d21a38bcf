"""Sequences: tasks of one queue that run one at a time, in the order of their enqueue.

The name of a task's sequence is one of its headers, so that it survives a peer that writes the message again.
"""

from __future__ import annotations

from typing import Final

SEQUENCE_HEADER: Final = "asynq-sequence"
"""Header with the name of the task's sequence."""
MEMBERS_HEADER: Final = "asynq-after"
"""Header of a join, a task that waits for several: their queues and ids, as JSON."""
WAITING: Final = 253_370_764_800_000
"""Due time of a task that waits for its turn in its sequence, or for others: the year 9999 in Unix
milliseconds, which peers show as a date and never reach. A task that is enqueued or rescheduled for this
instant is due a second later, so that no other task has this due time."""
