"""A worker on servers without a possible successor is warned."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from asynq.protocol.connect import connect
from tests.waiting import aeventually

if TYPE_CHECKING:
    import pytest

    from asynq_topologies import Topology


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "asynq.redis"]


async def begin_to_listen(topology: Topology) -> None:
    broker: Any = connect(topology.url)
    async with aclosing(broker), aclosing(broker.listener()) as listener:
        await listener.arm(["q"])
        primary = topology.primary_of("asynq:{q}:pending")
        asked = primary.info("commandstats")["cmdstat_config|get"]["calls"]
        await aeventually(lambda: primary.info("commandstats")["cmdstat_config|get"]["calls"] > asked)
        # answers of the server so far have arrived with the next message
        primary.client.lpush("asynq:{q}:pending", "x")
        while (event := await listener.next()) is not None:
            if getattr(event, "queue", None) == "q":
                return


async def test_a_primary_without_replicas_is_named(own: Topology, caplog: pytest.LogCaptureFixture) -> None:
    primary = own.primary_of("asynq:{q}:pending")
    for replica in own.replicas_of(primary):
        replica.kill()
    await aeventually(lambda: primary.info("replication")["connected_slaves"] == 0)
    primary.ask("CONFIG", "GET", "save")
    await begin_to_listen(own)
    [warning] = said(caplog)
    assert f":{primary.port}" in warning
    assert "a failover is not possible" in warning


async def test_a_complete_topology_causes_no_warning(
    sentinel: Topology, cluster: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    for topology in (sentinel, cluster):
        topology.wait_whole()
        topology.primary_of("asynq:{q}:pending").ask("CONFIG", "GET", "save")
        await begin_to_listen(topology)
    assert said(caplog) == []
