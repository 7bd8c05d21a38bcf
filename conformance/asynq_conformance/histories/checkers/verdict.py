"""What a checker says: what cannot have happened, with the calls that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from asynq_conformance.histories.history import Call

VerdictState = Literal["ok", "FAIL", "unknown"]


@frozen(kw_only=True, eq=False)
class Violation:
    """Something that cannot happen while a promise is kept."""

    says: ClassVar[str]
    """The sentence, but for the facts."""
    of_many: ClassVar[bool] = False
    """True if it is about the sum of many calls: what a fault undoes of any of them may be the reason."""
    queue: str
    task_id: str = ""
    calls: tuple[Call, ...] = ()
    """The calls that show it, in the order in which the sentence speaks of them."""
    detail: str = ""

    def __str__(self) -> str:
        where = f"task {self.task_id!r} of queue {self.queue!r}" if self.task_id else f"queue {self.queue!r}"
        detail = f" ({self.detail})" if self.detail else ""
        shown = "".join(f"\n    {call}" for call in self.calls)
        return f"{where} {self.says}{detail}{shown}"


@frozen
class Verdict:
    """What a checker found, and on how much it looked."""

    violations: tuple[Violation, ...] = ()
    judged: int = 0
    """How many cases were certain enough to be judged. 0: this history says nothing about the promise."""
    unknown: str = ""
    """Why the history does not allow a judgement, "" when it does."""
    undecided: int = field(default=0)
    """Cases given up because judging them would take too long."""

    @property
    def state(self) -> VerdictState:
        """ok, FAIL or unknown; unknown is never ok."""
        if self.violations:
            return "FAIL"
        return "unknown" if self.unknown else "ok"
