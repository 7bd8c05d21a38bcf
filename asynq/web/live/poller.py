"""`LivePoller`: reads one topic again and again, for all that watch it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from asynq.errors import AsynqError
from asynq.ids import random_id
from asynq.runtime.logs import get_logger
from asynq.runtime.timeouts import timeout
from asynq.web.api.errors import RequestError, described

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = get_logger("asynq.web")

PATIENCE = 10.0
"""Seconds that one read may take."""
_REST = 4
"""The pause after a read is at least so many times as long as the read: at most a fifth of the time is spent
with reading, however slow the broker is and however much a filter looks at."""
_REST_AFTER_TROUBLE = 0.5
"""The same after a read that failed: a page must not wait long for a broker that answers again."""


@frozen
class Trouble:
    """Why a topic could not be read."""

    message: str
    since: datetime
    """When the first of the reads began that have failed since the last one that succeeded."""
    gone: bool = False
    """Whether the broker answered that there is no such thing any more."""


@define
class LiveSnapshot:
    """What was read last."""

    id: str
    number: int
    """How many reads of the topic had begun, this one included."""
    value: Any
    """What the last read that succeeded found; None if there was none."""
    read_at: datetime | None
    """When that read ended."""
    trouble: Trouble | None = None
    """Why the last read failed; None if it succeeded."""
    rendered: dict[object, bytes] = Factory(dict)
    """What was made of it, by what each stream shows, so that it is made once for all of them."""


class LivePoller:
    """One reader for any number of watchers. Use it on one event loop.

    Args:
        read: Reads the topic.
        interval: Seconds between two reads.
    """

    def __init__(self, read: Callable[[], Awaitable[Any]], interval: float) -> None:
        self.latest: LiveSnapshot | None = None
        """The latest snapshot; None before the first."""
        self._read = read
        self._interval = interval
        self._ears: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self._run_id = random_id()[:8]
        self._count = 0

    @property
    def watchers(self) -> int:
        """How many there are."""
        return len(self._ears)

    @property
    def begun(self) -> int:
        """How many reads have begun."""
        return self._count

    def join(self, ear: asyncio.Event) -> None:
        """Set an event at each snapshot. The first watcher starts the reading."""
        self._ears.add(ear)
        if self._task is None:
            self._task = asyncio.create_task(self._poll())

    def leave(self, ear: asyncio.Event) -> None:
        """Set this event no more. The last watcher ends the reading."""
        self._ears.discard(ear)
        if not self._ears and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            self._count += 1
            self.latest = await self._snapshot(self._count)
            rest = _REST_AFTER_TROUBLE if self.latest.trouble else _REST
            for ear in self._ears:
                ear.set()
            took = now() - began
            await asyncio.sleep(max(self._interval - took, took * rest))

    async def _snapshot(self, number: int) -> LiveSnapshot:
        snapshot_id = f"{self._run_id}-{number}"
        began_at = datetime.now(UTC)
        try:
            async with timeout(PATIENCE):
                value = await self._read()
        except (AsynqError, RequestError) as error:
            status, _, message, _, _ = described(error)
            trouble = (message, status == 404)
        except TimeoutError:
            trouble = (f"no answer within {PATIENCE:.0f} seconds", False)
        except Exception:
            log.exception("error while reading for a live page")
            trouble = ("an error of the server, see its log", False)
        else:
            return LiveSnapshot(snapshot_id, number, value, datetime.now(UTC))
        last = self.latest
        since = last.trouble.since if last is not None and last.trouble is not None else began_at
        value, read_at = (None, None) if last is None else (last.value, last.read_at)
        problem = Trouble(trouble[0], since, gone=trouble[1])
        return LiveSnapshot(snapshot_id, number, value, read_at, problem)
