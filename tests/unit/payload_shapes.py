"""Hypothesis strategies for declared payload types and their values."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union
from uuid import UUID

import attrs
import msgspec
import pydantic
import typing_extensions
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable


class Shape(NamedTuple):
    """A type, and values of this type."""

    kind: Any
    values: st.SearchStrategy[Any]
    hashable: bool = False
    is_key: bool = False
    """Whether it can be the type of dict keys."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Name(enum.StrEnum):
    ANN = "ann"
    BOB = "bob"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)

LEAVES = [
    Shape(int, st.integers(-(2**70), 2**70), True, True),
    Shape(bool, st.booleans(), True),
    Shape(float, FINITE, True, True),
    Shape(str, TEXT, True, True),
    Shape(bytes, st.binary(max_size=8), True),
    Shape(datetime, st.datetimes(timezones=st.none() | ZONES), True, True),
    Shape(date, st.dates(), True, True),
    Shape(time, st.times(), True, True),
    Shape(timedelta, st.timedeltas(timedelta(days=-9999), timedelta(days=9999)), True, True),
    Shape(UUID, st.uuids(), True, True),
    Shape(Decimal, st.decimals(allow_nan=False, allow_infinity=False), True, True),
    Shape(Colour, st.sampled_from(Colour), True, True),
    Shape(Name, st.sampled_from(Name), True, True),
    Shape(Size, st.sampled_from(Size), True, True),
    Shape(Right, st.sampled_from(Right), True),
    Shape(Literal["a", "b"], st.sampled_from(["a", "b"]), True, True),
    Shape(Literal[1, 2], st.sampled_from([1, 2]), True),
]


NAMES = ["alpha", "b_eta", "gamma"]


def is_raw(kind: Any) -> bool:
    """True for types whose values are sent unchanged, not as JSON."""
    return kind in (str, bytes, Name, Literal["a", "b"])


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[Shape]) -> Shape:
    shape = draw(inner)
    kind: Any = shape.kind
    values = shape.values
    made = draw(st.sampled_from(["list", "set", "dict", "tuple", "tuples", "optional"]))
    if made == "list":
        return Shape(GenericAlias(list, kind), st.lists(values, max_size=3))
    if made == "tuple":
        other = draw(inner)
        both = shape.hashable and other.hashable
        return Shape(GenericAlias(tuple, (kind, other.kind)), st.tuples(values, other.values), both)
    if made == "tuples":
        several = st.lists(values, max_size=3).map(tuple)
        return Shape(GenericAlias(tuple, (kind, ...)), several, shape.hashable)
    if made == "dict":
        key = draw(st.sampled_from([leaf for leaf in LEAVES if leaf.is_key]))
        return Shape(GenericAlias(dict, (key.kind, kind)), st.dictionaries(key.values, values, max_size=3))
    if made == "set" and shape.hashable:
        return Shape(GenericAlias(set, kind), st.sets(values, max_size=3))
    return Shape(Union[kind, None], st.none() | values, shape.hashable)  # noqa: UP007


@st.composite
def classes(draw: st.DrawFn, inner: st.SearchStrategy[Shape], made: list[str]) -> Shape:
    shapes = {name: draw(inner) for name in NAMES[: draw(st.integers(1, 3))]}
    hints = {name: shape.kind for name, shape in shapes.items()}
    kind = draw(declarations(hints, made))
    build = by_name(kind) if hasattr(kind, "model_validate") else kind
    values = st.fixed_dictionaries({name: shape.values for name, shape in shapes.items()})
    return Shape(kind, values.map(lambda fields: build(**fields)))


def by_name(kind: type[pydantic.BaseModel]) -> Callable[..., pydantic.BaseModel]:
    return lambda **fields: kind.model_validate(fields, by_alias=True, by_name=True)


def attrs_class(name: str, hints: dict[str, Any]) -> Any:
    return attrs.define(type(name, (), {"__annotations__": hints}))


@st.composite
def declarations(draw: st.DrawFn, hints: dict[str, Any], made: list[str]) -> Any:
    match draw(st.sampled_from(made)):
        case "attrs":
            return attrs_class("Attrs", hints)
        case "dataclass":
            return dataclasses.make_dataclass("Data", hints.items(), slots=draw(st.booleans()))
        case "struct":
            options: list[Any] = [{}, {"tag": True}, {"array_like": True}, {"rename": "camel"}]
            return msgspec.defstruct("Struct", list(hints.items()), **draw(st.sampled_from(options)))
        case "typeddict":
            return typing_extensions.TypedDict("Dict", hints)  # type: ignore[operator]
        case "namedtuple":
            return NamedTuple("Named", hints.items())
    return draw(models(hints))


@st.composite
def models(draw: st.DrawFn, hints: dict[str, Any]) -> type[pydantic.BaseModel]:
    """A model with fields that have aliases or not, and that forbids, ignores or keeps extra fields."""
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        read, written = {"validation_alias": f"{name}?"}, {"serialization_alias": f"{name}!"}
        names: Any = draw(st.sampled_from([{}, {"alias": f"{name}!"}, read, written, read | written]))
        fields[name] = (hint, pydantic.Field(**names))
    config = pydantic.ConfigDict(
        extra=draw(st.sampled_from(["forbid", "ignore", "allow"])),
        populate_by_name=draw(st.booleans()),
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )
    base: Any = pydantic.create_model("Fields", __config__=config, **fields)

    class Computing(base):  # type: ignore[misc]
        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def computed(self) -> int:
            return 7

    chosen: type[pydantic.BaseModel] = draw(st.sampled_from([base, Computing]))
    return chosen


PLAIN = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=4)
IN_MODELS = PLAIN | classes(PLAIN, ["dataclass", "namedtuple", "typeddict"])
MODELS = st.recursive(IN_MODELS, lambda inner: classes(inner, ["model"]) | containers(inner), max_leaves=4)
SHAPES = st.recursive(
    PLAIN | classes(MODELS, ["model"]),
    lambda inner: (
        containers(inner) | classes(inner, ["attrs", "dataclass", "struct", "typeddict", "namedtuple"])
    ),
    max_leaves=5,
)
"""Types composed of those that the documentation lists as supported, with values."""
