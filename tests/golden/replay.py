"""Doing with our operations what Go asynq did when a dump was recorded, at the same times of another day."""

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
"""Steps that are no operation of ours, or known only from what they left."""

_OPTION = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_DURATION = re.compile(r"([\d.]+)(h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class Replay:
    """One dump, replayed into an empty database.

    Days are shifted so that the recording happens today: a counter whose 90 days are over by the server's
    clock would vanish at once.
    """

    def __init__(self, dump: dict[str, Any], url: str) -> None:
        self.dump = dump
        started = dump["started_ns"] // 1_000_000
        self.shift = (int(datetime.now(UTC).timestamp() * 1000) - started) // DAY * DAY
        """Milliseconds by which ours is later than the recording: whole days."""
        self.clock = FakeClock(started + self.shift)
        self.broker = RedisBroker(url, clock=self.clock)
        self.client = asynq.Client(self.broker)
        self.outcomes: list[Difference] = []
        """Enqueues that end otherwise than Go's."""
        self.left = {row["key"]: row["value"] for row in dump["keys"]}
        """What Go left, for inputs that no step tells: what a handler wrote, and random delays."""

    def close(self) -> None:
        """Free the connections."""
        self.broker.close()

    def steps(self) -> None:
        """All recorded calls, each at its time."""
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
        """Set the clock to an instant of the recording, but never back."""
        self.clock.set(max(self.clock.now(), nanoseconds // 1_000_000 + self.shift))

    def at_the_end(self) -> None:
        """Set the clock to the time of the dump."""
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
        """The tasks of the recorded batch that Go sent; it reports the one whose id is taken as enqueued."""
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
        """Our keywords for Go's options, as Go prints them."""
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
                    # Go prints whole seconds, but the recording's instant had 750 ms more.
                    fraction = timedelta(milliseconds=750 + self.shift)
                    found["process_at"] = instant(value) + fraction
                case "Header":
                    key, content = json.loads(value)
                    found.setdefault("headers", {})[key] = content
                case _:
                    raise AssertionError(text)
        return found

    def _cancel(self, step: dict[str, Any]) -> None:
        """The handler of this task, which the server had begun, is told and ends with Go's error."""
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
        assert delivery.message.headers == (arguments["headers"] or {})
        self.at(step["t_after_ns"])
        self.settle(delivery, step.get("error"))

    def settle(self, delivery: Delivery, error: str | None) -> None:
        """End the run as Go ends one whose handler returned this error."""
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
        """What the handler wrote."""
        left = self.left.get(f"asynq:{{{message.queue}}}:t:{message.id}", {})
        return leaf(left["result"]) if "result" in left else None

    def _retry_delay(self, queue: str, task_id: str) -> int:
        """Go's own random delay where it can still be seen, else the second the recording asked for."""
        for entry in self.left.get(f"asynq:{{{queue}}}:retry", ()):
            if entry["member"] == task_id:
                due: int = entry["score"] * 1000 + self.shift
                return due - self.clock.now()
        return 1000

    def lost(self, task_id: str) -> LostLease:
        """The lapsed lease of this task."""
        lost = self.broker.execute(ops.ListLostLeases(queue="default")).leases
        return next(lease for lease in lost if lease.message.id == task_id)

    def recover(self, task_id: str) -> None:
        """Recover this task as Go does: retried while it may be, with Go's own words."""
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
    """A duration as Go prints it: 1h30m0s."""
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(printed)))


def instant(printed: str) -> datetime:
    """An instant as Go's time.UnixDate prints it."""
    return datetime.strptime(printed, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC)
