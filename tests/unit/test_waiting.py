"""Tests wait for conditions with a bound, and sleep nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SLEEPERS = {
    "tests/waiting.py",  # the one place that polls
    "tests/faults/app.py",  # handlers that work for a while, or block their event loop
    "tests/faults/chaos_worker.py",
    "tests/interop/python_worker.py",
    "tests/faults/test_held_workers.py",  # a process that is slow to start
    "tests/cli/test_supervisor.py",
    "tests/cli/test_reload.py",  # handlers that work until they are released
    "tests/topologies/test_image.py",
    "tests/topologies/app.py",  # producers that keep a pace
    "tests/web/test_live.py",  # a broker that is slow to answer
    "tests/unit/test_waiting.py",  # examples of sleeps
}
"""Modules of tests that may sleep. All others wait for a condition, by tests/waiting.py."""


def sleeps(text: str) -> Iterator[int]:
    """Lines of a module at which it sleeps, hands a function on that sleeps, or has a program's text do so.

    Only `sleep(0)`, a step of the event loop, is none.
    """
    step = re.compile(r"\bsleep\(0\)")
    tree = ast.parse(step.sub("step()", text))
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep")
                | ast.ImportFrom(module="time" | "asyncio", names=[ast.alias(name="sleep")])
            ):
                yield node.lineno
            case ast.Constant(value=str(program)) if re.search(r"\bsleep\(", program):
                yield node.lineno


def test_tests_wait_for_conditions_and_do_not_sleep() -> None:
    found = {
        path: list(sleeps((ROOT / path).read_text()))
        for path in (str(file.relative_to(ROOT)) for file in sorted((ROOT / "tests").rglob("*.py")))
        if path not in SLEEPERS
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_modules_that_may_sleep_do() -> None:
    assert [path for path in SLEEPERS if not list(sleeps((ROOT / path).read_text()))] == []


@pytest.mark.parametrize(
    "text",
    [
        "time.sleep(0.1)",
        "await asyncio.sleep(seconds)",
        "Thread(target=time.sleep, args=(60,))",
        "from time import sleep",
        "PROGRAM = 'import time; time.sleep(60)'",
    ],
)
def test_a_sleep_is_found(text: str) -> None:
    assert list(sleeps(text)) == [1]


def test_a_step_of_the_event_loop_is_no_sleep() -> None:
    assert list(sleeps("await asyncio.sleep(0)\nPROGRAM = 'await asyncio.sleep(0)'")) == []


class Looks:
    """A condition that is true at the third look."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return "true" if self.count == 3 else ""

    async def awaited(self) -> str:
        return self()


async def test_waiting_ends_with_the_value_of_the_condition() -> None:
    plain, awaited, beside = Looks(), Looks(), Looks()
    assert eventually(plain) == await aeventually(awaited.awaited) == await aeventually(beside) == "true"
    assert (plain.count, awaited.count, beside.count) == (3, 3, 3)


async def test_waiting_in_vain_fails_and_describes_what_was_found() -> None:
    with pytest.raises(AssertionError, match=r"not true within 0 s: 7 tasks"):
        eventually(lambda: False, 0, explain=lambda: "7 tasks")
    with pytest.raises(AssertionError, match=r"not true within 0 s$"):
        await aeventually(lambda: False, 0)
