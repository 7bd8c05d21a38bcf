"""Handler processes export their spans before they can be killed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from asynq.handlers import traces
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Succeeded
from asynq.handlers.processes.pool import ProcessPool
from asynq.runtime.process_limits import NO_LIMITS, ProcessLimits
from tests.unit.handler_runs import delivery
from tests.waiting import aeventually

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace

from asynq.opentelemetry import AsynqInstrumentor
from tests.unit import exporting_handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.handler_runs import Runs

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What the handler processes have exported."""
    file = tmp_path / "spans"
    file.touch()
    monkeypatch.setenv(exporting_handlers.FILE, str(file))
    AsynqInstrumentor().instrument()
    yield file.read_text
    AsynqInstrumentor().uninstrument()


@pytest.fixture
def running(runs: Runs, request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Runs in processes with the limits of the test."""
    runs = evolve(runs, processes=ProcessPool(request.param))
    yield runs
    runs.processes.close()


async def run(runs: Runs, times: int) -> None:
    mux = ServeMux()
    mux.handle("t", exporting_handlers.work, executor="process")
    for _ in range(times):
        assert await runs.outcome(mux, delivery(headers=HEADERS)) == Succeeded()


@pytest.mark.parametrize("running", [ProcessLimits(max_tasks=1)], indirect=True)
async def test_a_process_that_is_replaced_has_exported_its_spans(
    running: Runs, exported: Callable[[], str]
) -> None:
    await run(running, 3)
    assert exported() == "work\n" * 3


@pytest.mark.parametrize("running", [NO_LIMITS], indirect=True)
async def test_an_idle_process_exports_its_spans(running: Runs, exported: Callable[[], str]) -> None:
    await run(running, 2)
    await aeventually(lambda: exported() == "work\n" * 2)


def test_an_export_that_hangs_does_not_delay_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Hanging:
        def force_flush(self) -> None:
            release.wait(60)

    monkeypatch.setattr(trace, "get_tracer_provider", Hanging)
    traces.flush(0.01)
    release.set()
