"""Names of keys. Nothing else formats one, but for lua/lib/keys.lua, whose scripts read ids and groups."""

from __future__ import annotations

from attrs import frozen

ALL_QUEUES = "asynq:queues"
"""SET of the names of all queues."""

ALL_SERVERS = "asynq:servers"
"""ZSET of the keys of server records by the second they end."""
ALL_WORKERS = "asynq:workers"
"""ZSET of the keys of servers' workers by the second they end."""
ALL_SCHEDULERS = "asynq:schedulers"
"""ZSET of the keys of schedulers' entries by the second they end."""

CANCEL_CHANNEL = "asynq:cancel"
"""Go's channel: the message is the id of a task whose run shall end, in whichever queue."""
CANCEL_REQUESTS = "asynq:py:cancel"
"""Our channel: the message is JSON, {"id": ..., "queue": ... or null, "then": "archive" or "retry"}."""


def semaphore(scope: str) -> str:
    """ZSET of who holds a slot, by the second it ends. Go's too."""
    return f"asynq:sema:{scope}"


def rate(scope: str) -> str:
    """LIST of the milliseconds at which the last tokens were taken, latest at the left end. Ours alone."""
    return f"asynq:py:rate:{scope}"


def mark_beside(key: str | bytes) -> str:
    """A key in the slot of a queue's key, written for the sake of writing; it has a short ttl."""
    name = key.decode(errors="replace") if isinstance(key, bytes) else key
    return f"{name.partition('}')[0]}}}:py:mark"


@frozen
class QueueKeys:
    """The keys of one queue. All lie in one slot: the queue's name is their hash tag."""

    queue: str

    @property
    def prefix(self) -> str:
        """What every key of the queue begins with."""
        return f"asynq:{{{self.queue}}}:"

    @property
    def pending(self) -> str:
        """LIST of ids, the next to run at the right end."""
        return f"{self.prefix}pending"

    @property
    def active(self) -> str:
        """LIST of ids, the latest taken at the left end."""
        return f"{self.prefix}active"

    @property
    def lease(self) -> str:
        """ZSET of ids by the second their lease lapses: a fraction is ours, a whole number a Go peer's."""
        return f"{self.prefix}lease"

    @property
    def scheduled(self) -> str:
        """ZSET of ids by the second they are due."""
        return f"{self.prefix}scheduled"

    @property
    def retry(self) -> str:
        """ZSET of ids by the second they are due."""
        return f"{self.prefix}retry"

    @property
    def archived(self) -> str:
        """ZSET of ids by the second they were archived."""
        return f"{self.prefix}archived"

    @property
    def completed(self) -> str:
        """ZSET of ids by the second their retention ends."""
        return f"{self.prefix}completed"

    @property
    def groups(self) -> str:
        """SET of the names of groups that may hold tasks."""
        return f"{self.prefix}groups"

    @property
    def paused(self) -> str:
        """STRING that exists while the queue is paused."""
        return f"{self.prefix}paused"

    @property
    def processed(self) -> str:
        """STRING counting runs ended; with a date behind, those of one day."""
        return f"{self.prefix}processed"

    @property
    def failed(self) -> str:
        """STRING counting runs failed; with a date behind, those of one day."""
        return f"{self.prefix}failed"

    def task(self, task_id: str) -> str:
        """HASH of one task."""
        return f"{self.prefix}t:{task_id}"

    def group(self, group: str) -> str:
        """ZSET of the ids of one group by the second they were added."""
        return f"{self.prefix}g:{group}"

    @property
    def aggregation_sets(self) -> str:
        """ZSET of the keys of aggregation sets by the second their hold ends."""
        return f"{self.prefix}aggregation_sets"

    def aggregation_set(self, group: str, set_id: str) -> str:
        """ZSET of the ids taken from a group for one aggregation, with their scores in the group."""
        return f"{self.group(group)}:{set_id}"

    def taken(self, token: str) -> str:
        """LIST of the ids one Dequeue took, until one is settled or the key's ttl ends. Ours alone."""
        return f"{self.prefix}py:taken:{token}"

    def last_tick(self, entry_id: str) -> str:
        """STRING: the latest tick of a periodic task that was decided, until its ttl ends. Ours alone."""
        return f"{self.prefix}py:tick:{entry_id}"


@frozen
class ServerKeys:
    """The keys of one server, in one slot."""

    name: str
    """host:pid:id."""

    @classmethod
    def of(cls, host: str, pid: int, server_id: str) -> ServerKeys:
        """The keys of this server."""
        return cls(f"{host}:{pid}:{server_id}")

    @classmethod
    def named(cls, member: bytes) -> ServerKeys | None:
        """The keys of the server whose record this key is; None when it is no server's."""
        name = member.decode(errors="replace")
        if name.startswith("asynq:servers:{") and name.endswith("}"):
            return cls(name.removeprefix("asynq:servers:{").removesuffix("}"))
        return None

    @property
    def server(self) -> str:
        """STRING: the record of the server."""
        return f"asynq:servers:{{{self.name}}}"

    @property
    def workers(self) -> str:
        """HASH of the records of its runs under way."""
        return f"asynq:workers:{{{self.name}}}"

    @property
    def draft(self) -> str:
        """The same while it is being written. Ours alone."""
        return f"asynq:py:workers:{{{self.name}}}"


@frozen
class SchedulerKeys:
    """The keys of one scheduler, in one slot."""

    scheduler_id: str

    @property
    def entries(self) -> str:
        """LIST of the records of its entries, the first registered at the right end."""
        return f"asynq:schedulers:{{{self.scheduler_id}}}"

    @property
    def draft(self) -> str:
        """The same while it is being written. Ours alone."""
        return f"asynq:py:schedulers:{{{self.scheduler_id}}}"


def history(entry_id: str) -> str:
    """ZSET of the records of what a scheduler entry enqueued, by the second it did."""
    return f"asynq:scheduler_history:{entry_id}"


def with_neighbour(key: str) -> tuple[str, str]:
    """The key, and one of its slot: with a single key a slot in motion would not answer TRYAGAIN."""
    tag = key[key.find("{") + 1 :].partition("}") if "{" in key else ("", "", "")
    return key, f"{key}:" if tag[0] and tag[1] else f"{{{key}}}:"
