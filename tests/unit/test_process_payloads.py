"""Typed payloads of handlers with executor="process", decoded in handler processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from asynq.errors import PayloadError
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Failed, Succeeded
from tests.unit import process_handlers
from tests.unit.handler_runs import delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.handlers.adapters import Handler
    from tests.unit.handler_runs import Runs


@pytest.fixture
def runs(runs: Runs) -> Iterator[Runs]:
    """Runs whose processes end with the test."""
    yield runs
    runs.processes.close()


def in_process(handler: Handler, payload: Any) -> ServeMux:
    mux = ServeMux()
    mux.handle("t", handler, executor="process", payload=payload)
    return mux


async def test_typed_payloads_reach_the_process(runs: Runs) -> None:
    mux = in_process(process_handlers.double, payload=process_handlers.Order)
    assert await runs.outcome(mux, delivery(payload=b'{"number": 21}')) == Succeeded(b"42")


async def test_a_process_decodes_any_type_it_can_import(runs: Runs) -> None:
    mux = in_process(process_handlers.total, payload=dict[str, process_handlers.Order] | None)
    assert await runs.outcome(mux, delivery(payload=b'{"a":{"number":1},"b":{"number":2}}')) == Succeeded(
        b"3"
    )
    assert await runs.outcome(mux, delivery(payload=b"")) == Succeeded(b"0")
    assert await runs.outcome(
        in_process(process_handlers.size, payload=memoryview), delivery(payload=b"abc")
    ) == Succeeded(b"3")


async def test_a_payload_that_a_process_cannot_decode_fails_permanently(runs: Runs) -> None:
    mux = in_process(process_handlers.double, payload=process_handlers.Order)
    outcome = await runs.outcome(mux, delivery(payload=b'{"number":"1"}'))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, PayloadError)
    assert "`$.number`" in str(outcome.error)


def test_a_type_that_a_process_cannot_import_is_refused() -> None:
    @frozen
    class Local:
        number: int

    with pytest.raises(TypeError, match="at the top level of a module"):
        in_process(process_handlers.double, payload=Local)
    with pytest.raises(TypeError, match="cannot be distinguished from"):
        in_process(process_handlers.double, payload=str | None)
