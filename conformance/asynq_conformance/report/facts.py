"""Facts about a test that are known before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq_conformance.promises import layer_of, promises_of
from asynq_conformance.report.collector import FACT
from asynq_conformance.report.outcomes import Fact

if TYPE_CHECKING:
    import pytest

_NOTHING: Final = ""


def fact_of(item: pytest.Item) -> Fact | None:
    """The promises that a test verifies, and its backend; None for a test outside the suite."""
    for name, value in item.user_properties:
        if name == FACT:
            return Fact.read(value)  # type: ignore[arg-type]
    law, cls = getattr(item, "obj", None), getattr(item, "cls", None)
    if not (hasattr(law, "promises") or hasattr(cls, "promise")):
        return None
    column = column_of(item)
    try:
        promises = promises_of(law, cls)
    except (KeyError, TypeError):  # an unrelated attribute with this name
        return None
    if not promises or not column:
        return None
    return Fact(column=column, layer=layer_of(law, cls), promises=tuple(promise.name for promise in promises))


def column_of(item: pytest.Item) -> str | None:
    """The backend of a test: the `column` of its class or module, otherwise the name of the class."""
    cls = getattr(item, "cls", None)
    said: Any = getattr(cls, "column", _NOTHING)
    if said == _NOTHING:
        said = getattr(getattr(item, "module", None), "column", _NOTHING)
    if said == _NOTHING and cls is not None:
        return str(cls.__name__).removeprefix("Test").lower()
    return said if isinstance(said, str) else None


def record_fact(item: pytest.Item, fact: Fact) -> None:
    """Add the fact to every report of this test."""
    if not any(name == FACT for name, _ in item.user_properties):
        plain = {"column": fact.column, "layer": fact.layer, "promises": list(fact.promises)}
        item.user_properties.append((FACT, plain))


def plain_facts(items: list[pytest.Item]) -> dict[str, dict[str, Any]]:
    """The facts of these tests by node id, as values that can be sent to another process."""
    return {item.nodeid: value for item in items for name, value in item.user_properties if name == FACT}  # type: ignore[misc]
