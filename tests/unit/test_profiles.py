"""The profile of the conformance suite: from the run, else from the environment, else `ci`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance import profiles

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    chosen = profiles.chosen()
    profiles.choose()
    monkeypatch.delenv(profiles.PROFILE_VARIABLE, raising=False)
    yield
    profiles.choose(profile=chosen.profile, seed=chosen.seed)


def test_the_default_profile_is_ci() -> None:
    assert (profiles.current().name, profiles.seed()) == ("ci", None)


def test_the_environment_chooses_a_profile_and_a_run_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(profiles.PROFILE_VARIABLE, "smoke")
    assert profiles.current().name == "smoke"
    profiles.choose(profile="nightly", seed=7)
    assert (profiles.current().name, profiles.seed()) == ("nightly", 7)


def test_an_unknown_profile_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nigtly"):
        profiles.choose(profile="nigtly")
    assert profiles.current().name == "ci"
