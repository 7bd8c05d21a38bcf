"""A key of an unexpected type is named by the script that finds it, before any write."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq.protocol.groups import AggregationSet
from asynq.protocol.ops import Enqueue, EnqueueTick, FinishAggregation, Unique
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message
from tests.redis.test_scripts_rules import LUA, NAMES, run_everything

if TYPE_CHECKING:
    from asynq.protocol.ops import Op
    from asynq_redis.transport.requests import ScriptCall
    from tests.servers import RedisServer

ALL_STATES = "pending active lease scheduled retry archived completed groups sets"
CHECKED = {
    "acquire_slot": "slots",
    "adopt": "active lease",
    "advance_sequences": "names",
    "arrive": "pending scheduled",
    "archive": "active lease archived",
    "cancel": "lease",
    "claim_transfer": "",
    "complete": "active lease completed",
    "delete_queue": f"{ALL_STATES} names",
    "dequeue": "pending active lease",
    "done": "active lease",
    "drop_members": "set sets archived",
    "enqueue": "",
    "enqueue_tick": "",
    "doctor_groups": "groups sets",
    "doctor_ids": "source lease",
    "doctor_locks": "",
    "doctor_tasks": ALL_STATES,
    "export": "pending scheduled retry archived completed groups",
    "extend": "lease",
    "extend_set": "sets",
    "finish_parent": "completed",
    "finish_set": "set sets",
    "forward": "scheduled retry pending groups",
    "get_task": "",
    "history": "",
    "import": "scheduled",
    "list_groups": "groups",
    "list_lost": "lease active",
    "list_queues": "",
    "list_tasks": "collection lease",
    "memory": "",
    "move": "pending scheduled retry archived completed groups",
    "move_first": "pending scheduled retry archived completed groups source lease",
    "pause": "",
    "pause_schedule": "",
    "present": "",
    "purge": "completed",
    "read_set": "set sets",
    "reclaim_set": "sets groups",
    "recover": "active lease pending retry archived",
    "release": "pending scheduled retry archived completed groups",
    "repair_groups": "groups sets",
    "repair_tasks": ALL_STATES,
    "requeue": "active lease pending",
    "retry": "active lease retry",
    "return_set": "set sets group groups",
    "scan_keys": "",
    "set_aside": "active lease archived",
    "stats": "pending active scheduled retry archived completed groups",
    "sum_groups": "names",
    "take_group": "group set groups sets",
    "take_parents": "completed",
    "take_token": "taken",
    "trim": "archived",
    "update_task": "",
    "write_result": "lease",
    "write_schedule": "",
    "write_scheduler": "",
    "write_server": "",
}
"""The keys whose type each script checks before its first write. The others are written by commands that
accept any type, or contain one number or name each: their damage affects only one task. The keys that a new
task joins are checked for each task, see below."""


@cache
def names_of(script: str) -> list[str]:
    """The fixed keys of a script's header."""
    text = (LUA / f"{script}.lua").read_text(encoding="utf-8")
    [line] = re.findall(r"^-- KEYS: (.*)$", text, re.MULTILINE)
    fixed, _, repeated = str(line).partition("|")
    return fixed.split() or repeated.partition("|")[0].split()


_calls: dict[str, list[ScriptCall]] = {}


@pytest.fixture
def calls(redis_server: RedisServer) -> dict[str, list[ScriptCall]]:
    """Calls of each script on a store with data of all kinds. Created once."""
    if not _calls:
        lab = ScriptLab(redis_server.client)
        run_everything(lab)
        for call in lab.calls:
            _calls.setdefault(call.script.name, []).append(call)
    return _calls


def test_every_script_declares_the_keys_it_checks() -> None:
    assert set(CHECKED) == set(NAMES) - {"mark"}
    assert all(set(checked.split()) <= set(names_of(script)) for script, checked in CHECKED.items())


@pytest.mark.parametrize(
    ("script", "name"), [(script, name) for script, names in CHECKED.items() for name in names.split()]
)
def test_a_key_of_another_type_is_named_and_nothing_changes(
    redis_server: RedisServer, calls: dict[str, list[ScriptCall]], script: str, name: str
) -> None:
    client = redis_server.client
    for call in {call.args[3] if script == "move_first" else 0: call for call in calls[script]}.values():
        key = call.keys[names_of(script).index(name)]
        client.flushdb()
        client.hset(key, "not", "ours")
        before = client.dump(key)
        reply = run(client, call)
        assert f"WRONGTYPE {key!s} holds a hash where a " in reply
        assert client.keys() == [key.encode() if isinstance(key, str) else key]
        assert client.dump(key) == before


def run(client: redis.Redis, call: ScriptCall) -> str:
    """The reply or the error, as text."""
    try:
        return str(client.eval(call.script.text(flags=False), len(call.keys), *call.keys, *call.args))
    except redis.ResponseError as error:
        word = getattr(error, "status_code", None)
        return f"{word or ''} {error}".strip()


def enqueues(name: str, **options: Any) -> dict[str, Op[Any]]:
    """An enqueue by each script that creates tasks."""
    fields = {"group": options.pop("group", ""), "unique_key": options.pop("unique_key", "")}
    enqueue = Enqueue(message=message(name, **fields), enqueue_id="new", **options)
    taken = AggregationSet(queue="q", group="taken", id="set", messages=(message("member"),))
    return {
        "enqueue": enqueue,
        "tick": EnqueueTick(entry_id="e", tick=1, keep=60_000, enqueue=enqueue),
        "finish": FinishAggregation(taken=taken, enqueue=enqueue),
    }


REPLACING = {"unique": Unique(ttl=60_000, on_duplicate="replace"), "unique_key": "asynq:{q}:unique:a:"}
JOINS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("pending", "list", {}),
    "unique": ("pending", "list", {"unique": Unique(ttl=60_000), "unique_key": "asynq:{q}:unique:a:"}),
    "later": ("scheduled", "zset", {"process_in": 60_000}),
    "grouped": ("g:g", "zset", {"group": "g"}),
    "grouped later": ("g:g", "zset", {"group": "g", "process_in": 60_000}),
    "in the list of groups": ("groups", "set", {"group": "g"}),
    "locked": ("unique:a:", "string", {"unique": Unique(ttl=60_000), "unique_key": "asynq:{q}:unique:a:"}),
    "replaces pending": ("pending", "list", {**REPLACING, "process_in": 60_000}),
    "replaces scheduled": ("scheduled", "zset", REPLACING),
    "with the id": ("t:new", "hash", {}),
    "replaces archived": ("archived", "zset", {"on_conflict": "replace_finished"}),
    "replaces completed": ("completed", "zset", {"on_conflict": "replace_finished"}),
}


@pytest.mark.parametrize("script", ["enqueue", "tick", "finish"])
@pytest.mark.parametrize(("key", "wanted", "options"), JOINS.values(), ids=JOINS)
def test_a_new_task_is_refused_if_a_key_it_joins_has_another_type(
    lab: ScriptLab, script: str, key: str, wanted: str, options: dict[str, Any]
) -> None:
    name = f"asynq:{{q}}:{key}"
    lab.client.zadd("asynq:{q}:g:taken:set", {"member": 1})
    lab.client.zadd("asynq:{q}:aggregation_sets", {"asynq:{q}:g:taken:set": 9_999_999_999})
    if key in {"archived", "completed"}:
        lab.client.hset("asynq:{q}:t:new", mapping={"msg": "old", "state": key})
    if "unique" in options and options["unique"].on_duplicate == "replace":
        lab.client.set(options["unique_key"], "old")
        lab.client.hset("asynq:{q}:t:old", mapping={"msg": "old", "state": key})
    if wanted in {"hash", "string"}:
        lab.client.lpush(name, "not ours")
    else:
        lab.client.hset(name, "not", "ours")
    before = lab.content()
    refused = lab.one(enqueues("new", **options)[script])
    assert isinstance(refused, redis.ResponseError)
    assert (
        f"WRONGTYPE {name} holds a {'list' if wanted in {'hash', 'string'} else 'hash'} where a {wanted}"
        in str(refused)
    )
    assert {k: v for k, v in lab.content().items() if k != b"asynq:queues"} == before


def test_a_plain_task_does_not_need_the_keys_that_it_does_not_join(lab: ScriptLab) -> None:
    for key in ("scheduled", "groups", "archived", "completed"):
        lab.client.set(f"asynq:{{q}}:{key}", "not ours")
    assert [answer.state for answer in lab.enqueue(message("a"), message("b"))] == [TaskState.PENDING] * 2


def test_refused_and_accepted_tasks_share_a_call(lab: ScriptLab) -> None:
    lab.client.set("asynq:{q}:scheduled", "not ours")
    first, refused, last = lab.all(
        [
            Enqueue(message=message("a"), enqueue_id="a"),
            Enqueue(message=message("b"), enqueue_id="b", process_in=60_000),
            Enqueue(message=message("c"), enqueue_id="c"),
        ]
    )
    assert isinstance(refused, redis.ResponseError)
    assert (first.state, last.state) == (TaskState.PENDING, TaskState.PENDING)
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [b"c", b"a"]
    assert not lab.client.exists("asynq:{q}:t:b")
