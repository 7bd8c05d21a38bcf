"""Bugs in what a client sends to a server: operations, scripts, clocks, listening."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.errors import NotReplicatedError
from asynq.protocol.ops import Enqueue
from asynq_mutants.patches import failing
from asynq_mutants.scripts import sources
from asynq_redis.base_broker import BaseRedisBroker
from asynq_redis.events.listener import RedisListener
from asynq_redis.lua.scripts import DEQUEUE
from asynq_redis.operations.execution import CallContext
from asynq_redis.transport import connection_pool
from asynq_redis.transport.requests import ScriptCall

if TYPE_CHECKING:
    import asyncio

    from asynq.protocol.ops import Op

REDIS = "tests/redis/"


@failing(REDIS + "test_transport_faults.py::test_a_request_with_a_lost_reply_is_sent_again", bug=65)
def forget_which_call_it_was() -> None:
    """Each repeated enqueue has a new enqueue id."""
    correct = connection_pool._rendered

    def rendered(request: Any, pooled: Any, *, in_full: bool) -> tuple[Any, ...]:
        if request.script.name == "enqueue":
            keys, args = request.parts()
            count = int(args[1])
            calls = [part for place in range(count) for part in (place + 1, uuid.uuid4().hex, "")]
            request = ScriptCall(request.script, keys, [*args[: 2 * count + 2], *calls])
        return correct(request, pooled, in_full=in_full)

    connection_pool._rendered = rendered


@failing("tests/topologies/test_replicas.py::test_too_few_replicas_are_an_unknown_outcome[sentinel]", bug=68)
def enqueue_once_more() -> None:
    """An enqueue that too few replicas confirmed counts as not done, and is repeated."""
    correct = BaseRedisBroker.execute

    def execute(self: BaseRedisBroker, op: Op[Any], /) -> Any:
        try:
            return correct(self, op)
        except NotReplicatedError:
            if isinstance(op, Enqueue):
                correct(self, replace(op, message=replace(op.message, id=uuid.uuid4().hex)))
            raise

    BaseRedisBroker.execute = execute  # type: ignore[method-assign]


@failing(
    REDIS + "test_scripts_rules.py::"
    "test_no_script_touches_a_new_key_after_a_write_moves_too_much_or_leaves_its_slot",
    bug=72,
)
def write_before_touching() -> None:
    """The script of `dequeue` writes before it has read the tasks."""
    texts = sources.read_sources()
    early = "local id = following(queue)"
    texts["dequeue"] = texts["dequeue"].replace(early, f"redis.call('PERSIST', queue.active) {early}")
    sources.install([sources.rendered(script, texts) for script in sources.users("dequeue", texts)])


@failing(REDIS + "test_listener.py::test_a_lost_connection_is_restored_and_wakes_up", bug=75)
def wake_once_only() -> None:
    """Events during a lost connection are never noticed."""
    correct, armed_before = RedisListener._armed, set[int]()

    def armed(self: RedisListener, reply: asyncio.Future[Any]) -> None:
        if id(self) not in armed_before:
            armed_before.add(id(self))
            correct(self, reply)

    RedisListener._armed = armed  # type: ignore[method-assign]


@failing(REDIS + "test_transport_faults.py::test_leases_use_the_clock_of_the_server", bug=76)
def go_by_the_clients_clock() -> None:
    """Leases use the clock of each machine, so two machines disagree about their holders."""
    CallContext.now_argument = lambda _: str(int(time.time() * 1_000_000))  # type: ignore[method-assign, assignment]


@failing(
    REDIS + "test_scripts_full.py::test_a_full_server_refuses_new_tasks_and_settles_existing_ones", bug=77
)
def refuse_to_drain() -> None:
    """The script of `dequeue` does not declare that it frees memory."""
    object.__setattr__(DEQUEUE, "_first_line", "#!lua\n")
    object.__setattr__(DEQUEUE, "shas", DEQUEUE._digest())


@failing(REDIS + "test_scripts_go_locks.py", bug=78)
def read_locks_from_fields_only() -> None:
    """A lock that only the message of its task names stays until it expires."""
    texts = sources.read_sources()
    read = "unique_key_of(redis.call('HGET', hash, 'msg') or '')"
    assert read in texts["lib/delete"]
    texts["lib/delete"] = texts["lib/delete"].replace(read, "unique_key")
    sources.install([sources.rendered(script, texts) for script in sources.users("lib/delete", texts)])
