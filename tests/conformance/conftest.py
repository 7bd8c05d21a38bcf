"""Which backends the laws run on: `--topology sqlite,cluster`, `--other-versions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance.report.facts import fact_of

if TYPE_CHECKING:
    from pathlib import Path

LONG = "test_a_broker_does_what_the_model_does"
"""It runs programs by number, not by time: on a machine that does much else it takes long."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    other = collection_path.name == "test_versions.py" and not config.option.other_versions
    return True if other else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.name.startswith(LONG):
            item.add_marker(pytest.mark.timeout(1200))
    if not config.option.topology:
        return
    wanted = {name.strip() for name in config.option.topology.split(",")}
    columns = {item: fact.column for item in items if (fact := fact_of(item))}
    if unknown := wanted - set(columns.values()):
        known = ", ".join(sorted(set(columns.values())))
        raise pytest.UsageError(f"--topology: no laws run on {', '.join(sorted(unknown))}, but on {known}")
    dropped = [item for item in items if columns.get(item) not in wanted]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if columns.get(item) in wanted]
