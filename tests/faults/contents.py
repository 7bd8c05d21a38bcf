"""The stored data of a queue, read without the broker, and its consistency."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers import RedisServer


@frozen
class Contents:
    """One queue as it is stored. Ids and names are text."""

    places: Mapping[str, list[str]]
    """The states in which an id is listed; exactly one if the data is consistent."""
    bodies: Mapping[str, str]
    """The lock that each stored task took, "" for none."""
    leases: frozenset[str]
    """Ids under a lease."""
    locks: Mapping[str, str]
    """The id of the task that holds each lock."""

    def contradictions(self) -> list[str]:
        """Inconsistencies in words; empty if the data is consistent."""
        found = [f"{id_} is listed as {states}" for id_, states in self.places.items() if len(states) != 1]
        found += [f"{id_} is listed and not there" for id_ in self.places.keys() - self.bodies.keys()]
        found += [f"{id_} is there and not listed" for id_ in self.bodies.keys() - self.places.keys()]
        active = {id_ for id_, states in self.places.items() if "active" in states}
        found += [f"{id_} is active without a lease" for id_ in active - self.leases]
        found += [f"{id_} has a lease and is not active" for id_ in self.leases - active]
        for lock, holder in self.locks.items():
            if self.bodies.get(holder) != lock:
                found.append(f"lock {lock} is held by {holder}, which does not have it")
        for id_, lock in self.bodies.items():
            if lock and self.locks.get(lock) != id_:
                found.append(f"{id_} took lock {lock} and does not hold it")
        return found

    def states(self) -> set[str]:
        """The states that have tasks."""
        return {state for states in self.places.values() for state in states}


def redis_contents(server: RedisServer, queue: str) -> Contents:
    """A queue in Redis. Raises UndecodableMessageError if a stored message is incomplete."""
    client: Any = server.client
    keys = QueueKeys(queue)
    places: dict[str, list[str]] = defaultdict(list)
    for state in ("pending", "active"):
        for raw in client.lrange(getattr(keys, state), 0, -1):
            places[raw.decode()].append(state)
    for state in ("scheduled", "retry", "archived", "completed"):
        for raw in client.zrange(getattr(keys, state), 0, -1):
            places[raw.decode()].append(state)
    bodies = {}
    prefix = keys.task("").encode()
    hashes = [key for key in client.scan_iter(count=5000) if key.startswith(prefix)]
    pipe = client.pipeline(transaction=False)
    for key in hashes:
        pipe.hgetall(key)
    for key, fields in zip(hashes, pipe.execute(), strict=True):
        task_id = key.removeprefix(prefix).decode()
        bodies[task_id] = fields.get(b"unique_key", b"").decode()
        task_message.decode_as(queue, task_id, fields[b"msg"])
    locks = {
        key.decode(): (client.get(key) or b"").decode()
        for key in client.scan_iter(match=f"{keys.prefix}unique:*", count=5000)
    }
    leases = frozenset(raw.decode() for raw in client.zrange(keys.lease, 0, -1))
    return Contents(places, bodies, leases, locks)


def sqlite_contents(path: Path, queue: str) -> Contents:
    """A queue in a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT id, state, unique_key, lease_token FROM tasks WHERE queue = ?", (queue,)
        ).fetchall()
        locks = connection.execute("SELECT name, task_id FROM locks WHERE queue = ?", (queue,)).fetchall()
    return Contents(
        places={task_id: [state] for task_id, state, _, _ in rows},
        bodies={task_id: lock for task_id, _, lock, _ in rows},
        leases=frozenset(id_ for id_, state, _, token in rows if state == "active" and token),
        locks=dict(locks),
    )
