"""What a worker and its lease keeper process tell each other: settings, then messages to the worker."""

from __future__ import annotations

import os
import pickle
import sys
from typing import TYPE_CHECKING

import msgspec

from asynq.worker.leases.extension_schedule import CancelMarked, LeaseLost

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


class KeeperSettings(msgspec.Struct, frozen=True):
    """What a keeper process needs at its start. It inherits a file that contains it."""

    pickled: bytes
    """The broker."""
    duration: int
    """Of the leases, in milliseconds."""
    worker: int
    """The worker's process id."""
    path: list[str]
    """The worker's module search path: the classes of the broker must be importable as in the worker."""
    held: int
    """The inherited file of the worker's HeldLeases."""

    @classmethod
    def of(cls, broker: Broker, duration: int, held: int) -> KeeperSettings:
        """Settings of the keeper of this process. Raises what pickle raises if it refuses the broker."""
        return cls(pickle.dumps(broker), duration, os.getpid(), list(sys.path), held)

    @classmethod
    def read(cls, descriptor: int) -> KeeperSettings:
        """Read the settings from a file."""
        return msgspec.msgpack.decode(os.pread(descriptor, os.fstat(descriptor).st_size, 0), type=cls)

    def load_broker(self) -> Broker:
        """Unpickle the broker, which comes from our own process. Sets the module search path of this one."""
        sys.path[:] = self.path
        broker: Broker = pickle.loads(self.pickled)  # noqa: S301
        return broker


class Ready(msgspec.Struct, tag=True, frozen=True):
    """From now on the keeper process extends the leases that the worker holds."""


KeeperMessage = Ready | LeaseLost | CancelMarked

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[KeeperMessage] = msgspec.json.Decoder(KeeperMessage)


def encode(message: KeeperMessage) -> bytes:
    """Encode a message as a line of JSON."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> KeeperMessage:
    """Decode a line."""
    return _decoder.decode(line)
