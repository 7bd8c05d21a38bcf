"""Two keyspaces compared fact by fact, and the deviations that are allowed: deviations.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.golden.dumps import Facts

Kind = Literal["ours only", "theirs only", "different", "later"]

TTL_TOLERANCE = 3_000
"""Milliseconds: a recording and its replay do not read the clock at the same instant."""
DAY = 24 * 3600 * 1000
INSTANT = re.compile(r" score |:paused value$| msg\.(last_failed_at|completed_at)$")
PENDING_SINCE_TOLERANCE = 200_000_000
"""Nanoseconds a recorded call may have taken until it read its clock."""


@frozen
class Difference:
    """One fact that is not the same."""

    kind: Kind
    """later: an instant, up to a second after theirs."""
    path: str
    theirs: Any = None
    ours: Any = None


@frozen
class Deviation:
    """Differences that are meant, and why."""

    kind: Kind
    path: str
    """A regular expression for the whole path."""
    reason: str
    scenario: str = ""
    """The only dump in which it may occur; "" for any."""

    def covers(self, scenario: str, difference: Difference) -> bool:
        """Whether this is such a difference."""
        return (
            self.scenario in ("", scenario)
            and self.kind == difference.kind
            and re.fullmatch(self.path, difference.path) is not None
        )


def deviations() -> list[Deviation]:
    """All deviations there are."""
    table = json.loads((Path(__file__).parent / "deviations.json").read_text())
    return [Deviation(**entry) for entry in table]


def differences(theirs: Facts, ours: Facts, shift: int) -> Iterator[Difference]:
    """What is not the same; our instants are `shift` milliseconds later than theirs."""
    for path in sorted(theirs.keys() | ours.keys()):
        if path not in ours:
            yield Difference("theirs only", path, theirs=theirs[path])
        elif path not in theirs:
            yield Difference("ours only", path, ours=ours[path])
        else:
            yield from _compared(path, theirs[path], ours[path], shift)


def _compared(path: str, theirs: Any, ours: Any, shift: int) -> Iterator[Difference]:
    if INSTANT.search(path):
        delta = float(ours) - shift / 1000 - float(theirs)
        if 0 < delta <= 1:
            yield Difference("later", path, theirs, ours)
        elif delta:
            yield Difference("different", path, theirs, ours)
    elif path.endswith(" field pending_since"):
        if abs(int(ours) - shift * 1_000_000 - int(theirs)) > PENDING_SINCE_TOLERANCE:
            yield Difference("different", path, theirs, ours)
    elif path.endswith(" ttl"):
        tolerance = DAY if ":DAY " in path else TTL_TOLERANCE
        if abs(ours - theirs) > tolerance:
            yield Difference("different", path, theirs, ours)
    elif theirs != ours:
        yield Difference("different", path, theirs, ours)
