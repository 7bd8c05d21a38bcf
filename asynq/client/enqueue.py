"""The enqueue operation of a task and its options, with defaults; from the broker's answer to a TaskInfo."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec.structs import replace

from asynq.client.followers import check_reserved, parent_header
from asynq.client.locks import lock_name, unique_of
from asynq.client.options import NO_OPTIONS
from asynq.client.task import Task, check_task
from asynq.errors import AsynqError
from asynq.ids import random_id
from asynq.info import TaskInfo
from asynq.instants import milliseconds_of, seconds_of
from asynq.protocol.followers import PARENT_RETENTION
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.protocol.ops import Enqueue, Enqueued
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.client.options import Options

R = TypeVar("R")
G = TypeVar("G")

DEFAULT_QUEUE = "default"
DEFAULT_MAX_RETRY = 25
DEFAULT_TIMEOUT = timedelta(minutes=30)
_DEFAULT_TIMEOUT_SECONDS = seconds_of(DEFAULT_TIMEOUT)
_PENDING = TaskState.PENDING


def compose(task: Task, over: Options, new_id: Callable[[], str]) -> Enqueue:
    """The operation that enqueues the task. Options of the call override those of the task.

    `new_id` creates the task's id, if none is given. TypeError when `task` is not a Task; ValueError when
    options contradict each other.
    """
    if type(task) is not Task:
        check_task(task)
    options = (task.options | over if vars(task.options) else over) if vars(over) else task.options
    task_id = options.task_id or new_id()
    common = options._request or _common_request(options, new_id)  # noqa: SLF001 - it is kept for this function
    message = common.message
    # An id of the user's own may repeat, and the second call must not be taken for a copy of the first one.
    random = new_id is random_id and options.task_id is None
    message = replace(message, id=task_id, type=task.type, payload=task.payload, headers={**message.headers})
    if common.unique is not None:
        message = replace(message, unique_key=lock_name(task, message.queue, options))
    return replace(common, message=message, enqueue_id=task_id if random else random_id())


def _common_request(options: Options, new_id: Callable[[], str]) -> Enqueue:
    """What requests for all tasks with these options have in common. The options keep it."""
    timeout, deadline = options.timeout, options.deadline
    delay = options.process_in if options.debounce is None else options.debounce
    headers = options.headers or {}
    if options.sequence:
        headers = {**headers, SEQUENCE_HEADER: options.sequence}
    retention = seconds_of(options.retention) if options.retention else 0
    if headers:
        check_reserved(headers)
    if options.then:
        headers = {
            **headers,
            **parent_header(options, retention, lambda one: compose(cast("Task", one), NO_OPTIONS, new_id)),
        }
        retention = PARENT_RETENTION
    message = TaskMessage(
        id="",
        type="",
        queue=options.queue or DEFAULT_QUEUE,
        headers=headers,
        max_retry=DEFAULT_MAX_RETRY if options.max_retry is None else options.max_retry,
        timeout=seconds_of(timeout) if timeout else 0 if deadline else _DEFAULT_TIMEOUT_SECONDS,
        deadline=seconds_of(deadline) if deadline else 0,
        retention=retention,
        group=options.group or "",
    )
    request = Enqueue(
        message=message,
        enqueue_id="",
        process_at=None if options.process_at is None else milliseconds_of(options.process_at),
        process_in=None if delay is None else milliseconds_of(delay),
        unique=unique_of(options),
        on_conflict=options.on_conflict or "reject",
    )
    if not options.then:  # each task has followers of its own, with new ids
        object.__setattr__(options, "_request", request)  # options cannot be changed otherwise
    return request


def list_of(tasks: Iterable[Task[R, G]]) -> list[Task[R, G]]:
    """The tasks of a call. TypeError when `tasks` is not iterable."""
    if not isinstance(tasks, Iterable):
        raise TypeError(f"tasks must be an iterable of asynq.Task, not {type(tasks).__name__}")
    return list(tasks)


def compose_many(tasks: Sequence[Task], over: Options, new_id: Callable[[], str]) -> list[Enqueue]:
    """`compose` for each task. An invalid task raises an error for all, with a note of its position."""
    requests = []
    for position, task in enumerate(tasks):
        try:
            requests.append(compose(task, over, new_id))
        except (TypeError, ValueError) as error:
            error.add_note(f"in tasks[{position}]; nothing was enqueued")
            raise
    return requests


def task_info(task: Task[R, G], request: Enqueue, answer: Enqueued) -> TaskInfo[R, G]:
    """The TaskInfo that an enqueue of the task returns to its caller."""
    pending = answer.state is _PENDING
    return TaskInfo.of(
        StoredTask(
            message=request.message,
            state=answer.state,
            due_at=0 if pending else answer.due_at,
            pending_since=answer.due_at if pending else 0,
        ),
        task.result_types,
    )


def task_infos(
    tasks: Sequence[Task[R, G]], requests: Sequence[Enqueue], answers: Sequence[Enqueued | AsynqError]
) -> list[TaskInfo[R, G] | AsynqError]:
    """`task_info` for each answer. Errors are returned unchanged."""
    return [
        answer if isinstance(answer, AsynqError) else task_info(task, request, answer)
        for task, request, answer in zip(tasks, requests, answers, strict=True)
    ]
