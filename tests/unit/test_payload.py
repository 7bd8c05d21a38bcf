from __future__ import annotations

import dataclasses
import enum
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from asynq.client.payload import encode_payload, payload_decoder
from asynq.errors import PayloadError, SkipRetry


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Item:
    name: str
    count: int = attrs.field(default=1, validator=attrs.validators.gt(0))


@attrs.define
class AttrsOrder:
    id: int
    items: list[Item] = attrs.Factory(list)
    by_name: dict[str, Item] = attrs.Factory(dict)
    note: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED


@dataclasses.dataclass(frozen=True, slots=True)
class DataOrder:
    id: int
    items: list[Item] = dataclasses.field(default_factory=list)
    by_name: dict[str, Item] = dataclasses.field(default_factory=dict)
    note: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ValueError("id must not be negative")


class StructOrder(msgspec.Struct):
    id: int
    items: list[Item] = []
    by_name: dict[str, Item] = {}
    note: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED


class ModelItem(pydantic.BaseModel):
    name: str
    count: int = 1


class ModelOrder(pydantic.BaseModel):
    id: int
    items: list[ModelItem] = []
    by_name: dict[str, ModelItem] = {}
    note: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    renamed: str = pydantic.Field("x", alias="reNamed")


@pydantic.dataclasses.dataclass
class ModelData:
    id: int
    name: str = pydantic.Field(default="a", max_length=3)


AT = datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC)

VALUES: list[Any] = [
    AttrsOrder(1, [Item("a")], {"b": Item("b", 2)}, "n", AT),
    DataOrder(1, [Item("a")], {"b": Item("b", 2)}, "n", AT),
    StructOrder(1, [Item("a")], {"b": Item("b", 2)}, "n", AT),
    ModelOrder(id=1, items=[ModelItem(name="a")], by_name={"b": ModelItem(name="b")}, at=AT, reNamed="y"),
    ModelData(1, "abc"),
    AttrsOrder(0),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_decoding_reverses_encoding(value: Any) -> None:
    assert payload_decoder(type(value))("t", encode_payload(value)) == value


# --- encoding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"\xff\x00", b"\xff\x00"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        ("grün", "grün".encode()),
        ("", b""),
        ({"b": 1, "a": [1.5, None, True, "ü"]}, '{"a":[1.5,null,true,"ü"],"b":1}'.encode()),
        ((1, 2), b"[1,2]"),
        (None, b"null"),
        (Item("a"), b'{"name":"a","count":1}'),
        ([{"item": Item("a")}], b'[{"item":{"name":"a","count":1}}]'),
        ({"model": ModelItem(name="a")}, b'{"model":{"name":"a","count":1}}'),
        (ModelOrder(id=1, reNamed="y"), None),
    ],
)
def test_a_value_is_stored_unchanged_or_as_compact_json(value: Any, stored: bytes | None) -> None:
    encoded = encode_payload(value)
    if stored is None:
        assert json.loads(encoded)["reNamed"] == "y"
    else:
        assert encoded == stored


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@attrs.frozen
class Holder:
    value: Any


def test_a_dict_may_contain_whatever_a_class_may_contain() -> None:
    values = {
        "at": AT,
        "day": date(2024, 1, 1),
        "id": UUID(int=1),
        "price": Decimal("1.50"),
        "colour": Colour.RED,
        "raw": b"bytes",
        "tags": {"b", "a"},
    }
    assert json.loads(encode_payload({"deep": [values]})) == {
        "deep": [
            {
                "at": "2024-02-29T12:00:00.000005Z",
                "day": "2024-01-01",
                "id": "00000000-0000-0000-0000-000000000001",
                "price": "1.50",
                "colour": "red",
                "raw": "Ynl0ZXM=",
                "tags": ["a", "b"],
            }
        ]
    }


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ({"a": object()}, TypeError),
        ({"a": {object()}}, TypeError),
        ({(1, 2): 3}, TypeError),
        ({float("nan"): 3}, TypeError),
        ({1: "a", "1": "b"}, ValueError),
        (Holder({True: "a", "true": "b"}), ValueError),
        (Item, TypeError),
        (float("nan"), TypeError),
        ([float("-inf")], TypeError),
        (Holder(float("nan")), TypeError),
        (Holder(object()), TypeError),
        (ModelItem, TypeError),
        ("\ud800", ValueError),
        ({"a": "\udfff"}, ValueError),
        (Holder("\ud800"), ValueError),
        (endless(), ValueError),
        (deep(), ValueError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_cannot_be_stored_is_refused_with_its_type(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^the_option"):
        encode_payload(value, "the_option")


# --- decoding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "it is empty, .*missing required field"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field"),
        (b'{"id":"1"}', r"Expected `int`, got `str` - at `\$.id`"),
        (b'{"id":true}', "got `bool`"),
        (b'{"id":1.5}', "got `float`"),
        (b'{"id":1,"items":[{"name":"a"},{"name":1}]}', r"at `\$.items\[1\].name`"),
        (b'{"id":1,"by_name":{"x":{"name":"a","count":0}}}', "must be > 0"),
        (b'{"id":1,"at":"yesterday"}', "RFC3339"),
        (b'{"id":1,"colour":"blue"}', "Invalid enum value 'blue'"),
        (b'{"id":1,"note":7}', r"Expected `str \| null`"),
    ],
)
@pytest.mark.parametrize("kind", [AttrsOrder, DataOrder, StructOrder])
def test_a_mismatch_with_the_type_is_refused_with_its_location(
    kind: type[Any], payload: bytes, reason: str
) -> None:
    with pytest.raises(PayloadError, match=reason) as refused:
        payload_decoder(kind)("order:paid", payload)
    assert refused.value.type == "order:paid"
    assert isinstance(refused.value, SkipRetry)


@attrs.frozen
class Rich:
    _private: int
    at: datetime
    id: UUID
    colour: Colour
    tags: frozenset[str]
    raw: bytes
    pair: tuple[int, Item]
    struct: StructOrder


def test_fields_keep_their_order_and_types_that_json_lacks() -> None:
    value = Rich(1, AT, UUID(int=1), Colour.RED, frozenset("cab"), b"\xff", (1, Item("a")), StructOrder(2))
    encoded = encode_payload(value)
    assert list(json.loads(encoded)) == ["_private", "at", "id", "colour", "tags", "raw", "pair", "struct"]
    assert json.loads(encoded)["tags"] == ["a", "b", "c"]
    assert payload_decoder(Rich)("t", encoded) == value


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (ModelOrder, b"{"),
        (ModelOrder, b'{"id":"x"}'),
        (ModelData, b'{"id":1,"name":"too long"}'),
        (DataOrder, b'{"id":-1}'),
    ],
)
def test_a_value_that_its_class_refuses_is_refused(kind: type[Any], payload: bytes) -> None:
    with pytest.raises(PayloadError):
        payload_decoder(kind)("t", payload)


@pytest.mark.parametrize("kind", [AttrsOrder, DataOrder, StructOrder, ModelOrder])
def test_unknown_fields_are_ignored_so_that_producers_may_be_newer(kind: type[Any]) -> None:
    assert payload_decoder(kind)("t", b'{"id":7,"added_later":[1]}').id == 7


def test_containers_of_declared_types_can_be_payloads() -> None:
    assert payload_decoder(list[Item])("t", b'[{"name":"a"}]') == [Item("a")]


class Undeclared:
    def __init__(self, a: int) -> None: ...


@attrs.frozen
class Unresolvable:
    a: Missing  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("kind", [Undeclared, Unresolvable, 7, "Order"])
def test_a_type_that_cannot_be_decoded_is_refused_at_declaration(kind: Any) -> None:
    with pytest.raises(TypeError, match="payload="):
        payload_decoder(kind)
