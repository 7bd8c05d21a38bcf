"""The suite itself: no law is lost on the way into a backend's test class."""

from __future__ import annotations

import pytest

from asynq_conformance.suite import LAWS, BrokerConformance


def laws_of(cls: type) -> set[str]:
    return {name for name in vars(cls) if name.startswith("test_")}


def test_no_two_laws_share_a_name() -> None:
    names = [name for cls in LAWS for name in laws_of(cls)]
    assert sorted(names) == sorted(set(names))


def test_every_law_is_in_the_suite() -> None:
    for cls in LAWS:
        assert issubclass(BrokerConformance, cls)


def test_a_law_cannot_be_overridden() -> None:
    law = next(iter(laws_of(LAWS[0])))
    with pytest.raises(TypeError, match=law):
        type("TestCheat", (BrokerConformance,), {law: None})
