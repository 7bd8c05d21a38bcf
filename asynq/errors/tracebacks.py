"""Tracebacks without the frames of the code that catches an error and keeps it."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def without_first_frame(error: E) -> E:
    """The error with a traceback that starts below the frame in which it was caught.

    The caller keeps the error in what its frame refers to: with the frame, that is a reference cycle, which
    keeps the locals of all frames of the traceback alive until the next garbage collection.
    """
    trace = error.__traceback__
    # Not error.with_traceback, which a class may override.
    return error if trace is None else BaseException.with_traceback(error, trace.tb_next)
