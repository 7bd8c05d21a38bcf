"""Damage on any shard is found and repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq import Client, Fault, Finding, Inspector, Task
from tests.topologies.conftest import queues_of

if TYPE_CHECKING:
    from asynq_topologies import Topology


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_unlisted_queues_are_found_on_every_server(kind: str, request: pytest.FixtureRequest) -> None:
    topology: Topology = request.getfixturevalue(kind)
    queues = queues_of(topology)
    with Client(topology.url) as client, Inspector(topology.url) as inspector:
        for queue in queues:
            client.enqueue(Task("t"), queue=queue)
        topology.primary_of("asynq:queues").client.delete("asynq:queues")
        expected = {Finding(fault=Fault.UNLISTED_QUEUE, queue=queue) for queue in queues}
        assert set(inspector.doctor()) == expected
        assert set(inspector.doctor(repair=True)) == expected
        assert list(inspector.doctor()) == []
        assert sorted(inspector.queues()) == sorted(queues)
