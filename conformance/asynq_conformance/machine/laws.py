"""Layer B as a class with one law: a broker behaves like the model for every program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from asynq_conformance import evidence, profiles
from asynq_conformance.machine import coverage
from asynq_conformance.machine.run import run
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq_conformance.harness import Harness
    from asynq_conformance.promises import Layer


@promise("G1", "G2", "G3", "G4", "G5", "G7", "G8", "G9", "G10")
class MachineLaws:
    """Random programs in lockstep with the model."""

    layer: ClassVar[Layer] = "B"

    def test_a_broker_does_what_the_model_does(self, harness: Harness) -> None:
        profile = profiles.current()
        part = harness.machine_share
        examples = max(round(profile.examples * part), 5)
        ran = run(harness, examples, profile.steps, seed=profiles.seed())
        evidence.count(programs=ran.programs, steps=ran.steps)
        sys.stdout.write(f"{ran}\n\n{coverage.table(ran.reached)}\n")
        assert coverage.unreached(ran.reached, ran.unsupported) == [], (
            "the programs did not reach all transitions"
        )
