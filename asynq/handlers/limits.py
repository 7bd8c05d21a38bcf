"""Limits on what runs do at once or how often, over all servers that share a broker.

A limit is a value, made once and used by any handler: as a middleware of a mux or of one handler, or around
a part of a handler. A run that a limit holds back ends with RateLimited: its task waits in retry, without a
retry spent and without counting as failed.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from attrs import field, frozen

from asynq.checks import check_count, check_duration, check_name
from asynq.errors import AsynqError, RateLimited
from asynq.instants import duration_of
from asynq.protocol.ops import MAX_RATE, AcquireSlot, ReleaseSlot, TakeToken
from asynq.runtime.interval_loop import rest
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.handlers.mux import Next
    from asynq.protocol.broker import Broker

log = get_logger("asynq.limits")

_MILLISECOND = timedelta(milliseconds=1)


@frozen
class Semaphore:
    """At most `limit` runs hold it at a time, whichever server they are on.

    TypeError or ValueError, naming the option, for what cannot be honoured. Go's x/rate counts the same
    slots under the same scope.
    """

    scope: str
    """Its name: all that give the same name share its slots, and should give the same limit."""
    limit: int
    retry_in: timedelta = field(default=timedelta(seconds=5), kw_only=True)
    """How long a task waits that found no slot."""
    lapse: timedelta = field(default=timedelta(minutes=1), kw_only=True)
    """How long the slot of a worker that died stays taken; renewed while the worker lives."""

    def __attrs_post_init__(self) -> None:
        check_name("scope", self.scope)
        _check_limit(self.limit)
        check_duration("retry_in", self.retry_in)
        check_duration("lapse", self.lapse)
        if self.lapse < timedelta(seconds=1):
            raise ValueError(f"lapse must be at least one second; it is {self.lapse}")

    async def __call__(self, ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002 - a middleware
        """Hold a slot while the handler runs: this is a middleware."""
        async with self.hold(ctx):
            return await next(ctx, task)

    def hold(self, ctx: Context) -> SemaphoreSlot:
        """A slot for a part of this run: `async with semaphore.hold(ctx):`, or `with` in a plain handler."""
        holder = f"{ctx.task_id}:{uuid4().hex}"
        hold = self.lapse // _MILLISECOND
        op = AcquireSlot(scope=self.scope, holder=holder, limit=self.limit, hold=hold)
        return SemaphoreSlot(ctx.control.broker, op, self.retry_in)


class SemaphoreSlot:
    """A slot from entering to leaving it. Entering raises RateLimited when there is none."""

    def __init__(self, broker: Broker, op: AcquireSlot, retry_in: timedelta) -> None:
        self._broker = broker
        self._op = op
        self._release = ReleaseSlot(scope=op.scope, holder=op.holder)
        self._refusal = RateLimited(retry_in, op.scope)
        self._renew_interval = op.hold / 1000 / 3

    async def __aenter__(self) -> Self:
        if not await self._broker.aexecute(self._op):
            raise self._refusal
        self._released = asyncio.Event()
        self._renewing = asyncio.create_task(self._renew(self._released), name=f"asynq slot {self._op.scope}")
        return self

    async def __aexit__(self, *_: object) -> None:
        # A renewal under way must end first, or it may take the slot again.
        self._released.set()
        await self._renewing
        with suppress(AsynqError):  # it lapses by itself
            await self._broker.aexecute(self._release)

    def __enter__(self) -> Self:
        if not self._broker.execute(self._op):
            raise self._refusal
        self._thread_released = threading.Event()
        self._thread = threading.Thread(target=self._renew_in_thread, name="asynq-slot", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread_released.set()
        self._thread.join()
        with suppress(AsynqError):  # it lapses by itself
            self._broker.execute(self._release)

    async def _renew(self, left: asyncio.Event) -> None:
        while not left.is_set():
            await rest(left, self._renew_interval)
            if not left.is_set():
                try:
                    self._log_if_lost(held=await self._broker.aexecute(self._op))
                except AsynqError as error:
                    self._log_failed_renewal(error)

    def _renew_in_thread(self) -> None:
        while not self._thread_released.wait(self._renew_interval):
            try:
                self._log_if_lost(held=self._broker.execute(self._op))
            except AsynqError as error:
                self._log_failed_renewal(error)

    def _log_failed_renewal(self, error: AsynqError) -> None:
        log.warning("a slot of %r is not renewed for now: %s", self._op.scope, error)

    def _log_if_lost(self, *, held: bool) -> None:
        if not held:
            log.warning("a slot of %r lapsed while its run goes on: others have it", self._op.scope)


@frozen
class RateLimit:
    """At most `limit` runs, whichever server they are on, pass it within any span of `per`.

    A run that may not pass waits until it may. TypeError or ValueError, naming the option, for what cannot
    be honoured; a limit is 10 000 at most.
    """

    scope: str
    """Its name: all that give the same name share its tokens, and should give the same limit."""
    limit: int
    per: timedelta

    def __attrs_post_init__(self) -> None:
        check_name("scope", self.scope)
        _check_limit(self.limit)
        if self.limit > MAX_RATE:
            raise ValueError(f"limit must be at most {MAX_RATE}; it is {self.limit}")
        check_duration("per", self.per)
        if self.per < _MILLISECOND:
            raise ValueError(f"per must be at least one millisecond; it is {self.per}")

    async def __call__(self, ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002 - a middleware
        """Take a token before the handler runs: this is a middleware."""
        await self.take(ctx)
        return await next(ctx, task)

    async def take(self, ctx: Context) -> None:
        """Take a token. RateLimited when there is none, until when there will be one."""
        self._check(await ctx.control.broker.aexecute(self._request()))

    def take_sync(self, ctx: Context) -> None:
        """`take` for plain handlers."""
        self._check(ctx.control.broker.execute(self._request()))

    def _request(self) -> TakeToken:
        return TakeToken(scope=self.scope, limit=self.limit, per=self.per // _MILLISECOND)

    def _check(self, wait: int) -> None:
        if wait:
            raise RateLimited(duration_of(wait), self.scope)


def _check_limit(limit: int) -> None:
    check_count("limit", limit)
    if limit < 1:
        raise ValueError(f"limit must be at least 1; it is {limit}")
