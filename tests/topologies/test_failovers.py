"""Servers are killed, stalled and replaced under load: work resumes, and no acknowledged task is lost.

Without `min_replicas`, an acknowledged write can be lost if no replica had received it when its primary was
lost. A lost task must have been acknowledged within that window.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.topologies.conftest import queues_of
from tests.topologies.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynq_topologies import Topology
    from asynq_topologies.node import Node

HEALED_WITHIN = 15.0
"""Seconds from the fault to a task that was enqueued and run after it, in every queue."""
SAFE_WITHIN = 25.0
"""The same if all replicas must confirm: the former primary must be a replica again. Sentinels demote it 10 s
after it came back."""
BEFORE, AFTER = 1.0, 3.0
"""Seconds before the loss of a primary in which its acknowledged writes may not have reached a replica, and
after its replacement in which a process may not know it: sentinels are asked every second."""


def kill(topology: Topology, primary: Node) -> None:
    primary.kill()
    topology.wait_replaced(primary)
    primary.restart()  # as a replica, which min_replicas may need


def hold_up(topology: Topology, primary: Node) -> None:
    primary.pause()
    topology.wait_replaced(primary)
    primary.resume()


def forget_scripts(topology: Topology, primary: Node) -> None:
    for node in {primary, *topology.primaries()}:
        node.client.script_flush()


def replace(topology: Topology, primary: Node) -> None:
    topology.fail_over(primary)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("break_", "safe"),
    [
        (kill, False),
        (kill, True),
        (hold_up, False),
        (hold_up, True),
        (replace, False),
        (forget_scripts, False),
    ],
)
def test_work_resumes_after_a_failover(
    own: Topology,
    break_: Callable[[Topology, Node], None],
    safe: bool,
    tmp_path: Path,
    report: Callable[..., None],
) -> None:
    queues = queues_of(own)
    primary = own.primary_of(f"asynq:{{{queues[0]}}}:pending")
    # Fewer would not suffice: the replica that confirmed need not be the promoted one.
    min_replicas = len(own.replicas_of(primary)) if safe else 0
    with Load(own.url, queues, tmp_path, min_replicas=min_replicas) as load:
        load.wait_flowing(time.time())
        began = time.time()
        break_(own, primary)
        replaced = time.time()
        healed = load.wait_flowing(replaced)
        counts = load.drain()
    report(
        acknowledged=counts.acknowledged,
        lost=len(counts.lost),
        run_again=counts.repeated,
        replaced_after=round(replaced - began, 2),
        healed_after=round(healed, 2),
        longest_gap={queue: round(load.longest_gap(queue), 2) for queue in queues},
    )
    assert healed < (SAFE_WITHIN if safe else HEALED_WITHIN)
    assert counts.lost == [line for line in counts.lost if began - BEFORE < line.at < replaced + AFTER]
    if safe or break_ is forget_scripts or (break_ is replace and own.kind == "cluster"):
        assert counts.lost == []
