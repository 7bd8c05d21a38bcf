"""The file of known failures: each line names a test, the promise that it breaks, the reason, and a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from asynq_conformance.promises import Promise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SEPARATOR: Final = "|"


class XfailsError(ValueError):
    """A line of the file is malformed, or contradicts the suite."""


@frozen
class KnownFailure:
    """A line of the file: `test | guarantee | reason | link`."""

    test: str
    """A node id or its end, such as `TestRedis::test_law`, which covers every parameter of that law."""
    guarantee: str
    reason: str
    link: str
    line: int = 0

    def matches(self, test: str) -> bool:
        """Whether this node id is covered."""
        return any(_ends(name, self.test) for name in (test, test.partition("[")[0]))

    def concerns(self, tests: Iterable[str]) -> bool:
        """Whether the class or file of this line was collected. Only then must the line match a test."""
        home = self.test.partition("[")[0].rpartition("::")[0]
        return any(_ends(test.partition("[")[0].rpartition("::")[0], home) for test in tests)

    def __str__(self) -> str:
        return f"line {self.line}: {self.test}"


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(("::" + end, "/" + end))


def read(path: Path) -> list[KnownFailure]:
    """The known failures of a file. Blank lines and lines starting with # are skipped.

    Raises:
        XfailsError: a line is malformed.
    """
    return [
        _line(text, number)
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if text.strip() and not text.lstrip().startswith("#")
    ]


def _line(text: str, number: int) -> KnownFailure:
    parts = [part.strip() for part in text.rsplit(SEPARATOR, 3)]
    if len(parts) != 4 or not all(parts):
        raise XfailsError(f"line {number}: write `test | guarantee | reason | link`, not {text!r}")
    if parts[1] not in Promise.__members__:
        raise XfailsError(f"line {number}: {parts[1]!r} is not a promise; promises are G1 to G11")
    test, guarantee, reason, link = parts
    return KnownFailure(test, guarantee, reason, link, number)
