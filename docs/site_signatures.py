"""Signatures of classes whose `__init__` is generated (attrs, msgspec), for the API reference of the site.

griffe reads the source and sees no `__init__` there. This extension asks the class for its fields.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import attrs
import griffe
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_IMPORTED = ("asynq.bench", "asynq.cli", "asynq.demo")
"""Programs: no classes of the reference, and modules that want other packages."""


class GeneratedSignatures(griffe.Extension):
    """Adds the `__init__` that attrs or msgspec generate."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """See griffe.Extension."""
        module = cls.module.path
        if "__init__" in cls.members or not (cls.decorators or cls.bases) or module.startswith(NOT_IMPORTED):
            return
        kind = getattr(import_module(module), cls.name, None)
        if isinstance(kind, type) and (attrs.has(kind) or issubclass(kind, msgspec.Struct)):
            own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
            parameters = griffe.Parameters(own, *(parameter(cls, *each) for each in fields(kind)))
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters, parent=cls))


def fields(kind: type) -> Iterator[tuple[str, object, bool]]:
    """Name, default and whether it is keyword-only, of each argument. msgspec.NODEFAULT: without default."""
    if not attrs.has(kind):
        names, defaults = kind.__struct_fields__, kind.__struct_defaults__  # type: ignore[attr-defined]
        none = [msgspec.NODEFAULT] * (len(names) - len(defaults))
        yield from ((name, default, True) for name, default in zip(names, [*none, *defaults], strict=True))
        return
    for each in attrs.fields(kind):
        if each.init:
            default = msgspec.NODEFAULT if each.default is attrs.NOTHING else each.default
            yield each.alias, default, each.kw_only


def parameter(cls: griffe.Class, name: str, default: object, keyword_only: bool) -> griffe.Parameter:  # noqa: FBT001 - a field of a tuple
    """An argument, with its default and, if this class declares it, its annotation."""
    declared = cls.members.get(name)
    kinds = griffe.ParameterKind
    text = repr(default)
    if text.startswith(("<", "Factory")):
        text = "..."
    return griffe.Parameter(
        name,
        kind=kinds.keyword_only if keyword_only else kinds.positional_or_keyword,
        annotation=declared.annotation if isinstance(declared, griffe.Attribute) else None,
        default=None if default is msgspec.NODEFAULT else text,
    )
