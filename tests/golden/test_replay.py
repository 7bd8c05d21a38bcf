"""Our operations leave the same data in Redis as Go asynq, except for listed deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.protocol import ops
from tests.golden import aggregations, dumps
from tests.golden.compare import Difference, deviations, differences
from tests.golden.dumps import facts, live_rows, load, rows
from tests.golden.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import RedisServer


def just_the_steps(_: Replay) -> None:
    """The recorded calls are complete."""


def run_slow_tasks(replay: Replay) -> None:
    """The handlers still run, so nothing about them was recorded."""
    replay.take("slow-2", "critical")
    replay.take("slow-1")


def crash(replay: Replay) -> None:
    """The handlers started at once, a second before the server was killed."""
    replay.clock.set(replay.dump["started_ns"] // 1_000_000 + replay.shift + 60)
    replay.take("l1")
    replay.take("l2")


def crash_and_recover(replay: Replay) -> None:
    """The leases of the killed server expired; the dump was made after another server noticed it."""
    server_started = next(step for step in replay.dump["steps"] if step["op"] == "Server.Start")
    crash(replay)
    replay.at(server_started["t_after_ns"])
    replay.recover("l1")
    replay.recover("l2")


def panic(replay: Replay) -> None:
    """A panicking handler returns nothing that could be recorded."""
    error = "panic error cause by: panic [goasynq/golden/main.go:353]: kaboom"
    replay.settle(replay.take("p1"), error)


def purge(replay: Replay) -> None:
    """The janitor of the server ran before its shutdown."""
    replay.at_the_end()
    replay.clock.advance(1000)
    assert replay.broker.execute(ops.PurgeCompleted(queue="default")) == 1


SCENARIOS: dict[str, Callable[[Replay], None]] = {
    "active_task": run_slow_tasks,
    "aggregation_done": lambda replay: aggregations.finish_in_turn(replay, "user:7", 3),
    "aggregation_max_size_done": lambda replay: aggregations.finish_in_turn(replay, "g", 2, 2, 1),
    "aggregation_max_size_staged": lambda replay: aggregations.stage(replay, "g", 2),
    "aggregation_set_staged": lambda replay: aggregations.stage(replay, "user:7", 3),
    "archived_max_retry": just_the_steps,
    "archived_skip_retry": just_the_steps,
    "batch_enqueue": just_the_steps,
    "cancel_processing": just_the_steps,
    "completed_with_result": just_the_steps,
    "crashed_server": crash,
    "enqueue_all_options": just_the_steps,
    "enqueue_all_options_group": just_the_steps,
    "enqueue_all_options_scheduled": just_the_steps,
    "enqueue_plain": just_the_steps,
    "enqueue_three_order": just_the_steps,
    "group_add": just_the_steps,
    "handler_panic": panic,
    "inspector_archive_task": just_the_steps,
    "inspector_delete_queue": just_the_steps,
    "inspector_delete_task": just_the_steps,
    "inspector_run_task": just_the_steps,
    "janitor": purge,
    "lease_expired_recovered": crash_and_recover,
    "paused_queue": just_the_steps,
    "payloads": just_the_steps,
    "retry_after_failure": just_the_steps,
    "retry_run_task": just_the_steps,
    "revoke_task": just_the_steps,
    "scheduled": just_the_steps,
    "server_shutdown": just_the_steps,
    "stale_aggregation_after_add": aggregations.reclaim_and_finish,
    "task_id_conflict": just_the_steps,
    "unique": just_the_steps,
    "unique_duplicate": just_the_steps,
}


PRESENCE = {
    "scheduler",
    "scheduler_fractional_heartbeat",
    "server_idle_heartbeat",
    "server_stopped_heartbeat",
    "server_worker_heartbeat",
}
"""Dumps with records of servers and schedulers only, which test_presence writes and compares."""


def replayed(scenario: str, server: RedisServer) -> list[Difference]:
    """All differences after replaying this dump."""
    dump = load(scenario)
    replay = Replay(dump, server.url)
    try:
        replay.steps()
        SCENARIOS[scenario](replay)
    finally:
        replay.close()
    left = differences(facts(rows(dump)), facts(live_rows(server.client)), replay.shift)
    return [*replay.outcomes, *left]


def test_every_dump_is_replayed_or_has_its_own_test() -> None:
    assert set(SCENARIOS) | PRESENCE == set(dumps.SCENARIOS)
    assert not set(SCENARIOS) & PRESENCE


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_replay_leaves_the_same_data_as_go(scenario: str, redis_server: RedisServer) -> None:
    allowed = deviations()
    unlisted = [
        difference
        for difference in replayed(scenario, redis_server)
        if not any(deviation.covers(scenario, difference) for deviation in allowed)
    ]
    assert unlisted == []


def test_every_listed_deviation_occurs(redis_server: RedisServer) -> None:
    idle = deviations()
    for scenario in SCENARIOS:
        redis_server.flush()
        found = replayed(scenario, redis_server)
        idle = [entry for entry in idle if not any(entry.covers(scenario, each) for each in found)]
    assert idle == []
