from __future__ import annotations

import gc

from asynq import Server
from asynq_sqlite import MemoryBroker


async def test_a_server_in_a_users_process_leaves_the_collector_alone() -> None:
    before, frozen = (gc.get_threshold(), gc.isenabled()), gc.get_freeze_count()
    server = Server(MemoryBroker())
    await server.start(lambda ctx, task: None)
    await server.shutdown()
    assert (gc.get_threshold(), gc.isenabled()) == before
    assert gc.get_freeze_count() <= frozen  # objects that were frozen earlier may be freed meanwhile
