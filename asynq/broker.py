"""The one door between the queue and the store: Broker, its events, and finding one by URL."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from attrs import frozen

from asynq.errors import BrokerURLError, UnsupportedOperationError
from asynq.ops import Enqueue, EnqueueTick, all_operations
from asynq.sizes import too_large

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.ops import Op

T = TypeVar("T")

ENTRY_POINT_GROUP = "asynq.backends"
_KNOWN = frozenset(all_operations())


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do, as data: printed in reports, asked by callers instead of its name."""

    backend: str
    """Short name for messages: "redis", "sqlite", ..."""
    durability: Literal["none", "process", "power", "replicated"]
    """What an acknowledged write survives: nothing, a crash of its process, of the machine, of a server."""
    multi_process: bool
    """True if several processes can share the broker; it can then be pickled to them."""
    wakeup: Literal["push", "poll"] = "push"
    """push: an idle listener is told of new tasks; poll: it is not."""
    groups: bool = True
    """False: an Enqueue into a group is refused with UnsupportedOperationError."""
    unsupported: frozenset[type[Op[object]]] = frozenset()
    """Operations that answer UnsupportedOperationError; none of `asynq.ops.CORE`."""
    max_value_bytes: int | None = None
    """Most bytes of a payload together with its headers, and of a result: an operation that brings a larger
    one is refused with PayloadTooLargeError or ResultTooLargeError. None: no limit is stated."""

    def supports(self, *operations: type[Op[Any]]) -> bool:
        """True if all of these operations are supported."""
        return self.unsupported.isdisjoint(operations)

    def refusal(self, op: Op[Any]) -> AsynqError | None:
        """The answer to an operation a backend with these capabilities does not carry out; else None.

        UnsupportedOperationError, PayloadTooLargeError or ResultTooLargeError.
        """
        if type(op) not in _KNOWN or not self.supports(type(op)):
            return UnsupportedOperationError(type(op).__name__, self.backend)
        enqueue = op.enqueue if isinstance(op, EnqueueTick) else op
        if isinstance(enqueue, Enqueue) and enqueue.message.group and not self.groups:
            return UnsupportedOperationError("groups", self.backend)
        return too_large(op, self.max_value_bytes)


@frozen
class Wake:
    """A queue may have tasks now. Also sent when a listener was (re)armed: look once."""

    queue: str | None = None


@frozen
class CancelRequested:
    """Somebody wants the run of a task to end."""

    task_id: str
    queue: str | None = None
    """None: whichever queue (a Go peer does not say)."""
    then: Literal["archive", "retry"] = "retry"


Event = Wake | CancelRequested


class Listener(Protocol):
    """A stream of events. A lost event delays work, it never loses it: whoever waits also polls."""

    async def arm(self, queues: Sequence[str]) -> None:
        """From now on tell of changes in these queues. Look once after arming."""
        ...

    async def disarm(self) -> None:
        """Tell of queues no more; cancellations still come."""
        ...

    async def next(self) -> Event:
        """The next event; waits for it, over any number of reconnections. Safe to cancel."""
        ...

    async def aclose(self) -> None:
        """Free what the listener holds; a waiting `next` ends with BrokerUnavailable."""
        ...


class Watcher(Protocol):
    """Tells when single tasks change, whoever changes them. A lost word delays: whoever waits also polls."""

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:
        """A future that is done when the task has changed, or when a change would be told no longer.

        Look at the task once after this returned. The future may be done without a change; cancel it when it
        is of no more use. BrokerUnavailable or BrokerRefusedError when nothing would be told.
        """
        ...

    async def aclose(self) -> None:
        """Free what the watcher holds; all its futures are done. Watching again begins anew."""
        ...


class Broker(Protocol):
    """Keeps tasks and executes operations on them: one object, a plain face and an awaited one.

    A broker may be used from any thread and any event loop, and again after a fork; each face connects
    when it is first used. Errors are AsynqErrors, always. `execute_many` promises neither order nor
    atomicity between its operations, except that enqueues into one queue keep their order; it answers in
    the order asked, an AsynqError in the place of an answer where one operation was refused. When the
    broker cannot be reached it raises BrokerUnavailable for them all.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        ...

    @property
    def clock(self) -> Clock | None:
        """The clock operations go by; None: the store's own time."""
        ...

    def execute(self, op: Op[T], /) -> T:
        """Carry out one operation and answer, or raise its error."""
        ...

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Carry out many operations with as few round trips as possible."""
        ...

    def close(self) -> None:
        """Free the plain face's connections. Using the broker again opens them again."""
        ...

    async def aexecute(self, op: Op[T], /) -> T:
        """`execute`, awaited."""
        ...

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """`execute_many`, awaited."""
        ...

    async def aclose(self) -> None:
        """Free the connections the running event loop uses."""
        ...

    def listener(self) -> Listener:
        """A stream of this broker's events, for the running event loop."""
        ...

    def watcher(self) -> Watcher:
        """Tells of changes to single tasks, for the running event loop."""
        ...


def connect(url: str) -> Broker:
    """The broker a URL names. Nothing is sent yet: the first operation connects.

    The scheme decides the backend, found among the entry points of the group `asynq.backends`; a backend
    registers one `connect(url) -> Broker` per scheme. BrokerURLError (a ValueError) when the URL cannot be
    read or nothing is registered for its scheme; TypeError when it is no str.
    """
    if not isinstance(url, str):
        raise TypeError(f"a broker URL must be a str, not {type(url).__name__}")
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise BrokerURLError(without_secrets(url), str(error)) from None
    if not scheme or "://" not in url:
        raise BrokerURLError(without_secrets(url), _shape(url))
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in registered:
        known = ", ".join(sorted(registered)) or "none: is the package installed?"
        raise BrokerURLError(
            without_secrets(url), f"no backend is registered for scheme {scheme!r} (known: {known})"
        )
    broker: Broker = registered[scheme].load()(url)
    return broker


def path_of(url: str) -> str:
    """The file a URL names: `scheme:///tasks` relative to the working directory, `scheme:////var/tasks` not.

    For the `connect` of a backend without options: BrokerURLError when there is anything else in the URL.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or parts.query or parts.fragment:
        raise BrokerURLError(
            without_secrets(url), f"it is {parts.scheme}:/// and the path of a file, nothing else"
        )
    return path


def require(broker: Broker, *operations: type[Op[Any]]) -> None:
    """Refuse a broker that lacks one of these operations: UnsupportedOperationError names it."""
    for operation in operations:
        if not broker.capabilities.supports(operation):
            raise UnsupportedOperationError(operation.__name__, broker.capabilities.backend)


def _shape(url: str) -> str:
    """What is wrong with a URL that has no "://"."""
    scheme, colon, rest = url.partition(":")
    if colon and not rest[:1].isdecimal() and "/" not in scheme:
        slashes = "///" if scheme == "sqlite" else "//"
        return f"after {scheme + ':'!r} comes {slashes!r}; write for example {_EXAMPLES}"
    return f"it has no scheme; write for example {_EXAMPLES}"


_EXAMPLES = "redis://127.0.0.1:6379, or sqlite:///tasks.db for a file"


def without_secrets(url: str) -> str:
    """The URL as it may be shown: userinfo and query values that may hold passwords are masked."""
    head, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    # A password may hold an unescaped "/", "?" or "@", so all before the last "@" counts as userinfo.
    if "@" in rest and not rest.startswith("/"):
        rest = f"***@{rest.rpartition('@')[2]}"
    base, question, query = rest.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = "&".join(
        f"{name}{equals}{'***' if 'password' in name.lower() else value}" for name, equals, value in pairs
    )
    return f"{head}://{base}{question}{shown}"


def resolve(broker: Broker | str) -> tuple[Broker, bool]:
    """A broker from what a user gave, and whether the caller now owns it and must close it.

    TypeError for what is neither.
    """
    if isinstance(broker, str):
        return connect(broker), True
    if isinstance(broker, type) or not callable(getattr(broker, "execute", None)):
        given = f"the class {broker.__name__}" if isinstance(broker, type) else type(broker).__name__
        raise TypeError(f"broker must be a Broker or a URL, not {given}")
    return broker, False
