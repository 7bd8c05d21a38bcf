"""The suite: no law gets lost on its way into the test class of a backend."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import asynq_conformance
from asynq_conformance.promises import LAYERS, Promise, layer_of, promise, promises_of
from asynq_conformance.suite import LAWS, BrokerConformance


def laws_of(cls: type) -> set[str]:
    return {name for name in vars(cls) if name.startswith("test_")}


def test_law_names_are_unique() -> None:
    names = [name for cls in LAWS for name in laws_of(cls)]
    assert sorted(names) == sorted(set(names))


def test_every_law_is_in_the_suite() -> None:
    names = [found.name for found in pkgutil.walk_packages(asynq_conformance.__path__, "asynq_conformance.")]
    modules = [importlib.import_module(name) for name in names if "laws" in name.split(".")]
    defined = {
        cls
        for module in modules
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and laws_of(cls)
    }
    assert defined == set(LAWS)


def test_a_law_cannot_be_overridden() -> None:
    law = next(iter(laws_of(LAWS[0])))
    with pytest.raises(TypeError, match=law):
        type("TestCheat", (BrokerConformance,), {law: None})


@pytest.mark.parametrize("cls", LAWS)
def test_every_law_verifies_a_promise_in_a_layer(cls: type) -> None:
    for name in laws_of(cls):
        law = getattr(BrokerConformance, name)
        assert promises_of(law, BrokerConformance), name
        assert layer_of(law, BrokerConformance) in LAYERS


def test_every_promise_is_verified_by_a_law() -> None:
    laws = [getattr(cls, name) for cls in LAWS for name in laws_of(cls)]
    verified = {promised for law in laws for promised in promises_of(law, BrokerConformance)}
    assert verified == set(Promise)


def test_a_law_cannot_verify_an_unknown_promise() -> None:
    with pytest.raises(ValueError, match="G12"):
        promise("G1", "G12")
    with pytest.raises(ValueError, match="nothing"):
        promise()
