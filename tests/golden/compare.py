"""Comparison of two keyspaces fact by fact, and the allowed deviations of deviations.json."""

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
"""Milliseconds between the clock readings of a recording and its replay."""
DAY = 24 * 3600 * 1000
INSTANT = re.compile(r" score |:paused value$| msg\.(last_failed_at|completed_at)$")
PENDING_SINCE_TOLERANCE = 200_000_000
"""Nanoseconds until a recorded call read its clock."""


@frozen
class Difference:
    """One fact that differs."""

    kind: Kind
    """"later" means an instant up to a second after theirs."""
    path: str
    theirs: Any = None
    ours: Any = None


@frozen
class Deviation:
    """Allowed differences, with the reason."""

    kind: Kind
    path: str
    """A regular expression for the whole path."""
    reason: str
    scenario: str = ""
    """The only dump with this difference; "" for any."""

    def covers(self, scenario: str, difference: Difference) -> bool:
        """Whether this difference is covered."""
        return (
            self.scenario in ("", scenario)
            and self.kind == difference.kind
            and re.fullmatch(self.path, difference.path) is not None
        )


def deviations() -> list[Deviation]:
    """All listed deviations."""
    table = json.loads((Path(__file__).parent / "deviations.json").read_text())
    return [Deviation(**entry) for entry in table]


def differences(theirs: Facts, ours: Facts, shift: int) -> Iterator[Difference]:
    """The differing facts. Our instants are `shift` milliseconds later than theirs."""
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
