"""The messages between a worker and its lease keeper process: one JSON array per line."""

from __future__ import annotations

import base64
import json
import pickle
import sys
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.protocol.message import Lease
from asynq.worker.leases.extension_schedule import CancelMarked, LeaseEvent, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.broker import Broker


@frozen
class Hello:
    """The first message from the worker."""

    broker: Broker
    duration: int
    """Of the leases, in milliseconds."""
    parent: int
    """The worker's process id."""


@frozen
class HoldLeases:
    """Extend these leases, each for at most so many seconds."""

    holds: Mapping[Lease, float]
    now: float
    """When this was sent, on the monotonic clock, which all processes of a machine share."""


@frozen
class ReleaseLeases:
    """Stop extending these leases."""

    leases: Sequence[Lease]


@frozen
class Ready:
    """The first message from the keeper process: from now on it extends the leases it received."""


KeeperMessage = Hello | HoldLeases | ReleaseLeases | Ready | LeaseEvent


def encode(message: KeeperMessage) -> bytes:
    """Encode a message as a line."""
    parts: list[Any]
    match message:
        case Hello(broker, duration, parent):
            pickled = base64.b85encode(pickle.dumps(broker)).decode()
            parts = ["hello", sys.path, pickled, duration, parent]
        case HoldLeases(holds, now):
            parts = ["hold", now, [(*_of(lease), seconds) for lease, seconds in holds.items()]]
        case ReleaseLeases(leases):
            parts = ["release", [_of(lease) for lease in leases]]
        case Ready():
            parts = ["ready"]
        case LeaseLost(lease):
            parts = ["lost", *_of(lease)]
        case CancelMarked(lease, then):
            parts = ["cancel", *_of(lease), then]
    return json.dumps(parts).encode() + b"\n"


def decode(line: bytes) -> KeeperMessage:
    """Decode a line. Lines come from our own process, so the pickle in a Hello is trusted."""
    match json.loads(line):
        case ["hello", path, pickled, duration, parent]:
            # The classes of the broker must be importable here as in the worker.
            sys.path[:] = path
            return Hello(pickle.loads(base64.b85decode(pickled)), duration, parent)  # noqa: S301
        case ["hold", now, holds]:
            return HoldLeases({Lease(*parts): seconds for *parts, seconds in holds}, now)
        case ["release", leases]:
            return ReleaseLeases([Lease(*parts) for parts in leases])
        case ["ready"]:
            return Ready()
        case ["lost", queue, task_id, token]:
            return LeaseLost(Lease(queue, task_id, token))
        case ["cancel", queue, task_id, token, then]:
            return CancelMarked(Lease(queue, task_id, token), then)
        case unknown:
            raise ValueError(f"unknown lease keeper message: {unknown!r}")


def _of(lease: Lease) -> tuple[str, str, str]:
    return lease.queue, lease.task_id, lease.token
