"""The doctor: damage in the store, and its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.web.api.bulk import BulkAnswer, started
from asynq.web.api.endpoint import Nothing, endpoint

if TYPE_CHECKING:
    from asynq.web.call import WebCall
    from asynq.web.jobs import Progress

MAX_FINDINGS = 200
"""Findings of one answer."""


class FindingItem(Struct, kw_only=True):
    """A damaged item."""

    fault: str
    """The kind of damage."""
    queue: str
    """"" for an item that belongs to no queue."""
    name: str
    """Id of the task, or name of the group, the lock or the record."""


class Findings(Struct, kw_only=True):
    """What is damaged."""

    findings: list[FindingItem]
    complete: bool
    """False if there are more findings than one answer has."""


@endpoint("GET", "/doctor", asked=Nothing, answer=Findings, bulk=True)
async def examine_broker(call: WebCall, asked: Nothing) -> Findings:
    """Look for what crashes, evictions and old peers leave behind. Reads the whole store, in small steps."""
    findings: list[FindingItem] = []
    async for each in call.web.inspector.doctor():
        if len(findings) == MAX_FINDINGS:
            return Findings(findings=findings, complete=False)
        findings.append(FindingItem(fault=each.fault.value, queue=each.queue, name=each.name))
    return Findings(findings=findings, complete=True)


@endpoint(
    "POST",
    "/doctor:repair",
    asked=Nothing,
    answer=BulkAnswer,
    says=lambda _: "repair all damage in the store",
    bulk=True,
)
async def repair_broker(call: WebCall, asked: Nothing) -> BulkAnswer:
    """Repair all damage."""

    async def action(progress: Progress) -> int:
        repaired = 0
        async for _ in call.web.inspector.doctor(repair=True):
            repaired += 1
            progress(repaired)
        return repaired

    return await started(call, action)
