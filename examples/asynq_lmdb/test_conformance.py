"""The promises of a broker, on an LMDB file: all that a backend's author has to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq_conformance import BrokerConformance, Harness
from asynq_lmdb import LmdbBroker
from asynq_lmdb.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.clock import FakeClock


class LmdbHarness(Harness):
    """A broker on a file of its own. Harness says what each hook is for."""

    machine_share = 0.1  # each step flushes the disk

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0

    def open(self, clock: FakeClock) -> LmdbBroker:
        self.clock, self.broker = clock, LmdbBroker(self.path, clock=clock)
        return self.broker

    def renew(self, clock: FakeClock) -> LmdbBroker:
        self.number += 1
        self.path = self.path.with_name(f"{self.number}.lmdb")
        return self.open(clock)

    def reopen(self, clock: FakeClock) -> LmdbBroker:
        return LmdbBroker(self.path, clock=clock)

    def factory(self) -> tuple[str, dict[str, Any]]:
        return "asynq_lmdb:LmdbBroker", {"path": str(self.path)}

    def corrupt(self, queue: str, task_id: str) -> None:
        with self.broker.file().begin(write=True) as txn:
            store = Store(txn, self.clock.now())
            task = store.find(queue, task_id)
            assert task is not None
            store.put(replace(task, body=b"\xc1"))


class TestLmdb(BrokerConformance):
    """All that LmdbBroker does not declare unsupported."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return LmdbHarness(tmp_path / "tasks.lmdb")
