"""Laws of who may move tasks: claims, and the transfers of parked tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import LeaseLostError, TaskNotFoundError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND
from asynq_conformance.laws import Laws
from asynq_conformance.laws.transfer import parked, pending_image
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq_conformance.lab import Lab

IMPORTED = pytest.mark.parametrize("imported", [True, False])
OTHERS = pytest.mark.parametrize("other", ["", "another"])


def claim(lab: Lab, holder: str = "a", *, hold: int = MINUTE, renew: bool = False) -> str:
    """The identity of the store if the holder has the claim of the queue."""
    return lab.execute(ops.ClaimTransfer(queue="q", holder=holder, hold=hold, renew=renew))


def park(lab: Lab, *, imported: bool) -> None:
    """A task that the transfer "own" has parked."""
    if imported:
        lab.execute(ops.ImportTask(image=pending_image(lab.message("t")), transfer="own"))
    else:
        lab.enqueue("t")
        lab.execute(ops.ExportTask(queue="q", task_id="t", park=True, transfer="own"))


@promise("G3")
class TransferClaimLaws(Laws):
    """One transfer of a queue at a time, and parked tasks that only their transfer may release."""

    def test_a_claim_has_one_holder(self, lab: Lab) -> None:
        identity = claim(lab)
        assert identity
        assert claim(lab, "b") == ""
        assert claim(lab, "b", hold=0) == ""
        assert claim(lab) == identity
        assert claim(lab, hold=0) == identity
        assert claim(lab, "b") == identity
        assert claim(lab) == ""

    def test_a_store_has_one_identity(self, lab: Lab) -> None:
        other = lab.execute(ops.ClaimTransfer(queue="other", holder="a", hold=SECOND))
        lab.advance(HOUR)
        assert claim(lab) == other != ""

    def test_an_ended_claim_can_be_taken(self, lab: Lab) -> None:
        claim(lab, hold=SECOND)
        lab.advance(SECOND - 1)
        assert claim(lab, "b") == ""
        lab.advance(1)
        assert claim(lab, "b")
        assert claim(lab) == ""

    def test_a_renewal_takes_no_claim(self, lab: Lab) -> None:
        assert claim(lab, renew=True) == ""
        claim(lab, hold=SECOND)
        lab.advance(MINUTE)
        assert claim(lab, hold=SECOND, renew=True)
        assert claim(lab, "b") == ""
        lab.advance(SECOND)
        assert claim(lab, "b", renew=True) == ""
        claim(lab, "b", hold=SECOND)
        lab.advance(MINUTE)
        assert claim(lab, renew=True) == ""

    def test_a_transfer_that_lost_its_claim_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue_all(["t", "u"])
        claim(lab, hold=SECOND)
        lab.advance(MINUTE)
        # Nobody has taken it: whoever is late goes on.
        image = lab.execute(ops.ExportTask(queue="q", task_id="t", park=True, claim="a"))
        claim(lab, "b")
        before = lab.picture()
        changes: list[ops.Op[Any]] = [
            ops.ExportTask(queue="q", task_id="u", park=True, claim="a"),
            ops.ExportTask(queue="q", task_id="u", claim="a"),
            ops.ImportTask(image=pending_image(lab.message("new")), claim="a"),
            ops.ImportTask(image=image, claim="a"),
            ops.ReleaseTask(queue="q", task_id="t", to="restored", claim="a"),
            ops.ReleaseTask(queue="q", task_id="t", to="deleted", claim="a"),
        ]
        for op in changes:
            with pytest.raises(LeaseLostError):
                lab.execute(op)
            assert [type(answer) for answer in lab.execute_many([op, op])] == [LeaseLostError] * 2
        assert lab.picture() == before
        claim(lab, "b", hold=0)
        with pytest.raises(LeaseLostError):
            lab.execute(changes[-1])
        assert lab.picture() == before

    def test_the_holder_of_the_claim_transfers_tasks(self, lab: Lab) -> None:
        lab.enqueue("t")
        claim(lab)
        image = lab.execute(ops.ExportTask(queue="q", task_id="t", park=True, claim="a"))
        assert lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="deleted", claim="a"))
        assert lab.execute(ops.ImportTask(image=image, claim="a"))
        assert lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="restored", claim="a"))
        assert lab.drain() == ["t"]

    @IMPORTED
    @OTHERS
    def test_a_parked_task_is_released_by_its_transfer_only(
        self, lab: Lab, other: str, imported: bool
    ) -> None:
        park(lab, imported=imported)
        before = lab.picture()
        for to in ("restored", "deleted"):
            assert not lab.execute(ops.ReleaseTask(queue="q", task_id="t", to=to, transfer=other))
        assert lab.picture() == before
        assert lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="restored", transfer="own"))
        assert lab.drain() == ["t"]

    @IMPORTED
    @OTHERS
    @pytest.mark.parametrize("again", [True, False])
    def test_a_parked_task_is_exported_by_its_transfer_only(
        self, lab: Lab, other: str, imported: bool, again: bool
    ) -> None:
        park(lab, imported=imported)
        before = lab.picture()
        with pytest.raises(TaskNotFoundError):
            lab.execute(ops.ExportTask(queue="q", task_id="t", park=again, transfer=other))
        assert lab.picture() == before
        image = lab.execute(ops.ExportTask(queue="q", task_id="t", park=again, transfer="own"))
        assert image.state is TaskState.PENDING
        assert parked(lab) == ["t"]
        assert lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="deleted", transfer="own"))

    @IMPORTED
    def test_a_restored_task_is_of_no_transfer(self, lab: Lab, imported: bool) -> None:
        park(lab, imported=imported)
        lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="restored", transfer="own"))
        for to in ("restored", "deleted"):
            assert not lab.execute(ops.ReleaseTask(queue="q", task_id="t", to=to, transfer="own"))
        lab.execute(ops.ExportTask(queue="q", task_id="t", park=True, transfer="other"))
        assert not lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="deleted", transfer="own"))
        assert lab.execute(ops.ReleaseTask(queue="q", task_id="t", to="restored", transfer="other"))
        assert lab.drain() == ["t"]
