"""Misuse of a server is refused before anything changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from asynq.client.client import AsyncClient, Client
from asynq.errors import ServerStateError
from asynq.handlers.mux import ServeMux
from asynq.inspector.inspector import AsyncInspector, Inspector
from asynq.scheduler.scheduler import Scheduler
from asynq.server import Server
from asynq_sqlite import MemoryBroker


async def answers_later(*_: object) -> Any:
    return None


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("concurrency", 0, ValueError),
        ("concurrency", -1, ValueError),
        ("concurrency", 2.5, TypeError),
        ("concurrency", True, TypeError),
        ("queues", {}, ValueError),
        ("queues", "default", TypeError),
        ("queues", {"": 1}, ValueError),
        ("queues", {"a": 0}, ValueError),
        ("strict_priority", 1, TypeError),
        ("retry_delay", 5, TypeError),
        ("retry_delay", answers_later, TypeError),
        ("retry_delay", lambda retried: 1, TypeError),
        ("is_failure", "no", TypeError),
        ("is_failure", lambda: True, TypeError),
        ("on_error", lambda error: None, TypeError),
        ("on_success", lambda error, task, ctx: None, TypeError),
        ("health_check", lambda: None, TypeError),
        ("aggregator", lambda tasks: None, TypeError),
        ("is_failure", answers_later, TypeError),
        ("on_error", 5, TypeError),
        ("on_start", 5, TypeError),
        ("on_success", "log", TypeError),
        ("on_failure", 5, TypeError),
        ("on_retry", 5, TypeError),
        ("on_archive", 5, TypeError),
        ("health_check", True, TypeError),
        ("health_check_interval", 15, TypeError),
        ("health_check_interval", timedelta(milliseconds=999), ValueError),
        ("shutdown_timeout", 8, TypeError),
        ("shutdown_timeout", timedelta(seconds=-1), ValueError),
        ("lease", 30, TypeError),
        ("stall_warning", 1, TypeError),
        ("stall_warning", timedelta(0), ValueError),
        ("lease", timedelta(milliseconds=999), ValueError),
    ],
)
def test_an_invalid_option_of_a_server_is_named(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=option):
        Server(MemoryBroker(), **{option: value})


@pytest.mark.parametrize("given", [None, 42, MemoryBroker, {"url": "memory://"}])
@pytest.mark.parametrize("user", [Client, AsyncClient, Server, Inspector, AsyncInspector, Scheduler])
def test_a_value_that_is_not_a_broker_is_refused_at_once(user: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="broker must be a Broker or a URL, not "):
        user(given)


@pytest.mark.filterwarnings("error")
async def test_run_in_a_running_loop_names_what_to_use_instead() -> None:
    with pytest.raises(RuntimeError, match=r"await serve\(handler\)"):
        Server(MemoryBroker()).run(ServeMux())
    with pytest.raises(RuntimeError, match=r"await serve\(\)"):
        Scheduler(MemoryBroker()).run()


def test_a_server_without_options_has_sensible_defaults() -> None:
    assert Server(MemoryBroker()).state == "new"


def test_the_minimum_lease_is_one_second() -> None:
    assert Server(MemoryBroker(), lease=timedelta(seconds=1), shutdown_timeout=timedelta(0)).state == "new"


async def handle(*_: object) -> None:
    return None


async def test_a_server_without_a_handler_refuses_to_start() -> None:
    with pytest.raises(TypeError, match="handler=mux"):
        await Server(MemoryBroker()).start()


async def test_a_server_has_one_handler() -> None:
    with pytest.raises(TypeError, match="handler when it was made"):
        await Server(MemoryBroker(), handler=handle).start(handle)


def test_a_value_that_is_not_a_handler_is_refused_at_once() -> None:
    not_a_handler: Any = 5
    with pytest.raises(TypeError, match="callable"):
        Server(MemoryBroker(), handler=not_a_handler)


def test_options_are_overridden_one_by_one() -> None:
    server = Server(MemoryBroker(), queues={"a": 2, "b": 1}, queue_limits={"a": 3, "b": 4}, concurrency=5)
    server.override(queues=["b", "c"], shutdown_timeout=timedelta(seconds=3))
    settings = server._settings
    assert settings.preference.weights == {"b": 1, "c": 1}
    assert settings.limits.own == {"b": 4}
    assert settings.concurrency == 5
    assert server.shutdown_timeout == timedelta(seconds=3)


def test_a_refused_override_changes_nothing() -> None:
    broker = MemoryBroker()
    server = Server(broker, concurrency=5)
    with pytest.raises(ValueError, match="lease"):
        server.override(MemoryBroker(), concurrency=6, lease=timedelta())
    assert server.broker is broker
    assert server._settings.concurrency == 5


async def test_the_options_of_a_running_server_are_fixed() -> None:
    server = Server(MemoryBroker(), handler=handle)
    await server.start()
    with pytest.raises(ServerStateError, match="override"):
        server.override(concurrency=1)
    await server.shutdown()
