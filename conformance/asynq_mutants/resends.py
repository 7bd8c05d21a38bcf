"""A client that loses replies and sends its operations again, and the disturbance that makes it lose them."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asynq_conformance.disturbances import Disturbance
from asynq_conformance.histories.plan import Source
from asynq_sqlite import SQLiteBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_conformance.histories.run import HistoryRun

RESEND_AFTER: Final = 0.2
"""Seconds without a reply after which the client sends again."""
LOST_SHARE: Final = 0.2
"""Share of the calls that lose their reply while replies are lost."""
LOSSY_SECONDS: Final = 1.5


class ResendingBroker(SQLiteBroker):
    """Carries out operations a second time, as if the first reply was lost, while a marker file exists."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._marker = marker(path)

    def execute_many(self, ops: Sequence[Any], /) -> list[Any]:
        answers = super().execute_many(ops)
        if self._loses_reply():
            time.sleep(RESEND_AFTER)
            answers = super().execute_many(ops)
        return answers

    async def aexecute_many(self, ops: Sequence[Any], /) -> list[Any]:
        answers = await super().aexecute_many(ops)
        if self._loses_reply():
            await asyncio.sleep(RESEND_AFTER)
            answers = await super().aexecute_many(ops)
        return answers

    def _loses_reply(self) -> bool:
        return self._marker.exists() and random.random() < LOST_SHARE


def marker(path: str | Path) -> Path:
    """The file whose existence makes the clients of this store lose replies."""
    return Path(f"{path}.lossy")


def resending(defect: str | None, path: Path) -> Source:
    """Clients of this kind on a store with this defect; None: on a correct one."""
    return Source(
        factory="asynq_mutants.harness:open_broken",
        kwargs={"defect": defect, "path": str(path), "resends": True},
        resend_after=RESEND_AFTER,
    )


def lose_replies(run: HistoryRun) -> None:
    """All clients lose replies for a while."""
    file = marker(run.source.kwargs["path"])
    file.touch()
    time.sleep(LOSSY_SECONDS)
    file.unlink()


REPLIES_LOST: Final = Disturbance(strike=lose_replies)
