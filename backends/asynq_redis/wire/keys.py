"""Key names of queues, tasks, servers and schedulers. Scripts that read ids use lua/lib/keys.lua."""

from __future__ import annotations

from functools import cached_property, lru_cache

from attrs import frozen

ALL_QUEUES = "asynq:queues"
"""SET of the names of all queues."""

ALL_SERVERS = "asynq:servers"
"""ZSET of the keys of the server records by the Unix second at which they expire."""
ALL_WORKERS = "asynq:workers"
"""ZSET of the keys of the worker records by the Unix second at which they expire."""
ALL_SCHEDULERS = "asynq:schedulers"
"""ZSET of the keys of the scheduler entries by the Unix second at which they expire."""

ALL_SCHEDULES = "asynq:py:schedules"
"""HASH of the schedules that are kept in the broker: "s:" and a name: JSON; "p:" and a name: 1 while it is
paused. Python only."""

STORE = "asynq:py:store"
"""STRING with the random identity of this store, once a transfer has asked for it. Python only."""

CANCEL_CHANNEL = "asynq:cancel"
"""Go's channel. The message is the id of the task to cancel, in any queue."""
CANCEL_REQUESTS = "asynq:py:cancel"
"""Python's channel. The message is JSON: {"id": ..., "queue": ... or null, "then": "archive" or "retry"}."""


def semaphore(scope: str) -> str:
    """ZSET of the holders of slots by the Unix second at which they expire. Shared with Go."""
    return f"asynq:sema:{scope}"


def rate(scope: str) -> str:
    """LIST of the Unix milliseconds at which the last tokens were taken, latest on the left. Python only."""
    return f"asynq:py:rate:{scope}"


def mark_beside(key: str | bytes) -> str:
    """A key in the same slot, with a short TTL. It is written so that WAIT has something to wait for."""
    name = key.decode(errors="replace") if isinstance(key, bytes) else key
    return f"{name.partition('}')[0]}}}:py:mark"


@frozen(slots=False)
class QueueKeys:
    """The keys of one queue. All are in one slot because the queue's name is their hash tag."""

    queue: str

    @cached_property
    def prefix(self) -> str:
        """Common prefix of the queue's keys."""
        return f"asynq:{{{self.queue}}}:"

    @cached_property
    def pending(self) -> str:
        """LIST of task ids. The next one to run is on the right."""
        return f"{self.prefix}pending"

    @cached_property
    def active(self) -> str:
        """LIST of task ids. The latest one dequeued is on the left."""
        return f"{self.prefix}active"

    @cached_property
    def lease(self) -> str:
        """ZSET of task ids by the second their lease expires. Python writes a fraction, Go an integer."""
        return f"{self.prefix}lease"

    @cached_property
    def scheduled(self) -> str:
        """ZSET of task ids by the Unix second at which they are due."""
        return f"{self.prefix}scheduled"

    @cached_property
    def retry(self) -> str:
        """ZSET of task ids by the Unix second at which they are due."""
        return f"{self.prefix}retry"

    @cached_property
    def archived(self) -> str:
        """ZSET of task ids by the Unix second at which they were archived."""
        return f"{self.prefix}archived"

    @cached_property
    def completed(self) -> str:
        """ZSET of task ids by the Unix second at which their retention ends."""
        return f"{self.prefix}completed"

    @cached_property
    def groups(self) -> str:
        """SET of the names of groups that may hold tasks."""
        return f"{self.prefix}groups"

    @cached_property
    def paused(self) -> str:
        """STRING that exists while the queue is paused."""
        return f"{self.prefix}paused"

    @cached_property
    def processed(self) -> str:
        """STRING with the number of finished runs. With a date appended, those of one day."""
        return f"{self.prefix}processed"

    @cached_property
    def failed(self) -> str:
        """STRING with the number of failed runs. With a date appended, those of one day."""
        return f"{self.prefix}failed"

    @cached_property
    def tasks(self) -> str:
        """Common prefix of the keys of tasks."""
        return f"{self.prefix}t:"

    def task(self, task_id: str) -> str:
        """HASH of one task."""
        return f"{self.tasks}{task_id}"

    def group(self, group: str) -> str:
        """ZSET of the task ids of one group by the Unix second at which they were added."""
        return f"{self.prefix}g:{group}"

    @cached_property
    def aggregation_sets(self) -> str:
        """ZSET of the keys of aggregation sets by the Unix second at which their hold ends."""
        return f"{self.prefix}aggregation_sets"

    @cached_property
    def holding_tasks(self) -> tuple[str, ...]:
        """Keys of which at least one exists while the queue has tasks."""
        return (
            *(self.pending, self.active, self.scheduled, self.retry, self.archived, self.completed),
            *(self.groups, self.aggregation_sets),
        )

    @cached_property
    def sequences(self) -> str:
        """ZSET of the names of sequences that may hold tasks, all with score 0. Python only."""
        return f"{self.prefix}py:sequences"

    @cached_property
    def transfer(self) -> str:
        """HASH of who may transfer tasks: "holder", and "until" in Unix milliseconds. Python only."""
        return f"{self.prefix}py:transfer"

    def sequence(self, name: str) -> str:
        """ZSET of the ids of the tasks left in a sequence by their place in it. Python only."""
        return f"{self.prefix}py:seq:{name}"

    def aggregation_set(self, group: str, set_id: str) -> str:
        """ZSET of the task ids taken from a group for one aggregation, with their scores in the group."""
        return f"{self.group(group)}:{set_id}"

    def taken(self, token: str) -> str:
        """LIST of the task ids of one Dequeue, until one is settled or the key expires. Python only."""
        return f"{self.prefix}py:taken:{token}"

    def last_tick(self, entry_id: str) -> str:
        """STRING with the latest decided tick of a periodic task, until the key expires. Python only."""
        return f"{self.prefix}py:tick:{entry_id}"


keys_of = lru_cache(maxsize=1024)(QueueKeys)
"""The keys of a queue, with the names that were made before."""


@frozen
class ServerKeys:
    """The keys of one worker server, in one slot."""

    name: str
    """host:pid:id."""

    @classmethod
    def of(cls, host: str, pid: int, server_id: str) -> ServerKeys:
        """The keys of a server."""
        return cls(f"{host}:{pid}:{server_id}")

    @classmethod
    def named(cls, member: bytes) -> ServerKeys | None:
        """The keys of the server with this record key. None if it is not the key of a server record."""
        name = member.decode(errors="replace")
        if name.startswith("asynq:servers:{") and name.endswith("}"):
            return cls(name.removeprefix("asynq:servers:{").removesuffix("}"))
        return None

    @property
    def server(self) -> str:
        """STRING with the record of the server."""
        return f"asynq:servers:{{{self.name}}}"

    @property
    def workers(self) -> str:
        """HASH of the records of its active workers."""
        return f"asynq:workers:{{{self.name}}}"

    @property
    def draft(self) -> str:
        """The same while it is being written. Python only."""
        return f"asynq:py:workers:{{{self.name}}}"


@frozen
class SchedulerKeys:
    """The keys of one scheduler, in one slot."""

    scheduler_id: str

    @property
    def entries(self) -> str:
        """LIST of the records of its entries. The first one registered is on the right."""
        return f"asynq:schedulers:{{{self.scheduler_id}}}"

    @property
    def draft(self) -> str:
        """The same while it is being written. Python only."""
        return f"asynq:py:schedulers:{{{self.scheduler_id}}}"


def history(entry_id: str) -> str:
    """ZSET of the enqueue events of a scheduler entry by Unix second."""
    return f"asynq:scheduler_history:{entry_id}"


def with_neighbour(key: str) -> tuple[str, str]:
    """The key and another one in its slot. For a single key a migrating slot would not answer TRYAGAIN."""
    tag = key[key.find("{") + 1 :].partition("}") if "{" in key else ("", "", "")
    return key, f"{key}:" if tag[0] and tag[1] else f"{{{key}}}:"
