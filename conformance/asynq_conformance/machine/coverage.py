"""Coverage of the programs: triples of an operation, its outcome and the state of the task concerned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Triple = tuple[str, str, str]

_STATES = tuple(state.value for state in TaskState)

_TOKEN_OPERATIONS = ("Done", "Complete", "Retry", "Archive", "Requeue", "ExtendLease", "WriteResult")
_SETTLEMENTS = _TOKEN_OPERATIONS[:5]


def required() -> Iterator[Triple]:
    """Triples that the programs of a run must reach; otherwise the run proves less than it claims."""
    for state in _STATES:
        yield "Enqueue", "TaskIDConflictError", state
    yield from (("Enqueue", kind, "") for kind in ("pending", "scheduled", "aggregating"))
    yield "Enqueue", "DuplicateTaskError", ""
    yield from (("Enqueue", "pending", state) for state in ("archived", "completed"))
    yield from (("copy of Enqueue", "pending", ""), ("Dequeue", "some", ""), ("Dequeue", "none", ""))
    for name in _SETTLEMENTS:
        yield name, "None", "active"
        yield name, "LeaseLostError", "active"
    for name in _TOKEN_OPERATIONS:
        yield name, "LeaseLostError", ""
    yield "ExtendLease", "Extended", "active"
    yield "WriteResult", "None", "active"
    yield from (("copy of Done", "LeaseLostError", ""), ("copy of Retry", "None", "retry"))
    yield from (("Forward", "some", state) for state in ("scheduled", "retry"))
    yield from (("Forward", "none", state) for state in ("scheduled", "retry"))
    yield from (("ListLostLeases", kind, "active") for kind in ("some", "none"))
    yield from (("Recover", "True", "active"), ("Recover", "False", "pending"))
    yield from (("PurgeCompleted", kind, "completed") for kind in ("some", "0"))
    yield from (("TrimArchive", kind, "archived") for kind in ("some", "0"))
    yield from (("TakeGroup", kind, "aggregating") for kind in ("AggregationSet", "None"))
    for name, answer in (
        ("FinishAggregation", "pending"),
        ("ReturnAggregation", "None"),
        ("ExtendAggregation", "None"),
    ):
        yield name, answer, ""
        yield name, "AggregationLostError", ""
    yield from (("ReclaimAggregations", kind, "") for kind in ("some", "0"))
    yield from (("EnqueueTick", kind, "") for kind in ("enqueued", "early", "decided"))
    for state in ("scheduled", "retry", "archived", "completed", "aggregating"):
        yield "RunTask", "None", state
    yield from (
        (verb, "TaskNotFoundError", "") for verb in ("RunTask", "ArchiveTask", "DeleteTask", "UpdateTask")
    )
    yield from (("RunTask", "TaskStateError", state) for state in ("pending", "active", "scheduled"))
    yield "AdvanceSequences", "none", ""
    yield from (("ArchiveTask", "None", state) for state in _STATES if state not in ("active", "archived"))
    yield from (("ArchiveTask", "TaskStateError", state) for state in ("archived", "active"))
    yield from (("DeleteTask", "None", state) for state in _STATES if state != "active")
    yield "DeleteTask", "TaskStateError", "active"
    yield from (("UpdateTask", "None", state) for state in ("pending", "scheduled", "retry", "archived"))
    yield from (("UpdateTask", "TaskStateError", state) for state in ("active", "completed"))
    yield from (("MoveTasks", "some", state) for state in ("pending", "scheduled", "archived", "aggregating"))
    yield from (("CancelTask", "True", "active"), ("CancelTask", "False", "pending"))
    yield from (("DeleteQueue", "QueueNotEmptyError", "active"), ("DeleteQueue", "some", ""))
    yield from (("PauseQueue", "True", ""), ("UnpauseQueue", "True", ""))
    yield from (("AcquireSlot", kind, "") for kind in ("True", "False"))
    yield from (("ReleaseSlot", kind, "") for kind in ("True", "False"))
    yield from (("TakeToken", kind, "") for kind in ("0", "some"))
    yield from (("TakeParents", "some", ""), ("TakeParents", "none", "completed"))
    yield from (("FinishParent", kind, "completed") for kind in ("True", "False"))
    yield from (("FinishParent", "False", state) for state in ("", "pending", "active"))
    yield from (("Arrive", kind, "scheduled") for kind in ("0", "some"))
    yield from (("Arrive", "0", state) for state in ("pending", "active", "retry", "archived"))
    yield "Arrive", "TaskNotFoundError", ""


def unreached(reached: Mapping[Triple, int], unsupported: Collection[str] = ()) -> list[Triple]:
    """Triples that should have been reached and were not, except for unsupported operations (by name)."""
    wanted = {triple for triple in required() if not _is_about(triple, unsupported)}
    return sorted(wanted - {triple for triple, times in reached.items() if times})


def _is_about(triple: Triple, unsupported: Collection[str]) -> bool:
    operation = triple[0]
    if triple == ("RunTask", "TaskStateError", "scheduled"):  # it waits in a sequence
        operation = "AdvanceSequences" if "RunTask" not in unsupported else operation
    grouped = "aggregating" in triple or operation.endswith(("Group", "Aggregation", "Aggregations"))
    return operation.removeprefix("copy of ") in unsupported or (grouped and "groups" in unsupported)


def table(reached: Mapping[Triple, int]) -> str:
    """All triples that were reached, with their counts, and those that were not."""
    rows = sorted([*reached.items(), *((triple, 0) for triple in unreached(reached))])
    return "\n".join(
        f"{times:7}  {operation:24} {outcome:24} {state}" for (operation, outcome, state), times in rows
    )
