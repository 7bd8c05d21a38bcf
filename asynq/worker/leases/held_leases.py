"""HeldLeases: the leases that a worker holds, in memory that its lease keeper process reads.

The memory is a log. Each call of `hold` appends a record:

- the checksum of its content, the length of its content, and its number of leases, as 32-bit integers;
- the content: since when the leases are held, the leases, and for how many seconds each (msgpack);
- a byte for each lease: 1 while it is held, 0 after its release.

The log ends before the first record that is empty or does not match its checksum. If there is no room left,
the leases that are still held are written to the start of the memory again. Each change is one copy of bytes,
during which the interpreter lock is held. So a thread never sees a part of it, and another process sees a
part of it only if it reads at the same moment or if the worker was killed then. The checksum tells: the rest
of the log is ignored, and is whole when it is read again.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from itertools import compress
from typing import TYPE_CHECKING

import msgspec

from asynq.protocol.message import Lease
from asynq.runtime.anonymous_file import anonymous_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FIRST_SIZE = 1 << 17
"""Bytes of memory at first: enough for 50 leases held at a time and 1,000 released ones."""
RESERVE = 4
"""Minimum ratio of the size of the memory to that of the leases held when they are written again, so that
the cost of this is shared by many leases."""

_HEAD = struct.Struct("=III")
_END = bytes(_HEAD.size)


class Holding(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Leases that are held since one instant."""

    since: float
    """Seconds of the monotonic clock, which all processes of a machine share."""
    leases: list[Lease]
    seconds: list[float]
    """For how long at most each of them is extended."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Holding).decode


class HeldLeases:
    """The leases that a worker holds. Changed by one thread; read by any thread and by child processes.

    Raises:
        OSError: the memory cannot be created.
    """

    def __init__(self) -> None:
        self._file = anonymous_file("asynq-leases")
        self._memory: mmap.mmap | bytearray
        self._resize(FIRST_SIZE)
        self._end = 0
        """Where the next record begins."""
        self._bytes_of: dict[Lease, int] = {}
        """The position of the byte of each lease that is held."""

    @property
    def descriptor(self) -> int:
        """The file that child processes inherit and read with `read_file`."""
        return self._file.fileno()

    def hold(self, holds: Mapping[Lease, float], now: float) -> None:
        """Extend these leases, which were acquired at `now`, each for at most so many seconds.

        For a lease that is held already, the seconds are replaced.
        """
        record = _record(Holding(now, [*holds], [*holds.values()]))
        if self._end + len(record) + len(_END) > self._size:
            self._compact(len(record))
        replaced: Iterable[int] = ()
        if not self._bytes_of.keys().isdisjoint(holds):
            replaced = [self._bytes_of[lease] for lease in holds if lease in self._bytes_of]
        self._memory[self._end : self._end + len(record) + len(_END)] = record + _END
        self._end += len(record)
        self._bytes_of.update(zip(holds, range(self._end - len(holds), self._end), strict=True))
        for position in replaced:
            self._memory[position] = 0

    def release(self, leases: Iterable[Lease]) -> None:
        """Stop extending these leases."""
        bytes_of, memory = self._bytes_of, self._memory
        for lease in leases:
            position = bytes_of.pop(lease, None)
            if position is not None:
                memory[position] = 0

    def read(self) -> Iterator[Holding]:
        """The leases that are held now. From any thread."""
        return _read(bytes(self._memory[:]))

    def close(self) -> None:
        """Give the file back. From now on no lease is held; each can still be released."""
        self._file.close()
        # A mapping keeps a file descriptor of its own until no thread reads it.
        self._memory = bytearray(self._size)

    def _resize(self, size: int) -> None:
        self._file.truncate(size)
        # Not mmap.resize, which some systems lack. The previous mapping ends when no thread reads it.
        self._memory = mmap.mmap(self._file.fileno(), size)
        self._size = size

    def _compact(self, needed: int) -> None:
        """Write only the leases still held, so that a record of `needed` bytes fits behind them."""
        log = bytearray()
        bytes_of = dict[Lease, int]()
        for holding in self.read():
            log += _record(holding)
            bytes_of.update(zip(holding.leases, range(len(log) - len(holding.leases), len(log)), strict=True))
        size = self._size
        while size < RESERVE * (len(log) + needed + len(_END)):
            size *= 2
        if size > self._size:
            self._resize(size)
        self._memory[: len(log) + len(_END)] = bytes(log) + _END
        self._end, self._bytes_of = len(log), bytes_of


def read_file(descriptor: int) -> Iterator[Holding]:
    """The leases that are held now, from the file of a HeldLeases in another process."""
    return _read(os.pread(descriptor, os.fstat(descriptor).st_size, 0))


def _record(holding: Holding) -> bytes:
    content, count = _encode(holding), len(holding.leases)
    return _HEAD.pack(zlib.crc32(content), len(content), count) + content + b"\1" * count


def _read(log: bytes) -> Iterator[Holding]:
    start = 0
    while len(log) - start >= _HEAD.size:
        checksum, length, count = _HEAD.unpack_from(log, start)
        middle = start + _HEAD.size + length
        content, start = log[start + _HEAD.size : middle], middle + count
        if not length or zlib.crc32(content) != checksum:
            return
        held = log[middle:start]
        if any(held):
            holding = _decode(content)
            yield Holding(
                holding.since,
                list(compress(holding.leases, held)),
                list(compress(holding.seconds, held)),
            )
