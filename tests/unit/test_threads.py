from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from asynq.runtime.threads import DaemonThreadPool, LoopThreadPool, run_in_new_thread

STUCK = """
import threading
from asynq.runtime.threads import DaemonThreadPool
begun = threading.Event()
DaemonThreadPool(1).submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""


def test_calls_are_executed_and_return_results() -> None:
    with DaemonThreadPool(2) as threads:
        assert list(threads.map(pow, [2, 3], [3, 2])) == [8, 9]
        failing = threads.submit(divmod, 1, 0)
        assert isinstance(failing.exception(), ZeroDivisionError)
        leaving = threads.submit(sys.exit, 3)
        assert isinstance(leaving.exception(), SystemExit)


def test_calls_run_concurrently_up_to_the_number_of_threads() -> None:
    with DaemonThreadPool(3) as threads:
        together = threading.Barrier(3)
        calls = [threads.submit(together.wait, 5) for _ in range(6)]
        assert sorted(call.result() for call in calls) == [0, 0, 1, 1, 2, 2]
        idents = {threads.submit(threading.get_ident).result() for _ in range(20)}
        assert len(idents) <= 3


def test_no_call_waits_while_another_thread_can_be_started() -> None:
    for _ in range(200):
        with DaemonThreadPool(2) as threads:
            together = threading.Barrier(2)
            for call in [threads.submit(together.wait, 5) for _ in range(2)]:
                call.result()


def test_an_idle_thread_is_reused() -> None:
    with DaemonThreadPool(100, name="idle") as threads:
        for _ in range(100):
            threads.submit(int).result()
        assert sum(thread.name.startswith("idle-") for thread in threading.enumerate()) < 10


def test_shutdown_refuses_new_calls_and_finishes_accepted_ones() -> None:
    release = threading.Event()
    threads = DaemonThreadPool(1)
    calls = [threads.submit(release.wait), threads.submit(lambda: True)]
    threads.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int)
    release.set()
    threads.shutdown()
    assert all(call.result(0) for call in calls)


def test_shutdown_can_drop_calls_that_have_not_started() -> None:
    release, begun = threading.Event(), threading.Event()
    threads = DaemonThreadPool(1)
    running = threads.submit(lambda: begun.set() or release.wait())  # type: ignore[func-returns-value]
    waiting = threads.submit(int)
    begun.wait()
    threads.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    release.set()
    threads.shutdown(cancel_futures=True)
    assert running.done()


def test_a_pool_has_at_least_one_thread() -> None:
    with pytest.raises(ValueError, match="size"):
        DaemonThreadPool(0)


def test_a_stuck_thread_does_not_delay_the_end_of_the_interpreter() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], timeout=20, check=False)
    assert ended.returncode == 0


def test_an_event_loop_ends_without_waiting_for_its_threads() -> None:
    begun, release = threading.Event(), threading.Event()

    def stay() -> None:
        begun.set()
        release.wait()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(LoopThreadPool(1))
        loop.run_in_executor(None, stay)
        await run_in_new_thread(begun.wait)
        return await run_in_new_thread(threading.get_ident)

    assert asyncio.run(main()) != threading.get_ident()
    release.set()
