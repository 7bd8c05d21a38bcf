"""The messages between a worker and its lease keeper process: one line of JSON each."""

from __future__ import annotations

import base64
import pickle
import sys
from typing import TYPE_CHECKING

import msgspec

from asynq.protocol.message import Lease  # noqa: TC001 - msgspec reads the annotations
from asynq.worker.leases.extension_schedule import CancelMarked, LeaseLost

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


class Hello(msgspec.Struct, tag=True, frozen=True):
    """The first message from the worker."""

    pickled: str
    """The broker."""
    duration: int
    """Of the leases, in milliseconds."""
    parent: int
    """The worker's process id."""
    path: list[str]
    """The worker's module search path: the classes of the broker must be importable as in the worker."""

    @classmethod
    def of(cls, broker: Broker, duration: int, parent: int) -> Hello:
        """A message about this broker. Raises whatever pickle raises if the broker cannot be pickled."""
        pickled = base64.b85encode(pickle.dumps(broker)).decode()
        return cls(pickled, duration, parent, list(sys.path))

    def load_broker(self) -> Broker:
        """Unpickle the broker, which comes from our own process. Sets the module search path of this one."""
        sys.path[:] = self.path
        broker: Broker = pickle.loads(base64.b85decode(self.pickled))  # noqa: S301
        return broker


class HoldLeases(msgspec.Struct, tag=True, frozen=True, gc=False):
    """Extend these leases, each for at most so many seconds."""

    leases: list[Lease]
    seconds: list[float]
    now: float
    """When this was sent, on the monotonic clock, which all processes of a machine share."""


class ReleaseLeases(msgspec.Struct, tag=True, frozen=True, gc=False):
    """Stop extending these leases."""

    leases: list[Lease]


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The first message from the keeper process: from now on it extends the leases it received."""


KeeperMessage = Hello | HoldLeases | ReleaseLeases | Ready | LeaseLost | CancelMarked

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[KeeperMessage] = msgspec.json.Decoder(KeeperMessage)


def encode(message: KeeperMessage) -> bytes:
    """Encode a message as a line."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> KeeperMessage:
    """Decode a line."""
    return _decoder.decode(line)
