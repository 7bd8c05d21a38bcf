"""Classes for tests of payloads. Most have a feature that makes a round trip difficult."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence  # noqa: TC003 - annotations of payloads are evaluated
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pydantic.dataclasses

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")


class Model(pydantic.BaseModel):
    a: int
    b: str = "x"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


class Computing(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.a


class Texts(pydantic.BaseModel):
    whole: pydantic.Json[list[int]]
    parts: list[pydantic.Json[int]] = []
    anything: pydantic.Json[Any] = None


class Renamed(pydantic.BaseModel):
    one: int = pydantic.Field(validation_alias="read", serialization_alias="written")
    two: int = pydantic.Field(
        validation_alias=pydantic.AliasChoices("choice", pydantic.AliasPath("path", 0)), default=2
    )
    three: int = pydantic.Field(alias="both", default=3)


class Nested(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    renamed: Renamed
    computing: list[Computing]


class Partly(pydantic.BaseModel):
    a: int
    cache: Any = pydantic.Field(default=None, exclude=True)
    _private: int = pydantic.PrivateAttr(0)


class Excluding(pydantic.BaseModel):
    a: int = pydantic.Field(exclude=True)


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class OpenLogin(Login):
    @pydantic.field_serializer("password", when_used="json")
    def _written(self, password: pydantic.SecretStr) -> str:
        return password.get_secret_value()


class Numbers(pydantic.BaseModel):
    value: float | None


class Raw(pydantic.BaseModel):
    raw: bytes


class RawBase64(Raw):
    model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Shouting(pydantic.BaseModel):
    name: str

    @pydantic.field_serializer("name")
    def _written(self, name: str) -> str:
        return name.upper()


class Incomplete(pydantic.BaseModel):
    a: Fraction


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


@pydantic.dataclasses.dataclass
class ModelData:
    a: int = pydantic.Field(alias="other", default=1)


@dataclasses.dataclass
class DataWithModel:
    model: Model
    by_name: dict[str, Renamed] = dataclasses.field(default_factory=dict)
    maybe: Model | None = None


@attrs.define
class AttrsWithModel:
    models: list[Model]
    _private: Computing


class StructWithModel(msgspec.Struct, rename="camel", tag=True):
    the_model: Model
    inner: AttrsWithModel
    others: tuple[Renamed, ...] = ()


class Short(msgspec.Struct, omit_defaults=True):
    a: int = 1
    b: list[int] = []
    c: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, tag="row", array_like=True):
    a: int
    model: Model


class Typed(TypedDict, total=False):
    a: int
    model: Model


class Named(NamedTuple):
    a: int
    model: Model


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


class ModelTree(pydantic.BaseModel):
    value: int
    children: list[ModelTree] = []


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass(slots=True)
class SlottedBox(Generic[T]):
    content: T


@dataclasses.dataclass(eq=False)
class WithoutEquality:
    values: Sequence[int]


@dataclasses.dataclass
class Base:
    a: int = 1


@dataclasses.dataclass
class Derived(Base):
    b: int = 2


@dataclasses.dataclass
class Bases:
    all: list[Base]


@dataclasses.dataclass
class Anything:
    value: Any


@dataclasses.dataclass
class WithPath:
    path: Path


@dataclasses.dataclass
class WithModelData:
    data: ModelData


@dataclasses.dataclass
class WithUnion:
    union: Model | int


@dataclasses.dataclass
class Unresolvable:
    value: Fraction


@dataclasses.dataclass
class Wrong:
    name: str = None  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = "red"


class Name(enum.StrEnum):
    ANN = "ann"


class Pair(enum.Enum):
    ONE = (1, 2)


UserId = NewType("UserId", int)
Slug = NewType("Slug", str)
Pets = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
LOGIN = Login(password=pydantic.SecretStr("hunter2"))
renamed = Renamed.model_validate({"read": 1, "choice": 5, "both": 6})
