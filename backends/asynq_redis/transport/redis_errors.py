"""Translate redis-py's exceptions to errors of asynq. No other module interprets error codes."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Any

import redis
from redis import exceptions

from asynq.errors import (
    AsynqError,
    BrokerFullError,
    BrokerRefusedError,
    BrokerUnavailable,
    NotReplicatedError,
)
from asynq.protocol.value_sizes import refusal as too_large
from asynq.protocol.value_sizes import value_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.ops import Op

UNAVAILABLE_CODES = frozenset(
    {
        "BUSY",  # another client's script exceeds the time limit
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",  # the disk is full or failing: writes are disabled
        "NOREPLICAS",
        "READONLY",  # it has become a replica; the address may soon lead to the new primary
    }
)
"""Error codes of a request that was not applied and may succeed later."""

MIGRATING_CODES = frozenset({"ASK", "TRYAGAIN"})
"""Error codes of a slot that moves to another server. The request was not applied and may succeed later.

An ASK redirection is not followed. On the target server, keys that have not been moved yet look absent: a
script would miss locks, ids and pauses, and write keys that block the migration.
"""

# The error of a script that accesses a key which has moved. The scripts access all keys before they write.
_MOVED_KEY = re.compile(r"attempted to access (?:a )?non local key")

# What redis-py makes of an error of the system. The address is said anyway.
_CONNECTING = re.compile(r"Error (?P<number>-?\d+) connecting to .*?\. (?P<why>.*?)\.?$")

READ_ONLY = "it is a read-only replica"
"""What is said of a server that refuses writes."""
_PRIMARY = "`asynq broker` names its primary"

_ADVICE = {
    "NOAUTH": "it requires a password; give one as redis://:PASSWORD@host or password=",
    "WRONGPASS": "wrong username or password",
    "NOPERM": "the user lacks a permission; asynq needs ~asynq:* &asynq:* and the commands its scripts use",
    "MOVED": "it is a node of a Redis Cluster; name it as redis-cluster://host:port or RedisClusterBroker",
    "CROSSSLOT": "on a Redis Cluster a queue name must not begin with a closing brace",
    "WRONGTYPE": "a key of this queue holds a value that asynq did not write; rename or delete it",
}

# Before 7.0, a script wraps the error of the command that failed in it, also where the script returns it.
_IN_SCRIPT = re.compile(
    r"((ERR )?Error running script.*)?@user_script: ?\d+: -?(?P<code>[A-Z]{2,}) (?P<text>.*)", re.DOTALL
)

# redis-py keeps the code of an error reply since 7.2. Earlier versions remove it, but the class of the
# exception, or else its text, implies it.
_CODES: dict[type[BaseException], str] = {
    redis.OutOfMemoryError: "OOM",
    redis.BusyLoadingError: "LOADING",
    redis.ReadOnlyError: "READONLY",
    exceptions.AskError: "ASK",
    exceptions.ClusterCrossSlotError: "CROSSSLOT",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.MovedError: "MOVED",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.NoScriptError: "NOSCRIPT",
    exceptions.TryAgainError: "TRYAGAIN",
}
_AUTHENTICATION_CODES = (
    ("Authentication required", "NOAUTH"),
    ("HELLO must be called", "NOAUTH"),
    ("invalid username-password pair", "WRONGPASS"),
)

CONNECTION_ERRORS = (redis.RedisError, OSError, EOFError)
"""The exceptions of a connection that cannot be opened, breaks or times out.

Any other exception is a bug in this package or in a library and propagates unchanged.
"""


class NoAnswer(redis.ConnectionError):
    """Takes the place of a missing reply when other servers answered."""

    def __init__(self, reason: str, *, maybe_applied: bool) -> None:
        super().__init__(reason)
        self.maybe_applied = maybe_applied


class TooFewReplicas(redis.RedisError):
    """Takes the place of the reply to a write that too few replicas confirmed in time."""

    def __init__(self, wanted: int, confirmed: int) -> None:
        super().__init__(wanted, confirmed)
        self.wanted, self.confirmed = wanted, confirmed


class TooLarge(redis.RedisError):
    """Takes the place of the reply to a request that the server refuses by closing the connection."""

    def __init__(self, size: int, limit: int, *, maybe_applied: bool) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit
        """Maximum bytes that the server accepts, or 0 if unknown."""
        self.maybe_applied = maybe_applied


def code(error: redis.RedisError) -> str:
    """The code of an error reply, such as OOM. ERR if it has none."""
    return _parts(error)[0]


def unavailable_for_now(error: redis.RedisError) -> bool:
    """Whether the request was not applied and may succeed later."""
    return code(error) in UNAVAILABLE_CODES or slot_migrating(error)


def no_answer(error: redis.RedisError) -> bool:
    """Whether the server has not answered, or cannot answer yet."""
    return isinstance(error, NoAnswer) or unavailable_for_now(error)


def slot_migrating(error: redis.RedisError) -> bool:
    """Whether the slot of the key is moving to another server. The request was not applied."""
    return code(error) in MIGRATING_CODES or bool(_MOVED_KEY.search(str(error)))


def moved(error: redis.RedisError) -> tuple[int, str, int] | None:
    """The slot of a MOVED redirection, and the host and port of the server that now has it."""
    word, text = _parts(error)
    if word != "MOVED":
        return None
    slot, address = text.split()
    host, _, port = address.rpartition(":")
    return int(slot), host, int(port)


def closed(error: Exception) -> bool:
    """Whether the connection was closed during an exchange, as opposed to a timeout."""
    return isinstance(error, redis.ConnectionError | ConnectionError | EOFError)


def protocol_error(reply: object) -> bool:
    """Whether the reply is a protocol error, after which the server closes the connection."""
    return isinstance(reply, redis.ResponseError) and _parts(reply)[1].startswith("Protocol error")


def out_of_memory(reply: object) -> bool:
    """Whether the server refused the request because its memory is full."""
    return isinstance(reply, redis.RedisError) and code(reply) == "OOM"


def answer(op: Op[Any], error: redis.RedisError) -> AsynqError:
    """The error of an operation for an error reply."""
    if isinstance(error, TooLarge):
        size = value_size(op) or error.size
        return too_large(op, size, error.limit, maybe_applied=error.maybe_applied)
    return refusal(error)


def refusal(error: redis.RedisError) -> AsynqError:
    """The error of an operation for an error reply other than TooLarge."""
    if isinstance(error, NoAnswer):
        return BrokerUnavailable(str(error), maybe_applied=error.maybe_applied)
    if isinstance(error, TooFewReplicas):
        return NotReplicatedError(error.wanted, error.confirmed)
    word, text = _parts(error)
    if out_of_memory(error):
        return BrokerFullError(text)
    if word == "READONLY":
        return BrokerUnavailable(f"{READ_ONLY}; {_PRIMARY}")
    if unavailable_for_now(error):
        return BrokerUnavailable(f"{word} {text}")
    advice = f" ({_ADVICE[word]})" if word in _ADVICE else ""
    return BrokerRefusedError(f"{word} {text}{advice}")


def wrapped_bug(error: BaseException) -> AttributeError | TypeError | None:
    """The bug behind a ConnectionError: while connecting, redis.asyncio wraps every exception in one."""
    cause = error.__cause__ if isinstance(error, redis.ConnectionError) else None
    return cause if isinstance(cause, AttributeError | TypeError) else None


def connect_refusal(error: BaseException, where: object) -> BrokerRefusedError | None:
    """The error if connecting cannot succeed, such as a wrong password. None if a retry may succeed."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return BrokerRefusedError(f"{where}: the server's certificate is not trusted: {error}")
    if isinstance(error, redis.AuthenticationError | redis.ResponseError) and not unavailable_for_now(error):
        word, text = _parts(error)
        return BrokerRefusedError(f"{where}: {_ADVICE.get(word, text)}")
    return None


def reason(error: BaseException, where: object) -> str:
    """The reason for a failure, as text."""
    if isinstance(error, redis.BusyLoadingError):
        return f"{where}: it is loading its data"
    if isinstance(error, TimeoutError | redis.TimeoutError):
        return f"{where}: no reply in time"
    if isinstance(error, redis.RedisError) and code(error) == "READONLY":
        return f"{where}: {READ_ONLY}; {_PRIMARY}"
    if word := _kept_code(error):
        return f"{where}: {word} {error}"
    if connecting := _CONNECTING.match(str(error)):
        number = int(connecting["number"])
        why = os.strerror(number) if number > 0 else connecting["why"]
        return f"{where}: {why[:1].lower()}{why[1:]}"
    return f"{where}: {str(error) or type(error).__name__}"


def _parts(error: redis.RedisError) -> tuple[str, str]:
    text = str(error)
    if inner := _IN_SCRIPT.match(text):
        return inner["code"], inner["text"]
    if word := _kept_code(error):
        return word, text
    word, _, rest = text.partition(" ")
    # Three letters, because redis-py before 7.2 removes the code of "ERR DB index is out of range".
    return (word, rest) if re.fullmatch(r"[A-Z]{3,}", word) else ("ERR", text)


def _kept_code(error: BaseException) -> str | None:
    """The code that redis-py removed from the text of an error reply."""
    if word := getattr(error, "status_code", None):
        return str(word)
    if type(error) is redis.AuthenticationError:
        return next((word for text, word in _AUTHENTICATION_CODES if str(error).startswith(text)), "ERR")
    return _CODES.get(type(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
