"""`TaskFunction`: a function that is a task: a call makes the task, and a worker runs the function."""

from __future__ import annotations

from functools import update_wrapper
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from asynq.client.payload import progress_check
from asynq.client.task import Task
from asynq.client.task_type import TaskDefinition
from asynq.handlers.arguments import Arguments
from asynq.result_types import ResultTypes

G2 = TypeVar("G2")

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Concatenate, Generic, Never

    # Type checkers know this module without an installation.
    from typing_extensions import ParamSpec
    from typing_extensions import TypeVar as TypeVarWithDefault

    from asynq.handlers.context import Context

    F_co = TypeVarWithDefault("F_co", bound=Callable[..., Any], covariant=True, default=Any)
    A = ParamSpec("A", default=...)
    R = TypeVarWithDefault("R", default=Any)
    G = TypeVarWithDefault("G", default=Any)
    # Of the decorator alone.
    A2 = ParamSpec("A2")
    R2 = TypeVar("R2")
    S2 = TypeVar("S2")

    class _OfFunctions(Generic[F_co, A, R, G]):
        """A function with these types."""

else:
    F_co = A = R = G = Any

    class _OfFunctions:
        """Accepts any number of type arguments at run time, as `asynq.result_types.OfResults` does."""

        __class_getitem__ = classmethod(GenericAlias)


class TaskFunction(_OfFunctions[F_co, A, R, G], TaskDefinition[R, G]):
    """A function that is a task, made by `ServeMux.task`.

    A call takes the arguments of the function, without the context, and makes a task. The payload is a JSON
    object of the arguments by name, with defaults filled in. It does not call the function: `fn` is the
    function itself, for tests.
    """

    fn: F_co
    """The function."""

    def __init__(
        self,
        function: Any,
        task_type: str,
        *,
        progress: Any,
        options: Mapping[str, Any],
        others: Iterable[str] = (),
    ) -> None:
        self._arguments = Arguments.of(function)
        self._progress_check = progress_check(progress)
        types = ResultTypes(self._arguments.result, progress)
        super().__init__(task_type, types, options, "mux.task", ["progress", *others])
        self.fn = function
        update_wrapper(self, function)
        self.__signature__ = self._arguments.signature

    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> Task[R, G]:
        """A task with these arguments.

        Raises:
            TypeError: the function does not take these arguments, or a worker could not decode them.
        """
        payload = self._arguments.payload(self.type, args, kwargs)
        return Task.of_parts(self.type, payload, self.options, self.result_types)

    def run(self, ctx: Context, task: Task) -> Any:
        """Call the function with the arguments of the task. Raises PayloadError if they cannot be decoded."""
        ctx.progress_check = self._progress_check
        return self._arguments.call(self.fn, ctx, task.type, task.payload)

    def __reduce__(self) -> str:
        # By its name, as functions are: a process with handlers imports it.
        return self._arguments.name


class TaskDecorator(Protocol[G2]):
    """What `ServeMux.task` returns: makes a TaskFunction of a function, which may take the context first.

    Its coroutines contain no Any: mypy could then not choose between the overloads of `Client.wait`.
    """

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context[S2], A2], Coroutine[Any, Any, R2]], /
    ) -> TaskFunction[Callable[Concatenate[Context[S2], A2], Coroutine[object, Never, R2]], A2, R2, G2]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context[S2], A2], R2], /
    ) -> TaskFunction[Callable[Concatenate[Context[S2], A2], R2], A2, R2, G2]: ...

    @overload
    def __call__(
        self, function: Callable[A2, Coroutine[Any, Any, R2]], /
    ) -> TaskFunction[Callable[A2, Coroutine[object, Never, R2]], A2, R2, G2]: ...

    @overload
    def __call__(self, function: Callable[A2, R2], /) -> TaskFunction[Callable[A2, R2], A2, R2, G2]: ...
