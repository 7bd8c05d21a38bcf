"""Network failures between clients and a primary that is not replaced, or around an isolated primary."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from asynq_topologies.proxy import Proxy
from tests.servers import start_topology
from tests.topologies.conftest import queues_of
from tests.topologies.load import Load
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynq_topologies import Topology

AWAY_FOR = 7.0
"""Seconds without a network: longer than the lease and than a socket timeout."""
HEALED_WITHIN = 15.0
STALL = 6.0
"""Maximum pause of a queue on another shard in seconds, as for a hanging server."""
REPLIES = 20
BEFORE, AFTER = 1.0, 3.0
"""As for a killed primary."""
SAFE_WITHIN = 25.0
"""Seconds until all replicas are back, which must then confirm."""


def hold(proxy: Proxy) -> None:
    proxy.hold()
    let_pass(AWAY_FOR)
    proxy.heal()


def refuse(proxy: Proxy) -> None:
    proxy.refuse()
    let_pass(AWAY_FOR)
    proxy.heal()


def lose_replies(proxy: Proxy) -> None:
    def enough() -> bool:
        # a client that gave up waiting has lost no reply, so another reply is lost
        proxy.lose_replies(max(REPLIES - proxy.lost, 0), to=b"EVALSHA")
        return proxy.lost >= REPLIES

    eventually(enough)
    proxy.lose_replies(0, to=b"")


@pytest.fixture(params=["sentinel", "cluster"])
def topology(request: pytest.FixtureRequest) -> Topology:
    topology: Topology = request.getfixturevalue(request.param)
    topology.wait_whole()
    return topology


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fail", [hold, refuse, lose_replies])
def test_no_task_is_lost_when_the_network_fails(
    topology: Topology,
    fail: Callable[[Proxy], None],
    tmp_path: Path,
    report: Callable[..., None],
) -> None:
    queues = queues_of(topology)
    with ExitStack() as stack:
        proxies = {node.port: stack.enter_context(Proxy(node.port)) for node in topology.nodes}
        remap = {port: proxy.address[1] for port, proxy in proxies.items()}
        primary = topology.primary_of(f"asynq:{{{queues[0]}}}:pending")
        load = stack.enter_context(Load(topology.url, queues, tmp_path, remap=remap))
        load.wait_flowing(time.time())
        fail(proxies[primary.port])
        healed = load.wait_flowing(time.time())
        counts = load.drain()
        assert topology.primary_of(f"asynq:{{{queues[0]}}}:pending") is primary
    gaps = {queue: round(load.longest_gap(queue), 2) for queue in queues}
    report(
        acknowledged=counts.acknowledged,
        lost=len(counts.lost),
        run_again=counts.repeated,
        healed_after=round(healed, 2),
        longest_gap=gaps,
    )
    assert counts.lost == []
    assert healed < HEALED_WITHIN
    assert all(gaps[queue] < STALL for queue in queues[1:])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("safe", [False, True], ids=["default", "safe"])
def test_clients_leave_an_isolated_primary(safe: bool, tmp_path: Path, report: Callable[..., None]) -> None:
    with ExitStack() as stack:
        topology = stack.enter_context(start_topology("sentinel", proxied=True))
        queues, primary = queues_of(topology), topology.primaries()[0]
        load = stack.enter_context(
            Load(topology.url, queues, tmp_path, remap=topology.remap, min_replicas=2 if safe else 0)
        )
        load.wait_flowing(time.time())
        began = time.time()
        topology.cut_off(primary)
        topology.wait_replaced(primary)
        replaced = time.time()
        # It still accepts requests, and knows nothing of the failover.
        assert primary.role() == "master"
        went_on = safe or load.wait_flowing(replaced + AFTER)
        topology.heal(primary)
        healed = load.wait_flowing(time.time())
        counts = load.drain()
    report(
        acknowledged=counts.acknowledged,
        lost=len(counts.lost),
        run_again=counts.repeated,
        replaced_after=round(replaced - began, 2),
        went_on_after="not before it healed" if safe else round(went_on + AFTER, 2),
        healed_after=round(healed, 2),
    )
    assert counts.lost == [line for line in counts.lost if began - BEFORE < line.at < replaced + AFTER]
    if safe:
        assert counts.lost == []
    assert healed < SAFE_WITHIN
