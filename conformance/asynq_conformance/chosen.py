"""The brokers that `--broker` names: a harness somebody wrote, or the store at a URL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_conformance.harness import Harness

_chosen: list[Choice] = []


@frozen
class Choice:
    """A backend to run the suite on."""

    name: str
    """What was said to choose it."""
    column: str
    """How tables name it."""
    make: Callable[[], Harness]
    """Makes a harness, for one test."""


def choose(names: Sequence[str]) -> None:
    """From now on these: each `package.module:Harness`, or the URL of a store that may be emptied.

    ValueError for one that cannot be found.
    """
    _chosen[:] = [choice(name) for name in names]


def choices() -> list[Choice]:
    """Those chosen last."""
    return list(_chosen)


def restore(found: Sequence[Choice]) -> None:
    """From now on these, which `choices` gave."""
    _chosen[:] = found


def choice(name: str) -> Choice:
    """The backend of this name, as in `choose`. ValueError for one that cannot be found."""
    if "://" in name:
        from asynq_conformance.urls import UrlHarness

        made = UrlHarness(name)
        return Choice(name, made.rig.column, lambda: made)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"--broker {name!r} is neither package.module:Harness nor a URL")
    try:
        harness = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(f"--broker {name!r}: {error}; `python -m pytest` looks here, too") from error
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--broker {name!r}: {error}") from error
    column = str(getattr(harness, "__name__", attribute)).removesuffix("Harness").lower()
    return Choice(name, column, harness)
