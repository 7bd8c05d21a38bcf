"""`RunCounters`: numbers by labels in memory that a process shares with its supervisor, and that outlives it.

The memory has two areas. The first is a log of the series: for each its kind, its labels and where its
numbers are. A record counts once its length is written, which is written last. The second area contains the
numbers, each 8 bytes. A process that replaces another one finds the series and goes on counting.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

import msgspec

from asynq.runtime.anonymous_file import anonymous_file, inherited_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from io import FileIO

_FD = "ASYNQ_SUPERVISOR_COUNTERS"
"""Environment variable of a worker process: the file descriptor of its counters."""
_LENGTH = struct.Struct("=I")
NAMES_SIZE = 1 << 20
"""Bytes of the log of series."""
NUMBERS_SIZE = 1 << 20
"""Bytes of the numbers."""
MAX_LABEL = 200
"""Characters of a label. Labels with the same beginning are counted together."""

Key = tuple[str, ...]
"""The kind of a series and its labels."""


class _Series(msgspec.Struct, array_like=True):
    key: Key
    start: int
    width: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Series).decode


class RunCounters:
    """Numbers by series. Written by one process, on one thread at a time; read by any.

    Args:
        file: an existing file, in a process that inherited it.
    """

    def __init__(self, file: FileIO | None = None) -> None:
        self._file = file or anonymous_file("asynq-counters")
        if file is None:
            self._file.truncate(NAMES_SIZE + NUMBERS_SIZE)
        self._memory = mmap.mmap(self._file.fileno(), NAMES_SIZE + NUMBERS_SIZE)
        self.numbers = memoryview(self._memory)[NAMES_SIZE:].cast("d")
        """All numbers; those of a series are at the position that `series` returns, and behind it."""
        self._starts: dict[Key, int] = {}
        self._widths: dict[int, int] = {}
        self._names_end = self._numbers_end = 0
        self._read_new()

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str] = os.environ) -> RunCounters | None:
        """The counters that the supervisor of this process made; None if there are none."""
        file = inherited_file(_FD, environ)
        return None if file is None else cls(file)

    @property
    def fd(self) -> int:
        """The file descriptor that the worker inherits."""
        return self._file.fileno()

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the worker process."""
        return {_FD: str(self.fd)}

    def find(self, key: Key) -> int | None:
        """The position of the first number of a series; None if there is no such series."""
        return self._starts.get(key)

    def starts(self) -> list[tuple[Key, int]]:
        """All series, and the positions of their first numbers."""
        self._read_new()
        return list(self._starts.items())

    def series(self, key: Key, width: int) -> int | None:
        """The position of the first of `width` numbers of a series, 0 at first. None if there is no room."""
        start = self._starts.get(key)
        if start is not None:
            return start
        start = self._numbers_end
        record = _encode(_Series(key, start, width))
        end = self._names_end + _LENGTH.size + len(record)
        if end + _LENGTH.size > NAMES_SIZE or start + width > len(self.numbers):
            return None
        self._memory[self._names_end + _LENGTH.size : end] = record
        _LENGTH.pack_into(self._memory, self._names_end, len(record))
        self._add(key, start, width, end)
        return start

    def read(self) -> Iterator[tuple[Key, Sequence[float]]]:
        """All series with their numbers, also those that another process has added."""
        for key, start in self.starts():
            yield key, self.numbers[start : start + self._widths[start]].tolist()

    def close(self) -> None:
        """Free the memory in this process."""
        self.numbers.release()
        self._memory.close()
        self._file.close()

    def _read_new(self) -> None:
        """Note the series that were added since the last call."""
        while self._names_end + _LENGTH.size <= NAMES_SIZE:
            (length,) = _LENGTH.unpack_from(self._memory, self._names_end)
            if not length:
                return
            begin = self._names_end + _LENGTH.size
            found = _decode(self._memory[begin : begin + length])
            self._add(found.key, found.start, found.width, begin + length)

    def _add(self, key: Key, start: int, width: int, names_end: int) -> None:
        self._starts[key] = start
        self._widths[start] = width
        self._names_end, self._numbers_end = names_end, start + width
