"""`Semaphore` and `RateLimit`: limits on runs across all servers that share a broker.

A limit is created once and used by any number of handlers: as a middleware of a mux or of one handler, or
around a part of a handler. A run that exceeds a limit ends with RateLimited: its task waits in retry, without
spending a retry and without counting as failed.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from attrs import field, frozen

from asynq.checks import check_count, check_duration, check_name, check_positive, check_seconds
from asynq.errors import AsynqError, RateLimited
from asynq.instants import duration_of
from asynq.protocol.ops import MAX_RATE, AcquireSlot, ReleaseSlot, TakeToken
from asynq.runtime.interval_loop import wait_with_timeout
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.handlers.middleware import Next
    from asynq.protocol.broker import Broker

log = get_logger("asynq.limits")

_MILLISECOND = timedelta(milliseconds=1)


@frozen
class Semaphore:
    """Limits how many runs hold one of its slots at the same time, on all servers together.

    Go's x/rate uses the same slots for the same scope.

    Args:
        scope: name of the semaphore. Semaphores of one name share their slots and should have the same limit.
        limit: the most runs at the same time, at least 1.
        retry_in: how long a task waits that found no slot.
        lapse: how long the slot of a dead worker stays taken, at least one second. A live worker renews its
            slot.

    Raises:
        TypeError: an option has the wrong type; the message names it.
        ValueError: an option is out of range; the message names it.
    """

    scope: str
    limit: int
    retry_in: timedelta = field(default=timedelta(seconds=5), kw_only=True)
    lapse: timedelta = field(default=timedelta(minutes=1), kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_name("scope", self.scope)
        _check_limit(self.limit)
        check_duration("retry_in", self.retry_in)
        check_seconds("lapse", self.lapse)

    async def __call__(self, ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002 - a middleware
        """Hold a slot while the handler runs: the semaphore is a middleware."""
        async with self.hold(ctx):
            return await next(ctx, task)

    def hold(self, ctx: Context) -> SemaphoreSlot:
        """Hold a slot for a part of a run.

        Use `async with semaphore.hold(ctx):`, or `with` in a sync handler. Entering raises RateLimited when
        no slot is free.

        Args:
            ctx: context of the run.

        Returns:
            A context manager that works with `with` and `async with`.
        """
        holder = f"{ctx.task_id}:{uuid4().hex}"
        hold = self.lapse // _MILLISECOND
        op = AcquireSlot(scope=self.scope, holder=holder, limit=self.limit, hold=hold)
        return SemaphoreSlot(ctx.control.broker, op, self.retry_in)


class SemaphoreSlot:
    """A slot that is held from entering to leaving. Entering raises RateLimited when no slot is free."""

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
        # A pending renewal must end first, because it could take the slot again.
        self._released.set()
        await self._renewing
        with suppress(AsynqError):  # it expires on its own
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
        with suppress(AsynqError):  # it expires on its own
            self._broker.execute(self._release)

    async def _renew(self, left: asyncio.Event) -> None:
        while not left.is_set():
            await wait_with_timeout(left, self._renew_interval)
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
        log.warning("cannot renew a slot of semaphore %r, will try again: %s", self._op.scope, error)

    def _log_if_lost(self, *, held: bool) -> None:
        if not held:
            log.warning("a slot of semaphore %r expired during its run: other runs hold it", self._op.scope)


@frozen
class RateLimit:
    """Limits how many runs start within any span of time, on all servers together.

    A run that exceeds the limit waits until a token is free.

    Args:
        scope: name of the limit. Limits of one name share their tokens and should have the same limit.
        limit: the most runs within any span of `per`, from 1 to 10,000.
        per: the span of time, at least one millisecond.

    Raises:
        TypeError: an option has the wrong type; the message names it.
        ValueError: an option is out of range; the message names it.
    """

    scope: str
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
        """Take a token before the handler runs: the limit is a middleware."""
        await self.take(ctx)
        return await next(ctx, task)

    async def take(self, ctx: Context) -> None:
        """Take a token in the middle of an async handler.

        Args:
            ctx: context of the run.

        Raises:
            RateLimited: no token is free; its `retry_in` is the time until one is.
        """
        self._check(await ctx.control.broker.aexecute(self._request()))

    def take_sync(self, ctx: Context) -> None:
        """`take` for sync handlers.

        Args:
            ctx: context of the run.

        Raises:
            RateLimited: no token is free; its `retry_in` is the time until one is.
        """
        self._check(ctx.control.broker.execute(self._request()))

    def _request(self) -> TakeToken:
        return TakeToken(scope=self.scope, limit=self.limit, per=self.per // _MILLISECOND)

    def _check(self, wait: int) -> None:
        if wait:
            raise RateLimited(duration_of(wait), self.scope)


def _check_limit(limit: int) -> None:
    check_count("limit", limit)
    check_positive("limit", limit)
