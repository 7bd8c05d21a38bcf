"""asynq for Python: a distributed task queue with a pluggable broker, wire-compatible with Go's asynq.

The public names live here; each is loaded when it is first used, so that `import asynq` costs next to
nothing and a backend's dependencies are needed only by those who use that backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq import cron as cron
    from asynq.broker import Broker as Broker
    from asynq.broker import Capabilities as Capabilities
    from asynq.broker import connect as connect
    from asynq.client import AsyncClient as AsyncClient
    from asynq.client import Client as Client
    from asynq.context import CancelReason as CancelReason
    from asynq.context import Context as Context
    from asynq.context import current_context as current_context
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
    from asynq.findings import Fault as Fault
    from asynq.findings import Finding as Finding
    from asynq.history import DayStats as DayStats
    from asynq.info import QueueInfo as QueueInfo
    from asynq.info import TaskInfo as TaskInfo
    from asynq.inspector import AsyncInspector as AsyncInspector
    from asynq.inspector import Inspector as Inspector
    from asynq.limits import RateLimit as RateLimit
    from asynq.limits import Semaphore as Semaphore
    from asynq.message import TaskState as TaskState
    from asynq.mux import ServeMux as ServeMux
    from asynq.periodic import PeriodicTaskConfig as PeriodicTaskConfig
    from asynq.periodic import PeriodicTaskManager as PeriodicTaskManager
    from asynq.presence import EnqueueEvent as EnqueueEvent
    from asynq.presence import SchedulerEntry as SchedulerEntry
    from asynq.presence import ServerInfo as ServerInfo
    from asynq.presence import WorkerInfo as WorkerInfo
    from asynq.scheduler import Scheduler as Scheduler
    from asynq.server import Server as Server
    from asynq.task import Task as Task
    from asynq_redis import RedisBroker as RedisBroker
    from asynq_redis import RedisClusterBroker as RedisClusterBroker
    from asynq_redis import RedisSentinelBroker as RedisSentinelBroker
    from asynq_sqlite import MemoryBroker as MemoryBroker
    from asynq_sqlite import SQLiteBroker as SQLiteBroker

    __version__: str

__all__ = [
    "AggregationError",
    "AggregationLostError",
    "AsyncClient",
    "AsyncInspector",
    "AsynqError",
    "Broker",
    "BrokerFullError",
    "BrokerRefusedError",
    "BrokerURLError",
    "BrokerUnavailable",
    "CancelReason",
    "Capabilities",
    "Client",
    "Context",
    "CronError",
    "DayStats",
    "DuplicateTaskError",
    "EnqueueEvent",
    "EntryNotFoundError",
    "Fault",
    "Finding",
    "HandlerError",
    "HandlerNotFoundError",
    "HandlerProcessError",
    "Inspector",
    "LeaseLostError",
    "MemoryBroker",
    "NotReplicatedError",
    "PayloadError",
    "PayloadTooLargeError",
    "PeriodicTaskConfig",
    "PeriodicTaskManager",
    "QueueInfo",
    "QueueNotEmptyError",
    "QueueNotFoundError",
    "RateLimit",
    "RateLimited",
    "RedisBroker",
    "RedisClusterBroker",
    "RedisSentinelBroker",
    "ResultError",
    "ResultTooLargeError",
    "RevokeTask",
    "SQLiteBroker",
    "Scheduler",
    "SchedulerEntry",
    "Semaphore",
    "ServeMux",
    "Server",
    "ServerInfo",
    "ServerStateError",
    "SkipRetry",
    "Task",
    "TaskCancelledError",
    "TaskDeadlineError",
    "TaskFailedError",
    "TaskGoneError",
    "TaskIDConflictError",
    "TaskInfo",
    "TaskNotFoundError",
    "TaskState",
    "TaskStateError",
    "TaskTimeoutError",
    "TooLargeError",
    "UnsupportedOperationError",
    "WorkerInfo",
    "__version__",
    "connect",
    "cron",
    "current_context",
]

_HOMES = {
    "AsyncClient": "asynq.client",
    "AsyncInspector": "asynq.inspector",
    "Broker": "asynq.broker",
    "CancelReason": "asynq.context",
    "Capabilities": "asynq.broker",
    "Client": "asynq.client",
    "Context": "asynq.context",
    "CronError": "asynq.cron",
    "DayStats": "asynq.history",
    "EnqueueEvent": "asynq.presence",
    "Fault": "asynq.findings",
    "Finding": "asynq.findings",
    "Inspector": "asynq.inspector",
    "MemoryBroker": "asynq_sqlite",
    "PeriodicTaskConfig": "asynq.periodic",
    "PeriodicTaskManager": "asynq.periodic",
    "QueueInfo": "asynq.info",
    "RateLimit": "asynq.limits",
    "RedisBroker": "asynq_redis",
    "RedisClusterBroker": "asynq_redis",
    "RedisSentinelBroker": "asynq_redis",
    "SQLiteBroker": "asynq_sqlite",
    "Scheduler": "asynq.scheduler",
    "SchedulerEntry": "asynq.presence",
    "Semaphore": "asynq.limits",
    "ServeMux": "asynq.mux",
    "Server": "asynq.server",
    "ServerInfo": "asynq.presence",
    "Task": "asynq.task",
    "TaskInfo": "asynq.info",
    "TaskState": "asynq.message",
    "WorkerInfo": "asynq.presence",
    "connect": "asynq.broker",
    "current_context": "asynq.context",
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
        value = getattr(import_module(_HOMES.get(name, "asynq.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
