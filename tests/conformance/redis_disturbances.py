"""Disturbances of Redis servers, and of the network in front of them, while clients work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from asynq_conformance.disturbances import Disturbance
from asynq_topologies.layout import MASTER, NODE_TIMEOUT, PATIENT_NODE_TIMEOUT
from asynq_topologies.slots import Move
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq_conformance.histories.run import HistoryRun
    from asynq_topologies import Topology
    from asynq_topologies.node import Node
    from tests.conformance.breakable_redis import BreakableRedis

AWAY = 2.0
"""Duration of a disturbance in seconds."""
SENTINELS_DEMOTE_AFTER = 10.0
"""Seconds after which the sentinels demote a former primary that comes back."""


def home(topology: Topology, run: HistoryRun) -> Node:
    """The server of the first queue."""
    queue = next(iter(run.plan.queues))
    return topology.primary_of(f"asynq:{{{queue}}}:pending")


def kill_server(harness: BreakableRedis, run: HistoryRun) -> None:
    """A crash. The server starts again on the same port with its data.

    With `everysec` a server with a slow disk acknowledges up to two seconds before it writes. With `no` it
    writes first and never flushes, which suffices if only the process dies.
    """
    node = home(harness.topology, run)
    node.ask("CONFIG", "SET", "appendfsync", "no")
    node.kill()
    let_pass(AWAY / 2)
    node.restart()


def hang_server(harness: BreakableRedis, run: HistoryRun) -> None:
    """A server does not answer for longer than a socket timeout, and is not replaced."""
    node = home(harness.topology, run)
    node.pause()
    let_pass(AWAY * 2)
    node.resume()


@contextmanager
def replacing(topology: Topology, node: Node) -> Iterator[None]:
    """A primary, which the context makes fail, is replaced by a replica; afterwards none is any more."""
    topology.set_node_timeout(NODE_TIMEOUT)
    yield
    topology.wait_replaced(node)
    topology.set_node_timeout(PATIENT_NODE_TIMEOUT, of_all_but=node)


def wait_left(topology: Topology, former: Node) -> None:
    """Until no client that asks uses a former primary: every sentinel names another, or it is a replica."""
    if topology.kind == "cluster":
        eventually(lambda: former.role() == "slave")
    named = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
    eventually(lambda: all(int(one.ask(*named)[1]) != former.port for one in topology.sentinels))


def replace_killed(harness: BreakableRedis, run: HistoryRun) -> None:
    """A primary is killed and replaced by a replica, and comes back as a replica."""
    node = home(harness.topology, run)
    with replacing(harness.topology, node):
        node.kill()
    node.restart()
    wait_left(harness.topology, node)


def replace_hanging(harness: BreakableRedis, run: HistoryRun) -> None:
    """A primary hangs until a replica has replaced it, and continues as if it were still primary."""
    node = home(harness.topology, run)
    with replacing(harness.topology, node):
        node.pause()
    node.resume()
    wait_left(harness.topology, node)


def fail_over(harness: BreakableRedis, run: HistoryRun) -> None:
    """An operator starts a failover."""
    node = home(harness.topology, run)
    harness.topology.fail_over(node)
    wait_left(harness.topology, node)


def forget_scripts(harness: BreakableRedis, run: HistoryRun) -> None:
    """Script caches are flushed repeatedly while scripts are sent."""
    for _ in range(20):
        for node in harness.topology.primaries():
            node.client.script_flush()
        let_pass(AWAY / 20)


def cut_connections(harness: BreakableRedis, run: HistoryRun) -> None:
    """All connections are closed repeatedly."""
    for _ in range(10):
        for node in harness.topology.primaries():
            node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        let_pass(AWAY / 10)


def fill_memory(harness: BreakableRedis, run: HistoryRun) -> None:
    """The memory is full: nothing can be added, but existing tasks can run."""
    nodes = harness.topology.primaries()
    for node in nodes:
        node.ask("CONFIG", "SET", "maxmemory", "1")
    let_pass(AWAY)
    assert all("errorstat_OOM" in node.info("errorstats") for node in nodes)
    for node in nodes:
        node.ask("CONFIG", "SET", "maxmemory", "0")


def break_disk(harness: BreakableRedis, run: HistoryRun) -> None:
    """A snapshot cannot be written, so the servers refuse all writes, including settlements."""
    nodes = harness.topology.primaries()
    for node in nodes:
        directory = harness.directory_of(node)
        (directory / "dump.rdb").mkdir()
        node.ask("CONFIG", "SET", "save", "3600 1000000")
        node.ask("BGSAVE")
    eventually(lambda: all(node.info("persistence")["rdb_last_bgsave_status"] == "err" for node in nodes))
    let_pass(AWAY)
    assert any("errorstat_MISCONF" in node.info("errorstats") for node in nodes)
    for node in nodes:
        (harness.directory_of(node) / "dump.rdb").rmdir()
        node.ask("CONFIG", "SET", "save", "")
        node.ask("BGSAVE")
    eventually(lambda: all(node.info("persistence")["rdb_last_bgsave_status"] == "ok" for node in nodes))


def move_slot(harness: BreakableRedis, run: HistoryRun) -> None:
    """The slot of a queue moves to another primary and back, and pauses half-way."""
    topology = harness.topology
    for queue in run.plan.queues:
        key = f"asynq:{{{queue}}}:pending"
        source = topology.primary_of(key)
        target = next(node for node in topology.primaries() if node is not source)
        move = Move(topology, key, target)
        move.begin()
        move.move_keys(10)
        let_pass(AWAY / 4)
        move.move_keys()
        move.end()


def set_clocks_wrong(harness: BreakableRedis, run: HistoryRun) -> None:
    """Two further processes work, one with a fast and one with a slow clock."""
    for ahead in (AWAY, -AWAY):
        kwargs = {**run.source.kwargs, "clock_ahead": ahead}
        run.begin(evolve(run.source, kwargs=kwargs))
    let_pass(AWAY)


def lose_replies(harness: BreakableRedis, run: HistoryRun) -> None:
    """Requests arrive, but the connection breaks before the reply."""
    proxy = harness.proxies[home(harness.topology, run).port]
    missing = 40

    def lost() -> bool:
        # a client that gave up waiting has lost no reply, so another reply is lost
        proxy.lose_replies(max(missing - proxy.lost, 0), to=b"EVALSHA")
        return proxy.lost >= missing

    eventually(lost)
    proxy.lose_replies(0, to=b"")


def drop_packets(harness: BreakableRedis, run: HistoryRun) -> None:
    """Connections stay open, but no data passes."""
    proxy = harness.proxies[home(harness.topology, run).port]
    proxy.hold()
    let_pass(AWAY * 2)
    proxy.heal()


def of(strike: Callable[[Any, HistoryRun], object], **promised: Any) -> Callable[[Any], Disturbance]:
    """A disturbance made from a function of the harness."""
    return lambda harness: Disturbance(strike=lambda run: strike(harness, run), **promised)
