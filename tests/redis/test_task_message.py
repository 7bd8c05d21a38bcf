"""A message is the same bytes as protobuf writes for it, however its parts are encoded."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from asynq.protocol.message import TaskMessage
from asynq_redis.wire import task_message
from asynq_redis.wire.protobuf_classes import message_classes

FIELDS = {
    1: ("type", "string"),
    2: ("payload", "bytes"),
    3: ("id", "string"),
    4: ("queue", "string"),
    5: ("max_retry", "int32"),
    6: ("retried", "int32"),
    7: ("error", "string"),
    8: ("timeout", "int64"),
    9: ("deadline", "int64"),
    10: ("unique_key", "string"),
    11: ("last_failed_at", "int64"),
    12: ("retention", "int64"),
    13: ("completed_at", "int64"),
    14: ("group", "string"),
    15: ("headers", "map<string, string>"),
}
REFERENCE = message_classes("reference", {"TaskMessage": FIELDS})["TaskMessage"]
LENGTHS = (1, 127, 128, 16_383, 16_384, 2_097_152)
"""Each is encoded in up to four bytes."""


def expected(fields: dict[str, Any]) -> bytes:
    data: bytes = REFERENCE(**{"max_retry": 25} | fields).SerializeToString(deterministic=True)
    return data


@pytest.mark.parametrize(
    ("varied", "length"), [*product(["payload", "type", "queue"], [0, *LENGTHS]), *product(["id"], LENGTHS)]
)
def test_a_message_of_any_length(varied: str, length: int) -> None:
    fields: dict[str, Any] = {"id": "id", "type": "type", "queue": "queue", "payload": b"payload"}
    fields[varied] = b"x" * length if varied == "payload" else "é" * (length // 2) + "x" * (length % 2)
    assert task_message.encode(TaskMessage(**fields)) == expected(fields)


@pytest.mark.parametrize(
    "rare",
    [
        {"max_retry": 0},
        {"max_retry": -1, "timeout": 1 << 40},
        {"retried": 3, "error": "é", "last_failed_at": 1},
        {"deadline": 5},
        {"unique_key": "key", "retention": 7},
        {"completed_at": 9},
        {"group": "group", "headers": {"b": "1", "a": "2"}},
        {"headers": {"trace": ""}},
    ],
    ids="-".join,
)
def test_a_message_with_other_fields(rare: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "id": "id",
        "type": "type",
        "queue": "queue",
        "payload": b"payload",
        **rare,
    }
    message = TaskMessage(**fields)
    assert task_message.encode(message) == expected(fields)
    assert task_message.decode(task_message.encode(message)) == message


@pytest.mark.parametrize(
    "wrong", [{"max_retry": 1 << 31}, {"id": "\ud800"}, {"type": "\ud800"}, {"queue": "\ud800"}]
)
def test_a_value_that_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"range|surrogates"):
        task_message.encode(TaskMessage(**{"id": "id", "type": "type", "queue": "queue", **wrong}))
