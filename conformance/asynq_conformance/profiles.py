"""How much is tried: little in `smoke`, what a machine of continuous integration bears in `ci`, all night."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

PROFILE_VARIABLE: Final = "ASYNQ_CONFORMANCE_PROFILE"
DEFAULT: Final = "ci"


@frozen(kw_only=True)
class Profile:
    """The sizes of a run. A part of the suite that is dear on a backend scales them down there."""

    name: str
    examples: int
    """Programs the machine runs (layer B)."""
    steps: int
    """Most steps of one program."""
    processes: int
    """Processes that work at the same time in one history (layer C)."""
    seconds: float
    """How long one history is recorded."""
    disturbances: int
    """How often each disturbance is brought about (layer D)."""
    derandomized: bool = True
    """True if the same programs are run each time, unless a seed is given."""


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(name="smoke", examples=30, steps=30, processes=2, seconds=1.0, disturbances=1),
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
    """What a run asked for; None: nothing."""

    profile: str | None = None
    seed: int | None = None


_choices = [ProfileChoice()]


def choose(*, profile: str | None = None, seed: int | None = None) -> None:
    """Let a run have this profile and this seed; None leaves them to the environment and to the profile.

    ValueError for a profile there is not.
    """
    if profile is not None:
        named(profile)
    _choices[:] = [ProfileChoice(profile, seed)]


def chosen() -> ProfileChoice:
    """What was chosen last."""
    return _choices[0]


def current() -> Profile:
    """The profile chosen, else the one the environment names, else the default."""
    return named(chosen().profile or os.environ.get(PROFILE_VARIABLE) or DEFAULT)


def seed() -> int | None:
    """The seed chosen; None: the same programs each time, or others each time, as the profile says."""
    return chosen().seed


def named(name: str) -> Profile:
    """The profile of this name."""
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]
