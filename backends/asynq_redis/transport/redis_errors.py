"""What trouble with a server means for the caller: the one place that reads redis-py's exceptions."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import redis

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
        "BUSY",  # another client's script runs for too long
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",  # the disk is full or failing, so writes are off
        "NOREPLICAS",
        "READONLY",  # it has become a replica; the name may soon lead to the new primary
    }
)
"""Error codes that say: nothing was changed, ask again later."""

MIGRATING_CODES = frozenset({"ASK", "TRYAGAIN"})
"""Error codes of a slot that is moving from one server to another: nothing was changed, ask again later.

An ASK is not followed. On the server it names a script would find keys that have not come yet absent, not in
their true state: it would pass over locks, ids and pauses, and write keys that then stop the move.
"""

# What a script is told that touches a key which has moved; our scripts touch before they write.
_MOVED_KEY = re.compile(r"attempted to access (?:a )?non local key")

_ADVICE = {
    "NOAUTH": "it wants a password; give one as redis://:PASSWORD@host or password=",
    "WRONGPASS": "wrong username or password",
    "NOPERM": "the user lacks a permission; asynq needs ~asynq:* &asynq:* and the commands its scripts use",
    "MOVED": "it is a node of a Redis Cluster; name it as redis-cluster://host:port or RedisClusterBroker",
    "CROSSSLOT": "on a Redis Cluster no name of a queue may begin with a closing brace",
    "WRONGTYPE": "a key of this queue holds something that asynq did not write; move it away",
}

# Before 7.0 a failing command's error is wrapped by the script that called it.
_IN_SCRIPT = re.compile(
    r"Error running script.*@user_script: ?\d+: -?(?P<code>[A-Z]{2,}) (?P<text>.*)", re.DOTALL
)

CONNECTION_ERRORS = (redis.RedisError, OSError, EOFError)
"""The exceptions of a connection that cannot be opened, breaks or times out.

Any other exception is a bug in this package or in a library and propagates unchanged.
"""


class NoAnswer(redis.ConnectionError):
    """Stands for the reply of a server that gave none, beside the replies that others gave."""

    def __init__(self, reason: str, *, maybe_applied: bool) -> None:
        super().__init__(reason)
        self.maybe_applied = maybe_applied


class TooFewReplicas(redis.RedisError):
    """Stands for the reply to a write that too few replicas confirmed in time."""

    def __init__(self, wanted: int, confirmed: int) -> None:
        super().__init__(wanted, confirmed)
        self.wanted, self.confirmed = wanted, confirmed


class TooLarge(redis.RedisError):
    """Stands for the reply to a request that its server refuses by closing the connection."""

    def __init__(self, size: int, limit: int, *, maybe_applied: bool) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit
        """Most bytes the server takes; 0 where it does not say."""
        self.maybe_applied = maybe_applied


def code(error: redis.RedisError) -> str:
    """The leading word of an error reply, such as OOM; ERR for a plain one."""
    return _parts(error)[0]


def unavailable_for_now(error: redis.RedisError) -> bool:
    """True if the reply says that nothing was changed and that asking again may help."""
    return code(error) in UNAVAILABLE_CODES or slot_migrating(error)


def no_answer(error: redis.RedisError) -> bool:
    """True if the error only stands for a server that gave no answer, or none yet."""
    return isinstance(error, NoAnswer) or unavailable_for_now(error)


def slot_migrating(error: redis.RedisError) -> bool:
    """True if the reply says that the key's slot is moving to another server. Nothing was changed."""
    return code(error) in MIGRATING_CODES or bool(_MOVED_KEY.search(str(error)))


def closed(error: Exception) -> bool:
    """True if the connection ended in the middle of an exchange, and not for want of time."""
    return isinstance(error, redis.ConnectionError | ConnectionError | EOFError)


def protocol_error(reply: object) -> bool:
    """True for the last reply on a connection whose server could not take what was sent."""
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("Protocol error")


def out_of_memory(reply: object) -> bool:
    """True for the reply of a server whose memory is full."""
    return isinstance(reply, redis.RedisError) and code(reply) == "OOM"


def answer(op: Op[Any], error: redis.RedisError) -> AsynqError:
    """What an error reply means as the answer of an operation."""
    if isinstance(error, TooLarge):
        size = value_size(op) or error.size
        return too_large(op, size, error.limit, maybe_applied=error.maybe_applied)
    return refusal(error)


def refusal(error: redis.RedisError) -> AsynqError:
    """What an error reply means as the answer of one operation. Nothing was changed."""
    if isinstance(error, NoAnswer):
        return BrokerUnavailable(str(error), maybe_applied=error.maybe_applied)
    if isinstance(error, TooFewReplicas):
        return NotReplicatedError(error.wanted, error.confirmed)
    word, text = _parts(error)
    if out_of_memory(error):
        return BrokerFullError(text)
    if unavailable_for_now(error):
        return BrokerUnavailable(f"{word} {text}")
    advice = f" ({_ADVICE[word]})" if word in _ADVICE else ""
    return BrokerRefusedError(f"{word} {text}{advice}")


def wrapped_bug(error: BaseException) -> AttributeError | TypeError | None:
    """The bug behind a ConnectionError: while connecting, redis.asyncio wraps every exception in one."""
    cause = error.__cause__ if isinstance(error, redis.ConnectionError) else None
    return cause if isinstance(cause, AttributeError | TypeError) else None


def connect_refusal(error: BaseException, where: object) -> BrokerRefusedError | None:
    """Why connecting will not succeed however often it is tried; None where it may."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return BrokerRefusedError(f"{where}: the server's certificate is not to be trusted: {error}")
    if isinstance(error, redis.AuthenticationError | redis.ResponseError) and not unavailable_for_now(error):
        word, text = _parts(error)
        return BrokerRefusedError(f"{where}: {_ADVICE.get(word, text)}")
    return None


def reason(error: BaseException, where: object) -> str:
    """The trouble in words."""
    if isinstance(error, redis.BusyLoadingError):
        return f"{where}: it is loading its data"
    if isinstance(error, TimeoutError | redis.TimeoutError):
        return f"{where}: no reply in time"
    if word := getattr(error, "status_code", None):
        return f"{where}: {word} {error}"
    return f"{where}: {str(error) or type(error).__name__}"


def _parts(error: redis.RedisError) -> tuple[str, str]:
    text = str(error)
    if inner := _IN_SCRIPT.match(text):
        return inner["code"], inner["text"]
    if word := getattr(error, "status_code", None):
        return str(word), text
    word, _, rest = text.partition(" ")
    return (word, rest) if re.fullmatch(r"[A-Z]{2,}", word) else ("ERR", text)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
