"""The LMDB file: opened at most once in a process, as LMDB demands, whoever uses it there."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final

import lmdb

_SPARE: Final = 16 << 20
"""Bytes beyond twice what tasks may fill: LMDB copies pages before it frees them."""


class File:
    """An open file. It is closed when nobody holds it any more."""

    def __init__(self, path: str, max_size: int) -> None:
        self.pid = os.getpid()
        size = 2 * max_size + _SPARE
        self.env = lmdb.open(path, subdir=False, map_size=size, max_dbs=4, max_readers=1024)
        self.env.reader_check()
        with self.env.begin(write=True) as txn:
            names = (b"tasks", b"index", b"queues", b"locks")
            self.all = [self.env.open_db(name, txn=txn) for name in names]
        self.tasks, self.index, self.queues, self.locks = self.all


_files: weakref.WeakValueDictionary[str, File] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def opened(path: str, max_size: int) -> File:
    """The file, opened unless it is open in this process already."""
    with _lock:
        if (file := _files.get(path)) is None:
            file = _files[path] = File(path, max_size)
        return file


def _forked() -> None:
    """An LMDB file must not be used across a fork."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    for file in list(_files.values()):
        file.env.close()
    _files.clear()


os.register_at_fork(after_in_child=_forked)
