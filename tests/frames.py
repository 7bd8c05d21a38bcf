"""The Python functions that a call runs: what makes it slow and hard to follow, whatever the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def frames_of(call: Callable[[], object], tries: int = 5) -> list[tuple[str, str]]:
    """The Python functions that `call` runs, in order, each with its file.

    Of several tries, the one with the fewest: some calls fill a cache or a pool.
    """
    return min((_traced(call) for _ in range(tries)), key=len)


def _traced(call: Callable[[], object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is not getattr(call, "__code__", None):
            found.append((frame.f_code.co_filename, frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found
