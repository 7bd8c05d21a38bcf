"""A harness for the store at a URL, for backends that say how theirs is emptied and damaged."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from asynq.protocol.connect import without_secrets
from asynq_conformance.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.clock import Clock, FakeClock
    from asynq.protocol.broker import Broker

ENTRY_POINT_GROUP: Final = "asynq.rigs"


class Rig(Protocol):
    """What a backend knows about the store at a URL, registered by URL scheme in `asynq.rigs`.

    A backend does not import this package: it offers these, and besides what hooks of Harness it can, by
    their names.
    """

    column: str
    """How tables name it."""

    def broker(self, clock: Clock | None) -> Broker:
        """A broker on the store as it is; None: by the store's own time."""
        ...

    def empty(self) -> None:
        """Remove all that asynq keeps there."""
        ...


class UrlHarness(Harness):
    """Opens brokers on the store at a URL, which is emptied again and again."""

    machine_share = 0.25
    shared: ClassVar[tuple[str, ...]] = ("lock_precision", "lists_at_once", "machine_share")

    def __init__(self, url: str) -> None:
        """ValueError when no rig is registered for the URL's scheme."""
        self.url = url
        self.rig = rig_of(url)
        for name in self.shared:
            if hasattr(self.rig, name):
                setattr(self, name, getattr(self.rig, name))

    def open(self, clock: FakeClock) -> Broker:
        self.rig.empty()
        return self.rig.broker(clock)

    def reopen(self, clock: FakeClock) -> Broker:
        return self.rig.broker(clock) if self._can("factory") else super().reopen(clock)

    def about(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self._hook("about")())

    def factory(self) -> tuple[str, Mapping[str, Any]] | None:
        return cast("tuple[str, Mapping[str, Any]] | None", self._hook("factory")())

    def warp(self, milliseconds: int) -> None:
        self._hook("warp")(milliseconds)

    def corrupt(self, queue: str, task_id: str) -> None:
        self._hook("corrupt")(queue, task_id)

    def lose(self, queue: str, task_id: str) -> None:
        self._hook("lose")(queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        self._hook("strand")(queue, task_id)

    def _can(self, name: str) -> bool:
        return hasattr(self.rig, name)

    def _hook(self, name: str) -> Any:
        return getattr(self.rig, name, None) or getattr(super(), name)  # what Harness does without it


def rig_of(url: str) -> Rig:
    """What the backend of this URL offers. ValueError when it offers nothing."""
    scheme = url.partition("://")[0]
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in registered:
        raise ValueError(
            f"{without_secrets(url)}: no rig is registered for scheme {scheme!r} in the group "
            f"{ENTRY_POINT_GROUP}; write a Harness and name it: --broker package.module:Harness"
        )
    return cast("Rig", registered[scheme].load()(url))
