"""The public types of functions that the library calls. mypy and pyright check it; nothing runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar, Unpack

import asynq

R = TypeVar("R")


async def middleware(ctx: asynq.Context, task: asynq.Task, next: asynq.Next) -> Any:  # noqa: A002
    return await next(ctx, task)


def plain_middleware(ctx: asynq.Context, task: asynq.Task, next: asynq.SyncNext) -> Any:  # noqa: A002
    return next(ctx, task)


async def handler(ctx: asynq.Context, task: asynq.Task) -> dict[str, int]:
    return {"length": len(task.payload)}


def payload_handler(ctx: asynq.Context, payload: int) -> None: ...


def delay(retried: int, error: Exception, task: asynq.Task) -> timedelta:
    return timedelta(seconds=retried)


async def on_error(error: Exception, task: asynq.Task, ctx: asynq.Context | None) -> None: ...


def on_run(task: asynq.Task, ctx: asynq.Context) -> None: ...


def health_check(error: asynq.AsynqError | None) -> None: ...


def aggregate(group: str, tasks: list[asynq.Task]) -> asynq.Task:
    return tasks[0]


def configs() -> list[asynq.PeriodicTaskConfig]:
    return []


def post_enqueue(task: asynq.Task, info: asynq.TaskInfo | None, error: asynq.AsynqError | None) -> None: ...


middlewares: list[asynq.Middleware] = [middleware, asynq.Semaphore("s", 1)]
plain_middlewares: list[asynq.SyncMiddleware] = [plain_middleware]
mux = asynq.ServeMux()
mux.middleware(plain_middleware)
mux.middleware(middleware)
mux.handle("t", payload_handler, middlewares=[plain_middleware, middleware, asynq.Semaphore("s", 1)])
mux.handle("u", payload_handler, middlewares=middlewares)
mux.handle("v", payload_handler, middlewares=plain_middlewares)
mux.handle("w", payload_handler, middlewares=[3])  # type: ignore[list-item]
handlers: list[asynq.Handler] = [handler, payload_handler, asynq.ServeMux()]
delays: list[asynq.RetryDelay] = [
    delay,
    asynq.Backoff(timedelta(seconds=1)),
    lambda retried, error, task: 1.5,
]
failures: asynq.IsFailure = lambda error: isinstance(error, ValueError)  # noqa: E731
errors: asynq.OnError = on_error
runs: asynq.OnRun = on_run
checks: asynq.HealthCheck = health_check
aggregator: asynq.Aggregate = aggregate
provider: asynq.ConfigProvider = configs
before: asynq.PreEnqueue = lambda task: None  # noqa: E731
after: asynq.PostEnqueue = post_enqueue


def send_later(
    client: asynq.Client, task: asynq.Task[R], **options: Unpack[asynq.EnqueueKeywords]
) -> asynq.TaskInfo[R]:
    """A function of a program that passes options on."""
    return client.enqueue(task, **options)


send_later(asynq.Client("memory://typed"), asynq.Task("t"), queue="low")
