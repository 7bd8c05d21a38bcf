"""`TaskType`: a task that is defined once, for the programs that enqueue it and the workers that run it."""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any, Unpack, get_origin, is_typeddict, overload

from asynq.checks import check_name
from asynq.client.codecs.canonical import writer_of
from asynq.client.codecs.pydantic_models import reason_of
from asynq.client.options import TypeKeywords, options_of
from asynq.client.payload import payload_encoder, result_decoder, shown_type
from asynq.client.task import Task
from asynq.result_types import G_co, OfResults, R_co, ResultTypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Generic

    # Type checkers know this module without an installation.
    from typing_extensions import ParamSpec, TypeVar

    from asynq.client.options import Options

    P = TypeVar("P", default=Any)
    R = TypeVar("R", default=Any)
    G = TypeVar("G", default=Any)
    A = ParamSpec("A", default=...)
    # Of the constructor alone.
    P2 = TypeVar("P2")
    R2 = TypeVar("R2")
    G2 = TypeVar("G2")
    A2 = ParamSpec("A2")

    class _OfTypes(Generic[P, R, G, A]):
        """A definition with these types."""

else:
    P = R = G = A = Any

    class _OfTypes:
        """Accepts any number of type arguments at run time, as `asynq.result_types.OfResults` does."""

        __class_getitem__ = classmethod(GenericAlias)


class TaskDefinition(OfResults[R_co, G_co]):
    """What all tasks of a type have in common, besides their payloads.

    A program that has only the id of a task passes it to `wait`, `stream` and `get` for the types.
    """

    type: str
    """Type of the task."""
    options: Options
    """Default options of each task, including headers."""
    result_types: ResultTypes
    """Types of the result and of the progress."""

    def __init__(
        self,
        task_type: str,
        types: ResultTypes,
        options: Mapping[str, Any],
        caller: str = "TaskType",
        others: Iterable[str] = (),
    ) -> None:
        """`caller` and `others` are for the message about an unknown option: see `options_of`."""
        check_name("type", task_type)
        for name in ("deadline", "process_at", "then"):
            if name in options:
                raise TypeError(f"{name} is an option of one task, not of a type: pass it to enqueue")
        self.type = task_type
        self.options = options_of(caller, options, others)
        self.result_types = types

    def __repr__(self) -> str:
        given = (f", {name}={value!r}" for name, value in self.options.given().items())
        return f"{type(self).__name__}({self.type!r}{''.join(given)})"


class TaskType(_OfTypes[P, R, G, A], TaskDefinition[R, G]):
    """The definition of a task: its type, the types of its payload and result, and its default options.

    A call makes a task: with the arguments of the payload's class, or with the payload itself. Type checkers
    see both. `mux.handler(task_type)` registers its handler. The definition imports no handler, so a program
    that only enqueues the task can import it.

    For type checkers, `TaskType[P, R]` is a definition whose payload is a `P` and whose result is an `R`.

    Args:
        type: type of the task.
        payload: type of the payload: any type that a handler may declare, see
            `asynq.client.payload.payload_decoder`. None: the task has no payload.
        result: type of the result, to which `Client.wait` decodes it; None: the handler returns nothing.
        progress: type of what a handler writes with `Context.write_result` while it runs; by default bytes.
        headers: key-value texts that are stored with each task.
        **options: options of each task, unless the call of `enqueue` overrides them; see
            `asynq.Options`. The instants `deadline` and `process_at` are no options of a type.

    Raises:
        TypeError: a type cannot be decoded, or an option has the wrong type; the message names it.
        ValueError: an option has an invalid value; the message names it.
    """

    payload: Any
    """Type of the payload; None if the task has none."""

    # Without a result, with a type, and with a form that type checkers do not take for one: `Invoice | None`.
    @overload
    def __init__(
        self: TaskType[None, None, bytes, []],
        type: str,
        payload: None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[None, R2, bytes, []],
        type: str,
        payload: None = None,
        *,
        result: type[R2],
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[None, R2, G2, []],
        type: str,
        payload: None = None,
        *,
        result: type[R2],
        progress: type[G2],
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[P2, None, bytes, A2],
        type: str,
        payload: Callable[A2, P2],
        *,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[P2, R2, bytes, A2],
        type: str,
        payload: Callable[A2, P2],
        *,
        result: type[R2],
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[P2, R2, G2, A2],
        type: str,
        payload: Callable[A2, P2],
        *,
        result: type[R2],
        progress: type[G2],
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[P2, Any, Any, A2],
        type: str,
        payload: Callable[A2, P2],
        *,
        result: object = None,
        progress: object = bytes,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: TaskType[Any, Any, Any, ...],
        type: str,
        payload: object = None,
        *,
        result: object = None,
        progress: object = bytes,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None: ...

    def __init__(
        self,
        type: str,  # noqa: A002 - as Task's
        payload: Any = None,
        *,
        result: Any = None,
        progress: Any = bytes,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TypeKeywords],
    ) -> None:
        if payload is Task:
            raise TypeError("payload=Task: leave it out; a handler of a type without a payload gets the Task")
        super().__init__(type, ResultTypes(result, progress), {"headers": headers, **options})
        self.payload = payload
        self._encode = None if payload is None else payload_encoder(payload)
        for declared in (result, progress):
            result_decoder(declared)

    @overload
    def __call__(self, payload: P, /) -> Task[R, G]: ...

    @overload
    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> Task[R, G]: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Task[Any, Any]:
        """A task with this payload, or with the payload that these arguments make.

        Raises:
            TypeError: the arguments make no payload, or one that the handler could not decode or would get
                altered.
        """
        payload = self._payload(args, kwargs)
        encoded = None if payload is None or self._encode is None else self._encode(self.type, payload)
        return Task.of_parts(self.type, encoded, self.options, self.result_types)

    def _payload(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.payload is None:
            if args or kwargs:
                raise TypeError(f"task {self.type!r} has no payload: call it without arguments")
            return None
        instance = _class_with_fields(self.payload)
        if len(args) == 1 and not kwargs and (instance is None or isinstance(args[0], instance)):
            return args[0]
        if instance is None:
            raise TypeError(f"task {self.type!r} takes one argument: its payload, {shown_type(self.payload)}")
        try:
            return self.payload(*args, **kwargs)
        except ValueError as error:
            raise TypeError(f"task {self.type!r}: {reason_of(error)}") from error


def _class_with_fields(kind: Any) -> type[Any] | None:
    """The class of the values that a call of the type with their fields makes; None for any other type."""
    if is_typeddict(kind):
        return dict
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and (writer_of(origin) is not None or hasattr(origin, "_fields")):
        return origin
    return None
