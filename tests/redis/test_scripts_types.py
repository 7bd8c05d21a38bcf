"""A key of an unexpected type is named by the script that finds it, before any write."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
import redis

from tests.redis.script_lab import ScriptLab
from tests.redis.test_scripts_rules import LUA, NAMES, run_everything

if TYPE_CHECKING:
    from asynq_redis.transport.requests import ScriptCall
    from tests.servers import RedisServer

ALL_STATES = "pending active lease scheduled retry archived completed groups sets"
CHECKED = {
    "acquire_slot": "slots",
    "adopt": "active lease",
    "archive": "active lease archived",
    "cancel": "lease",
    "complete": "active lease completed",
    "delete_queue": ALL_STATES,
    "dequeue": "pending active lease",
    "done": "active lease",
    "drop_members": "set sets archived",
    "enqueue": "pending scheduled groups archived completed",
    "enqueue_tick": "pending scheduled groups archived completed",
    "doctor_groups": "groups sets",
    "doctor_ids": "source lease",
    "doctor_locks": "",
    "doctor_tasks": ALL_STATES,
    "extend": "lease",
    "extend_set": "sets",
    "finish_set": "pending scheduled groups archived completed set sets",
    "forward": "scheduled retry pending groups",
    "get_task": "",
    "history": "",
    "list_groups": "groups",
    "list_lost": "lease active",
    "list_queues": "",
    "list_tasks": "collection lease",
    "memory": "",
    "move": "pending scheduled retry archived completed groups",
    "move_first": "pending scheduled retry archived completed groups source lease",
    "pause": "",
    "present": "",
    "purge": "completed",
    "read_set": "set sets",
    "reclaim_set": "sets groups",
    "recover": "active lease pending retry archived",
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
    "take_token": "taken",
    "trim": "archived",
    "update_payload": "",
    "write_result": "lease",
    "write_scheduler": "",
    "write_server": "",
}
"""The keys whose type each script checks before its first write. The others are written by commands that
accept any type, or contain one number or name each: their damage affects only one task."""


@cache
def names_of(script: str) -> list[str]:
    """The fixed keys of a script's header."""
    text = (LUA / f"{script}.lua").read_text(encoding="utf-8")
    [line] = re.findall(r"^-- KEYS: (.*)$", text, re.MULTILINE)
    return str(line).partition("|")[0].split() or ["pending", "active", "lease", "paused", "taken"]


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
