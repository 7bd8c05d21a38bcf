"""Every supported type round-trips: a typed handler receives the enqueued value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynq.client.payload import payload_decoder
from asynq.client.task import Task
from asynq.errors import PayloadError
from tests.unit.payload_classes import (
    AttrsWithModel,
    Base,
    Box,
    Cat,
    Colour,
    Computing,
    DataWithModel,
    Dog,
    Model,
    ModelData,
    ModelTree,
    Name,
    Named,
    Nested,
    Numbers,
    OpenLogin,
    Page,
    Partly,
    Pets,
    RawBase64,
    Renamed,
    Row,
    Short,
    SlottedBox,
    Slug,
    StructWithModel,
    Texts,
    Tree,
    Typed,
    UserId,
    WithoutEquality,
    renamed,
)
from tests.unit.payload_shapes import LEAVES, SHAPES, attrs_class, is_raw

MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

# --- what arrives as it was sent ----------------------------------------------------------------------

ROUND_TRIPS: list[tuple[Any, Any]] = [
    (list[Model], [Model(a=1), Model(a=2, b="y")]),
    (dict[str, Model], {"k": Model(a=1)}),
    (dict[UUID, list[Model | None]], {UUID(int=1): [Model(a=1), None]}),
    (DataWithModel, DataWithModel(Model(a=1), {"k": renamed}, Model(a=2))),
    (AttrsWithModel, AttrsWithModel([Model(a=1)], Computing(a=2))),
    (StructWithModel, StructWithModel(Model(a=1), AttrsWithModel([], Computing(a=2)), (renamed,))),
    (list[StructWithModel], [StructWithModel(Model(a=1), AttrsWithModel([], Computing(a=2)))]),
    (Short, Short()),
    (Short, Short(2, [1], 3)),
    (Row, Row(1, Model(a=1))),
    (Typed, {"a": 1, "model": Model(a=1)}),
    (Named, Named(1, Model(a=1))),
    (Computing, Computing(a=1)),
    (Texts, Texts.model_validate({"whole": "[1,2]", "parts": ["3"], "anything": '{"a":[]}'})),
    (Renamed, renamed),
    (Nested, Nested(renamed=renamed, computing=[Computing(a=1)], added=[1])),  # type: ignore[call-arg]
    (OpenLogin, OpenLogin(password=pydantic.SecretStr("secret"))),
    (Numbers, Numbers(value=1e300)),
    (RawBase64, RawBase64(raw=b"\xff\x00")),
    (Page[Model], Page[Model](items=[Model(a=1)])),
    (ModelData, ModelData(other=3)),
    (list[ModelData], [ModelData(other=3)]),
    (Pets, Dog()),
    (tuple[Pets, bytes], (Dog(), b"\xff")),
    (list[Pets], [Dog(lives=1), Cat(lives=1)]),
    (pydantic.HttpUrl, pydantic.HttpUrl("http://example.com/")),
    (Tree, Tree(1, [Tree(2), Tree(3, [Tree(4)])])),
    (ModelTree, ModelTree(value=1, children=[ModelTree(value=2)])),
    (Box[Model], Box[Model](Model(a=1))),
    (Box[Model], Box(Model(a=1))),
    (SlottedBox[Box[date]], SlottedBox(Box[date](date(2024, 1, 1)))),
    (str, "abc"),
    (str, '{"a":1}'),
    (str, ""),
    (Slug, "a-b"),
    (Name, Name.ANN),
    (Literal["a", "b"], "a"),
    (bytes, b"\xff\x00"),
    (bytes, b""),
    (bytearray, bytearray(b"ab")),
    (Colour, Colour.RED),
    (UserId, 7),
    (int, 2**70),
    (int | None, 3),
    (int | None, None),
    (Model | None, Model(a=1)),
    (Model | None, None),
    (datetime, datetime(2024, 2, 29, 12, tzinfo=UTC)),
    (datetime, datetime(2024, 2, 29, 12)),  # noqa: DTZ001 - without a zone on purpose
    (set[int], {3, 1}),
    (tuple[int, str], (1, "a")),
]


@pytest.mark.parametrize(("kind", "value"), ROUND_TRIPS, ids=str)
def test_a_value_of_a_supported_type_arrives_unchanged(kind: Any, value: Any) -> None:
    arrived = payload_decoder(kind)("t", Task("t", value).payload)
    assert arrived == value
    assert type(arrived) is type(value)


@MANY
@given(st.data())
def test_any_value_of_any_supported_type_arrives_unchanged(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    value = data.draw(shape.values)
    members = getattr(shape.kind, "__args__", ())
    if type(None) in members and any(map(is_raw, members)):
        with pytest.raises(TypeError, match="cannot be distinguished from"):
            payload_decoder(shape.kind)
        return
    arrived = payload_decoder(shape.kind)("t", Task("t", value).payload)
    assert arrived == value
    assert type(arrived) is type(value)


@MANY
@given(st.data())
def test_a_field_of_another_type_than_declared_is_refused_or_arrives_equal(data: st.DataObject) -> None:
    declared, held = data.draw(st.sampled_from(LEAVES)), data.draw(st.sampled_from(LEAVES))
    kind = attrs_class("Kind", {"field": declared.kind})
    value = kind(data.draw(held.values))
    try:
        task = Task("t", value)
    except ValueError as error:
        assert str(error).startswith("payload: a handler that declares Kind ")  # noqa: PT017
    else:
        assert payload_decoder(kind)("t", task.payload) == value


@dataclass
class Moment:
    at: list[datetime]


class ModelMoment(pydantic.BaseModel):
    at: list[datetime]


def test_missing_fields_arrive_as_their_defaults() -> None:
    sent = Partly(a=1, cache=object())
    sent._private = 5
    assert payload_decoder(Partly)("t", Task("t", sent).payload) == Partly(a=1)


@pytest.mark.parametrize(
    "at", ["2026-10-25T02:30", "2026-10-25T02:30/1", "2026-03-29T02:30", "2026-07-01T02:30"]
)
@pytest.mark.parametrize("holder", [Moment, ModelMoment])
def test_a_time_near_a_change_of_its_zone_arrives_as_the_same_instant(holder: Any, at: str) -> None:
    wall, _, fold = at.partition("/")
    sent = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=int(fold or 0))
    arrived = payload_decoder(holder)("t", Task("t", holder(at=[sent])).payload)
    assert [moment.astimezone(UTC) for moment in arrived.at] == [sent.astimezone(UTC)]


def test_a_time_with_an_offset_that_json_cannot_express_is_refused() -> None:
    with pytest.raises(ValueError, match="would get another"):
        Task("t", Moment(at=[datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))]))


def test_a_sequence_arrives_as_a_list() -> None:
    arrived = payload_decoder(WithoutEquality)("t", Task("t", WithoutEquality((1, 2))).payload)
    assert arrived.values == [1, 2]


def test_fields_are_read_by_name_and_by_alias() -> None:
    decode = payload_decoder(Renamed)
    assert decode("t", b'{"read":1,"path":[5],"both":6}') == renamed
    assert decode("t", Task("t", renamed).payload) == renamed


def test_computed_fields_are_sent_if_the_class_ignores_them() -> None:
    class Ignoring(Computing):
        model_config = pydantic.ConfigDict(extra="ignore")

    assert Task("t", Ignoring(a=1)).payload == b'{"a":1,"twice":2}'
    assert Task("t", Computing(a=1)).payload == b'{"a":1}'


# --- no payload ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Base, Base()),
        (Cat, Cat()),
        (Short, Short()),
        (dict[str, int], {}),
        (int | None, None),
        (Cat | None, None),
        (None | Base, None),
        (str, ""),
        (bytes, b""),
    ],
)
def test_a_handler_of_a_task_without_payload_gets_none_or_the_defaults(kind: Any, given: Any) -> None:
    assert payload_decoder(kind)("t", Task("t").payload) == given


@pytest.mark.parametrize("kind", [Model, Tree, list[int], int])
def test_a_missing_payload_is_refused_if_the_type_requires_one(kind: Any) -> None:
    with pytest.raises(PayloadError, match="it is empty"):
        payload_decoder(kind)("t", b"")
