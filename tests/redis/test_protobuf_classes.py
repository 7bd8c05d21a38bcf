"""The description of messages is what protobuf's own classes would write."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from asynq_redis.wire.protobuf_classes import descriptor


def described(tables: dict[str, dict[int, tuple[str, str]]]) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(descriptor("shop", tables))


def test_a_file_has_its_package_its_syntax_and_its_messages_in_order() -> None:
    file = described({"B": {}, "A": {}})
    assert (file.name, file.package, file.syntax) == ("shop.proto", "shop", "proto3")
    assert [message.name for message in file.message_type] == ["B", "A"]


@pytest.mark.parametrize("kind", ["int32", "int64", "bool", "string", "bytes"])
def test_a_field_has_the_type_of_its_name(kind: str) -> None:
    (message,) = described({"A": {536_870_911: ("amount", kind)}}).message_type
    expected = FieldDescriptorProto(
        name="amount",
        number=536_870_911,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}"),
    )
    assert list(message.field) == [expected]


def test_a_field_may_be_a_list_or_another_message() -> None:
    (message, _) = described({"A": {1: ("names", "repeated string"), 2: ("one", "B")}, "B": {}}).message_type
    names, one = message.field
    assert (names.label, names.type) == (
        FieldDescriptorProto.LABEL_REPEATED,
        FieldDescriptorProto.TYPE_STRING,
    )
    assert (one.label, one.type) == (FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_MESSAGE)
    assert one.type_name == ".shop.B"


def test_a_map_is_a_list_of_entries() -> None:
    (message,) = described({"A": {3: ("by_name", "map<string, int32>")}}).message_type
    (entry,) = message.nested_type
    assert (entry.name, entry.options.map_entry) == ("ByNameEntry", True)
    assert [(field.name, field.number, field.type) for field in entry.field] == [
        ("key", 1, FieldDescriptorProto.TYPE_STRING),
        ("value", 2, FieldDescriptorProto.TYPE_INT32),
    ]
    (field,) = message.field
    assert (field.number, field.label, field.type_name) == (
        3,
        FieldDescriptorProto.LABEL_REPEATED,
        ".shop.A.ByNameEntry",
    )
