"""What the tests are made of that `--conformance-emit` writes when a program or a history shows a bug."""

from __future__ import annotations

from asynq_conformance.regression.again import record_again
from asynq_conformance.regression.beside import Beside, Side
from asynq_conformance.regression.origin import regression_of

__all__ = ["Beside", "Side", "record_again", "regression_of"]
