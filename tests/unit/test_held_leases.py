"""The leases that a worker holds, as its lease keeper process reads them."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from asynq.protocol.message import Lease
from asynq.worker.leases.held_leases import FIRST_SIZE, HeldLeases, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from asynq.worker.leases.held_leases import Holding

A, B = Lease("q", "a", "1"), Lease("q", "b", "2")


@pytest.fixture
def held() -> Iterator[HeldLeases]:
    held = HeldLeases()
    yield held
    held.close()


def leases(count: int, token: str = "token") -> list[Lease]:
    return [Lease("default", f"task {number}", token) for number in range(count)]


def ends(read: Iterable[Holding]) -> dict[Lease, float]:
    """Until when each lease is held."""
    return {
        lease: holding.since + seconds
        for holding in read
        for lease, seconds in zip(holding.leases, holding.seconds, strict=True)
    }


def contents(held: HeldLeases) -> bytes:
    return os.pread(held.descriptor, os.fstat(held.descriptor).st_size, 0)


def rewritten(held: HeldLeases, kept: list[Lease]) -> tuple[bytes, bytes]:
    """The memory before and after one `hold` in which the leases still held are written again."""
    held.hold(dict.fromkeys(kept, 60.0), 0.0)
    for number in range(1000):
        before, full = contents(held), held._end
        others = leases(50, f"token {number}")
        held.hold(dict.fromkeys(others, 60.0), 1.0)
        if held._end < full:
            return before, contents(held)
        held.release(others)
    raise AssertionError("the memory was never full")


def test_held_leases_are_read_with_their_ends_until_they_are_released(held: HeldLeases) -> None:
    held.hold({A: 60.0, B: 90.0}, 1000.0)
    assert ends(held.read()) == ends(read_file(held.descriptor)) == {A: 1060.0, B: 1090.0}
    held.release([A])
    assert ends(held.read()) == ends(read_file(held.descriptor)) == {B: 1090.0}


def test_a_lease_that_is_held_again_gets_a_new_end(held: HeldLeases) -> None:
    held.hold({A: 60.0, B: 60.0}, 1000.0)
    held.hold({A: 5.0}, 1001.0)
    assert ends(held.read()) == {A: 1006.0, B: 1060.0}
    held.release([A])
    assert ends(held.read()) == {B: 1060.0}


def test_a_lease_that_is_not_held_can_be_released(held: HeldLeases) -> None:
    held.release([A])
    assert ends(held.read()) == {}


def test_the_memory_of_few_leases_does_not_grow(held: HeldLeases) -> None:
    held.hold({A: 60.0}, 0.0)
    for fetch in range(1000):
        fetched = leases(50, f"token {fetch}")
        held.hold(dict.fromkeys(fetched, 60.0), float(fetch))
        held.release(fetched)
    assert ends(held.read()) == {A: 60.0}
    assert len(contents(held)) == FIRST_SIZE


def test_ten_thousand_leases_are_held_while_others_come_and_go(held: HeldLeases) -> None:
    draw, fetches = random.Random(1), 600
    slots = leases(10_000)
    held.hold(dict.fromkeys(slots, 60.0), 0.0)
    for fetch in range(fetches):
        draw.shuffle(slots)
        ended, slots = slots[:50], slots[50:]
        held.release(ended)
        fetched = leases(50, f"token {fetch}")
        held.hold(dict.fromkeys(fetched, 60.0), 0.0)
        slots += fetched
        if fetch % 100 == 0:
            assert ends(read_file(held.descriptor)) == dict.fromkeys(slots, 60.0)
    assert ends(read_file(held.descriptor)) == dict.fromkeys(slots, 60.0)


def test_a_lease_larger_than_the_memory_is_held(held: HeldLeases) -> None:
    large = Lease("q", "x" * 3 * FIRST_SIZE, "1")
    held.hold({A: 60.0}, 0.0)
    held.hold({large: 60.0, B: 60.0}, 0.0)
    held.release([B])
    assert ends(read_file(held.descriptor)) == {A: 60.0, large: 60.0}


def test_a_half_written_record_is_ignored(held: HeldLeases) -> None:
    held.hold({A: 60.0}, 0.0)
    before, first = contents(held), held._end
    held.hold({B: 60.0}, 0.0)
    after = contents(held)
    for written in range(first, held._end):
        for torn in (after[:written] + before[written:], before[:written] + after[written:]):
            _write(held, torn)
            read = ends(read_file(held.descriptor))
            assert read == ({A: 60.0, B: 60.0} if torn == after else {A: 60.0})


def test_while_leases_are_written_again_only_held_ones_are_read(held: HeldLeases) -> None:
    kept = leases(30)
    before, after = rewritten(held, kept)
    written_last = ends(held.read()).keys()
    assert written_last > set(kept)
    for written in range(0, held._end, 7):
        _write(held, after[:written] + before[written:])
        assert ends(read_file(held.descriptor)).keys() <= written_last


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: log[:40],
        lambda log: b"\xff" * len(log),
        lambda log: log[1:] + b"\1",
        lambda log: bytes(byte ^ 1 for byte in log),
    ],
)
def test_bytes_that_are_no_records_are_ignored(held: HeldLeases, damage: Callable[[bytes], bytes]) -> None:
    held.hold({A: 60.0}, 0.0)
    damaged = damage(contents(held))
    os.truncate(held.descriptor, len(damaged))
    _write(held, damaged)
    assert ends(read_file(held.descriptor)) == {}


def _write(held: HeldLeases, log: bytes) -> None:
    os.pwrite(held.descriptor, log, 0)
