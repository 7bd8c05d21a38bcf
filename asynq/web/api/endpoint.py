"""`Endpoint`: one row of the table of the API, and the door through which it is asked.

An endpoint is a function of a call and of what is asked, a Struct. The API fills the Struct from the path,
the query and the body of a request; pages make it themselves. Both call the endpoint, which checks the role
of the user, the rate and whether anything may be changed at all, and keeps the audit.
"""

from __future__ import annotations

import re
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import NODEFAULT, Struct

from asynq.web.api.errors import RequestError
from asynq.web.audit import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynq.web.call import WebCall

A = TypeVar("A", bound=Struct)
T = TypeVar("T")
MAX_SAID = 2_000
"""Characters of what an audit says of an action."""
Method = Literal["GET", "POST", "PUT", "DELETE"]


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an endpoint without parameters is asked."""


class Endpoint(Generic[A, T]):
    """One operation of the API. Call it with a call and what is asked."""

    def __init__(
        self,
        method: Method,
        path: str,
        handler: Callable[[WebCall, A], Awaitable[T]],
        *,
        asked: type[A],
        answer: type[T],
        says: Callable[[A], str] | None,
        bulk: bool,
    ) -> None:
        self.method = method
        self.path = path
        """Below "/api", with the names of the parameters in braces."""
        self.handler = handler
        self.name = handler.__name__
        self.asked = asked
        self.answer = answer
        """Type of the answer; NoneType for an answer without a body."""
        self.bulk = bulk
        """Whether it may look at, or change, any number of tasks: users may do so only so often."""
        self._says = says

    @property
    def changes(self) -> bool:
        """Whether it changes anything. It is then for operators only."""
        return self.method != "GET"

    @property
    def tag(self) -> str:
        """Name of its resource."""
        return self.handler.__module__.rpartition(".")[2]

    @property
    def description(self) -> str:
        """What it does, in Markdown."""
        return (self.handler.__doc__ or "").strip()

    def says(self, asked: A) -> str:
        """What will happen, as an imperative, for confirmations and the audit. It is cut, unlike names."""
        text = self._says(asked) if self._says else self.description.partition(".")[0]
        return text if len(text) <= MAX_SAID else f"{text[:MAX_SAID]}…"

    @cached_property
    def path_parameters(self) -> frozenset[str]:
        """Names of the fields of `asked` that are in the path."""
        return frozenset(re.findall(r"\{(\w+)\}", self.path))

    @cached_property
    def parameters(self) -> type[Struct]:
        """The fields of `asked` that are in the path or in the query, as a Struct."""
        return self._part("Parameters", in_body=False)

    @cached_property
    def body(self) -> type[Struct] | None:
        """The fields of `asked` that are in the body; None if it has none."""
        body = self._part("Body", in_body=True)
        return body if body.__struct_fields__ else None

    def _part(self, suffix: str, *, in_body: bool) -> type[Struct]:
        has_body = self.method in ("POST", "PUT")
        fields = [
            (each.name, each.type, _default_of(each))
            for each in msgspec.structs.fields(self.asked)
            if (has_body and each.name not in self.path_parameters) is in_body
        ]
        name = "".join(word.title() for word in self.name.split("_")) + suffix
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)

    async def __call__(self, call: WebCall, asked: A) -> T:
        """Do what is asked, if the user may."""
        self.check_rights(call)
        if self.bulk:
            self._check_rate(call)
        if not self.changes:
            return await self.handler(call, asked)
        outcome = Outcome(user=call.user.name, action=self.name, what=self.says(asked))
        call.outcome = outcome
        try:
            answer = await self.handler(call, asked)
        except Exception as error:
            if not outcome.continues:
                call.web.audit.failed(outcome, error)
            raise
        if not outcome.continues:
            call.web.audit.ended(outcome)
        return answer

    def check_rights(self, call: WebCall) -> None:
        """Refuse a change that the user may not make, whatever is asked. RequestError if so."""
        if self.changes and call.refusal is not None:
            code, reason = call.refusal
            raise RequestError(403, code, reason)

    def _check_rate(self, call: WebCall) -> None:
        if wait := call.web.bulk_rate.take(call.user.name):
            raise RequestError(
                429,
                "too_many_bulk_actions",
                "too many bulk actions in a minute",
                {"Retry-After": str(ceil(wait))},
            )


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default if field.default is not NODEFAULT else NODEFAULT


def endpoint(
    method: Method,
    path: str,
    *,
    asked: type[A],
    answer: type[T],
    says: Callable[[A], str] | None = None,
    bulk: bool = False,
) -> Callable[[Callable[[WebCall, A], Awaitable[T]]], Endpoint[A, T]]:
    """Make an endpoint of a function. Its docstring is the documentation of the endpoint.

    Args:
        method: GET for what only reads.
        path: Below "/api".
        asked: What the function is asked. On GET and DELETE, fields that are not in the path are parameters
            of the query; on POST and PUT they are members of the body, a JSON object.
        answer: What it answers.
        says: What will happen, as an imperative. By default the first sentence of the docstring.
        bulk: Whether it may look at, or change, any number of tasks: users may do so only so often.
    """

    def decorate(handler: Callable[[WebCall, A], Awaitable[T]]) -> Endpoint[A, T]:
        return Endpoint(method, path, handler, asked=asked, answer=answer, says=says, bulk=bulk)

    return decorate
