"""Profiles, which set the amount of testing: `smoke` for seconds, `ci` for minutes, `nightly` for hours."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

PROFILE_VARIABLE: Final = "ASYNQ_CONFORMANCE_PROFILE"
DEFAULT: Final = "ci"


@frozen(kw_only=True)
class Profile:
    """The sizes of a run. A harness reduces them for parts that are expensive on its backend."""

    name: str
    examples: int
    """Number of random programs (layer B)."""
    steps: int
    """Maximum number of steps of a program."""
    processes: int
    """Number of concurrent processes of a history (layer C)."""
    seconds: float
    """Duration of the recording of a history."""
    disturbances: int
    """How often each disturbance is applied (layer D)."""
    rest: float = 0.0
    """Seconds for which each caller rests after an action, while clients are disturbed."""
    derandomized: bool = True
    """True if every run uses the same programs, unless a seed is given."""


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(name="smoke", examples=30, steps=30, processes=2, seconds=1.0, disturbances=1, rest=0.02),
        Profile(name="ci", examples=200, steps=50, processes=4, seconds=4.0, disturbances=1),
        Profile(
            name="nightly",
            examples=5000,
            steps=100,
            processes=6,
            seconds=30.0,
            disturbances=10,
            derandomized=False,
        ),
    )
}


@frozen
class ProfileChoice:
    """The choices made for a run; None: not chosen."""

    profile: str | None = None
    seed: int | None = None


_choices = [ProfileChoice()]


def choose(*, profile: str | None = None, seed: int | None = None) -> None:
    """Choose the profile and the seed. None leaves the choice to the environment and to the profile.

    Raises:
        ValueError: there is no such profile.
    """
    if profile is not None:
        named(profile)
    _choices[:] = [ProfileChoice(profile, seed)]


def chosen() -> ProfileChoice:
    """The latest choice."""
    return _choices[0]


def current() -> Profile:
    """The chosen profile, else the one that the environment names, else the default."""
    return named(chosen().profile or os.environ.get(PROFILE_VARIABLE) or DEFAULT)


def seed() -> int | None:
    """The chosen seed; None: the profile determines whether programs repeat."""
    return chosen().seed


def named(name: str) -> Profile:
    """The profile with this name. Raises ValueError if there is none."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; the profiles are {', '.join(PROFILES)}")
    return PROFILES[name]
