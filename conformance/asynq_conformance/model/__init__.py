"""The executable specification: what every operation of `asynq.protocol.ops` does, slow and obvious.

A task is an object in a dictionary, an operation a function of the system, the operation and the present
instant, in a file named as its section of `asynq.protocol.ops`. No backend shares a line with it. `choices`
says what the contract leaves to a backend; all else is exactly so.
"""

from __future__ import annotations

from asynq_conformance.model.broker import ModelBroker
from asynq_conformance.model.choices import Choices
from asynq_conformance.model.state import System

__all__ = ["Choices", "ModelBroker", "System"]
