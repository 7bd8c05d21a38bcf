"""Compares what a broker declares unsupported with what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from asynq.errors import UnsupportedOperationError
from asynq.protocol.ops import Op, all_operations

if TYPE_CHECKING:
    from asynq.protocol.broker import Capabilities

CLAIM: Final = "but it works: the declaration can be removed"
"""Part of the skip reason of a law whose operation works although it is declared unsupported."""


def declared_unsupported(capabilities: Capabilities, op: Op[Any]) -> str | None:
    """What is declared unsupported in this operation: its name, or a word such as "groups"; or None."""
    if type(op) in capabilities.unsupported:
        return type(op).__name__
    return capabilities.lacking(op) or None


def compare_with_declaration(capabilities: Capabilities, op: Op[Any], answer: object) -> None:
    """Skip the law if the operation is declared unsupported; fail it if it is refused but not declared."""
    refused = isinstance(answer, UnsupportedOperationError)
    if name := declared_unsupported(capabilities, op):
        pytest.skip(f"unsupported: {name}" if refused else f"unsupported: {name}, {CLAIM}")
    if refused and type(op) in all_operations():
        pytest.fail(
            f"{type(op).__name__} is refused as unsupported, but the broker's capabilities do not declare it"
        )
