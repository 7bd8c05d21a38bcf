"""Codecs of pydantic types: written in a form that their own validation accepts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import TypeAdapter

UNRESOLVED = (
    "annotations are evaluated when the program runs: import what they name outside of `if TYPE_CHECKING:`, "
    "and define it at the top level of a module"
)


def is_pydantic(kind: Any) -> bool:
    """True for models, pydantic dataclasses and types such as SecretStr; does not import pydantic."""
    return hasattr(kind, "__pydantic_validator__") or hasattr(kind, "__get_pydantic_core_schema__")


def fields_of(kind: Any) -> Mapping[str, Any]:
    """The declared fields of a pydantic class by name; empty for any other type."""
    found: Mapping[str, Any] = getattr(kind, "__pydantic_fields__", None) or {}
    return found


@frozen(eq=False)
class ModelCodec:
    """Dumps and validates values of one type."""

    adapter: TypeAdapter[Any]
    by_alias: bool
    """True if fields are written by their aliases. Validation reads each field by the name it is written
    by."""
    round_trip: bool
    """True to leave out computed fields, which validation would refuse, and to write Json fields as text."""

    @classmethod
    def of(cls, kind: Any, *, of_container: bool = False) -> ModelCodec:
        """The codec of a class, or of a container of classes. Raises what pydantic raises for other types.

        Other types in a container are decoded as msgspec decodes them.
        """
        from pydantic import ConfigDict, TypeAdapter

        config = ConfigDict(strict=True, val_json_bytes="base64") if of_container else None
        parts = list(parts_of(kind))
        by_alias = not any(map(_is_renamed, parts))
        return cls(TypeAdapter(kind, config=config), by_alias, any(map(_needs_round_trip, parts)))

    def dump(self, value: Any) -> Any:
        """The value as JSON's own types."""
        return self.adapter.dump_python(
            value, mode="json", by_alias=self.by_alias, round_trip=self.round_trip, warnings=False
        )

    def validate(self, data: bytes) -> Any:
        """The value of a JSON text. Raises what validation raises."""
        if self.by_alias:
            return self.adapter.validate_json(data)
        return self.adapter.validate_json(data, by_alias=True, by_name=True)


def reason_of(error: Exception) -> str:
    """Why a value was refused: the messages and paths of pydantic's errors, without the values."""
    from_pydantic = getattr(error, "errors", None) if hasattr(error, "error_count") else None
    if from_pydantic is None:
        return str(error)
    found = from_pydantic(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{each['msg']} - at `{'.'.join(map(str, ('$', *each['loc'])))}`" for each in found)


codec_of_class = lru_cache(maxsize=1024)(ModelCodec.of)
"""The codec of a class, cached."""


def check_model(kind: Any, *, of_container: bool = False) -> None:
    """TypeError when no value of a pydantic type can be decoded again, or the type is incomplete."""
    for part in parts_of(kind):
        for name, field in fields_of(part).items():
            if field.exclude is True and field.is_required():
                raise TypeError(
                    f"field {name!r} of {part.__name__} is excluded from what is written (exclude=True), but "
                    "required when it is read: give it a default"
                )
    from pydantic.errors import PydanticUserError

    try:
        ModelCodec.of(kind, of_container=of_container).adapter.rebuild(raise_errors=True)
    except NameError as error:
        raise TypeError(f"{str(error).partition(chr(10))[0]}; {UNRESOLVED}") from error
    except (PydanticUserError, TypeError) as error:
        raise TypeError(str(error).partition("\n")[0]) from error


def _is_renamed(part: Any) -> bool:
    """True for a class with a field that is written by one name and read by another."""
    from pydantic.fields import FieldInfo

    if isinstance(part, FieldInfo):
        return part.validation_alias is not None
    config = _config(part)
    return any(
        (field.serialization_alias or name) not in _read_as(name, field, config)
        for name, field in fields_of(part).items()
    )


def _read_as(name: str, field: Any, config: Mapping[str, Any]) -> set[str]:
    """The names under which validation finds a field."""
    alias = field.validation_alias
    if alias is None or config.get("validate_by_alias") is False:
        return {name}
    names = {name} if config.get("populate_by_name") or config.get("validate_by_name") else set()
    for choice in getattr(alias, "choices", [alias]):
        path = getattr(choice, "path", [choice])
        if len(path) == 1 and isinstance(path[0], str):
            names.add(path[0])
    return names


def _needs_round_trip(part: Any) -> bool:
    from pydantic import Json

    if part is Json or isinstance(part, Json):
        return True
    computed = fields_of(part) and part.__pydantic_decorators__.computed_fields
    return bool(computed) and _config(part).get("extra") in ("forbid", "allow")


def _config(part: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(part, "model_config", None) or getattr(part, "__pydantic_config__", {})
    return found


def parts_of(kind: Any, *, within_models: bool = True) -> Iterator[Any]:
    """Everything that a type consists of: arguments, metadata, and the same for the fields of classes."""
    seen: dict[int, Any] = {}
    waiting = [kind]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        yield part
        if within_models or not is_pydantic(part):
            waiting += _inside(part)


def _inside(part: Any) -> Iterable[Any]:
    if get_origin(part) is Literal:
        return
    if get_origin(part) is Annotated:
        yield from part.__metadata__
    yield from get_args(part)
    for field in fields_of(part).values():
        yield field.annotation
        yield from field.metadata
    # NewType and `type X = ...`.
    for known in ("__supertype__", "__value__"):
        if hasattr(part, known):
            yield getattr(part, known)
    if not fields_of(part) and isinstance(part, type):
        yield from _hints(part)


def _hints(kind: type[Any]) -> Iterable[Any]:
    """The types that a TypedDict, a NamedTuple or a dataclass declares."""
    from typing import get_type_hints

    if not hasattr(kind, "__annotations__") or kind.__module__ in ("builtins", "typing"):
        return ()
    try:
        return get_type_hints(kind, include_extras=True).values()
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        return ()
