"""The laws of a broker, on a SQLite file and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance import BrokerConformance
from asynq_sqlite.harness import MemoryHarness, SQLiteHarness

if TYPE_CHECKING:
    from pathlib import Path


class TestSQLite(BrokerConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SQLiteHarness:
        return SQLiteHarness(f"sqlite:///{tmp_path}/tasks.db")


class TestMemory(BrokerConformance):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness("memory://")
