"""What a broker declares unsupported, held against what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from asynq.errors import UnsupportedOperationError
from asynq.protocol.ops import Enqueue, EnqueueTick, Op, all_operations

if TYPE_CHECKING:
    from asynq.protocol.broker import Capabilities

CLAIM: Final = "but it answers: you may claim this"
"""Part of the reason why a law is skipped whose operation works although it is declared unsupported."""


def declared_unsupported(capabilities: Capabilities, op: Op[Any]) -> str | None:
    """What of this operation the broker declares unsupported: its name, or "groups"; None for nothing."""
    if type(op) in capabilities.unsupported:
        return type(op).__name__
    enqueue = op.enqueue if isinstance(op, EnqueueTick) else op
    in_group = isinstance(enqueue, Enqueue) and bool(enqueue.message.group)
    return "groups" if in_group and not capabilities.groups else None


def compare_with_declaration(capabilities: Capabilities, op: Op[Any], answer: object) -> None:
    """Skip the law, by name, if the operation is declared unsupported; fail it if it should have been."""
    refused = isinstance(answer, UnsupportedOperationError)
    if name := declared_unsupported(capabilities, op):
        pytest.skip(f"unsupported: {name}" if refused else f"unsupported: {name}, {CLAIM}")
    if refused and type(op) in all_operations():
        pytest.fail(
            f"{type(op).__name__} is refused as unsupported, and the broker's capabilities do not declare it"
        )
