"""When each lease is extended, on a fake clock."""

from __future__ import annotations

import pytest

from asynq.errors import BrokerRefusedError, LeaseLostError
from asynq.protocol.message import Lease
from asynq.protocol.ops import Extended, ExtendLease
from asynq.worker.leases.extension_schedule import CancelMarked, ExtensionSchedule, LeaseLost
from asynq.worker.leases.held_leases import Holding

A, B = Lease("q", "a", "1"), Lease("q", "b", "2")
LEASE = 30_000
EXTENDED = Extended(expires_at=0)


def extension(lease: Lease) -> ExtendLease:
    return ExtendLease(lease=lease, duration=LEASE)


def held(*leases: Lease, since: float = 0.0, until: float = 1000.0) -> list[Holding]:
    return [Holding(since, list(leases), [until - since] * len(leases))]


@pytest.fixture
def book() -> ExtensionSchedule:
    book = ExtensionSchedule(LEASE)
    book.update(held(A))
    return book


def test_a_lease_is_extended_every_third_of_its_duration(book: ExtensionSchedule) -> None:
    assert book.due(9.99) == []
    assert book.due(10.0) == [extension(A)]
    book.handle_answers([extension(A)], [EXTENDED], now=10.0)
    book.update(held(A))
    assert book.due(19.99) == []
    assert book.due(20.0) == [extension(A)]


def test_a_released_lease_is_not_extended(book: ExtensionSchedule) -> None:
    book.update([])
    assert book.due(10.0) == []


def test_a_lease_is_not_extended_past_its_end(book: ExtensionSchedule) -> None:
    assert book.due(999.9) == [extension(A)]
    assert book.due(1000.0) == []


def test_a_lease_that_was_acquired_long_ago_is_extended_at_once() -> None:
    book = ExtensionSchedule(LEASE)
    book.update(held(A, since=0.0) + held(B, since=15.0))
    assert book.due(20.0) == [extension(A)]


def test_holding_a_lease_again_moves_its_end_but_not_the_next_extension(book: ExtensionSchedule) -> None:
    book.update(held(A, since=9.0, until=2000.0))
    assert book.due(10.0) == [extension(A)]
    assert book.due(1999.0) == [extension(A)]


def test_a_lost_lease_is_reported_once_and_not_extended_while_it_is_held(book: ExtensionSchedule) -> None:
    lost, trouble = book.handle_answers([extension(A)], [LeaseLostError("q", "a")], now=10.0)
    assert (lost, trouble) == ([LeaseLost(A)], None)
    book.update(held(A))
    assert book.due(20.0) == []


def test_an_extension_is_retried_at_once_after_any_other_error(book: ExtensionSchedule) -> None:
    book.update(held(A, B))
    error = BrokerRefusedError("busy")
    events, trouble = book.handle_answers([extension(A), extension(B)], [error, EXTENDED], now=10.0)
    assert (events, trouble) == ([], error)
    assert book.due(10.0) == [extension(A)]


def test_a_cancellation_mark_is_reported_once(book: ExtensionSchedule) -> None:
    marked = Extended(expires_at=0, cancel="archive")
    assert book.handle_answers([extension(A)], [marked], now=10.0)[0] == [CancelMarked(A, "archive")]
    assert book.handle_answers([extension(A)], [marked], now=20.0)[0] == []
    assert book.due(30.0) == [extension(A)]
