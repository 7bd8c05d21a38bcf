"""Requests to a Redis server: commands and script calls."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import hiredis
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_redis.lua.scripts import LuaScript


Arg = str | bytes | int

packed: Callable[[tuple[Arg, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub: one word only
"""A command as the server reads it."""


def size_of(args: Sequence[Arg]) -> int:
    """Approximate size of arguments in bytes. Integers and the encoding of text are ignored."""
    return sum([len(arg) for arg in args if not isinstance(arg, int)])


_KEYLESS = frozenset(
    {"PING", "ECHO", "PUBLISH", "TIME", "INFO", "CONFIG", "CLIENT", "CLUSTER", "SCAN", "SCRIPT"}
)
_KEY_BEHIND = {"MEMORY": 2, "OBJECT": 2, "XINFO": 2}
"""Index of the first key in two-word commands. In other commands it is the first argument."""


@define(slots=False)
class Command:
    """A Redis command. All its keys are in one slot."""

    args: tuple[Arg, ...]
    best_effort: bool = field(default=False, kw_only=True)
    """True if the request is given up early when its server fails and all other requests are answered."""
    slot: int | None = field(default=None, kw_only=True)
    """For a command without a key: send it to the server that owns this slot of a Cluster."""
    durable: bool = field(default=False, kw_only=True)
    """Whether `min_replicas` applies to what it writes. See LuaScript."""
    size: int = field(eq=False, kw_only=True)
    """Approximate size in bytes."""

    fail_fast: ClassVar[bool] = False

    @size.default
    def _size(self) -> int:
        return size_of(self.args)

    @cached_property
    def packed(self) -> bytes:
        """The command as the server reads it."""
        return packed(self.args)

    @property
    def key(self) -> Arg | None:
        """The key that selects the server. None if any server can answer."""
        word = str(self.args[0]).upper()
        return None if word in _KEYLESS else self.args[_KEY_BEHIND.get(word, 1)]


class ScriptRequest(Protocol):
    """A call of one of the Lua scripts. All its keys are in one slot."""

    @property
    def script(self) -> LuaScript:
        """The script."""
        ...

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        ...

    @property
    def key(self) -> str | bytes:
        """A key that selects the server."""
        ...

    @property
    def best_effort(self) -> bool:
        """See Command."""
        ...

    @property
    def slot(self) -> int | None:
        """See Command."""
        ...

    @property
    def fail_fast(self) -> bool:
        """Whether no request of the same call waits long for a failing server. See LuaScript."""
        ...

    @property
    def durable(self) -> bool:
        """Whether `min_replicas` applies to the writes of this call. See LuaScript."""
        ...

    def parts(self) -> tuple[Sequence[str | bytes], Sequence[Arg]]:
        """Its keys and arguments."""
        ...


@define
class ScriptCall:
    """See ScriptRequest."""

    script: LuaScript
    keys: Sequence[str | bytes]
    args: Sequence[Arg] = ()
    size: int = field(eq=False)

    best_effort: ClassVar[bool] = False
    slot: ClassVar[int | None] = None

    @size.default
    def _size(self) -> int:
        return size_of(self.args)

    @property
    def key(self) -> str | bytes:
        """See ScriptRequest."""
        return self.keys[0]

    @property
    def fail_fast(self) -> bool:
        """See ScriptRequest."""
        return self.script.fail_fast

    @property
    def durable(self) -> bool:
        """See ScriptRequest."""
        return self.script.durable

    def parts(self) -> tuple[Sequence[str | bytes], Sequence[Arg]]:
        """See ScriptRequest."""
        return self.keys, self.args


Request = Command | ScriptRequest
Reply = Any
"""A server's reply: bytes, int, list or None, or the redis.RedisError it answered with."""
