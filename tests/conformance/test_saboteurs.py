"""Every store broken on purpose is caught by the law that names it, and only because it is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import AsynqError
from asynq_conformance import BrokerConformance, Harness
from asynq_conformance.lab import Lab
from asynq_conformance.laws.settle import SETTLEMENTS
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_sqlite import MemoryBroker
from asynq_sqlite.state import Store
from tests.conformance import (  # noqa: F401 - they register saboteurs
    group_saboteurs,
    limit_saboteurs,
    manage_saboteurs,
    schedule_saboteurs,
)
from tests.conformance.saboteurs import SABOTEURS, Saboteur

if TYPE_CHECKING:
    from asynq.clock import FakeClock

NAMED: dict[str, dict[str, Any]] = {"settle": {**SETTLEMENTS}, "unique": {"until done": UNTIL_DONE}}
"""Parameters that have no short spelling of their own."""


class WithStore(Harness):
    """A broker in memory whose steps are those of a given store."""

    def __init__(self, store: type[Store]) -> None:
        self.store = store

    def open(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock=clock, store=self.store)


def check(saboteur: Saboteur, store: type[Store]) -> None:
    """Hold a store against the law of this saboteur."""
    parameters = {
        name: NAMED[name][value] if name in NAMED else value for name, value in saboteur.parameters.items()
    }
    lab = Lab(WithStore(store), "plain")
    try:
        getattr(BrokerConformance(), saboteur.law)(lab, **parameters)
    finally:
        lab.close()


every_saboteur = pytest.mark.parametrize(
    "saboteur", SABOTEURS, ids=[f"{saboteur.store.__name__}-{saboteur.law}" for saboteur in SABOTEURS]
)


@every_saboteur
def test_a_saboteur_is_caught(saboteur: Saboteur) -> None:
    with pytest.raises((AssertionError, AsynqError, ValueError, pytest.fail.Exception)):
        check(saboteur, saboteur.store)


@every_saboteur
def test_an_honest_store_passes_the_same_law(saboteur: Saboteur) -> None:
    check(saboteur, Store)
