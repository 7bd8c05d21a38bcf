"""One process of a run: python -m asynq_conformance.histories.workload ROLE.json

It says "ready" when the broker is open, begins when a line comes in, and ends when its time is up, enough
tasks are made, or its input ends: so none outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from asynq.errors import AsynqError
from asynq_conformance.histories.caller import Caller, Rest, TaskQuota
from asynq_conformance.histories.plan import Role
from asynq_conformance.histories.recorder import HistoryRecorder, RecordingBroker
from asynq_conformance.histories.rounds import RoundPlayer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker
    from asynq_conformance.histories.caller import Action, Send

LONGEST_HASTY_WAIT = 0.002
"""Longest time, in seconds, after which an impatient caller gives up."""

Player = Caller | RoundPlayer


def players(role: Role, tally: TaskQuota) -> list[Player]:
    """All callers of a process."""
    plan = role.plan

    def rng(number: int) -> Random:
        return Random(f"{plan.seed}/{role.number}/{number}")

    callers: list[Player] = [
        Caller(f"{role.process}.{number}", plan, rng(number), tally) for number in range(plan.callers - 1)
    ]
    last = plan.callers - 1
    return [*callers, RoundPlayer(f"{role.process}.{last}", plan, rng(last), role.epoch)]


# --- the plain face: a thread a caller ----------------------------------------------------------------


def _ask(broker: RecordingBroker, request: Send) -> list[Any]:
    if request.together:
        try:
            return list(broker.execute_many(request.ops))
        except AsynqError as error:
            return [error] * len(request.ops)
    return [_answer(broker, op) for op in request.ops]


def _answer(broker: RecordingBroker, op: Any) -> Any:
    try:
        return broker.execute(op)
    except AsynqError as error:
        return error


def play(action: Action, broker: RecordingBroker) -> None:
    """Carry out an action through the plain face."""
    answers: list[Any] = []
    request = next(action, None)
    while request is not None:
        if isinstance(request, Rest):
            time.sleep(request.seconds)
        else:
            answers = _ask(broker, request)
        try:
            request = action.send(answers)
        except StopIteration:
            return


def run_threads(everybody: Sequence[Player], broker: RecordingBroker, over: Callable[[], bool]) -> None:
    """All callers at once, through the plain face. What any of them fails with is raised."""
    failures: list[BaseException] = []

    def keep_playing(player: Player) -> None:
        try:
            while not (over() or failures):
                play(player.next_action(), broker)
                if player.plan.rest:
                    time.sleep(player.plan.rest)
            play(player.last_action(), broker)
        except BaseException as error:  # noqa: BLE001 - raised again where it is seen
            failures.append(error)

    threads = [threading.Thread(target=keep_playing, args=(player,)) for player in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker.close()
    if failures:
        raise failures[0]


# --- the awaited face: a coroutine a caller -----------------------------------------------------------


async def _aask(broker: RecordingBroker, request: Send, rng: Random) -> list[Any]:
    if request.together:
        try:
            return list(await broker.aexecute_many(request.ops))
        except AsynqError as error:
            return [error] * len(request.ops)
    return [
        await _aanswer(broker, op, rng.uniform(0, LONGEST_HASTY_WAIT) if request.hasty else None)
        for op in request.ops
    ]


async def _aanswer(broker: RecordingBroker, op: Any, patience: float | None) -> Any:
    try:
        async with asyncio.timeout(patience):
            return await broker.aexecute(op)
    except (AsynqError, TimeoutError) as error:
        return error if isinstance(error, AsynqError) else AsynqError("gave up")


async def aplay(action: Action, broker: RecordingBroker, rng: Random) -> None:
    """Carry out an action through the awaited face; hasty requests are given up at a random instant."""
    answers: list[Any] = []
    request = next(action, None)
    while request is not None:
        if isinstance(request, Rest):
            await asyncio.sleep(request.seconds)
        else:
            answers = await _aask(broker, request, rng)
        try:
            request = action.send(answers)
        except StopIteration:
            return


async def run_tasks(everybody: Sequence[Player], broker: RecordingBroker, over: Callable[[], bool]) -> None:
    """All callers at once, through the awaited face. What any of them fails with is raised."""

    async def keep_playing(player: Player) -> None:
        while not over():
            await aplay(player.next_action(), broker, player.rng)
            if player.plan.rest:
                await asyncio.sleep(player.plan.rest)
        await aplay(player.last_action(), broker, player.rng)

    async with asyncio.TaskGroup() as group:
        for player in everybody:
            group.create_task(keep_playing(player))
    await broker.aclose()


# --- the process ----------------------------------------------------------------------------------------


def run(role: Role, broker: Broker, told_to_end: threading.Event) -> None:
    """Play the role until its end, writing all of it down."""
    plan = role.plan
    tally = TaskQuota(-(-plan.least // plan.processes), -(-plan.tasks // plan.processes))
    begun = time.monotonic()

    def over() -> bool:
        elapsed = time.monotonic() - begun
        timely = elapsed >= plan.seconds and (tally.enough or elapsed >= 3 * plan.seconds)
        return timely or tally.reached or told_to_end.is_set()

    everybody = players(role, tally)
    with HistoryRecorder(Path(role.record), role.process) as recorder:
        recorded = RecordingBroker(broker, recorder)
        if role.face == "plain":
            run_threads(everybody, recorded, over)
        else:
            asyncio.run(run_tasks(everybody, recorded, over))


def main(arguments: Sequence[str]) -> int:
    """Wait for the word, and play the role the file tells."""
    role = Role.from_json(Path(arguments[0]).read_text())
    broker = role.source.open()
    told_to_end = threading.Event()
    os.write(1, b"ready\n")
    if not os.read(0, 1):
        return 0

    def listen() -> None:
        os.read(0, 1)
        told_to_end.set()

    threading.Thread(target=listen, daemon=True).start()
    run(role, broker, told_to_end)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
