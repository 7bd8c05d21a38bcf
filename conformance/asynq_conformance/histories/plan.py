"""What a run does, as data: how many do how much, for how long, from which seed."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - attrs reads the annotations
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs
from attrs import field, frozen

from asynq_conformance.histories.resends import DEFAULT_RESEND_AFTER

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


@frozen(kw_only=True)
class Plan:
    """A workload, whoever carries it out."""

    seed: int = 0
    processes: int = 4
    callers: int = 8
    """At once, in each process; the last of them plays rounds on small queues of their own."""
    queues: Mapping[str, int] = field(factory=lambda: {"high": 6, "mid": 3, "low": 1})
    """Names with weights."""
    tasks: int = 5000
    """After so many, all processes together, no more are made."""
    seconds: float = 10.0
    """After so long the processes end, if they have made the least; after three times as long in any case."""
    least: int = 300
    """Tasks without which a history says too little: a busy machine takes longer for them."""
    lease: int = 5000
    """Milliseconds a run may take; none takes so long."""
    short_lease: int = 600
    """Milliseconds after which a task whose worker was lost on purpose comes back."""
    locked: float = 0.12
    """Share of the tasks that are under a lock."""
    sequenced: float = 0.08
    """Share of the tasks that are in a sequence."""
    actions: Mapping[str, int] = field(factory=dict)
    """Weights of the actions of `caller.Caller` by name, where they differ from its own."""
    rest: float = 0.0
    """Seconds for which each caller rests after an action."""
    patience: float = 30.0
    """Seconds the drain may take."""


@frozen(kw_only=True)
class Source:
    """How a process opens the broker: an importable callable and what it is called with."""

    factory: str
    """"module:callable"."""
    kwargs: Mapping[str, Any] = field(factory=dict)
    resend_after: float = DEFAULT_RESEND_AFTER
    """Seconds after which a client may send an unanswered request again."""

    def open(self) -> Broker:
        """The broker."""
        module, _, name = self.factory.partition(":")
        broker: Broker = getattr(import_module(module), name)(**self.kwargs)
        return broker


@frozen(kw_only=True)
class Role:
    """What one process is told."""

    process: str
    number: int
    face: Literal["plain", "awaited"]
    record: str
    """Path of the file it writes its events to."""
    epoch: float
    """Seconds of CLOCK_MONOTONIC from which all processes count their rounds."""
    source: Source
    plan: Plan

    def to_json(self) -> str:
        """As text."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The role a text tells."""
        found = json.loads(text)
        return cls(**{**found, "source": Source(**found["source"]), "plan": Plan(**found["plan"])})
