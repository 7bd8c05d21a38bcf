"""Detects the changes of other processes: one thread polls the store for all subscribers of a process."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, ClassVar, Final

from asynq.protocol.broker import Event, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.brokerkit.events.subscriber import Subscriber

POLL_INTERVAL: Final = 0.008
"""Seconds between two polls: of the version while the store changes, of `written` while it does not."""
_PATIENT_INTERVAL: Final = 0.024
"""The same while no subscriber is urgent. In a busy worker, each poll takes the interpreter lock from the
threads that do the work, several times."""
_QUIET_AFTER: Final = 0.25
"""Seconds without a change after which a store is quiet. File systems round the time of a write by less."""
QUIET_POLLS: Final = 25
"""Number of polls of `written` after which the version itself is polled once."""
_MAX_LOAD: Final = 1 / 5
"""Share of the time that polling may take, however much changes."""


class ChangeSource:
    """Shows what changed in a store.

    Its methods are called on one thread at a time, and must neither block nor raise. Implement `version`; the
    others refine what is reported, or reduce what polling costs.
    """

    reports_cancellations: ClassVar[bool] = False
    """Whether `events` reports every CancelTask, also those of this process."""

    def version(self) -> object:
        """Return a value that differs after every change, whichever process made it; None if unknown.

        It is compared with `==`, up to 125 times per second while anybody waits.
        """
        raise NotImplementedError

    def written(self) -> object:
        """Return a value that differs after a write. Override if that is cheaper than `version`.

        It is only used while the store is quiet, and may miss a write.
        """
        return self.version()

    def events(self, *, wakes: bool) -> Sequence[Event] | None:
        """Return the events since the last call.

        Args:
            wakes: Whether anybody waits for wake-ups of queues.

        Returns:
            The events; None if they cannot be read now and are to be asked for again.
        """
        return [Wake()] if wakes else []

    def close(self) -> None:
        """Free what `version` and `events` opened. They may be called again."""


class VersionSource(ChangeSource):
    """A source that knows a version, and nothing else."""

    def __init__(self, version: Callable[[], object]) -> None:
        self._read_version = version

    def version(self) -> object:
        """See ChangeSource."""
        return self._read_version()


class ChangePoller:
    """Polls a source on a thread of its own while there are subscribers.

    While nothing changes a poll reads one value, whatever the number of queues and subscribers.
    """

    def __init__(self, source: ChangeSource) -> None:
        self._source = source
        self._changed = threading.Condition()
        """Of the subscribers and the thread."""
        self._subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._wakes_asked = self._wakes_sent = 0
        """How many subscribers asked for a Wake, and how many of these have been served."""
        self._seen: object = None
        """The version at the last poll."""
        self._changed_at = 0.0

    def subscribe(self, subscriber: Subscriber, *, wake: bool = False) -> None:
        """Report changes to the subscriber from now on. See Notifier.subscribe."""
        with self._changed:
            self._subscribers.add(subscriber)
            self._changed.notify_all()
            self._wakes_asked += wake
            if self._thread is None:
                # Read here, not in the thread: a change that follows this call must be detected.
                self._seen = self._source.version()
                self._thread = threading.Thread(target=self._run, name="asynq-change-poller", daemon=True)
                self._thread.start()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Report nothing more to the subscriber."""
        with self._changed:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Stop the thread and close the source, unless somebody subscribes meanwhile."""
        with self._changed:
            self._subscribers.clear()
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return
            # For a new subscriber the thread goes on: a join could take for ever.
            while self._thread is thread and not self._subscribers:
                self._changed.wait()
            if self._thread is thread:
                return
        thread.join()

    # --- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (subscribers := self._present()) is not None:
            began = time.monotonic()
            self._poll(subscribers)
            urgent = any(subscriber.urgent for subscriber in subscribers)
            del subscribers
            ended = time.monotonic()
            if ended - self._changed_at < _QUIET_AFTER:
                interval = POLL_INTERVAL if urgent else _PATIENT_INTERVAL
                time.sleep(max(interval, (ended - began) * (1 / _MAX_LOAD - 1)))
            else:
                self._wait_for_write()

    def _present(self) -> list[Subscriber] | None:
        """Return the subscribers. None, and the thread ends, if there are none."""
        with self._changed:
            subscribers = list(self._subscribers)
            if not subscribers:
                self._thread = None
                self._source.close()
                self._changed.notify_all()
                return None
        return subscribers

    def _poll(self, subscribers: list[Subscriber]) -> None:
        """Report what changed since the last poll."""
        asked, before, version = self._wakes_asked, self._seen, self._source.version()
        wake = asked != self._wakes_sent
        if version == before and not wake:
            return
        events = self._source.events(wakes=any(subscriber.armed for subscriber in subscribers))
        if events is None:
            return
        if wake:
            events = [Wake(), *(event for event in events if not isinstance(event, Wake))]
        if version != before:
            self._changed_at = time.monotonic()
        self._seen, self._wakes_sent = version, asked
        for subscriber in subscribers:
            subscriber.on_events(events)
            if version != before:
                subscriber.on_change()

    def _wait_for_write(self) -> None:
        """Wait for a write, for a new subscriber, or until the version is to be polled again."""
        written = self._source.written()
        for _ in range(QUIET_POLLS):
            time.sleep(POLL_INTERVAL)
            if self._wakes_asked != self._wakes_sent or not self._subscribers:
                return
            if self._source.written() != written:
                return
