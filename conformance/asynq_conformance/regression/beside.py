"""A program that once told a broker from the model, step by step beside the model again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from asynq.clock import FakeClock
from asynq.ops import Op
from asynq_conformance.declared import declared_unsupported
from asynq_conformance.lab import START
from asynq_conformance.machine.lockstep import Lockstep, Twin

if TYPE_CHECKING:
    from asynq_conformance.harness import Harness
    from asynq_conformance.lab import Face

Side = Callable[[Twin], Any]
"""Picks from an answer what the model gave, or what the broker did: each side goes on with its own."""

_MODEL: Side = attrgetter("expected")
_BROKER: Side = attrgetter("actual")


class Beside:
    """An empty store and the model beside it."""

    def __init__(self, harness: Harness, face: Face) -> None:
        self._runner = asyncio.Runner() if face == "awaited" else None
        clock = FakeClock(START)
        self._broker = harness.open(clock)
        self._program = Lockstep(harness, self._broker, clock, self._runner)

    def do(self, *operations: Op[Any] | Callable[[Side], Op[Any]], copy: bool = False) -> Twin:
        """Carry out operations at once; the answers to the first. DivergenceError where anything differs.

        One that needs an earlier answer is a function of its side. `copy`: it was done before. Skips what the
        broker declares unsupported.
        """
        expected, actual = (
            [op if isinstance(op, Op) else op(side) for op in operations] for side in (_MODEL, _BROKER)
        )
        for op in actual:
            if name := declared_unsupported(self._broker.capabilities, op):
                pytest.skip(f"unsupported: {name}")
        return self._program.together(expected, actual, copy=copy)[0]

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self._program.wait(milliseconds)

    def close(self) -> None:
        """Free all this holds."""
        if self._runner:
            self._runner.run(self._broker.aclose())
            self._runner.close()
        self._broker.close()
