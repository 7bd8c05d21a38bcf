"""A fetch is repeated until its reply arrives, and other tasks are not forgotten meanwhile."""

from __future__ import annotations

from random import Random

from asynq.clock import FakeClock
from asynq.errors import BrokerUnavailable
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.broker_time import BrokerTime
from asynq.worker.fetcher import Fetcher
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.settings import ProcessorSettings

LOST = BrokerUnavailable("the reply was lost", maybe_applied=True)


def make_fetcher(limits: dict[str, int]) -> Fetcher:
    rng = Random(1)
    preference = QueuePriority.of(["a", "b"])
    settings = ProcessorSettings(
        preference=preference,
        limits=QueueLimits.of(limits, None, preference.names),
        concurrency=4,
        lease=30_000,
        rules=RetryPolicy(rng=rng, delay=None, is_failure=None),
        rng=rng,
        parent_completed=lambda _: None,
        retried=lambda queue: None,
    )
    return Fetcher(settings, time=BrokerTime(FakeClock()), token=lambda: "token")


async def test_a_limit_that_has_room_again_is_used_after_the_repetition_of_a_fetch() -> None:
    fetcher = make_fetcher({"a": 1, "b": 1})
    fetch = fetcher.take(4, ["a"], informed=True)
    assert fetch
    assert fetch.op.orders == (("b",),)
    fetcher.failed(fetch, LOST)
    fetcher.wanted = True  # the run of `a` ends
    assert fetcher.take_lost() is fetch
    fetcher.succeeded(fetch, ())
    again = fetcher.take(4, [], informed=True)
    assert again
    assert {queue for order in again.op.orders for queue in order} == {"a", "b"}
