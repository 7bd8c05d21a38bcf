"""`Companions`: what starts before the worker of a server and ends after it: its lifespan and schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asynq.scheduler.group import SchedulerGroup
    from asynq.worker.lifespan import Lifespan


class Companions:
    """Starts and ends what a server was given to run beside its worker."""

    def __init__(self, lifespan: Lifespan | None, schedulers: SchedulerGroup | None) -> None:
        self._lifespan = lifespan
        self.schedulers = schedulers

    async def start(self) -> Any:
        """Start everything, the lifespan first. Returns what the lifespan yields.

        Raises what the lifespan or a config provider raises. Call `end` then too.
        """
        state = await self._lifespan.enter() if self._lifespan else None
        if self.schedulers:
            await self.schedulers.start()
        return state

    def begin_shutdown(self) -> None:
        """Make the schedulers end. The lifespan goes on: handlers still use its state."""
        if self.schedulers:
            self.schedulers.begin_shutdown()

    def force_shutdown(self) -> None:
        """Wait for neither hooks nor the lifespan for long."""
        if self.schedulers:
            self.schedulers.force_shutdown()
        if self._lifespan:
            self._lifespan.force()

    async def end(self) -> None:
        """End everything, the lifespan last. Raises what the lifespan raises."""
        try:
            if self.schedulers:
                await self.schedulers.shutdown()
        finally:
            if self._lifespan:
                await self._lifespan.leave()
