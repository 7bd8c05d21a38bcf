"""A fetch is repeated until its reply arrives, and other tasks are not forgotten meanwhile."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING

from asynq.clock import FakeClock
from asynq.errors import BrokerUnavailable
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.broker_time import BrokerTime
from asynq.worker.fetcher import SUSPECT_INTERVAL, Fetcher
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.served_queues import ServedQueues
from asynq.worker.settings import ProcessorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from asynq.worker.fetcher import Fetch

LOST = BrokerUnavailable("the reply was lost", maybe_applied=True)


def make_fetcher(limits: dict[str, int], queues: Sequence[str] = ("a", "b")) -> Fetcher:
    rng = Random(1)
    preference = QueuePriority.of(queues)
    settings = ProcessorSettings(
        queues=ServedQueues(preference, QueueLimits.of(limits, None, preference)),
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


MANY = [f"q{number:02}" for number in range(40)]


def asked(fetch: Fetch | None) -> set[str]:
    assert fetch
    return {queue for order in fetch.op.orders for queue in order}


async def fetcher_that_knows_queues_without_tasks(
    monkeypatch: pytest.MonkeyPatch, queues: Sequence[str] = MANY
) -> tuple[Fetcher, list[float]]:
    """A fetcher that found tasks in q00 only, and the time that it goes by."""
    now = [1000.0]
    fetcher = make_fetcher({}, queues)
    monkeypatch.setattr(fetcher, "_loop", SimpleNamespace(time=lambda: now[0]))
    everywhere = fetcher.take(1, (), informed=False)
    assert asked(everywhere) == set(queues)
    assert everywhere
    assert not everywhere.partial
    fetcher.succeeded(everywhere, ())
    fetcher.want("q00")
    return fetcher, now


async def test_a_worker_that_hears_nothing_asks_the_other_queues_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetcher, now = await fetcher_that_knows_queues_without_tasks(monkeypatch)
    first = fetcher.take(1, (), informed=False)
    assert asked(first) == {"q00"}
    assert first
    fetcher.succeeded(first, ())
    now[0] += SUSPECT_INTERVAL
    fetcher.want("q00")
    seen: set[str] = set()
    while fetch := fetcher.take(1, (), informed=False):
        seen |= asked(fetch)
        assert fetch.partial == (seen != set(MANY))
        fetcher.succeeded(fetch, ())
    assert seen == set(MANY)


async def test_a_worker_that_hears_of_new_tasks_suspects_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher, now = await fetcher_that_knows_queues_without_tasks(monkeypatch)
    now[0] += SUSPECT_INTERVAL
    assert asked(fetcher.take(1, (), informed=True)) == {"q00"}


async def test_very_many_queues_are_suspected_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = [f"q{number:02}" for number in range(2000)]
    fetcher, now = await fetcher_that_knows_queues_without_tasks(monkeypatch, queues)
    now[0] += 0.5
    assert asked(fetcher.take(1, (), informed=False)) == {"q00"}
    now[0] += 0.2
    fetcher.want("q01")
    assert asked(fetcher.take(1, (), informed=False)) - {"q00", "q01"}
