"""The harness: what the author of a backend supplies so that the suite can run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker


class Harness:
    """Opens brokers on an empty store and reaches behind them where a law needs damage no operation can do.

    `open` is mandatory. A hook that is not overridden skips the laws that need it: override all that the
    store allows. One that is registered for a URL scheme is made with the URL, and needs `empty` too.
    """

    column: str = ""
    """How tables name the backend that `--broker` names; "": by the name of the class, without Harness."""

    lock_precision: ClassVar[int] = 1
    """Milliseconds within which the end of a uniqueness lock follows the injected clock."""
    lists_at_once: ClassVar[bool] = True
    """False if the list of queues and the queues are kept apart, so that a queue that is enqueued to while it
    is deleted may be missing from the list until the next enqueue or examination."""

    machine_share: float = 1.0
    """How many of a profile's random programs are run: fewer where each step is a round trip or a flush."""

    def open(self, clock: FakeClock) -> Broker:
        """A broker on an empty store, going by this clock."""
        raise NotImplementedError

    def renew(self, clock: FakeClock) -> Broker:
        """As `open`, for the next of many short programs in one test, all with this clock.

        Override it where `open` relies on being called once in a test for the store to be empty, and where
        emptying the store of the last call is cheaper than a new broker.
        """
        return self.open(clock)

    def reopen(self, clock: FakeClock) -> Broker:
        """Another broker on the store the last `open` made."""
        del clock
        return pytest.skip("this store cannot be opened twice")

    def empty(self) -> None:
        """Remove all that asynq keeps in the store. What others keep there stays."""
        raise NotImplementedError

    def about(self) -> Mapping[str, str]:
        """Names and versions of what the broker keeps its tasks in, for reports."""
        return {}

    def factory(self) -> tuple[str, Mapping[str, Any]] | None:
        """How another process opens the store of the last `open`, by the clock of machine or store.

        An importable "module:callable" that returns a Broker, and keyword arguments that JSON can hold.
        None: no other process can, and histories of concurrent processes are not recorded.
        """
        return None

    def warp(self, milliseconds: int) -> None:
        """Called when the clock was moved forward: let whatever expires by a clock of its own follow."""

    def corrupt(self, queue: str, task_id: str) -> None:
        """Make the stored message of this task undecodable."""
        del queue, task_id
        pytest.skip("the messages of this store cannot be damaged")

    def lose(self, queue: str, task_id: str) -> None:
        """Remove the task, but leave its id wherever ids are listed."""
        del queue, task_id
        pytest.skip("this store cannot list an id without its task")

    def strand(self, queue: str, task_id: str) -> None:
        """Remove the lease of an active task, and nothing else."""
        del queue, task_id
        pytest.skip("an active task of this store cannot be without a lease")
