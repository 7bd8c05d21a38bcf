"""Where the harness of an emitted test comes from: the tests that failed, or `--broker`."""

from __future__ import annotations

import importlib.util
import sys
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynq_conformance import chosen
from asynq_conformance.laws import Laws
from asynq_conformance.regression.beside import Beside
from asynq_conformance.suite import BrokerConformance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from asynq_conformance.harness import Harness
    from asynq_conformance.lab import Face


class _Regression(Laws):
    column = None  # it is about one bug, and about no promise as a whole

    @pytest.fixture
    def beside(self, harness: Harness, face: Face) -> Iterator[Beside]:
        beside = Beside(harness, face)
        yield beside
        beside.close()


def regression_of(file: str, origin: str) -> Any:
    """The class to derive an emitted test from: it has the fixtures of the tests that failed, and no law.

    `origin`: `path::Class`, the path as seen from the folder of `file`, or what `--broker` was. A `--broker`
    of this run comes before it.
    """
    choices = chosen.choices() or ([] if "::" in origin else [chosen.choice(origin)])
    return type("Regression", (_Regression,), _on(choices) if choices else _as(file, origin))


def _on(choices: list[chosen.Choice]) -> dict[str, Any]:
    @pytest.fixture(params=choices, ids=[choice.column for choice in choices])
    def harness(self: object, request: pytest.FixtureRequest) -> Harness:
        del self
        made: Harness = request.param.make()
        return made

    return {"harness": harness}


def _as(file: str, origin: str) -> dict[str, Any]:
    """What the tests that failed add to the laws."""
    path, _, name = origin.partition("::")
    failed: type = attrgetter(name)(_module((Path(file).parent / path).resolve()))
    added = [cls for cls in reversed(failed.__mro__) if cls not in BrokerConformance.__mro__]
    return {
        name: value
        for cls in added
        for name, value in vars(cls).items()
        if not name.startswith(("test_", "__", "column"))
    }


def _module(path: Path) -> ModuleType:
    """The module in this file, which pytest may have imported by any name."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    name = f"asynq_conformance_origin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module of tests")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
