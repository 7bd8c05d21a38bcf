"""The laws of a broker on the model, which define the same behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance import BrokerConformance, Harness
from asynq_conformance.model import ModelBroker, System

if TYPE_CHECKING:
    from asynq.clock import FakeClock


class ModelHarness(Harness):
    """A model, whose tasks cannot be damaged, because an id and its task are one object."""

    machine_share = 0.05

    def open(self, clock: FakeClock) -> ModelBroker:
        self.system = System()
        return self.reopen(clock)

    def reopen(self, clock: FakeClock) -> ModelBroker:
        return ModelBroker(clock, self.system)

    def strand(self, queue: str, task_id: str) -> None:
        self.system.tasks[queue, task_id].token = ""


class TestModel(BrokerConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return ModelHarness()
