"""Selection of backends for a run: harnesses named by `--broker`, or registered for the scheme of a URL."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from attrs import frozen

from asynq.protocol.connect import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_conformance.harness import Harness

HARNESS_GROUP: Final = "asynq.harnesses"
"""Entry-point group with one harness per URL scheme."""

_selected: list[SelectedHarness] = []


@frozen
class SelectedHarness:
    """A backend to run the suite on."""

    column: str
    """Name of the backend in tables."""
    make: Callable[[], Harness]
    """Creates the harness of one test."""


def select(names: Sequence[str]) -> None:
    """Select backends: each name is `package.module:Harness`, or the URL of a store that may be emptied.

    Raises:
        ValueError: a harness cannot be found.
    """
    _selected[:] = [_find(name) for name in names]


def selected() -> list[SelectedHarness]:
    """The selected backends."""
    return list(_selected)


def restore(found: Sequence[SelectedHarness]) -> None:
    """Restore a selection that `selected` returned."""
    _selected[:] = found


def harness_at(url: str) -> Harness:
    """The harness for the store at this URL. Raises ValueError if none is registered for its scheme."""
    scheme = url.partition("://")[0]
    registered = {entry.name: entry for entry in entry_points(group=HARNESS_GROUP)}
    if scheme not in registered:
        raise ValueError(
            f"{redact_url(url)}: no harness is registered for scheme {scheme!r} in the group "
            f"{HARNESS_GROUP}; write a Harness and select it with --broker package.module:Harness"
        )
    harness: Harness = registered[scheme].load()(url)
    return harness


def _find(name: str) -> SelectedHarness:
    if "://" in name:
        made = harness_at(name)
        return SelectedHarness(made.column or _column_of(type(made)), lambda: made)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"--broker {name!r} is neither package.module:Harness nor a URL")
    try:
        harness = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--broker {name!r}: {error}; `python -m pytest` also searches the current directory"
        ) from error
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--broker {name!r}: {error}") from error
    return SelectedHarness(getattr(harness, "column", "") or _column_of(harness), harness)


def _column_of(harness: Callable[[], Harness]) -> str:
    return str(getattr(harness, "__name__", "harness")).removesuffix("Harness").lower()
