"""Equal values have equal payloads, regardless of the insertion order of their dicts and sets."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynq import Task
from asynq.client.enqueue import compose
from asynq.client.options import Options
from asynq.client.payload import encode_payload
from asynq.scheduler.entries import Entry


@attrs.frozen
class AttrsHolder:
    zeta: Any
    alpha: int = 1


@dataclasses.dataclass
class DataHolder:
    zeta: Any
    alpha: int = 1


class StructHolder(msgspec.Struct):
    zeta: Any
    alpha: int = 1


class Mapped(pydantic.RootModel[dict[str, Any]]):
    pass


class ModelHolder(pydantic.BaseModel):
    zeta: Any
    alpha: int = 1


@pydantic.dataclasses.dataclass
class ModelDataHolder:
    zeta: Any
    alpha: int = 1


class Keeping(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


class Everything(pydantic.BaseModel):
    zeta: dict[str, ModelHolder] = pydantic.Field(alias="zetaAlias")
    tags: frozenset[str]
    rows: list[DataHolder]
    mapped: Mapped
    kept: Keeping
    alpha: int = 1

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def computed(self) -> dict[str, ModelHolder]:
        return self.zeta

    @pydantic.field_serializer("rows", when_used="json")
    def _rows(self, rows: list[DataHolder]) -> list[Any]:
        return [*rows, {"z": 1, "a": 2}]


HOLDERS = [AttrsHolder, DataHolder, StructHolder, ModelHolder, ModelDataHolder]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abcZ"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcZ", max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)


def turned(value: Any) -> Any:
    """An equal value whose dicts have the opposite insertion order at every level."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(PLAIN)
def test_equal_dicts_have_one_payload(value: Any) -> None:
    assert turned(value) == value
    assert encode_payload([value]) == encode_payload([turned(value)])
    assert json.loads(encode_payload([value])) == [value]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda kind: kind.__name__)
@given(value=PLAIN)
def test_equal_instances_have_one_payload_in_the_order_of_their_fields(holder: Any, value: Any) -> None:
    encoded = encode_payload(holder(zeta=value))
    assert encoded == encode_payload(holder(zeta=turned(value)))
    assert list(json.loads(encoded)) == ["zeta", "alpha"]
    assert encode_payload({"in": [holder(zeta=value)]}) == b'{"in":[' + encoded + b"]}"


def test_a_pydantic_model_has_one_payload_with_its_fields_in_order() -> None:
    def built(*, turn: bool) -> Everything:
        def way(value: dict[str, Any]) -> dict[str, Any]:
            return turned(value) if turn else value

        inner = way({"b": ModelHolder(zeta=way({"y": 1, "x": 2})), "a": ModelHolder(zeta=1)})
        rows = [DataHolder(way({"q": 1, "p": 2}))]
        given = {"zetaAlias": inner, "tags": frozenset("cab"), "rows": rows, "mapped": way({"n": 1, "m": 2})}
        return Everything.model_validate(given | {"kept": {"extra": way({"e": 1, "d": 2})}})

    assert built(turn=False) == built(turn=True)
    # The serializer adds a field that cannot be decoded.
    encoded = encode_payload(built(turn=False), verified=False)
    assert encoded == encode_payload(built(turn=True), verified=False)
    shown = json.loads(encoded)
    assert list(shown) == ["zetaAlias", "tags", "rows", "mapped", "kept", "alpha", "computed"]
    assert list(shown["zetaAlias"]) == ["a", "b"]
    assert list(shown["zetaAlias"]["b"]) == ["zeta", "alpha"]
    assert list(shown["zetaAlias"]["b"]["zeta"]) == ["x", "y"]
    assert shown["tags"] == ["a", "b", "c"]
    assert list(shown["mapped"]) == ["m", "n"]
    assert list(shown["kept"]["extra"]) == ["d", "e"]
    assert shown["rows"][-1] == {"a": 2, "z": 1}


class Open(pydantic.BaseModel, extra="allow"):
    zeta: Any = 0
    alpha: Any = 0

    @pydantic.computed_field
    def half(self) -> float:
        return float(self.alpha) / 2


def test_extra_fields_of_a_model_are_sorted_by_name_after_the_declared_ones() -> None:
    first = Open.model_validate({"y": {2, 1}, "alpha": 4, "x": 1})
    second = Open.model_validate({"x": 1, "y": {1, 2}, "alpha": 4})
    assert first == second
    stored = [encode_payload(model, verified=False) for model in (first, second)]
    assert stored == [b'{"zeta":0,"alpha":4,"x":1,"y":[1,2]}'] * 2


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({10: "b", 9: "a"}, b'{"10":"b","9":"a"}'),
        ({None: 1, True: 2, 1.5: 3, "a": 4, 7: 5}, b'{"1.5":3,"7":5,"a":4,"null":1,"true":2}'),
        ({UUID(int=1): 1}, b'{"00000000-0000-0000-0000-000000000001":1}'),
        ({10, 9}, b"[9,10]"),
        ({(2, "b"), (10, "a")}, b'[[10,"a"],[2,"b"]]'),
        ({"b", 1, None}, b'["b",1,null]'),
        ({frozenset({2, 1}), frozenset({0})}, b"[[0],[1,2]]"),
    ],
)
def test_keys_and_members_are_sorted_by_their_text(value: Any, stored: bytes) -> None:
    assert encode_payload(value) == stored


def test_sets_have_one_payload_in_processes_that_hash_differently() -> None:
    code = """
import pydantic
from asynq.client.payload import encode_payload
class Model(pydantic.BaseModel):
    tags: set[str]
tags = set("abcdefgh")
print(encode_payload({"tags": tags, "model": Model(tags=tags), "pairs": {(tag, 1) for tag in tags}}))
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in "123"
    }
    assert len(told) == 1


def test_equal_dicts_share_a_lock_and_an_entry() -> None:
    first, second = Task("a", {"x": 1, "y": {"b": 1, "a": 2}}), Task("a", {"y": {"a": 2, "b": 1}, "x": 1})
    unique = Options(unique=timedelta(hours=1))
    keys = {compose(task, unique, lambda: "id").message.unique_key for task in (first, second)}
    entries = {Entry.of("@hourly", task, Options(), UTC).id for task in (first, second)}
    assert len(keys) == len(entries) == 1
    assert first == second


def test_bytes_and_text_are_unchanged() -> None:
    assert Task("a", b'{"b":1,"a":2}').payload == Task("a", '{"b":1,"a":2}').payload == b'{"b":1,"a":2}'
