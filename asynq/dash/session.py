"""`Session`: what all pages of the dashboard share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from attrs import define, field

from asynq.dash.model.series import Watched
from asynq.errors import AsynqError
from asynq.inspector.inspector import AsyncInspector
from asynq.protocol.ops import GetMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker

MEMORY_INTERVAL = 15.0
"""Seconds for which an estimate of the memory of a queue is shown: it costs more than all the rest."""
MAX_ESTIMATES = 10_000
"""Estimates that are remembered. Queues come and go, so those of old ones are forgotten, with all others."""


@define
class Session:
    """The broker, and what was seen of it."""

    broker: Broker
    read_only: bool = False
    monotonic: Callable[[], float] = time.monotonic
    watched: Watched = field(factory=Watched, init=False)
    wanted: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set to read at once, because something else is shown now."""
    _memory: dict[str, tuple[float, int | None]] = field(factory=dict, init=False)

    @property
    def inspector(self) -> AsyncInspector:
        """An inspector of the broker."""
        return AsyncInspector(self.broker)

    def read_soon(self) -> None:
        """Read again at once."""
        self.wanted.set()

    def memory(self, queue: str) -> int | None:
        """The last estimate of the memory of a queue."""
        return self._memory.get(queue, (0.0, None))[1]

    async def estimate_memory(self, queues: Sequence[str]) -> None:
        """Estimate the memory of these queues, unless that was done just now."""
        if not self.broker.capabilities.supports(GetMemory):
            return
        now = self.monotonic()
        due = [name for name in queues if now - self._memory.get(name, (-1e9, None))[0] >= MEMORY_INTERVAL]
        if not due:
            return
        answers = await self.broker.aexecute_many([GetMemory(queue=name) for name in due])
        if len(self._memory) > MAX_ESTIMATES:
            self._memory.clear()
        for name, answer in zip(due, answers, strict=True):
            self._memory[name] = now, None if isinstance(answer, AsynqError) else answer
