"""Replays the recorded calls of Go asynq with our operations, at the same times of another day."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asynq
from asynq.clock import FakeClock
from asynq.errors import AsynqError, DuplicateTaskError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.failures import without_failures
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from tests.golden.compare import Difference
from tests.golden.dumps import leaf
from tests.golden.inspection import inspect

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery, LostLease, TaskMessage

DAY = 24 * 3600 * 1000

ERRORS: dict[str, type[AsynqError]] = {
    "task ID conflicts with another task": TaskIDConflictError,
    "task already exists": DuplicateTaskError,
}
SKIPPED = {
    "Server.Start",
    "Server.Stop",
    "Server.Shutdown",
    "ResultWriter.Write",
    "kill -9 of the server process",
    "aggregator calls in the 4 s after the reclaim",
}
"""Steps without an operation of ours, or known only from their result."""

_OPTION = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_DURATION = re.compile(r"([\d.]+)(h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class Replay:
    """One dump, replayed into an empty database.

    Days are shifted so that the recording happens today. Otherwise the server would expire counters that are
    older than 90 days at once.
    """

    def __init__(self, dump: dict[str, Any], url: str) -> None:
        self.dump = dump
        started = dump["started_ns"] // 1_000_000
        self.shift = (int(datetime.now(UTC).timestamp() * 1000) - started) // DAY * DAY
        """Shift of our times in milliseconds, a multiple of a day."""
        self.clock = FakeClock(started + self.shift)
        self.broker = RedisBroker(url, clock=self.clock)
        self.client = asynq.Client(self.broker)
        self.outcomes: list[Difference] = []
        """Enqueues that end differently from Go's."""
        self.left = {row["key"]: row["value"] for row in dump["keys"]}
        """What Go left, for inputs that no step contains: handlers' writes and random delays."""

    def close(self) -> None:
        """Close the connections."""
        self.broker.close()

    def steps(self) -> None:
        """Execute all recorded calls at their times."""
        for step in self.dump["steps"]:
            self.at(step["t_before_ns"])
            match step["op"]:
                case "Client.Enqueue":
                    self._enqueue(step)
                case "Client.BatchEnqueueContext":
                    self._batch(step)
                case "Inspector.CancelProcessing":
                    self._cancel(step)
                case verb if verb.startswith("Inspector."):
                    inspect(self.broker, step)
                case "handler":
                    self._handle(step)
                case other:
                    assert other in SKIPPED, f"what does {other} do?"

    def at(self, nanoseconds: int) -> None:
        """Move the clock to an instant of the recording, but never back."""
        self.clock.set(max(self.clock.now(), nanoseconds // 1_000_000 + self.shift))

    def at_the_end(self) -> None:
        """Move the clock to the time of the dump."""
        self.at(self.dump["dumped_ns"])

    # --- producing ------------------------------------------------------------------------------------

    def _enqueue(self, step: dict[str, Any]) -> None:
        arguments = step["args"]
        options = self._options(arguments["enqueue_opts"])
        if "result" in step:
            options["task_id"] = step["result"]["ID"]
        headers = options.pop("headers", None)
        task = asynq.Task(
            arguments["type"],
            None if arguments["payload"] is None else leaf(arguments["payload"]),
            headers=(arguments.get("task_headers") or {}) | (headers or {}),
            **self._options(arguments["task_opts"]),
        )
        (answer,) = self.client.enqueue_many([task], **options)
        theirs = ERRORS[step["error"]] if "error" in step else asynq.TaskInfo
        if not isinstance(answer, theirs):
            name = options.get("task_id", arguments["type"])
            self.outcomes.append(Difference("different", f"enqueue {name}", theirs, type(answer)))

    def _batch(self, step: dict[str, Any]) -> None:
        """The tasks of the recorded batch that Go sent. Go reports one with an id conflict as enqueued."""
        sent = [result for result in step["result"] if "error" not in result]
        tasks = [
            asynq.Task(
                result["Type"],
                base64.b64decode(result["Payload"]),
                headers=result["Headers"] or {},
                task_id=result["ID"],
                queue=result["Queue"],
                max_retry=result["MaxRetry"],
                process_in=timedelta(hours=1) if result["StateName"] == "scheduled" else None,
            )
            for result in sent
        ]
        (refused,) = (each for each in self.client.enqueue_many(tasks) if isinstance(each, AsynqError))
        assert isinstance(refused, TaskIDConflictError)
        assert refused.task_id == "dup"

    def _options(self, printed: list[str]) -> dict[str, Any]:
        """Our keywords for the options that Go prints."""
        found: dict[str, Any] = {}
        for text in printed:
            match = _OPTION.fullmatch(text)
            assert match, text
            name, value = match.groups()
            match name:
                case "Queue" | "Group" | "TaskID":
                    found[{"TaskID": "task_id"}.get(name, name.lower())] = json.loads(value)
                case "MaxRetry":
                    found["max_retry"] = int(value)
                case "Timeout" | "Unique" | "Retention" | "ProcessIn":
                    found[{"ProcessIn": "process_in"}.get(name, name.lower())] = duration(value)
                case "Deadline":
                    found["deadline"] = instant(value)
                case "ProcessAt":
                    # Go prints whole seconds, but the instant of the recording had 750 ms more.
                    fraction = timedelta(milliseconds=750 + self.shift)
                    found["process_at"] = instant(value) + fraction
                case "Header":
                    key, content = json.loads(value)
                    found.setdefault("headers", {})[key] = content
                case _:
                    raise AssertionError(text)
        return found

    def _cancel(self, step: dict[str, Any]) -> None:
        """The running handler of this task receives the cancellation and ends with Go's error."""
        delivery = self.take(step["args"])
        assert self.broker.execute(ops.CancelTask(task_id=step["args"], then="retry"))
        extended = self.broker.execute(ops.ExtendLease(lease=delivery.lease, duration=30_000))
        assert extended.cancel == "retry"
        self.at(step["t_after_ns"])
        self.settle(delivery, "context canceled")

    # --- running --------------------------------------------------------------------------------------

    def take(self, task_id: str, queue: str = "default") -> Delivery:
        """Dequeue this task, which must be next; after its due time, if it has one."""
        stored = self.broker.execute(ops.GetTask(queue=queue, task_id=task_id))
        if stored.state in (TaskState.RETRY, TaskState.SCHEDULED):
            self.clock.set(max(self.clock.now(), stored.due_at))
            self.broker.execute(ops.Forward(queue=queue))
        token = f"{task_id}-{stored.message.retried}"
        (delivery,) = self.broker.execute(ops.Dequeue(orders=((queue,),), token=token, lease=30_000))
        assert delivery.message.id == task_id
        return delivery

    def _handle(self, step: dict[str, Any]) -> None:
        arguments = step["args"]
        delivery = self.take(arguments["task_id"], arguments["queue"])
        assert delivery.message.retried == arguments["retried"]
        assert delivery.message.max_retry == arguments["max_retry"]
        assert without_failures(delivery.message.headers) == (arguments["headers"] or {})
        self.at(step["t_after_ns"])
        self.settle(delivery, step.get("error"))

    def settle(self, delivery: Delivery, error: str | None) -> None:
        """End the run like Go does after a handler that returned this error."""
        message = delivery.message
        op: ops.Op[None]
        if error is None and message.retention:
            op = ops.Complete(delivery=delivery, result=self._result(message))
        elif error is None or "revoke task" in error:
            op = ops.Done(delivery=delivery)
        elif "skip retry" in error or message.retried >= message.max_retry:
            op = ops.Archive(delivery=delivery, error=error)
        else:
            op = ops.Retry(delivery=delivery, delay=self._retry_delay(message.queue, message.id), error=error)
        self.broker.execute(op)

    def _result(self, message: TaskMessage) -> bytes | None:
        """The result written by the handler."""
        left = self.left.get(f"asynq:{{{message.queue}}}:t:{message.id}", {})
        return leaf(left["result"]) if "result" in left else None

    def _retry_delay(self, queue: str, task_id: str) -> int:
        """Go's random delay if it is still visible, else the recorded one."""
        for entry in self.left.get(f"asynq:{{{queue}}}:retry", ()):
            if entry["member"] == task_id:
                due: int = entry["score"] * 1000 + self.shift
                return due - self.clock.now()
        return 1000

    def lost(self, task_id: str) -> LostLease:
        """The expired lease of this task."""
        lost = self.broker.execute(ops.ListLostLeases(queue="default")).leases
        return next(lease for lease in lost if lease.message.id == task_id)

    def recover(self, task_id: str) -> None:
        """Recover this task like Go: retried if retries are left, with Go's error text."""
        lost = self.lost(task_id)
        again = lost.message.retried < lost.message.max_retry
        recovery = ops.Recover(
            lost=lost,
            to="retry" if again else "archived",
            error="asynq: task lease expired",
            delay=self._retry_delay("default", task_id) if again else 0,
        )
        assert self.broker.execute(recovery)


def duration(printed: str) -> timedelta:
    """A duration in Go's notation: 1h30m0s."""
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(printed)))


def instant(printed: str) -> datetime:
    """An instant in Go's format time.UnixDate."""
    return datetime.strptime(printed, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC)
