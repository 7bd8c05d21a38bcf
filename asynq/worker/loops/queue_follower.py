"""QueueFollower: finds the queues that patterns stand for, as queues come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops import ListQueues
from asynq.runtime.logs import get_logger
from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.worker.served_queues import ServedQueues

log = get_logger("asynq.worker")

FOLLOW_INTERVAL = 5.0
"""Seconds between two looks at the list of all queues."""
PER_QUEUE = 0.001
"""Additional seconds for each listed queue, so that very many queues are read at a bounded rate."""
MAX_NAMED = 5
"""Maximum number of queues that a log line names."""


class QueueFollower:
    """Each step reads the list of all queues. Returns the seconds until the next step.

    Args:
        broker: the broker.
        served: the queues of the server, which are changed.
        on_change: called with the new queues after each change.
    """

    def __init__(
        self, broker: Broker, served: ServedQueues, on_change: Callable[[Sequence[str]], None]
    ) -> None:
        self._broker = broker
        self._served = served
        self._on_change = on_change

    async def step(self) -> float | None:
        """Follow the list once."""
        listed = await self._broker.aexecute(ListQueues())
        before = len(self._served)
        new = self._served.follow(listed)
        if new is not None:
            gone = before + len(new) - len(self._served)
            log.info(
                "now serving %s: %d new%s, %d gone",
                plural(len(self._served), "queue"),
                len(new),
                _named(new),
                gone,
            )
            self._on_change(new)
        return FOLLOW_INTERVAL + PER_QUEUE * len(listed)


def _named(queues: Sequence[str]) -> str:
    shown = ", ".join(map(repr, queues[:MAX_NAMED]))
    return f" ({shown}{', ...' if len(queues) > MAX_NAMED else ''})" if queues else ""
