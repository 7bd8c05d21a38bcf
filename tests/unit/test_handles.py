"""Handles that are open once per process, and are not shared across a fork."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from asynq.brokerkit.handles import Handles


class Handle:
    """A handle that records whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_handle_is_opened_once_while_it_is_referenced() -> None:
    opened: list[int] = []
    handles: Handles[Handle] = Handles(Handle.close)

    def open_one() -> Handle:
        opened.append(1)
        return Handle()

    first = handles.get("a", open_one)
    assert handles.get("a", open_one) is first
    assert handles.get("b", open_one) is not first
    del first
    gc.collect()
    kept = handles.get("a", open_one)
    assert len(opened) == 3
    assert not kept.closed


def test_a_failed_open_is_retried() -> None:
    handles: Handles[Handle] = Handles(Handle.close)

    def refuse() -> Handle:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        handles.get("a", refuse)
    assert isinstance(handles.get("a", Handle), Handle)


def test_threads_share_a_handle() -> None:
    handles: Handles[Handle] = Handles(Handle.close)
    got: list[Handle] = []
    threads = [threading.Thread(target=lambda: got.append(handles.get("a", Handle))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(handle) for handle in got}) == 1


def test_a_forked_child_closes_the_handle_and_opens_its_own() -> None:
    handles: Handles[Handle] = Handles(Handle.close)
    parents = handles.get("a", Handle)
    child = os.fork()
    if child == 0:
        own = handles.get("a", Handle)
        os._exit(0 if parents.closed and own is not parents and not own.closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert handles.get("a", Handle) is parents
    assert not parents.closed
