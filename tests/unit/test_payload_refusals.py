"""Payloads that do not round-trip are refused: types at declaration, instances at enqueue."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from asynq.client.client import Client
from asynq.client.payload import encode_payload, encode_result, payload_decoder
from asynq.client.task import Task
from asynq.errors import PayloadError
from tests.unit.payload_classes import (
    LOGIN,
    Anything,
    Base,
    Bases,
    Box,
    Cat,
    Derived,
    Dog,
    Excluding,
    Incomplete,
    Login,
    Model,
    ModelData,
    Name,
    Numbers,
    Page,
    Pair,
    Pets,
    Raw,
    Shouting,
    Slug,
    T,
    Tree,
    Unresolvable,
    WithModelData,
    WithPath,
    WithUnion,
    Wrong,
)

# --- what no handler can declare ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (str | None, "cannot be distinguished from"),
        (bytes | None, "cannot be distinguished from"),
        (int | str, "cannot be distinguished from"),
        (Name | None, "cannot be distinguished from"),
        (Slug | None, "cannot be distinguished from"),
        (Literal["a", 1], "cannot be distinguished from"),
        (Any, "declare no type"),
        (object, "declare no type"),
        (T, "declare no type"),
        (Excluding, r"field 'a' of Excluding is excluded .* give it a default"),
        (list[Excluding], "give it a default"),
        (WithPath, "Path has no form in JSON"),
        (complex, "complex has no form in JSON"),
        (Incomplete, "import what they name outside of `if TYPE_CHECKING:`"),
        (Unresolvable, "import what they name outside of `if TYPE_CHECKING:`"),
        (WithModelData, "ModelData is a pydantic dataclass within"),
        (WithUnion, "make the class that contains it a pydantic class"),
        (Cat | Dog, "give the union a discriminator"),
        (list[Cat | int], "give the union a discriminator"),
        (tuple[Pets, str | datetime], "str-like"),
        (list[str | datetime], "str-like"),
        (list[Base | Tree], "more than one"),
        (dict[bool, int], "the keys of a dict"),
        (dict[tuple[int, int], int], "the keys of a dict"),
        (dict[int | str, int], "the keys of a dict"),
        (dict[Literal["1", 1], int], "(the keys of a dict|needs msgspec 0.22)"),
        (Pair, "Enums"),
        (msgspec.Raw, "declare what they hold"),
        (7, "not supported"),
        ("Model", "not supported"),
    ],
    ids=str,
)
def test_a_type_that_does_not_round_trip_is_refused_at_declaration(kind: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=rf"^payload=.* cannot be decoded: .*{reason}"):
        payload_decoder(kind)


# --- what is refused at the enqueue -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "reason"),
    [
        (Wrong(), ValueError, r"Expected `str`, got `null` - at `\$.name`; fix"),
        (Base("1"), ValueError, r"Expected `int`, got `str` - at `\$.a`"),  # type: ignore[arg-type]
        (Anything(date(2024, 1, 1)), ValueError, r"date .* at \$.value arrives as str '2024-01-01'"),
        (Anything({1: 2}), ValueError, r"at \$.value arrives as dict"),
        (Anything(Base()), ValueError, r"Base .* at \$.value arrives as dict"),
        (Bases([Base(), Derived()]), ValueError, r"Derived\(.* at \$.all\[1\] arrives as Base"),
        (Box(Anything({1})), ValueError, r"Anything .*set \{1\} at \$.value arrives as list"),
        (Page(items=[Model(a=1)]), ValueError, r"at \$.items\[0\] arrives as dict"),
        (LOGIN, ValueError, r"the secret at \$.password is not written"),
        (pydantic.SecretStr("hunter2"), ValueError, "the secret"),
        (Shouting(name="a"), ValueError, r"str 'a' at \$.name arrives as str 'A'"),
        (Model.model_construct(a="text"), ValueError, r"should be a valid integer.* - at `\$.a`"),
        (Numbers(value=float("nan")), TypeError, "JSON compliant"),
        (Numbers(value=float("inf")), TypeError, "JSON compliant"),
        (Raw(raw=b"\xff"), ValueError, "utf-8"),
        (Excluding(a=1), TypeError, "give it a default"),
        (WithModelData(ModelData()), TypeError, "BaseModel.* or enqueue a dict"),
        (WithUnion(1), TypeError, "a pydantic class"),
        (Unresolvable(1), TypeError, "TYPE_CHECKING"),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"deep": [(value,)]}], ids=["", "in"])
def test_an_instance_that_does_not_round_trip_is_refused_at_enqueue(
    value: Any, error: type[Exception], reason: str, wrap: Any
) -> None:
    with pytest.raises(error, match=f"^payload.*{reason}") as refused:
        Task("t", wrap(value))
    assert "hunter2" not in str(refused.value)


def test_a_refused_payload_is_not_enqueued() -> None:
    with Client("memory://") as client, pytest.raises(ValueError, match=r"Expected `int`"):
        client.enqueue(Task("t", Base("1")))  # type: ignore[arg-type]


def test_a_dict_is_not_verified() -> None:
    assert Task("t", dataclasses.asdict(Wrong())).json() == {"name": None}


@pytest.mark.parametrize("value", [Wrong(), LOGIN, Unresolvable(1)])  # type: ignore[arg-type]
def test_a_result_is_not_verified(value: Any) -> None:
    stored = encode_result(value)
    assert stored == encode_payload(value, verified=False)
    assert b"hunter2" not in (stored or b"")


def test_a_pydantic_error_names_locations_but_no_values() -> None:
    with pytest.raises(PayloadError) as refused:
        payload_decoder(list[Login])("t", b'[{"password":["hunter2"]}]')
    assert str(refused.value).endswith("Input should be a valid string - at `$.password` - at `$[0]`")
