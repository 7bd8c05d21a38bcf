"""The harness, which the author of a backend supplies so that the suite can run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from asynq_conformance.histories.resends import DEFAULT_RESEND_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker


class Harness:
    """Opens brokers on an empty store, and damages the store in ways that no operation can.

    Only `open` is required. A hook that is not overridden skips the laws that need it, so override every hook
    that the store allows. A harness registered for a URL scheme is constructed with the URL, and also needs
    `empty`.
    """

    column: str = ""
    """Name of the backend in tables, for `--broker`; "": the name of the class without Harness."""

    lock_precision: ClassVar[int] = 1
    """Milliseconds by which the expiry of a uniqueness lock may differ from the injected clock."""
    lists_at_once: ClassVar[bool] = True
    """False if the list of queues is stored separately, so that a queue that receives a task while it is
    deleted may be missing from the list until the next enqueue or examination."""
    resend_after: float = DEFAULT_RESEND_AFTER
    """Seconds after which a client of the store may send an unanswered request again: its shortest timeout
    for a reply. A call that took longer may have had its effect twice, and is judged so."""

    machine_share: float = 1.0
    """Fraction of the profile's random programs that is run: below 1 if each step is a round trip or a flush.
    """

    def open(self, clock: FakeClock) -> Broker:
        """A broker on an empty store that uses this clock."""
        raise NotImplementedError

    def renew(self, clock: FakeClock) -> Broker:
        """Like `open`, for the next of many short programs in one test. All of them use this clock.

        Override it if `open` empties the store only once per test, or if emptying the previous store is
        cheaper than a new broker.
        """
        return self.open(clock)

    def reopen(self, clock: FakeClock) -> Broker:
        """Another broker on the store that the last `open` created."""
        del clock
        return pytest.skip("this store cannot be opened a second time")

    def empty(self) -> None:
        """Remove everything that asynq keeps in the store. Other contents stay."""
        raise NotImplementedError

    def about(self) -> Mapping[str, str]:
        """Names and versions of the storage software, for reports."""
        return {}

    def factory(self) -> tuple[str, Mapping[str, Any]] | None:
        """How another process opens the store of the last `open`, with the clock of the machine or the store.

        Returns:
            An importable "module:callable" that returns a Broker, and keyword arguments that JSON can
            represent. None if no other process can open the store: then no histories of concurrent
            processes are recorded.
        """
        return None

    def warp(self, milliseconds: int) -> None:
        """Called after the clock was moved forward: data that expires by another clock must expire too."""

    def corrupt(self, queue: str, task_id: str) -> None:
        """Make the stored message of this task undecodable."""
        del queue, task_id
        pytest.skip("this store has no way to damage a message")

    def lose(self, queue: str, task_id: str) -> None:
        """Remove the task, but keep its id in all lists of ids."""
        del queue, task_id
        pytest.skip("this store cannot contain an id without a task")

    def strand(self, queue: str, task_id: str) -> None:
        """Remove only the lease of an active task."""
        del queue, task_id
        pytest.skip("this store cannot contain an active task without a lease")
