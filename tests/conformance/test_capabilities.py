"""Declared unsupported operations are skipped by name; undeclared refusals fail."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from msgspec.structs import replace

from asynq.errors import AsynqError, UnsupportedOperationError
from asynq.protocol import ops
from asynq_conformance import BrokerConformance, Harness
from asynq_conformance.lab import Face, Lab
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Capabilities

T = TypeVar("T")


class Limited(MemoryBroker):
    """A broker that refuses some operations, and declares some unsupported."""

    refused: tuple[type[ops.Op[Any]], ...] = ()
    declared: tuple[type[ops.Op[Any]], ...] = ()
    groups = True

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, unsupported=frozenset(self.declared), groups=self.groups)

    def refusal(self, op: ops.Op[Any]) -> AsynqError | None:
        """Execute an operation even if it is declared unsupported."""
        return super().capabilities.refusal(op)

    def execute_many(self, ops: Sequence[ops.Op[T]], /) -> list[T | AsynqError]:
        answers = super().execute_many(ops)
        return [self._refusal(op) or answer for op, answer in zip(ops, answers, strict=True)]

    async def aexecute_many(self, ops: Sequence[ops.Op[T]], /) -> list[T | AsynqError]:
        return self.execute_many(ops)

    def _refusal(self, op: ops.Op[Any]) -> AsynqError | None:
        if isinstance(op, self.refused):
            return UnsupportedOperationError(type(op).__name__, "limited")
        if isinstance(op, ops.Enqueue) and op.message.group and not self.groups:
            return UnsupportedOperationError("groups", "limited")
        return None


class LimitedHarness(Harness):
    def __init__(self, **limits: Any) -> None:
        self.broker = type("Broker", (Limited,), limits)

    def open(self, clock: FakeClock) -> Limited:
        broker: Limited = self.broker(clock=clock)
        return broker


@pytest.fixture(params=["plain", "awaited"])
def face(request: pytest.FixtureRequest) -> Face:
    face: Face = request.param
    return face


def hold_against_law(face: Face, law: str, **limits: Any) -> None:
    with closing(Lab(LimitedHarness(**limits), face)) as lab:
        getattr(BrokerConformance(), law)(lab)


RUN_LAW = "test_running_a_task_manually_removes_its_cancellation"
BATCH_LAW = "test_a_batch_for_several_queues_reaches_each_queue"
GROUP_LAW = "test_a_task_with_a_group_is_added_to_its_group"
DECLARATION_LAW = "test_a_broker_supports_the_core_and_declares_what_it_does_not_support"


def test_a_law_for_an_unsupported_operation_is_skipped_with_its_name(face: Face) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^unsupported: RunTask$"):
        hold_against_law(face, RUN_LAW, refused=(ops.RunTask,), declared=(ops.RunTask,))


def test_a_refused_operation_that_is_not_declared_fails(face: Face) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"RunTask is refused .* do not declare it"):
        hold_against_law(face, RUN_LAW, refused=(ops.RunTask,))


def test_a_refused_operation_of_a_batch_that_is_not_declared_fails(face: Face) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"Enqueue is refused"):
        hold_against_law(face, BATCH_LAW, refused=(ops.Enqueue,))


def test_a_working_operation_declared_unsupported_is_reported(face: Face) -> None:
    with pytest.raises(
        pytest.skip.Exception, match=r"unsupported: RunTask, but .* the declaration can be removed"
    ):
        hold_against_law(face, RUN_LAW, declared=(ops.RunTask,))


def test_laws_of_groups_are_skipped_for_a_broker_without_groups(face: Face) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^unsupported: groups$"):
        hold_against_law(face, GROUP_LAW, groups=False)


@pytest.mark.parametrize("limits", [{"declared": (ops.Enqueue,)}, {"groups": False}])
def test_an_incomplete_or_contradictory_declaration_fails(face: Face, limits: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        hold_against_law(face, DECLARATION_LAW, **limits)


def test_a_broker_that_supports_everything_passes_its_declaration(face: Face) -> None:
    hold_against_law(face, DECLARATION_LAW)


def test_missing_operations_of_the_core_are_named(face: Face) -> None:
    limits = {"declared": (ops.Dequeue, ops.Done, ops.RunTask)}
    with pytest.raises(AssertionError, match=r"(?s)must be supported.*\['Dequeue', 'Done'\]"):
        hold_against_law(face, DECLARATION_LAW, **limits)
