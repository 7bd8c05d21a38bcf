"""Handler processes that are replaced after many runs, or when they have grown."""

from __future__ import annotations

import importlib
import logging
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Failed, Succeeded
from asynq.handlers.processes.pool import ProcessPool
from asynq.handlers.processes.process import HandlerProcess
from asynq.runtime.process_limits import ProcessLimits
from tests.unit import process_handlers
from tests.unit.handler_runs import delivery
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq.handlers.adapters import Handler
    from tests.unit.handler_runs import Runs

MODULE = """
import os
from pathlib import Path

Path(__file__).with_name(f"imported by {os.getpid()}").touch()
if Path(__file__).with_name("broken").exists():
    raise ImportError("broken on purpose")

def pid(ctx, task):
    return str(os.getpid())
"""


@pytest.fixture
def limited(runs: Runs, request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Runs in processes with the limits of the test."""
    runs = evolve(runs, processes=ProcessPool(ProcessLimits(**request.param)))
    yield runs
    runs.processes.close()


def limits(**given: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("limited", [given], indirect=True, ids=[""])


async def pid_of_run(runs: Runs, handler: Handler = process_handlers.pid, payload: bytes = b"") -> int:
    mux = ServeMux()
    mux.handle("t", handler, executor="process")
    outcome = await runs.outcome(mux, delivery(payload=payload))
    assert isinstance(outcome, Succeeded), outcome
    return int(outcome.result or 0)


@limits(max_tasks=2)
async def test_a_process_is_replaced_after_as_many_runs_as_it_may(
    limited: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "asynq.worker"):
        pids = [await pid_of_run(limited) for _ in range(5)]
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 4]
    assert [record.getMessage() for record in caplog.records] == [
        f"handler process {pid} ends: it has run 2 tasks, as many as it may" for pid in (pids[0], pids[2])
    ]


@limits(max_tasks=1)
async def test_a_run_that_fails_counts_and_keeps_its_error(limited: Runs) -> None:
    mux = ServeMux()
    mux.handle("t", process_handlers.fail, executor="process")
    outcome = await limited.outcome(mux, delivery(payload=b"value"))
    assert isinstance(outcome, Failed)
    first = await pid_of_run(limited)
    assert await pid_of_run(limited) != first


@limits(max_memory=160_000_000)
async def test_a_process_that_has_grown_is_replaced(limited: Runs) -> None:
    first = await pid_of_run(limited)
    assert await pid_of_run(limited, process_handlers.grow, b"140000000") == first
    assert await pid_of_run(limited) != first


@limits(max_tasks=1)
async def test_the_next_process_has_imported_the_handler_before_it_is_needed(
    limited: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = imported(tmp_path, monkeypatch)
    first = await pid_of_run(limited, handler)
    [waiting] = limited.processes._idle
    assert waiting.pid != first
    eventually((tmp_path / f"imported by {waiting.pid}").exists)
    assert await pid_of_run(limited, handler) == waiting.pid


@limits(max_tasks=1)
async def test_a_module_that_cannot_be_imported_any_more_fails_the_next_run(
    limited: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = imported(tmp_path, monkeypatch)
    (tmp_path / "broken").touch()
    mux = ServeMux()
    mux.handle("t", handler, executor="process")
    for _ in range(2):
        outcome = await limited.outcome(mux, delivery())
        assert isinstance(outcome, Failed)
        assert str(outcome.error) == "broken on purpose"


@limits(max_tasks=1)
async def test_the_end_of_the_pool_ends_a_replacement(limited: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[HandlerProcess] = []

    def start(*arguments: Any) -> HandlerProcess:
        started.append(HandlerProcess(*arguments))
        if len(started) == 2:
            limited.processes.close()
        return started[-1]

    monkeypatch.setattr("asynq.handlers.processes.pool.HandlerProcess", start)
    assert await pid_of_run(limited) == started[0].pid
    assert not any(process.alive for process in started)
    assert limited.processes._all == set()


def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """A handler from a module that notes the processes that import it."""
    name = f"noting_{uuid.uuid4().hex}"
    (folder / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)
    handler: Handler = module.pid
    return handler
