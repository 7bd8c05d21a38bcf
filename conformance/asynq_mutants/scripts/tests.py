"""The tests that can detect a mutant, and the statements of each script that they reach."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _pytest.runner import runtestprotocol
from attrs import define, field

from asynq_conformance.promises import layer_of
from asynq_mutants.scripts import sources as scripts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

    from asynq_mutants.scripts.forks import Message

PATHS = (
    "tests/conformance/test_redis.py",
    *sorted(map(str, Path("tests/redis").glob("test_scripts_*.py"))),
    "tests/redis/test_doctor.py",
    "tests/golden",
)
PORTION = 25
"""Number of tests traced by one child."""

Statement = tuple[str, int]
"""A file, and the number of a statement in it."""


@define
class Measured:
    """One test."""

    place: int
    item: pytest.Item
    seconds: float = 0.0
    ran: frozenset[Statement] = frozenset()
    passes: bool = False
    kills: int = 0

    @property
    def promise(self) -> float:
        """Tests with smaller values are likely to detect a mutant sooner."""
        return self.seconds / (1 + self.kills)


@define
class Trace:
    """A job that runs tests on scripts that log their statements."""

    tests: Sequence[Measured]
    traced: list[Any] = field(repr=False)

    def run(self, log: str, tell: Callable[[Message], None]) -> None:
        """See `Job`."""
        scripts_of.install(self.traced)
        others: list[str] = []
        _remember_logs(others)
        place = Path(log)
        for test, following in _with_next(self.tests):
            others.clear()
            end, began = place.stat().st_size, time.monotonic()
            passes = run_test(test.item, following)
            seconds = time.monotonic() - began
            with place.open(encoding="utf-8", errors="replace") as file:
                file.seek(end)
                ran = scripts_of.told(file.read() + "".join(others))
            tell({"place": test.place, "seconds": seconds, "passes": passes, "ran": sorted(ran)})

    def hear(self, message: Message) -> float:
        """See `Job`."""
        if "crash" not in message:
            test = next(test for test in self.tests if test.place == message["place"])
            test.seconds, test.passes = message["seconds"], message["passes"]
            test.ran = frozenset((file, number) for file, number in message["ran"])
        return 60.0

    def ended(self, *, in_time: bool) -> None:
        """See `Job`."""


def run_test(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Whether the test passes, including its fixtures."""
    # The failure text is not needed, and formatting it would take longer than the test.
    item.repr_failure = lambda *_: "failed"  # type: ignore[method-assign]
    reports = runtestprotocol(item, log=False, nextitem=following)
    return not any(report.failed for report in reports)


def portions(tests: Sequence[Measured], traced: list[Any]) -> Iterator[Trace]:
    """Jobs for all tests, several tests per child."""
    for start in range(0, len(tests), PORTION):
        yield Trace(tests[start : start + PORTION], traced)


def wanted(item: pytest.Item) -> bool:
    """Whether the test takes milliseconds and needs only one face of a broker."""
    function, cls = getattr(item, "function", None), getattr(item, "cls", None)
    return layer_of(function, cls) == "A" and "awaited" not in item.name


def _with_next(tests: Sequence[Measured]) -> Iterator[tuple[Measured, pytest.Item | None]]:
    following = [test.item for test in tests[1:]]
    yield from zip(tests, [*following, None], strict=True)


def _remember_logs(logs: list[str]) -> None:
    """Keep the logs of servers that tests start themselves."""
    from tests.servers import RedisServer

    stop = RedisServer.stop

    def remember(server: RedisServer) -> None:
        if server._process is not None:
            logs.append(server.log)
        stop(server)

    setattr(RedisServer, "stop", remember)  # noqa: B010 - in this child alone
