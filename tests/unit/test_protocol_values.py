"""The values of the broker protocol: operations, the records that they carry, and their answers."""

from __future__ import annotations

import pickle
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

import asynq.protocol
from asynq.protocol.message import Delivery, Lease, LostLease, TaskMessage
from asynq.protocol.ops import (
    CancelTask,
    Done,
    Enqueue,
    GetHistory,
    ListQueues,
    MoveTasks,
    Op,
    Ping,
    Recover,
    TakeGroup,
    Unique,
)
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE = TaskMessage(id="id", type="t", queue="q", payload=b"x", headers={"a": "b"})
DELIVERY = Delivery(message=MESSAGE, token="token", expires_at=5)
LOST = LostLease(message=MESSAGE, observed="o")


def value_classes() -> Iterator[type[Struct]]:
    for module in pkgutil.walk_packages(asynq.protocol.__path__, "asynq.protocol."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == module.name:
                yield value


def test_every_value_is_frozen() -> None:
    kinds = [*value_classes()]
    assert {Enqueue, Lease, TaskMessage} < {*kinds}
    assert [kind for kind in kinds if not kind.__struct_config__.frozen] == []


@pytest.mark.parametrize(
    "value", [MESSAGE, DELIVERY, Done(delivery=DELIVERY), Enqueue(message=MESSAGE, enqueue_id="e")]
)
def test_a_value_can_be_pickled_and_changed_in_a_copy_only(value: Any) -> None:
    name = value.__struct_fields__[0]
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - its own
    with pytest.raises(AttributeError):
        setattr(value, name, None)
    other = replace(MESSAGE, id="other") if name == "message" else None
    changed = replace(value, **{name: other})
    assert (getattr(changed, name), changed == value) == (other, False)
    assert getattr(value, name) is not None


def test_operations_of_different_classes_are_never_equal() -> None:
    other: Op[Any] = ListQueues()
    assert Ping() == Ping()
    assert Ping() != other


def test_a_delivery_has_its_lease() -> None:
    assert DELIVERY.lease == Lease("q", "id", "token")
    assert {DELIVERY.lease, Lease("q", "id", "token")} == {DELIVERY.lease}


INVALID: list[tuple[type[Struct], dict[str, Any], dict[str, Any]]] = [
    (CancelTask, {"task_id": "t"}, {"then": "delete"}),
    (Enqueue, {"message": MESSAGE, "enqueue_id": "e"}, {"on_conflict": "ignore"}),
    (GetHistory, {"queue": "q"}, {"days": 0}),
    (GetHistory, {"queue": "q"}, {"days": 91}),
    (MoveTasks, {"queue": "q", "state": TaskState.RETRY, "to": "pending"}, {"to": "active"}),
    (Recover, {"lost": LOST, "error": "", "to": "retry"}, {"to": "completed"}),
    (TakeGroup, {"queue": "q", "group": "g", "grace": 1, "set_id": "s"}, {"set_id": "a:b"}),
    (TakeGroup, {"queue": "q", "group": "g", "grace": 1, "set_id": "s"}, {"set_id": ""}),
    (Unique, {"ttl": 1000}, {"until": "never"}),
]


@pytest.mark.parametrize(("kind", "valid", "invalid"), INVALID)
def test_an_invalid_value_is_refused(
    kind: type[Struct], valid: dict[str, Any], invalid: dict[str, Any]
) -> None:
    good = kind(**valid)
    (name,) = invalid
    with pytest.raises(ValueError, match=name):
        kind(**{**valid, **invalid})
    with pytest.raises(ValueError, match=name):
        replace(good, **invalid)
