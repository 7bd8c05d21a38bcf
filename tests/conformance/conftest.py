"""Selects the backends and laws of a run: `--topology sqlite,cluster`, `--other-versions`, the profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance import profiles
from asynq_conformance.report.facts import fact_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMOKE = "smoke"
"""The profile of every push. Layer D runs only on SQLite and on one Redis server. Layer A is omitted on
backends that use the scripts of a single server and through coroutines that run the blocking methods;
programs and histories (layers B and C) still run there."""
LONG_FILES = ("test_disturbances.py", "test_disturbed_runs.py")
SAME_SCRIPTS = ("sentinel", "cluster")
"""Columns of backends that differ from a single server only in the connection to their servers."""
SAME_COROUTINES = ("memory", "model", "lmdb")
"""Columns of backends whose coroutines run the blocking methods: by code that SQLite uses, or directly."""
SAME_CLIENTS = (*SAME_SCRIPTS, "lmdb")
"""Columns of backends whose clients are killed and held up only in longer runs."""

LONG = "test_a_broker_does_what_the_model_does"
"""The number of programs is fixed, not their time: on a busy machine they take long."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    other = collection_path.name == "test_versions.py" and not config.option.other_versions
    long = collection_path.name in LONG_FILES and profiles.current().name == SMOKE
    return True if other or long else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.name.startswith(LONG):
            item.add_marker(pytest.mark.timeout(1200))
    if profiles.current().name == SMOKE:
        _keep(config, items, lambda item: not _is_repeated(item))
    if not config.option.topology:
        return
    wanted = {name.strip() for name in config.option.topology.split(",")}
    columns = {item: fact.column for item in items if (fact := fact_of(item))}
    if unknown := wanted - set(columns.values()):
        known = ", ".join(sorted(set(columns.values())))
        raise pytest.UsageError(f"--topology: no laws run on {', '.join(sorted(unknown))}, but on {known}")
    _keep(config, items, lambda item: columns.get(item) in wanted)


def _is_repeated(item: pytest.Item) -> bool:
    fact = fact_of(item)
    if fact is None or fact.layer not in "AD":
        return False
    if fact.layer == "D":
        return fact.column in SAME_CLIENTS
    return fact.column in SAME_SCRIPTS or (fact.column in SAME_COROUTINES and _face_of(item) == "awaited")


def _face_of(item: pytest.Item) -> object:
    """The face through which a law calls the broker, if it has one."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("face") if callspec else None


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]
