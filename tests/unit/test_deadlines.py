from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from asynq.runtime import timeouts
from asynq.runtime.deadlines import Deadlines
from tests.waiting import let_pass

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Go = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def go(request: pytest.FixtureRequest) -> Iterator[Go]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


class Member:
    """Something that expires once."""

    due = math.inf

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.expired = asyncio.Event()

    def expire(self) -> None:
        self.log.append(self.name)
        self.expired.set()


class Members:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.all: set[Member] = set()
        self.deadlines = Deadlines(self.all)

    def add(self, name: str, seconds: float) -> Member:
        member = Member(name, self.log)
        self.all.add(member)
        self.deadlines.set(member, asyncio.get_running_loop().time() + seconds)
        return member


def test_members_expire_in_the_order_of_their_deadlines_and_not_early(go: Go) -> None:
    async def main() -> None:
        members, began = Members(), time.monotonic()
        last = members.add("last", 0.06)
        members.add("first", 0.02)
        members.add("never", 1e300)
        members.add("second", 0.04)
        await last.expired.wait()
        assert time.monotonic() - began >= 0.06 - 0.001  # uvloop counts in whole milliseconds
        assert members.log == ["first", "second", "last"]
        members.deadlines.close()

    go(main())


def test_members_that_became_due_during_a_standstill_expire_in_their_order(go: Go) -> None:
    async def main() -> None:
        members = Members()
        overdue = [members.add(f"{number:02}", -number) for number in range(20)]
        await overdue[0].expired.wait()
        assert members.log == [f"{number:02}" for number in reversed(range(20))]

    go(main())


def test_what_has_left_or_needs_no_deadline_does_not_expire(go: Go) -> None:
    async def main() -> None:
        members = Members()
        members.all.discard(members.add("left", 0))
        members.add("done", 0).due = math.inf
        await members.add("other", 0.01).expired.wait()
        assert members.log == ["other"]

    go(main())


def test_an_expired_member_can_have_another_deadline(go: Go) -> None:
    async def main() -> None:
        members = Members()
        member = members.add("a", 0)
        await member.expired.wait()
        member.expired.clear()
        members.deadlines.set(member, asyncio.get_running_loop().time() + 0.01)
        await member.expired.wait()
        assert members.log == ["a", "a"]

    go(main())


def test_a_deadline_set_while_others_expire_counts(go: Go) -> None:
    async def main() -> None:
        members = Members()
        later: list[Member] = []

        class Chained(Member):
            def expire(self) -> None:
                super().expire()
                later.append(members.add("later", 0.01))

        first = Chained("first", members.log)
        members.all.add(first)
        members.deadlines.set(first, 0)
        await first.expired.wait()
        await later[0].expired.wait()
        assert members.log == ["first", "later"]

    go(main())


@pytest.mark.parametrize("seconds", [0.01, 3 * timeouts.LATE])
def test_what_arrives_during_a_standstill_comes_before_the_deadlines(go: Go, seconds: float) -> None:
    async def main() -> None:
        members, loop = Members(), asyncio.get_running_loop()
        member = members.add("a", 0.01)
        members.add("b", 0.01 + seconds / 2)
        arrived = loop.create_future()
        arrived.add_done_callback(lambda _: members.all.discard(member))
        loop.call_later(0.005, arrived.set_result, None)
        let_pass(0.01 + seconds)
        await members.add("c", 1.2 * timeouts.GRACE).expired.wait()
        assert members.log == ["b", "c"]

    go(main())


def test_a_standstill_extends_all_deadlines_only_once(go: Go) -> None:
    async def main() -> None:
        members = Members()
        all_members = [members.add(str(number), number / 100) for number in range(10)]
        let_pass(2 * timeouts.LATE)
        began = time.monotonic()
        for member in all_members:
            await member.expired.wait()
        assert time.monotonic() - began < len(all_members) / 2 * timeouts.GRACE

    go(main())
