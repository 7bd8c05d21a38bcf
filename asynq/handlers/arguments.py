"""`Arguments`: the arguments of a function as a payload: from a call to JSON, and from JSON to a call."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import msgspec
from attrs import frozen

from asynq.client.codecs.pydantic_models import UNRESOLVED
from asynq.client.payload import payload_decoder, payload_encoder
from asynq.handlers.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Parameter, Signature

CONTEXT_NAME = "ctx"
"""Name of a first parameter without an annotation that takes the context."""
_IMMUTABLE = (str, int, float, bool, bytes, type(None))


@frozen(eq=False)
class Arguments:
    """The parameters of a function, except the context: a JSON object with a field for each."""

    name: str
    """Name of the function."""
    takes_context: bool
    """True if the first parameter is the context."""
    signature: Signature
    """The parameters, without the context."""
    result: Any
    """The declared type of the result; bytes if none is declared."""
    kind: Any
    """The payload: a msgspec.Struct with a field for each parameter."""
    encode: Callable[[str, object], bytes]
    decode: Callable[[str, bytes], Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Arguments:
        """The arguments of a function.

        TypeError for anything but a function, for `*args` and `**kwargs`, and for an annotation that cannot
        be evaluated, or whose values JSON cannot express.
        """
        if not inspect.isfunction(function):
            raise TypeError(f"mux.task decorates functions, not {function!r}")
        name, signature, hints = function.__qualname__, inspect.signature(function), _hints(function)
        parameters = list(signature.parameters.values())
        for each in parameters:
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                raise TypeError(f"{name}: a task has named arguments, not {each}")
        takes_context = bool(parameters) and _is_context(name, parameters[0], hints)
        if takes_context:
            del parameters[0]
        kind = msgspec.defstruct(
            function.__name__,
            [(each.name, hints.get(each.name, Any), _field(each)) for each in parameters],
            kw_only=True,
            module=function.__module__,
        )
        try:
            encode, decode = payload_encoder(kind), payload_decoder(kind)
        except TypeError as error:
            raise TypeError(f"{name}: an argument cannot be decoded: {error.__cause__ or error}") from error
        result = hints.get("return", Any)
        return cls(
            name,
            takes_context,
            signature.replace(parameters=parameters),
            bytes if result is Any else result,
            kind,
            encode,
            decode,
        )

    def payload(self, task_type: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The payload of a call. TypeError if the function does not take these arguments."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        return self.encode(task_type, self.kind(**bound.arguments))

    def call(self, function: Callable[..., Any], ctx: Context, task_type: str, payload: bytes) -> Any:
        """Call the function with the arguments of a payload. Raises PayloadError if it cannot be decoded."""
        given = self.decode(task_type, payload)
        args = [ctx] if self.takes_context else []
        keywords = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                keywords[name] = getattr(given, name)
            else:
                args.append(getattr(given, name))
        return function(*args, **keywords)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{function.__qualname__}: {error}; {UNRESOLVED}") from error


def _is_context(name: str, first: Parameter, hints: dict[str, Any]) -> bool:
    """True if the first parameter takes the context. TypeError if this is not certain."""
    if first.kind is first.KEYWORD_ONLY:
        return False
    if first.name not in hints:
        if first.name == CONTEXT_NAME:
            return True
        raise TypeError(f"{name}: annotate {first.name!r}, or name the first parameter {CONTEXT_NAME!r}")
    hint = hints[first.name]
    if hint in (Any, object):
        raise TypeError(f"{name}: annotate {first.name!r} more precisely: it could take the Context too")
    known = get_origin(hint) or hint
    return isinstance(known, type) and issubclass(known, Context)


def _field(parameter: Parameter) -> Any:
    """The default of a parameter as that of a field."""
    default = parameter.default
    if default is parameter.empty:
        return msgspec.NODEFAULT
    return default if isinstance(default, _IMMUTABLE) else msgspec.field(default_factory=lambda: default)
