"""Track the requests of one call: which are answered, and which may have been applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from asynq.errors import BrokerUnavailable
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_redis.transport.connection_pool import Exchange
    from asynq_redis.transport.requests import Reply, Request
    from asynq_redis.url import Address


class PendingRequests:
    """The requests of one `Transport.send`.

    Threads that send to different servers may call `absorb` concurrently.
    """

    def __init__(
        self, requests: Sequence[Request], *, fail_fast: bool, min_replicas: int, resend: bool = True
    ) -> None:
        self.requests = requests
        self.resend = resend
        """True if a request that may have been applied may be sent again."""
        self._min_replicas = min_replicas
        self.replies: list[Reply] = [None] * len(requests)
        self.waiting = dict.fromkeys(range(len(requests)))
        """Positions of the requests without a final reply, in order."""
        self.fail_fast = fail_fast
        """True if no request waits long for a failing server."""
        self.unknown_scripts: set[int] = set()
        """Positions of calls whose script the server did not know."""
        self.unknown: set[int] = set()
        """Positions of requests that may have been applied although their reply was lost."""
        self.trouble = ""
        """Why the last attempt left requests unanswered."""
        self.slot_migrating = False
        """True if the reason was a moving slot."""
        self.skipped: set[int] = set()
        """Positions that the last attempt did not send because their server is cooling down."""
        self.closed: set[int] = set()
        """Positions of requests whose connection was closed instead of a reply in the last attempt."""
        self.answered = False
        """True once a server has answered all its requests."""

    @property
    def fails_fast(self) -> bool:
        """Whether the unanswered requests are given up after FAIL_FAST_TIMEOUT."""
        return self.fail_fast or all(self.requests[at].best_effort for at in self.waiting)

    def begin_attempt(self) -> None:
        """Forget why the previous attempt failed."""
        self.trouble, self.slot_migrating, self.skipped = "", False, set()

    def absorb(
        self,
        share: list[int],
        exchange: Exchange,
        address: Address,
        redirected: Callable[[redis.RedisError], bool],
    ) -> set[str]:
        """Record the outcome of sending some requests to one server.

        Returns the error codes that leave requests unanswered.
        """
        codes: set[str] = set()
        self.closed.difference_update(share)
        for at, reply in zip(share, exchange.replies, strict=False):
            self._take(at, reply, address, redirected, codes)
        if exchange.confirmed is not None and exchange.confirmed < self._min_replicas:
            for at in share:
                if at not in self.waiting and self.requests[at].durable:
                    self.replies[at] = self._unconfirmed(at, exchange.confirmed)
        if exchange.error is not None:
            self.trouble = redis_errors.reason(exchange.error, address)
            silent = share[len(exchange.replies) :]
            for at in silent:
                self.replies[at] = None
                if exchange.sent:
                    self.unknown.add(at)
            if exchange.sent and redis_errors.closed(exchange.error):
                self.closed.update(silent)
        return codes

    def refuse(self, at: int, error: redis_errors.TooLarge) -> None:
        """Make `error` the final reply to a request."""
        self.waiting.pop(at, None)
        self.unknown.discard(at)
        self.replies[at] = error

    def _unconfirmed(self, at: int, confirmed: int) -> Reply:
        """The reply to a write that too few replicas confirmed. A write that was refused keeps its error."""
        reply = self.replies[at]
        if isinstance(reply, redis.RedisError):
            return reply
        return redis_errors.TooFewReplicas(self._min_replicas, confirmed)

    def unavailable(self) -> BrokerUnavailable:
        """The exception for a call with unanswered requests."""
        some_answered = len(self.waiting) < len(self.requests)
        return BrokerUnavailable(self.trouble, maybe_applied=bool(self.unknown) or some_answered)

    def resent(self) -> list[Request]:
        """The answered requests that were sent again and whose first copy may have been applied."""
        return [self.requests[at] for at in self.unknown if at not in self.waiting]

    def final_replies(self) -> list[Reply]:
        """Return the replies after the last attempt.

        NoAnswer takes the place of a missing reply.

        Raises:
            BrokerUnavailable: Replies are missing and no server answered all its requests.
        """
        silent = [at for at in self.waiting if self.replies[at] is None]
        if silent and not self.answered:
            raise self.unavailable()
        for at in silent:
            self.replies[at] = redis_errors.NoAnswer(self.trouble, maybe_applied=at in self.unknown)
        return self.replies

    def _take(
        self,
        at: int,
        reply: Reply,
        address: Address,
        redirected: Callable[[redis.RedisError], bool],
        codes: set[str],
    ) -> None:
        self.replies[at] = reply
        if not isinstance(reply, redis.RedisError):
            del self.waiting[at]
        elif self._is_unknown_script(at, reply):
            self.unknown_scripts.add(at)
        elif redirected(reply):
            self.replies[at] = None
            self.trouble = redis_errors.reason(reply, address)
            # The slot has finished moving. The wait for it may have used up the budget.
            self.slot_migrating = True
            codes.add(redis_errors.code(reply))
        elif redis_errors.unavailable_for_now(reply):
            self.trouble = redis_errors.reason(reply, address)
            self.slot_migrating = self.slot_migrating or redis_errors.slot_migrating(reply)
            codes.add(redis_errors.code(reply))
        else:
            del self.waiting[at]

    def _is_unknown_script(self, at: int, reply: redis.RedisError) -> bool:
        sent_in_full = at in self.unknown_scripts
        by_digest = not isinstance(self.requests[at], Command) and not sent_in_full
        return by_digest and redis_errors.code(reply) == "NOSCRIPT"
