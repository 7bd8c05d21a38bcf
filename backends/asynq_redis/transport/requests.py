"""Requests to a Redis server: plain commands and calls of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis.lua.scripts import LuaScript


Arg = str | bytes | int


def size_of(args: Sequence[Arg]) -> int:
    """Bytes of arguments, roughly: integers and the encoding of text are not weighed."""
    return sum(len(arg) for arg in args if not isinstance(arg, int))


_KEYLESS = frozenset(
    {"PING", "ECHO", "PUBLISH", "TIME", "INFO", "CONFIG", "CLIENT", "CLUSTER", "SCAN", "SCRIPT"}
)
_KEY_BEHIND = {"MEMORY": 2, "OBJECT": 2, "XINFO": 2}
"""Place of the first key in commands of two words; elsewhere it is the first argument."""


@frozen
class Command:
    """A plain Redis command. Its keys lie in one slot."""

    args: tuple[Arg, ...]
    best_effort: bool = field(default=False, kw_only=True)
    """True if it is given up, where its server is in trouble, soon after all else is answered."""
    slot: int | None = field(default=None, kw_only=True)
    """Where it has no key: it is for the server of a Cluster that has this slot."""

    fail_fast: ClassVar[bool] = False
    durable: ClassVar[bool] = False

    @property
    def key(self) -> Arg | None:
        """A key, by which it finds its server; None where any server will do."""
        word = str(self.args[0]).upper()
        return None if word in _KEYLESS else self.args[_KEY_BEHIND.get(word, 1)]


@frozen
class ScriptCall:
    """A call of one of our scripts. Its keys lie in one slot."""

    script: LuaScript
    keys: tuple[str | bytes, ...]
    args: tuple[Arg, ...] = ()

    best_effort: ClassVar[bool] = False
    slot: ClassVar[int | None] = None

    @property
    def key(self) -> str | bytes:
        """A key, by which it finds its server."""
        return self.keys[0]

    @property
    def fail_fast(self) -> bool:
        """True if its whole round is in a hurry: no server in trouble is waited for long."""
        return self.script.fail_fast

    @property
    def durable(self) -> bool:
        """True if it is answered only when enough replicas have what it wrote, where that is asked for."""
        return self.script.durable


Request = Command | ScriptCall
Reply = Any
"""What the server answered, as bytes, int, list or None; or a redis.RedisError it answered with."""
