"""Files without a name, for memory that a process shares with its child processes."""

from __future__ import annotations

import fcntl
import os
from io import FileIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FIRST_DESCRIPTOR = 3
"""A process may have closed its standard streams, but its children have pipes in their places."""


def anonymous_file(name: str) -> FileIO:
    """Create an empty file that exists as long as a descriptor or a mapping of it.

    It is in memory on Linux, and otherwise in the directory for temporary files. `name` is for people who
    list the open files of the process.

    Raises:
        OSError: the file cannot be created.
    """
    try:
        descriptor = os.memfd_create(name)
    except (AttributeError, OSError):  # another system, or not permitted
        import tempfile

        with tempfile.TemporaryFile() as file:
            return _moved(file.fileno())
    try:
        return _moved(descriptor)
    finally:
        os.close(descriptor)


def inherited_file(variable: str, environ: MutableMapping[str, str]) -> FileIO | None:
    """The file whose descriptor an environment variable names; None without the variable, which is removed.

    Processes that this one starts do not inherit the file.
    """
    descriptor = environ.pop(variable, None)
    if descriptor is None:
        return None
    os.set_inheritable(int(descriptor), False)  # noqa: FBT003 - its only form
    return FileIO(int(descriptor), "r+")


def _moved(descriptor: int) -> FileIO:
    return FileIO(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR), "r+")
