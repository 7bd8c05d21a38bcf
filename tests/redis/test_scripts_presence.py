"""The indexes by which servers and schedulers are found."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq.instants import EPOCH
from asynq.protocol.ops import WriteScheduler, WriteServer
from asynq.protocol.presence import ServerInfo
from asynq_redis.operations.presence import _PRUNED_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from tests.redis.script_lab import ScriptLab

TTL = 10_000


def server(name: str) -> Op[None]:
    info = ServerInfo(id=name, host="host", pid=1, started_at=EPOCH, concurrency=1)
    return WriteServer(server=info, ttl=TTL)


def scheduler(name: str) -> Op[None]:
    return WriteScheduler(scheduler_id=name, entries=(), ttl=TTL)


@pytest.mark.parametrize(("index", "heartbeat"), [("asynq:servers", server), ("asynq:schedulers", scheduler)])
def test_the_first_heartbeat_removes_expired_servers(
    lab: ScriptLab, index: str, heartbeat: Callable[[str], Op[None]]
) -> None:
    now = lab.clock.now() // 1000
    members: Any = partial(lab.client.zrange, index, 0, -1)
    lab.client.zadd(index, {"long ago": now - _PRUNED_AFTER, "a while ago": now - _PRUNED_AFTER + 1})
    lab.one(heartbeat("one"))
    [own] = set(members()) - {b"a while ago"}
    assert own != b"long ago"
    lab.clock.advance(timedelta(seconds=1))
    lab.one(heartbeat("two"))
    assert len(members()) == 2
    assert own in members()
