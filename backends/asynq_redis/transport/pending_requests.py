"""Requests on their way to replies: which are answered, which surely not applied, which unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from asynq.errors import BrokerUnavailable
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_redis.transport.connection_pool import Exchange
    from asynq_redis.transport.requests import Reply, Request
    from asynq_redis.url import Address


class PendingRequests:
    """One round. Shares of different servers may be absorbed from different threads."""

    def __init__(
        self, requests: Sequence[Request], *, fail_fast: bool, min_replicas: int, resend: bool = True
    ) -> None:
        self.requests = requests
        self.resend = resend
        """True if a request may be sent again that may have been applied."""
        self._min_replicas = min_replicas
        self.replies: list[Reply] = [None] * len(requests)
        self.waiting = dict.fromkeys(range(len(requests)))
        """Positions without a final reply, in order."""
        self.fail_fast = fail_fast
        """True if nobody in the round is waited for long."""
        self.unknown_scripts: set[int] = set()
        """Positions of calls whose script the server did not know."""
        self.unknown: set[int] = set()
        """Positions of requests that may have been applied without our knowing."""
        self.trouble = ""
        """Why the last pass left requests waiting."""
        self.slot_migrating = False
        """True if it did since a slot is moving."""
        self.skipped: set[int] = set()
        """Positions the last pass did not send, since their server keeps failing."""
        self.closed: set[int] = set()
        """Positions of requests whose connection was closed in the place of a reply, the last time."""
        self.answered = False
        """True once a server has answered all it was asked."""

    @property
    def fails_fast(self) -> bool:
        """True if what waits is soon given up."""
        return self.fail_fast or all(self.requests[at].best_effort for at in self.waiting)

    def begin_attempt(self) -> None:
        """What waits is sent now."""
        self.trouble, self.slot_migrating, self.skipped = "", False, set()

    def absorb(
        self,
        share: list[int],
        exchange: Exchange,
        address: Address,
        redirected: Callable[[redis.RedisError], bool],
    ) -> set[str]:
        """Take what came of sending a share; the codes of the errors that leave requests waiting."""
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
        """End a request that its server will never take."""
        self.waiting.pop(at, None)
        self.unknown.discard(at)
        self.replies[at] = error

    def _unconfirmed(self, at: int, confirmed: int) -> Reply:
        """What was refused was not written; all else has an unknown outcome."""
        reply = self.replies[at]
        if isinstance(reply, redis.RedisError):
            return reply
        return redis_errors.TooFewReplicas(self._min_replicas, confirmed)

    def unavailable(self) -> BrokerUnavailable:
        """The end of a round that some or all requests have no reply from."""
        some_answered = len(self.waiting) < len(self.requests)
        return BrokerUnavailable(self.trouble, maybe_applied=bool(self.unknown) or some_answered)

    def resent(self) -> list[Request]:
        """The answered requests of which an earlier copy may have been applied."""
        return [self.requests[at] for at in self.unknown if at not in self.waiting]

    def final_replies(self) -> list[Reply]:
        """The replies, if a server has answered all it was asked, or all said "not now"; else raises."""
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
            # The end of a move: the budget may have been spent on waiting for it.
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
        by_digest = isinstance(self.requests[at], ScriptCall) and not sent_in_full
        return by_digest and isinstance(reply, redis.exceptions.NoScriptError)
