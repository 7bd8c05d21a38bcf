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
_TYPES = {"int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
"""Numbers of FieldDescriptorProto.Type."""
_MESSAGE = 11
_OPTIONAL, _REPEATED = 1, 3
"""Numbers of FieldDescriptorProto.Label."""
_MAP_ENTRY = b"\x38\x01"
"""MessageOptions: map_entry = 7 is true."""


def message_classes(package: str, tables: Mapping[str, Mapping[int, tuple[str, str]]]) -> dict[str, Any]:
    """Return the message classes of a proto3 file, by name.

    Args:
        package: Protobuf package.
        tables: For each message, the name and type of each field by its number. Types are written as in a
            .proto file: "string", "repeated string", "map<string, int32>", or another message of the file.
    """
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor(package, tables))
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in tables
    }


def decode_error() -> type[Exception]:
    """The class of the error that a message class raises if it cannot parse data."""
    from google.protobuf.message import DecodeError

    return DecodeError


def descriptor(package: str, tables: Mapping[str, Mapping[int, tuple[str, str]]]) -> bytes:
    """The FileDescriptorProto of a proto3 file, encoded. The arguments are those of `message_classes`.

    It is encoded here because the classes of protobuf that do so take up more memory than all others.
    """
    messages = [_field(4, _message(package, name, fields)) for name, fields in tables.items()]
    return b"".join(
        (_field(1, f"{package}.proto"), _field(2, package), *messages, _field(12, "proto3")),
    )


def _message(package: str, name: str, fields: Mapping[int, tuple[str, str]]) -> bytes:
    """A DescriptorProto."""
    encoded = [_field(1, name)]
    for number, (field, kind) in fields.items():
        if found := _MAP.fullmatch(kind):
            entry = f"{field.title().replace('_', '')}Entry"
            pair = _member(1, "key", found[1], package), _member(2, "value", found[2], package)
            encoded.append(_field(3, b"".join((_field(1, entry), *pair, _field(7, _MAP_ENTRY)))))
            encoded.append(_member(number, field, f"repeated {name}.{entry}", package))
        else:
            encoded.append(_member(number, field, kind, package))
    return b"".join(encoded)


def _member(number: int, name: str, kind: str, package: str) -> bytes:
    """A field of a message, as part of its DescriptorProto."""
    single = kind.removeprefix("repeated ")
    label = _OPTIONAL if single == kind else _REPEATED
    kind_fields = (
        (_field(5, _MESSAGE), _field(6, f".{package}.{single}"))
        if single[0].isupper()
        else (_field(5, _TYPES[single]),)
    )
    return _field(2, b"".join((_field(1, name), _field(3, number), _field(4, label), *kind_fields)))


def _field(number: int, value: bytes | str | int) -> bytes:
    """A field in the encoding of protobuf: its tag, then a varint or a length and so many bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Encode a number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
