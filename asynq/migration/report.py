"""What a migration did: `QueueMigration`, `RefusedTask`, `ScheduleMigration`."""

from __future__ import annotations

from attrs import Factory, define, frozen


@frozen(kw_only=True)
class RefusedTask:
    """A task that the destination refused. It is in the source, as it was."""

    queue: str
    task_id: str
    reason: str


@define(kw_only=True)
class QueueMigration:
    """What was done with the tasks of a queue."""

    queue: str
    found: bool = True
    """False for a queue that is listed but not there: it was deleted meanwhile, or its name is not UTF-8."""
    transferred: int = 0
    """Tasks that are in the destination now and were not before; after an interruption, those of this run."""
    present: int = 0
    """Tasks that were in the destination already, with the same content."""
    active: int = 0
    """Tasks that were left to the workers that run them."""
    held: int = 0
    """Tasks that were left because they wait behind an active one, are being aggregated, or because a server
    is enqueueing their followers."""
    parked: int = 0
    """Tasks of the source that an interrupted migration from or to a third broker has left parked, and that
    only it releases: run it again, or undo it in the opposite direction."""
    refused: list[RefusedTask] = Factory(list)
    """Tasks that the destination refused: it has others of these ids, or of these unique locks."""

    @property
    def left(self) -> int:
        """Tasks that another run can transfer, once they have ended."""
        return self.active + self.held


@define(kw_only=True)
class ScheduleMigration:
    """What was done with the schedules that are kept in the broker."""

    transferred: list[str] = Factory(list)
    present: list[str] = Factory(list)
    """The destination had an equal schedule of this name."""
    refused: list[str] = Factory(list)
    """The destination has another schedule of this name, or keeps no schedules."""
