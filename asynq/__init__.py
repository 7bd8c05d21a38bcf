"""asynq for Python: a distributed task queue with a pluggable broker, wire-compatible with Go's asynq.

This module exports the public names. Each is imported at its first use, so that `import asynq` is cheap and
the dependencies of a backend are needed only by programs that use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq import cron as cron
    from asynq.client.client import AsyncClient, Client
    from asynq.client.ended_task import EndedTask
    from asynq.client.options import EnqueueKeywords as EnqueueKeywords
    from asynq.client.options import Options as Options
    from asynq.client.options import TaskKeywords as TaskKeywords
    from asynq.client.task import Task
    from asynq.client.task_type import TaskType
    from asynq.cron import CronError as CronError
    from asynq.errors import AggregationError as AggregationError
    from asynq.errors import AggregationLostError as AggregationLostError
    from asynq.errors import AsynqError as AsynqError
    from asynq.errors import BrokerFullError as BrokerFullError
    from asynq.errors import BrokerRefusedError as BrokerRefusedError
    from asynq.errors import BrokerUnavailable as BrokerUnavailable
    from asynq.errors import BrokerURLError as BrokerURLError
    from asynq.errors import DuplicateTaskError as DuplicateTaskError
    from asynq.errors import EntryNotFoundError as EntryNotFoundError
    from asynq.errors import HandlerError as HandlerError
    from asynq.errors import HandlerNotFoundError as HandlerNotFoundError
    from asynq.errors import HandlerProcessError as HandlerProcessError
    from asynq.errors import LeaseLostError as LeaseLostError
    from asynq.errors import NotReplicatedError as NotReplicatedError
    from asynq.errors import PayloadError as PayloadError
    from asynq.errors import PayloadTooLargeError as PayloadTooLargeError
    from asynq.errors import QueueNotEmptyError as QueueNotEmptyError
    from asynq.errors import QueueNotFoundError as QueueNotFoundError
    from asynq.errors import RateLimited as RateLimited
    from asynq.errors import ResultError as ResultError
    from asynq.errors import ResultTooLargeError as ResultTooLargeError
    from asynq.errors import RetryIn as RetryIn
    from asynq.errors import RevokeTask as RevokeTask
    from asynq.errors import ServerStateError as ServerStateError
    from asynq.errors import SkipRetry as SkipRetry
    from asynq.errors import TaskCancelledError as TaskCancelledError
    from asynq.errors import TaskDeadlineError as TaskDeadlineError
    from asynq.errors import TaskFailedError as TaskFailedError
    from asynq.errors import TaskGoneError as TaskGoneError
    from asynq.errors import TaskIDConflictError as TaskIDConflictError
    from asynq.errors import TaskNotFoundError as TaskNotFoundError
    from asynq.errors import TaskStateError as TaskStateError
    from asynq.errors import TaskTimeoutError as TaskTimeoutError
    from asynq.errors import TooLargeError as TooLargeError
    from asynq.errors import UnsupportedOperationError as UnsupportedOperationError
    from asynq.handlers.adapters import Handler as Handler
    from asynq.handlers.context import CancelReason, Context, current_context
    from asynq.handlers.hooks import HealthCheck as HealthCheck
    from asynq.handlers.hooks import OnError as OnError
    from asynq.handlers.hooks import OnRun as OnRun
    from asynq.handlers.limits import RateLimit, Semaphore
    from asynq.handlers.middleware import Middleware as Middleware
    from asynq.handlers.middleware import Next as Next
    from asynq.handlers.mux import ServeMux
    from asynq.handlers.retry import IsFailure as IsFailure
    from asynq.handlers.retry_delays import Backoff
    from asynq.handlers.retry_delays import RetryDelay as RetryDelay
    from asynq.handlers.sync_middleware import SyncMiddleware as SyncMiddleware
    from asynq.handlers.sync_middleware import SyncNext as SyncNext
    from asynq.handlers.task_functions import TaskFunction
    from asynq.handlers.task_logs import TaskLogFilter
    from asynq.info import FailureInfo as FailureInfo
    from asynq.info import FollowerInfo as FollowerInfo
    from asynq.info import QueueInfo as QueueInfo
    from asynq.info import TaskInfo as TaskInfo
    from asynq.inspector.inspector import AsyncInspector, Inspector
    from asynq.inspector.overview import Overview as Overview
    from asynq.inspector.task_filter import TaskFilter
    from asynq.monitoring.options import Monitoring
    from asynq.monitoring.recorder import Recorder
    from asynq.monitoring.recorder import RunOutcome as RunOutcome
    from asynq.protocol.broker import Broker, Capabilities
    from asynq.protocol.broker_info import BrokerInfo, BrokerNode, QueuePlace
    from asynq.protocol.connect import connect
    from asynq.protocol.doctor import Fault, Finding
    from asynq.protocol.history import DayStats
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
    from asynq.result_types import ResultTypes as ResultTypes
    from asynq.runtime.health import Health
    from asynq.scheduler.periodic import ConfigProvider as ConfigProvider
    from asynq.scheduler.periodic import PeriodicTaskConfig, PeriodicTaskManager
    from asynq.scheduler.runner import ScheduleRunner
    from asynq.scheduler.scheduler import Scheduler
    from asynq.scheduler.schedules import AsyncSchedules, Schedules
    from asynq.scheduler.stored import ScheduleInfo
    from asynq.scheduler.ticker import PostEnqueue as PostEnqueue
    from asynq.scheduler.ticker import PreEnqueue as PreEnqueue
    from asynq.server import Server as Server
    from asynq.task_state import TaskState
    from asynq.worker.aggregation import Aggregate as Aggregate
    from asynq_redis import RedisBroker as RedisBroker
    from asynq_redis import RedisClusterBroker as RedisClusterBroker
    from asynq_redis import RedisSentinelBroker as RedisSentinelBroker
    from asynq_sqlite import MemoryBroker as MemoryBroker
    from asynq_sqlite import SQLiteBroker as SQLiteBroker

    __version__: str

__all__ = [
    "Aggregate",
    "AggregationError",
    "AggregationLostError",
    "AsyncClient",
    "AsyncInspector",
    "AsyncSchedules",
    "AsynqError",
    "Backoff",
    "Broker",
    "BrokerFullError",
    "BrokerInfo",
    "BrokerNode",
    "BrokerRefusedError",
    "BrokerURLError",
    "BrokerUnavailable",
    "CancelReason",
    "Capabilities",
    "Client",
    "ConfigProvider",
    "Context",
    "CronError",
    "DayStats",
    "DuplicateTaskError",
    "EndedTask",
    "EnqueueEvent",
    "EnqueueKeywords",
    "EntryNotFoundError",
    "FailureInfo",
    "Fault",
    "Finding",
    "FollowerInfo",
    "Handler",
    "HandlerError",
    "HandlerNotFoundError",
    "HandlerProcessError",
    "Health",
    "HealthCheck",
    "Inspector",
    "IsFailure",
    "LeaseLostError",
    "MemoryBroker",
    "Middleware",
    "Monitoring",
    "Next",
    "NotReplicatedError",
    "OnError",
    "OnRun",
    "Options",
    "Overview",
    "PayloadError",
    "PayloadTooLargeError",
    "PeriodicTaskConfig",
    "PeriodicTaskManager",
    "PostEnqueue",
    "PreEnqueue",
    "QueueInfo",
    "QueueNotEmptyError",
    "QueueNotFoundError",
    "QueuePlace",
    "RateLimit",
    "RateLimited",
    "Recorder",
    "RedisBroker",
    "RedisClusterBroker",
    "RedisSentinelBroker",
    "ResultError",
    "ResultTooLargeError",
    "ResultTypes",
    "RetryDelay",
    "RetryIn",
    "RevokeTask",
    "RunOutcome",
    "SQLiteBroker",
    "ScheduleInfo",
    "ScheduleRunner",
    "Scheduler",
    "SchedulerEntry",
    "Schedules",
    "Semaphore",
    "ServeMux",
    "Server",
    "ServerInfo",
    "ServerStateError",
    "SkipRetry",
    "SyncMiddleware",
    "SyncNext",
    "Task",
    "TaskCancelledError",
    "TaskDeadlineError",
    "TaskFailedError",
    "TaskFilter",
    "TaskFunction",
    "TaskGoneError",
    "TaskIDConflictError",
    "TaskInfo",
    "TaskKeywords",
    "TaskLogFilter",
    "TaskNotFoundError",
    "TaskState",
    "TaskStateError",
    "TaskTimeoutError",
    "TaskType",
    "TooLargeError",
    "UnsupportedOperationError",
    "WorkerInfo",
    "__version__",
    "connect",
    "cron",
    "current_context",
]

_MODULES = {
    "Aggregate": "asynq.worker.aggregation",
    "AsyncClient": "asynq.client.client",
    "AsyncInspector": "asynq.inspector.inspector",
    "AsyncSchedules": "asynq.scheduler.schedules",
    "Backoff": "asynq.handlers.retry_delays",
    "Broker": "asynq.protocol.broker",
    "BrokerInfo": "asynq.protocol.broker_info",
    "BrokerNode": "asynq.protocol.broker_info",
    "CancelReason": "asynq.handlers.context",
    "Capabilities": "asynq.protocol.broker",
    "Client": "asynq.client.client",
    "ConfigProvider": "asynq.scheduler.periodic",
    "Context": "asynq.handlers.context",
    "CronError": "asynq.cron",
    "DayStats": "asynq.protocol.history",
    "EndedTask": "asynq.client.ended_task",
    "EnqueueEvent": "asynq.protocol.presence",
    "EnqueueKeywords": "asynq.client.options",
    "Fault": "asynq.protocol.doctor",
    "Finding": "asynq.protocol.doctor",
    "FailureInfo": "asynq.info",
    "FollowerInfo": "asynq.info",
    "Handler": "asynq.handlers.adapters",
    "Health": "asynq.runtime.health",
    "HealthCheck": "asynq.handlers.hooks",
    "Inspector": "asynq.inspector.inspector",
    "IsFailure": "asynq.handlers.retry",
    "MemoryBroker": "asynq_sqlite",
    "Middleware": "asynq.handlers.middleware",
    "Monitoring": "asynq.monitoring.options",
    "Next": "asynq.handlers.middleware",
    "OnError": "asynq.handlers.hooks",
    "OnRun": "asynq.handlers.hooks",
    "Options": "asynq.client.options",
    "Overview": "asynq.inspector.overview",
    "PeriodicTaskConfig": "asynq.scheduler.periodic",
    "PeriodicTaskManager": "asynq.scheduler.periodic",
    "PostEnqueue": "asynq.scheduler.ticker",
    "PreEnqueue": "asynq.scheduler.ticker",
    "QueueInfo": "asynq.info",
    "QueuePlace": "asynq.protocol.broker_info",
    "RateLimit": "asynq.handlers.limits",
    "Recorder": "asynq.monitoring.recorder",
    "RedisBroker": "asynq_redis",
    "RedisClusterBroker": "asynq_redis",
    "RedisSentinelBroker": "asynq_redis",
    "ResultTypes": "asynq.result_types",
    "RetryDelay": "asynq.handlers.retry_delays",
    "RunOutcome": "asynq.monitoring.recorder",
    "SQLiteBroker": "asynq_sqlite",
    "ScheduleInfo": "asynq.scheduler.stored",
    "ScheduleRunner": "asynq.scheduler.runner",
    "Scheduler": "asynq.scheduler.scheduler",
    "SchedulerEntry": "asynq.protocol.presence",
    "Schedules": "asynq.scheduler.schedules",
    "Semaphore": "asynq.handlers.limits",
    "ServeMux": "asynq.handlers.mux",
    "Server": "asynq.server",
    "ServerInfo": "asynq.protocol.presence",
    "SyncMiddleware": "asynq.handlers.sync_middleware",
    "SyncNext": "asynq.handlers.sync_middleware",
    "Task": "asynq.client.task",
    "TaskFilter": "asynq.inspector.task_filter",
    "TaskFunction": "asynq.handlers.task_functions",
    "TaskInfo": "asynq.info",
    "TaskKeywords": "asynq.client.options",
    "TaskState": "asynq.task_state",
    "TaskLogFilter": "asynq.handlers.task_logs",
    "TaskType": "asynq.client.task_type",
    "WorkerInfo": "asynq.protocol.presence",
    "connect": "asynq.protocol.connect",
    "current_context": "asynq.handlers.context",
}
"""The module of each public name that is neither a submodule nor an error."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'asynq' has no attribute {name!r}")
    value: object
    if name == "__version__":
        value = import_module("importlib.metadata").version("asynq-py")
    elif name == "cron":
        value = import_module("asynq.cron")
    else:
        value = getattr(import_module(_MODULES.get(name, "asynq.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
