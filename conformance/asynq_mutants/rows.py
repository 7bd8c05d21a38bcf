"""The rows of the kill matrix: every bug, the layers that must catch it, and how each layer is tested."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

import asynq_mutants.embedded
import asynq_mutants.plugin  # noqa: F401 - they register them
from asynq_mutants.bugs import BUGS
from asynq_mutants.concurrent import SABOTEURS
from asynq_mutants.defects import DEFECTS
from asynq_mutants.patches import PATCHES
from asynq_mutants.trials import (
    hold_laws,
    of_defect,
    of_saboteur,
    record_histories,
    run_programs,
    run_test,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from asynq_conformance.promises import Layer
    from asynq_mutants.defects import Defect
    from asynq_mutants.kills import LayerResult

    LayerTrial = Callable[[Path], LayerResult]

THREE_QUEUES: Final = {"queues": {"high": 6, "mid": 3, "low": 1}}
"""With fewer queues, the order has no second and third place."""


@frozen(kw_only=True)
class MatrixRow:
    """A bug, or the correct broker."""

    id: str
    """Its number, or the name of the defect."""
    bug: str
    promises: tuple[str, ...] = ()
    must: tuple[Layer, ...]
    """Layers that must catch it."""
    trials: Mapping[Layer, LayerTrial]
    """A function for each layer that can be tested. It is called with an empty directory."""
    beyond: Mapping[Layer, str]
    """The reason for each layer that cannot catch it."""


def rows() -> list[MatrixRow]:
    """All bugs, the numbered ones first."""
    found = [*_of_defects(), *_of_saboteurs(), *_of_patches()]
    return sorted(found, key=lambda row: (not row.id.isdigit(), int(row.id) if row.id.isdigit() else 0))


CORRECT_BROKER: Final = MatrixRow(
    id="-",
    bug="the correct broker",
    must=(),
    trials={
        "B": lambda _: run_programs(None),
        "C": partial(record_histories, of_defect(None), plan=THREE_QUEUES),
    },
    beyond={},
)
"""The correct broker. What is found in it proves that the suite or the setup is wrong."""


def _of_defects() -> Iterator[MatrixRow]:
    together: dict[str, list[Defect]] = {}
    for defect in DEFECTS:
        together.setdefault(defect.name, []).append(defect)
    for name, defects in together.items():
        # the law of the numbered bug first
        laws = sorted(defects, key=lambda defect: defect.bug is None)
        number, beyond = laws[0].bug, laws[0].beyond_programs
        trials: dict[Layer, LayerTrial] = {"A": partial(hold_laws, laws)}
        if not beyond:
            trials["B"] = partial(_programs, laws[0])
            trials["C"] = partial(record_histories, of_defect(name), plan=THREE_QUEUES)
        for saboteur, trial in SABOTEURS.items():
            if number is not None and trial.bug == number:
                trials["C"] = _histories(saboteur)
        yield _row(name, number, trials, {"B": beyond} if beyond else {}, must=("A", "B"))


def _of_saboteurs() -> Iterator[MatrixRow]:
    for name, trial in SABOTEURS.items():
        if trial.bug is None:
            beyond: Mapping[Layer, str] = {"B": "a program has no concurrent calls"}
            yield _row(name, None, {"C": _histories(name)}, beyond, must=("C",))


def _of_patches() -> Iterator[MatrixRow]:
    for number, patch in PATCHES.items():
        trials: dict[Layer, LayerTrial] = {
            layer: partial(_test, number, test) for layer, test in patch.tests.items()
        }
        yield _row("", number, trials, {}, must=())


def _row(
    name: str,
    number: int | None,
    trials: Mapping[Layer, LayerTrial],
    beyond: Mapping[Layer, str],
    *,
    must: Sequence[Layer],
) -> MatrixRow:
    if number is None:
        wanted = tuple(layer for layer in must if layer not in beyond)
        return MatrixRow(id=name, bug=_words(name), must=wanted, trials=trials, beyond=beyond)
    bug = BUGS[number]
    promises = tuple(promise.name for promise in bug.promises)
    return MatrixRow(
        id=str(number), bug=bug.what, promises=promises, must=bug.layers, trials=trials, beyond=beyond
    )


def _words(name: str) -> str:
    """The name as words, as in "forgets losses" for ForgetsLosses."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced.replace("_", " ").strip()


def _programs(defect: Defect, folder: Path) -> LayerResult:
    del folder  # its brokers are in memory
    return run_programs(defect.broken)


def _histories(saboteur: str) -> LayerTrial:
    trial = SABOTEURS[saboteur]
    return partial(record_histories, of_saboteur(saboteur), rules=trial.rules, plan=trial.plan)


def _test(number: int, test: str, folder: Path) -> LayerResult:
    del folder
    return run_test(PATCHES[number], test)
