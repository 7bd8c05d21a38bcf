"""The table of all endpoints: of it are made the routes, the OpenAPI document and the forms of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.web.api import (
    audit,
    batches,
    broker,
    bulk,
    doctor,
    error_groups,
    groups,
    jobs,
    metrics,
    queues,
    scheduler_entries,
    schedules,
    servers,
    session,
    task_changes,
    task_copies,
    tasks,
)
from asynq.web.api.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESOURCES = (
    session,
    queues,
    groups,
    tasks,
    task_changes,
    task_copies,
    batches,
    bulk,
    jobs,
    metrics,
    audit,
    servers,
    scheduler_entries,
    schedules,
    broker,
    doctor,
    error_groups,
)


def _endpoints() -> Iterator[Endpoint[Any, Any]]:
    for module in _RESOURCES:
        yield from (value for value in vars(module).values() if isinstance(value, Endpoint))


ENDPOINTS = {each.name: each for each in _endpoints()}
"""By name."""
