"""Bugs of production code, each made for one test run by a patch: production code knows nothing of it.

`python -m pytest -p asynq_mutants.plugin TEST`, with the bug's number in the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = "ASYNQ_MUTANT"
"""Environment variable: number of the bug to make."""


@frozen
class Patch:
    """A bug, and a test that must fail with it."""

    bug: int
    apply: Callable[[], None]
    test: str


PATCHES: dict[int, Patch] = {}


def failing(test: str, *, bug: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what makes a bug, with the test that must notice."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        PATCHES[bug] = Patch(bug, apply, test)
        return apply

    return register
