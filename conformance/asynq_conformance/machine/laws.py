"""Layer B as a class of laws: one law, that a broker does what the model does, whatever is asked of it."""

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
    """Random programs, step by step beside the model."""

    layer: ClassVar[Layer] = "B"

    def test_a_broker_does_what_the_model_does(self, harness: Harness) -> None:
        profile = profiles.current()
        part = harness.machine_share
        examples = max(round(profile.examples * part), 5)
        ran = run(harness, examples, profile.steps, seed=profiles.seed())
        evidence.count(programs=ran.programs, steps=ran.steps)
        sys.stdout.write(f"{ran}\n\n{coverage.table(ran.reached)}\n")
        assert coverage.unreached(ran.reached, ran.unsupported) == [], "the programs did not go everywhere"
