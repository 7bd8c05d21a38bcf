"""Many callers on a sequential broker, in virtual time: every call has one instant at which it takes effect.

So every history that comes of it is right, however its calls overlap; and it is the same for the same seed.
Where replies are lost a call is sent again, and each copy has its own instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from asynq.clock import FakeClock
from asynq.errors import AsynqError
from asynq_conformance.histories.caller import Caller, Rest, TaskQuota
from asynq_conformance.histories.drain import Drain
from asynq_conformance.histories.history import MILLISECOND, History
from asynq_conformance.histories.plan import Plan
from asynq_conformance.histories.recorder import HistoryRecorder
from asynq_conformance.histories.resends import RESENDS
from asynq_conformance.histories.rounds import RoundPlayer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq_conformance.histories.caller import Action

BEGINNING = 1_700_000_000_123

PLAN = Plan(lease=400, short_lease=60, tasks=10_000, patience=60)


@define
class Flight:
    """Operations on their way."""

    numbers: Sequence[int]
    ops: Sequence[Any]
    begun: int
    answers: list[Any] | None = None
    """None until they take effect."""
    sent: bool = False
    """True if the reply to a copy is lost, or the copy still lies in a connection."""
    over_at: int | None = None
    """When who sent them stopped waiting."""


@define(eq=False)
class Client:
    """A caller with what it is doing."""

    player: Caller | RoundPlayer
    action: Action | None = None
    todo: list[Any] = field(factory=list)
    """Operations of a request that are sent one after the other."""
    answers: list[Any] = field(factory=list)
    flight: Flight | None = None
    until: int = 0
    """It rests until then."""


class Simulation:
    """Callers whose calls begin, take effect and end at instants of their own, drawn by a seed."""

    def __init__(
        self,
        make: Callable[[FakeClock], Broker],
        rng: Random,
        directory: Path,
        callers: int,
        *,
        resend_after: int | None = None,
    ) -> None:
        """resend_after: milliseconds after which a call without a reply is sent again; None: none is lost."""
        self._rng = rng
        self._ns = 0
        self._clock = FakeClock(BEGINNING)
        self._broker = make(self._clock)
        self._path = directory / "record.jsonl"
        self._recorder = HistoryRecorder(
            self._path,
            "p",
            monotonic_ns=lambda: self._ns,
            wall_ns=lambda: BEGINNING * MILLISECOND + self._ns,
        )
        tally = TaskQuota(0, PLAN.tasks)
        self._clients = [Client(self._player(number, tally)) for number in range(callers)]
        self._drifting: list[Flight] = []
        """Given up by who sent them; they may yet take effect."""
        self._resend_after = resend_after * MILLISECOND if resend_after else None
        if resend_after:
            self._recorder.note(RESENDS, after=resend_after / 1000)
        self._copies: list[Flight] = []
        """In connections that who sent them gave up; another copy is sent, or was."""

    def _player(self, number: int, tally: TaskQuota) -> Caller | RoundPlayer:
        def now() -> float:
            return self._ns / 1e9

        if number % 3 == 0:
            return RoundPlayer(f"c{number}", PLAN, self._rng, 0, monotonic=now)
        return Caller(f"c{number}", PLAN, self._rng, tally, monotonic=now)

    def run(self, steps: int) -> History:
        """So many instants at which something happens, then the drain; the history of it all."""
        for _ in range(steps):
            self._pass(self._rng.choice((0, 0, 0, 1, 1, 5, 40)) * MILLISECOND + self._rng.randrange(1000))
            self._step(self._rng.choice(self._clients))
            if self._drifting and self._rng.random() < 0.1:
                self._arrive_late(self._drifting.pop())
            if self._copies and self._rng.random() < 0.2:
                self._arrive_late(self._copies.pop(self._rng.randrange(len(self._copies))))
        Drain(self._broker, self._recorder, rest=lambda seconds: self._pass(int(seconds * 1e9))).run(
            PLAN.patience
        )
        self._recorder.close()
        self._broker.close()
        return History.load(self._path)

    def _pass(self, nanoseconds: int) -> None:
        self._ns += nanoseconds
        self._clock.set(BEGINNING + self._ns // MILLISECOND)

    def _step(self, client: Client) -> None:
        """The next thing that happens to this client."""
        if self._ns < client.until:
            return
        if client.flight is None:
            self._go_on(client)
        elif client.flight.answers is None:
            if self._rng.random() < 0.02:
                self._give_up(client, client.flight)
            elif self._resend_after is None:
                self._carry_out(client.flight)
            else:
                self._send(client.flight, self._resend_after)
        else:
            self._land(client, client.flight, client.flight.answers)

    def _go_on(self, client: Client) -> None:
        """Begin the next call."""
        if client.todo:
            client.flight = self._begin([client.todo.pop(0)])
            return
        try:
            if client.action is None:
                client.action = client.player.next_action()
                request = next(client.action)
            else:
                request = client.action.send(client.answers)
        except StopIteration:
            client.action = None
            return
        client.answers = []
        if isinstance(request, Rest):
            client.until = self._ns + int(request.seconds * 1e9)
        elif request.together:
            client.flight = self._begin(request.ops)
        else:
            client.todo = list(request.ops)

    def _begin(self, operations: Sequence[Any]) -> Flight:
        return Flight(self._recorder.invoke(operations), operations, self._ns)

    def _send(self, flight: Flight, resend_after: int) -> None:
        """Send one more copy, if it is time: it takes effect, its reply is lost, or it is late."""
        if flight.sent and self._ns < flight.begun + resend_after:
            return
        chance = self._rng.random()
        if chance < 0.8:
            self._carry_out(flight)
            return
        flight.sent = True
        if chance < 0.9:
            self._carry_out(flight)
            flight.answers = None
        else:
            self._copies.append(flight)

    def _arrive_late(self, flight: Flight) -> None:
        """A copy nobody waits for takes effect. It does so soon, if it is one of several."""
        soon = flight.over_at is None or self._ns <= flight.over_at + (self._resend_after or 0)
        if soon or not flight.sent:
            self._broker.execute_many(flight.ops)

    def _carry_out(self, flight: Flight) -> None:
        flight.answers = list(self._broker.execute_many(flight.ops))

    def _land(self, client: Client, flight: Flight, answers: list[Any]) -> None:
        self._recorder.end(flight.numbers, flight.ops, answers)
        client.answers += answers
        flight.over_at = self._ns
        client.flight = None

    def _give_up(self, client: Client, flight: Flight) -> None:
        error = AsynqError("gave up")
        self._recorder.leave_open(flight.numbers, flight.ops, error)
        client.answers += [error] * len(flight.ops)
        flight.over_at = self._ns
        client.flight = None
        if self._rng.random() < 0.7:
            self._drifting.append(flight)
