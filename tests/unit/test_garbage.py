from __future__ import annotations

import gc

from asynq import Server
from asynq_sqlite import MemoryBroker


async def test_a_server_in_a_users_process_leaves_the_collector_alone() -> None:
    before = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    server = Server(MemoryBroker())
    await server.start(lambda ctx, task: None)
    await server.shutdown()
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before
