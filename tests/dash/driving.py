"""Drives a dashboard as a user does: keys go in, what is on the screen comes out."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from textual.events import Key
from textual.keys import _character_to_key

from asynq import Client, Inspector, Task
from asynq.dash.app import Dashboard
from asynq.protocol.ops import Archive, Dequeue
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

    from asynq import Broker

INTERVAL = 0.1
SMALL, LARGE = (80, 24), (200, 60)


@frozen
class Driven:
    """A dashboard that runs, without a terminal."""

    app: Dashboard
    pilot: Pilot[None]

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without colours."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """What dialogs and messages say, whose lines are broken where there is no room."""
        inside = [match[1] for line in self.lines if (match := re.search("[│▌](.*)[│▐]", line))]
        return " ".join(" ".join(inside).split())

    def row(self, start: str) -> str:
        """The line of a table that begins with a text; "" for none."""
        found = (line for line in self.lines if line[2:].lstrip("│ ").startswith(start))
        return next(found, "")

    async def press(self, *keys: str) -> None:
        """Press keys. Before each one the process is idle, so that what it concerns has the focus."""
        await self.pilot.press(*keys)

    async def open(self, queue: str = "default") -> None:
        """Open the first queue. Before its row is there, Enter opens nothing."""
        await self.shows(f"> {queue}")
        await self.press("enter")

    async def write(self, text: str) -> None:
        """Write a text into what has the focus, without waiting for an idle process after each key."""
        for one in text:
            await self._press(_character_to_key(one), one)

    async def _press(self, key: str, character: str) -> None:
        event = Key(key, character)
        event.set_sender(self.app)
        self.app.post_message(event)
        while True:
            await self.pilot._wait_for_screen()
            everything = [self.app, *self.app.screen.walk_children(with_self=True)]
            if not any(each.message_queue_size for each in everything):
                break

    async def shows(self, *texts: str) -> None:
        """Wait until all of these texts are on the screen."""

        def shown() -> bool:
            text, words = self.text, self.words
            return all(each in text or each in words for each in texts)

        await aeventually(shown, 20, explain=lambda: f"{texts} in\n{self.text}")

    async def lacks(self, *texts: str) -> None:
        """Wait until none of these texts is on the screen."""

        def gone() -> bool:
            text = self.text
            return not any(each in text for each in texts)

        await aeventually(gone, 20, explain=lambda: f"{texts} in\n{self.text}")

    async def refreshed(self, times: int = 2) -> None:
        """Wait until what is shown was read again, completely."""
        wanted = self.app.refreshes + times
        await aeventually(lambda: self.app.refreshes >= wanted, 20, explain=lambda: self.text)

    async def confirm(self, *texts: str) -> None:
        """Read the question, which must have these texts, and agree."""
        await self.shows(*texts, "do it")
        await self.press("y")


@asynccontextmanager
async def driven(broker: Broker, size: tuple[int, int] = (120, 35), **options: Any) -> AsyncIterator[Driven]:
    """A dashboard of a broker that has read it once."""
    app = Dashboard(broker, **{"interval": INTERVAL} | options)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Driven(app, pilot)
    await broker.aclose()


@frozen
class Prepared:
    """Puts tasks into a broker."""

    broker: Broker
    client: Client = field(init=False)
    inspector: Inspector = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "client", Client(self.broker))
        object.__setattr__(self, "inspector", Inspector(self.broker))

    def enqueue(self, *ids: str, payload: object = None, type: str = "t", **options: Any) -> None:  # noqa: A002
        """Enqueue a task of each id."""
        self.client.enqueue_many([Task(type, payload, task_id=each, **options) for each in ids])

    def take(self, queue: str = "default") -> Any:
        """Take the next task, which is then active. Returns its delivery."""
        (delivery,) = self.broker.execute(Dequeue(orders=((queue,),), token="taken", lease=60_000))
        return delivery

    def fail(self, error: str, count: int = 1, queue: str = "default") -> None:
        """Take the next tasks and archive them."""
        for _ in range(count):
            self.broker.execute(Archive(delivery=self.take(queue), error=error))

    def states(self, queue: str = "default") -> dict[str, int]:
        """The number of tasks in each state that has any."""
        info = self.inspector.queue_info(queue)
        names = ("pending", "active", "scheduled", "retry", "archived", "completed", "aggregating")
        return {name: getattr(info, name) for name in names if getattr(info, name)}
