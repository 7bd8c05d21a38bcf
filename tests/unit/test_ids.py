"""Random ids: UUIDs that no other thread and no other process has, and that begin with the time."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise
from uuid import RFC_4122, UUID

from asynq.ids import BLOCK, random_id


def test_an_id_is_a_random_uuid_as_text() -> None:
    ids = [random_id() for _ in range(3 * BLOCK)]
    assert [str(UUID(text)) for text in ids] == ids
    assert {(UUID(text).version, UUID(text).variant) for text in ids} == {(7, RFC_4122)}
    assert len({*ids}) == len(ids)
    numbers = [UUID(text).int for text in ids]
    for bit in range(62):
        assert {number >> bit & 1 for number in numbers} == {0, 1}


def test_ids_begin_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [random_id() for _ in range(2 * BLOCK)]
    assert before <= UUID(ids[-1]).int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_a_block_ascend() -> None:
    ids = [random_id() for _ in range(2 * BLOCK)]
    descents = sum(later < earlier for earlier, later in pairwise(ids))
    assert descents <= 2  # where a block of the same millisecond begins


def test_threads_never_get_the_same_id() -> None:
    drawn: list[list[str]] = []
    start = threading.Barrier(4)

    def draw() -> None:
        start.wait(10)
        drawn.append([random_id() for _ in range(20 * BLOCK)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({text for ids in drawn for text in ids}) == 4 * 20 * BLOCK


def test_a_forked_child_repeats_no_id_of_its_parent() -> None:
    random_id()  # the parent has unused ids at the fork
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, " ".join(random_id() for _ in range(BLOCK)).encode())
        os._exit(0)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with os.fdopen(reader) as pipe:
        childs = pipe.read().split()
    assert len(childs) == BLOCK
    assert {*childs}.isdisjoint({random_id() for _ in range(2 * BLOCK)})
