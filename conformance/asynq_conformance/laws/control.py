"""Laws of control and inspection: Ping, PauseQueue, ListQueues, GetQueueStats, GetTask, ListTasks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asynq.errors import QueueNotFoundError, TaskNotFoundError, UnsupportedOperationError
from asynq.protocol import ops
from asynq.protocol.message import QueueStats
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

DAY = 24 * HOUR


@promise("G10")
class ControlLaws(Laws):
    """What operators can see and switch."""

    def test_a_reachable_broker_answers_a_ping(self, lab: Lab) -> None:
        assert lab.execute(ops.Ping()) == lab.now
        lab.advance(HOUR + 1)
        assert lab.execute(ops.Ping()) == lab.now

    def test_a_broker_returns_the_time_of_its_clock(self, lab: Lab) -> None:
        assert lab.broker.clock is lab.clock

    def test_an_empty_batch_is_answered_with_an_empty_list(self, lab: Lab) -> None:
        nothing: list[ops.Op[None]] = []
        assert lab.execute_many(nothing) == []

    def test_answers_of_a_mixed_batch_are_in_the_order_of_its_operations(self, lab: Lab) -> None:
        lab.enqueue("t")
        missing = ops.GetTask(queue="q", task_id="missing")
        there = ops.GetTask(queue="q", task_id="t")
        operations: list[ops.Op[object]] = [ops.ListQueues(), missing, ops.Ping(), there, missing]
        queues, first, pong, stored, second = lab.execute_many(operations)
        assert (queues, pong, stored) == (("q",), lab.now, lab.task("t"))
        assert isinstance(first, TaskNotFoundError)
        assert isinstance(second, TaskNotFoundError)

    def test_an_unknown_operation_is_refused_as_unsupported(self, lab: Lab) -> None:
        class Unheard(ops.Op[None], frozen=True):
            pass

        with pytest.raises(UnsupportedOperationError):
            lab.execute(Unheard())

    def test_a_broker_supports_the_core_and_declares_what_it_does_not_support(self, lab: Lab) -> None:
        declared = lab.broker.capabilities
        assert declared.unsupported <= set(ops.all_operations())
        missing = sorted(operation.__name__ for operation in declared.unsupported & ops.CORE)
        assert missing == [], "operations of the core must be supported"
        assert declared.groups is declared.supports(ops.ListGroups, ops.TakeGroup, ops.FinishAggregation)

    def test_a_closed_broker_can_be_used_again(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.close_connections()
        assert lab.state("t") is TaskState.PENDING

    # --- pause ----------------------------------------------------------------------------------------

    def test_pausing_returns_whether_the_queue_changed(self, lab: Lab) -> None:
        lab.enqueue("t")
        assert lab.execute(ops.PauseQueue(queue="q")) is True
        assert lab.execute(ops.PauseQueue(queue="q")) is False
        assert lab.stats().paused
        assert lab.execute(ops.UnpauseQueue(queue="q")) is True
        assert lab.execute(ops.UnpauseQueue(queue="q")) is False
        assert not lab.stats().paused

    def test_pausing_affects_only_the_named_queue(self, lab: Lab) -> None:
        lab.enqueue_all(["a"], "a")
        lab.enqueue_all(["b"], "b")
        lab.execute(ops.PauseQueue(queue="a"))
        assert not lab.stats("b").paused
        assert lab.drain("b") == ["b"]

    @promise("G1")
    def test_a_paused_queue_accepts_tasks(self, lab: Lab) -> None:
        lab.execute(ops.PauseQueue(queue="q"))
        lab.enqueue("t")
        assert lab.drain() == []
        lab.execute(ops.UnpauseQueue(queue="q"))
        assert lab.drain() == ["t"]

    # --- numbers --------------------------------------------------------------------------------------

    @promise("G8")
    def test_queue_stats_count_the_tasks_of_each_state(self, lab: Lab) -> None:
        states = [
            TaskState.ACTIVE,
            TaskState.RETRY,
            TaskState.ARCHIVED,
            TaskState.COMPLETED,
            TaskState.SCHEDULED,
            TaskState.AGGREGATING,
            TaskState.PENDING,
        ]
        for count, state in enumerate(states[:-1], start=1):
            for number in range(count):
                lab.bring(state, f"{state}-{number}")
        lab.enqueue_all([f"pending-{number}" for number in range(7)])
        stats = lab.stats()
        assert [getattr(stats, state) for state in states] == [1, 2, 3, 4, 5, 6, 7]
        assert (stats.size, stats.groups) == (28, 1)
        for count, state in enumerate(states, start=1):
            group = "g" if state is TaskState.AGGREGATING else ""
            assert len(lab.listed(state, group=group)) == count

    @promise("G8")
    def test_queue_stats_count_only_their_own_queue(self, lab: Lab) -> None:
        lab.enqueue_all(["t"], "other")
        lab.execute(ops.Archive(delivery=lab.take("other"), error="e"))
        lab.enqueue("t")
        assert lab.stats("q") == QueueStats(queue="q", pending=1)

    @promise("G8")
    def test_latency_is_the_waiting_time_of_the_oldest_pending_task(self, lab: Lab) -> None:
        lab.enqueue("a")
        assert lab.stats().latency == 0
        lab.advance(1500)
        lab.enqueue("b")
        assert lab.stats().latency == 1500
        lab.execute(ops.Done(delivery=lab.take()))
        lab.advance(1)
        assert lab.stats().latency == 1

    @promise("G8")
    def test_latency_of_a_task_enqueued_now_is_zero(self, lab: Lab) -> None:
        for number in range(25):
            lab.enqueue(f"t{number}")
            assert lab.stats().latency == 0
            lab.execute(ops.Done(delivery=lab.take()))
            lab.advance(7)

    @promise("G8")
    def test_daily_counters_start_again_at_midnight_utc(self, lab: Lab) -> None:
        lab.advance_to((lab.now // DAY + 1) * DAY - SECOND)
        lab.bring(TaskState.ARCHIVED, "yesterday")
        stats = lab.stats()
        assert (stats.processed, stats.failed) == (1, 1)
        lab.advance(SECOND)
        stats = lab.stats()
        assert (stats.processed, stats.failed) == (0, 0)
        assert (stats.processed_total, stats.failed_total) == (1, 1)

    def test_stats_of_an_unknown_queue_are_refused(self, lab: Lab) -> None:
        with pytest.raises(QueueNotFoundError) as missing:
            lab.stats("unheard-of")
        assert missing.value.queue == "unheard-of"
        with pytest.raises(QueueNotFoundError):
            lab.listed(TaskState.PENDING, "unheard-of")

    # --- tasks ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("queue", ["q", "unheard-of"])
    def test_an_unknown_task_is_not_found(self, lab: Lab, queue: str) -> None:
        lab.enqueue("t")
        with pytest.raises(TaskNotFoundError) as missing:
            lab.task("missing", queue)
        assert (missing.value.queue, missing.value.task_id) == (queue, "missing")

    @pytest.mark.parametrize("state", TaskState)
    def test_listing_and_getting_a_task_return_the_same(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        stored = lab.task("t")
        assert stored.state is state
        for other in TaskState:
            group = "g" if other is TaskState.AGGREGATING else ""
            page = lab.execute(ops.ListTasks(queue="q", state=other, group=group))
            assert page == ((stored,) if other is state else ())

    @pytest.mark.parametrize("state", TaskState)
    def test_inspection_changes_nothing(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        lab.advance(10 * DAY)
        assert lab.picture() == lab.picture()
        assert lab.state("t") is state

    @promise("G7")
    def test_pending_tasks_are_listed_in_the_order_they_will_run(self, lab: Lab) -> None:
        lab.enqueue_all(["c", "a", "b"])
        assert lab.listed(TaskState.PENDING) == ["c", "a", "b"]

    def test_delayed_tasks_are_listed_in_order_of_due_time(self, lab: Lab) -> None:
        for name, delay in (("c", 30), ("a", 10), ("b", 20)):
            lab.enqueue(name, delay=delay * SECOND)
        assert lab.listed(TaskState.SCHEDULED) == ["a", "b", "c"]

    def test_archived_tasks_are_listed_oldest_first(self, lab: Lab) -> None:
        for name in ("b", "a", "c"):
            lab.bring(TaskState.ARCHIVED, name)
            lab.advance(SECOND)
        assert lab.listed(TaskState.ARCHIVED) == ["b", "a", "c"]

    @pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.SCHEDULED])
    def test_pages_together_list_every_task_once(self, lab: Lab, state: TaskState) -> None:
        ids = [f"t{number:02}" for number in range(25)]
        for number, name in enumerate(ids):
            delay = MINUTE + number * SECOND if state is TaskState.SCHEDULED else None
            lab.enqueue(name, delay=delay)
        pages = [
            [
                task.message.id
                for task in lab.execute(ops.ListTasks(queue="q", state=state, offset=offset, limit=10))
            ]
            for offset in (0, 10, 20, 30)
        ]
        assert pages == [ids[:10], ids[10:20], ids[20:], []]

    @promise("G11")
    def test_damaged_tasks_are_not_listed(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "bad", "b"])
        lab.harness.corrupt("q", "bad")
        assert lab.listed(TaskState.PENDING) == ["a", "b"]

    @promise("G11")
    def test_ids_without_a_task_are_not_listed(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "gone", "b"])
        lab.harness.lose("q", "gone")
        assert lab.listed(TaskState.PENDING) == ["a", "b"]

    def test_two_brokers_share_one_store(self, lab: Lab) -> None:
        lab.enqueue(replace(lab.message("t"), headers={"a": "b"}))
        other = lab.harness.reopen(lab.clock)
        delivery = lab.take()
        seen = other.execute(ops.GetTask(queue="q", task_id="t"))
        assert seen == lab.task("t")
        other.execute(ops.Done(delivery=delivery))
        other.close()
        assert lab.state("t") is None
