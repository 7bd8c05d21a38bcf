"""A record, read back: calls with a beginning and an end, and what happened to each task."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from attrs import field, frozen

from asynq.protocol import ops
from asynq_conformance.histories.record import EventKind, HistoryEvent, RecordError, read
from asynq_conformance.histories.recorder import CLOCKS
from asynq_conformance.histories.resends import BY_HAND, SETTLEMENT_TYPES, WHOLESALE, Resends

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from asynq.protocol.message import Delivery, QueueStats, StoredTask

NEVER_ENDED: Final = math.inf
MILLISECOND: Final = 1_000_000
"""Nanoseconds."""
REMAINS: Final = "remains"
"""Name of the note that holds what the store held when all was over."""

Key = tuple[str, str]
"""A queue and the id of a task in it."""

T = TypeVar("T")


@frozen(eq=False)
class Call:
    """An operation somebody asked for."""

    process: str
    number: int
    op: Any
    """The operation, one of asynq.protocol.ops."""
    invoked: int
    """Nanoseconds of CLOCK_MONOTONIC at which it began: it had no effect before."""
    outcome: EventKind
    """ok, fail or info."""
    responded: float
    """When it ended; FOREVER when that is not known: it may still take effect at any time."""
    answer: Any = None
    """The answer, the error, or the reason why nobody knows it."""
    resent_until: float | None = None
    """Until when copies of it may take effect if the client may have sent it more than once; None: it surely
    was sent once."""

    @property
    def ok(self) -> bool:
        """True if it surely took effect, between `invoked` and `responded`."""
        return self.outcome is EventKind.OK

    @property
    def possible(self) -> bool:
        """True if it took effect, or may have."""
        return self.outcome is not EventKind.FAIL

    @property
    def maybe_resent(self) -> bool:
        """True if it may have had its effect more than once."""
        return self.resent_until is not None

    @property
    def uncertain(self) -> bool:
        """True if nobody knows whether, or how often, it took effect."""
        return self.outcome is EventKind.INFO or self.maybe_resent

    @property
    def effects_end(self) -> float:
        """When neither it nor a copy of it takes effect any more."""
        return max(self.responded, self.resent_until or self.responded)

    def before(self, other: Call) -> bool:
        """True if this was over when the other began."""
        return self.responded < other.invoked

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Ids of the tasks it names, or was answered."""
        op = self.op
        if isinstance(op, ops.Dequeue):
            return tuple(delivery.message.id for delivery in self.answer) if self.ok else ()
        if (task_id := getattr(getattr(op, "lease", op), "task_id", None)) is not None:
            return (task_id,)
        for name in ("delivery", "lost"):
            op = getattr(op, name, op)
        return (op.message.id,) if hasattr(op, "message") else ()

    @property
    def token(self) -> str:
        """The token it takes tasks with, or by which it claims one; "" for none."""
        op = self.op
        if not isinstance(op, ops.Dequeue):  # whose `lease` is a duration
            op = getattr(op, "delivery", getattr(op, "lease", op))
        return str(getattr(op, "token", ""))

    def __str__(self) -> str:
        took = (
            "?"
            if self.responded == NEVER_ENDED
            else f"{(self.responded - self.invoked) / MILLISECOND:.1f} ms"
        )
        words = [f"{self.process}#{self.number}", type(self.op).__name__]
        words += [f"of {', '.join(self.task_ids)}"] if self.task_ids else []
        words += [f"by token {self.token}"] if self.token else []
        return " ".join([*words, self.outcome.value, f"({took})"])


@frozen(kw_only=True)
class LossWindow:
    """A time during which a fault was at work that may undo what it met."""

    begin: float
    """Nanoseconds of CLOCK_MONOTONIC."""
    end: float
    acknowledged: bool = True
    """True if acknowledged operations may be undone too. False: only those of unknown outcome, but also
    after a read has shown them."""

    def meets_answer(self, call: Call) -> bool:
        """True if the call was under way meanwhile, and was answered."""
        return call.invoked <= self.end and self.begin <= call.responded < NEVER_ENDED

    def meets_effects(self, call: Call) -> bool:
        """True if the call or a copy of it may have taken effect meanwhile."""
        return call.possible and call.invoked <= self.end and call.effects_end >= self.begin


class Handing(NamedTuple):
    """A task handed out by a Dequeue that was answered."""

    call: Call
    delivery: Delivery


@frozen(kw_only=True)
class Remains:
    """What the store held when all was over."""

    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    quiesced_at: int
    """When the last process had ended and the drain began."""
    drained: bool
    """True if the drain left nothing to run."""
    trouble: str = ""
    """Why the drain could not go on; "" when it could."""
    stats: Mapping[str, QueueStats] = field(factory=dict)
    tasks: Mapping[str, Sequence[StoredTask]] = field(factory=dict)
    """By queue, those of all states."""


class History:
    """All calls of a run, in the order in which they began."""

    def __init__(
        self,
        calls: Iterable[Call],
        notes: Sequence[HistoryEvent] = (),
        remains: Remains | None = None,
        windows: Sequence[LossWindow] = (),
    ) -> None:
        """windows: times during which a fault may have undone what was done."""
        self.calls = sorted(calls, key=lambda call: call.invoked)
        self.notes = notes
        self.remains = remains
        self.windows = windows

    @classmethod
    def of(cls, events: Iterable[HistoryEvent]) -> History:
        """The history a record tells. RecordError when a call ends that never began."""
        begun: dict[tuple[str, int], HistoryEvent] = {}
        ended: dict[tuple[str, int], HistoryEvent] = {}
        notes = []
        for event in events:
            key = event.process, event.call
            if event.kind is EventKind.NOTE:
                notes.append(event)
            elif event.kind is EventKind.INVOKE:
                begun[key] = event
            else:
                ended[key] = event
        if strays := ended.keys() - begun.keys():
            raise RecordError(f"a call ends that never began: {min(strays)}")
        resends = Resends.of(notes)
        calls = (_call(event, ended.get(key), resends) for key, event in begun.items())
        return cls(calls, notes, _remains(notes))

    @classmethod
    def load(cls, path: Path) -> History:
        """The history in a file."""
        return cls.of(read(path))

    @cached_property
    def tolerance(self) -> int:
        """Nanoseconds by which a clock that went by may differ from the one the calls were timed with.

        The store reads the wall clock, and in milliseconds: so at least a few of those, and as much as the
        notes of a process show that the wall clock was moved during the run. (A process whose clock is off
        all the time moves nothing.)
        """
        offsets: dict[str, list[int]] = defaultdict(list)
        for note in self.notes:
            if note.op == CLOCKS:
                offsets[note.process].append(note.value["wall"] - note.at)
        moved = max((max(found) - min(found) for found in offsets.values()), default=0)
        return 5 * MILLISECOND + moved

    # --- calls by what they ask ---------------------------------------------------------------------

    @cached_property
    def _by_type(self) -> Mapping[type, list[Call]]:
        found: dict[type, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[type(call.op)].append(call)
        return found

    def asking(self, *kinds: type[ops.Op[Any]]) -> list[Call]:
        """Calls of these operations, those of the first kind first, each in the order they began."""
        return [call for kind in kinds for call in self._by_type.get(kind, ())]

    # --- calls by task --------------------------------------------------------------------------------

    @cached_property
    def enqueues(self) -> Mapping[Key, list[Call]]:
        """Attempts to make a task of this id, failed ones too."""
        return _grouped(
            (call.op.message.queue, call.op.message.id, call) for call in self.asking(ops.Enqueue)
        )

    @cached_property
    def handings(self) -> Mapping[Key, list[Handing]]:
        """Each time the task was handed out, in the order the calls began."""
        return _grouped(
            (delivery.message.queue, delivery.message.id, Handing(call, delivery))
            for call in self.asking(ops.Dequeue)
            if call.ok
            for delivery in call.answer
        )

    @cached_property
    def settlements(self) -> Mapping[Key, list[Call]]:
        """Attempts to end a run of the task."""
        return _grouped(
            (call.op.delivery.message.queue, call.op.delivery.message.id, call)
            for call in self.asking(*SETTLEMENT_TYPES)
        )

    @cached_property
    def recoveries(self) -> Mapping[Key, list[Call]]:
        """Calls that took the task from a lost worker, or may have."""
        return _grouped(
            (call.op.lost.message.queue, call.op.lost.message.id, call)
            for call in self.asking(ops.Recover)
            if call.possible
        )

    @cached_property
    def by_hand(self) -> Mapping[Key, list[Call]]:
        """Attempts to move the task by hand."""
        return _grouped((call.op.queue, call.op.task_id, call) for call in self.asking(*BY_HAND))

    @cached_property
    def wholesale(self) -> Mapping[str, list[Call]]:
        """By queue: attempts to move many tasks at once, whichever they are."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.asking(*WHOLESALE):
            taken = getattr(call.op, "taken", call.op)
            found[taken.queue].append(call)
        return found

    @cached_property
    def unseen_takes(self) -> Sequence[Call]:
        """Dequeues that may have taken tasks of which nobody was told."""
        return [
            call
            for call in self.asking(ops.Dequeue)
            if call.outcome is EventKind.INFO or (call.ok and call.maybe_resent)
        ]

    def meddled(self, key: Key) -> bool:
        """True if somebody moved the task by hand, or may have: little can then be said about its order."""
        touched = [*self.by_hand.get(key, ()), *self.wholesale.get(key[0], ())]
        return any(call.possible for call in touched)


def _grouped(found: Iterable[tuple[str, str, T]]) -> dict[Key, list[T]]:
    groups: dict[Key, list[T]] = defaultdict(list)
    for queue, task_id, item in found:
        groups[queue, task_id].append(item)
    return dict(groups)


def _call(begun: HistoryEvent, ended: HistoryEvent | None, resends: Resends) -> Call:
    known = ended is not None and ended.kind is not EventKind.INFO
    resent_until = resends.until(begun, ended)
    outcome = ended.kind if ended else EventKind.INFO
    if ended and resent_until is not None and resends.refused(begun, ended):
        outcome = EventKind.INFO
    return Call(
        process=begun.process,
        number=begun.call,
        op=begun.value,
        invoked=begun.at,
        outcome=outcome,
        responded=ended.at if ended and known else NEVER_ENDED,
        answer=ended.value if ended else "its process ended",
        resent_until=resent_until,
    )


def _remains(notes: Sequence[HistoryEvent]) -> Remains | None:
    found = [note for note in notes if note.op == REMAINS]
    return Remains(at=found[-1].at, **found[-1].value) if found else None


def handed(handings: Iterable[Handing]) -> Iterator[Call]:
    """The calls that handed something out."""
    return (handing.call for handing in handings)
