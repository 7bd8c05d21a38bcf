"""A supervisor notices the silence of a worker process, and does not count its own standstill."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing

from asynq.runtime import timeouts
from asynq.supervisor.stall_watch import StallWatch
from tests.waiting import aeventually, let_pass

TIMEOUT = 1.0


async def test_silence_during_the_supervisors_own_standstill_does_not_count() -> None:
    with closing(StallWatch(TIMEOUT)) as watch:
        stalled = asyncio.ensure_future(watch.until_stalled())
        os.write(watch.fd, b".")
        await aeventually(lambda: watch._heard_at is not None)
        let_pass(1.5 * TIMEOUT)
        assert await timeouts.wait([stalled], 0) == (set(), {stalled})
        await asyncio.wait_for(stalled, 10 * TIMEOUT)  # it stays silent
