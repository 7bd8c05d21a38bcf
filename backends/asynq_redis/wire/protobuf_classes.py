"""Build protobuf message classes from tables instead of generated code.

Protobuf is loaded when the first classes are built: a lease keeper process handles no tasks and never needs
it. Each call uses its own descriptor pool. In protobuf's process-wide pool another library may have
registered a file of the same name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAP = re.compile(r"map<(\w+), (\w+)>")


def message_classes(package: str, tables: Mapping[str, Mapping[int, tuple[str, str]]]) -> dict[str, Any]:
    """Return the message classes of a proto3 file, by name.

    Args:
        package: Protobuf package.
        tables: For each message, the name and type of each field by its number. Types are written as in a
            .proto file: "string", "repeated string", "map<string, int32>", or another message of the file.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, fields in tables.items():
        _add_message(file, message, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in tables
    }


def decode_error() -> type[Exception]:
    """The class of the error that a message class raises if it cannot parse data."""
    from google.protobuf.message import DecodeError

    return DecodeError


def _add_message(file: Any, name: str, fields: Mapping[int, tuple[str, str]]) -> None:
    message = file.message_type.add(name=name)
    for number, (field, kind) in fields.items():
        if found := _MAP.fullmatch(kind):
            entry = message.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            _add_field(entry, 1, "key", found[1], file.package)
            _add_field(entry, 2, "value", found[2], file.package)
            _add_field(message, number, field, f"repeated {name}.{entry.name}", file.package)
        else:
            _add_field(message, number, field, kind, file.package)


def _add_field(message: Any, number: int, name: str, kind: str, package: str) -> None:
    single = kind.removeprefix("repeated ")
    added = message.field.add(name=name, number=number)
    kinds = type(added)
    added.label = kinds.LABEL_OPTIONAL if single == kind else kinds.LABEL_REPEATED
    if single[0].isupper():
        added.type, added.type_name = kinds.TYPE_MESSAGE, f".{package}.{single}"
    else:
        added.type = kinds.Type.Value(f"TYPE_{single.upper()}")
