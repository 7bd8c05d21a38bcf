"""The executable specification of every operation of `asynq.protocol.ops`: slow and obvious.

A task is an object in a dictionary. An operation is a function of the system, the operation and the present
instant, in a file named like its section of `asynq.protocol.ops`. The model shares no code with any backend.
`choices` lists what the contract leaves to a backend; everything else is prescribed.
"""

from __future__ import annotations

from asynq_conformance.model.broker import ModelBroker
from asynq_conformance.model.choices import Choices
from asynq_conformance.model.state import System

__all__ = ["Choices", "ModelBroker", "System"]
