"""A resource is created once per process, and is neither used nor freed by a forked child."""

from __future__ import annotations

import gc
import os
import threading

from asynq.brokerkit.per_process import PerProcess


class Resource:
    """A resource that records whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_threads_share_a_resource() -> None:
    holder: PerProcess[Resource] = PerProcess(Resource.close)
    assert holder.current() is None
    got: list[Resource] = []
    threads = [threading.Thread(target=lambda: got.append(holder.get(Resource))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(resource) for resource in got} == {id(holder.current())}


def test_a_closed_resource_is_replaced_by_a_new_one() -> None:
    holder: PerProcess[Resource] = PerProcess(Resource.close)
    first = holder.get(Resource)
    holder.close()
    assert first.closed
    assert holder.current() is None
    assert holder.get(Resource) is not first


def test_a_forked_child_creates_its_own_resource_and_keeps_the_inherited_one_open() -> None:
    holder: PerProcess[Resource] = PerProcess(Resource.close)
    parents = holder.get(Resource)
    child = os.fork()
    if child == 0:
        own = holder.get(Resource)
        holder.close()
        del holder
        gc.collect()
        os._exit(0 if own.closed and own is not parents and not parents.closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert holder.get(Resource) is parents
