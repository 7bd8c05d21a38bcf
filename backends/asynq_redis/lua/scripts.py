"""The Lua scripts of the backend, one file each. Shared snippets are in lua/lib/.

The header of a script is its signature: a summary, its `flags:` for Redis 7.0 and later, its `KEYS:` and
`ARGV:` (written `fixed ones | those of each item | rest*`), its `answers:`, and the snippets it includes.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

from attrs import field, frozen

_LUA = files("asynq_redis") / "lua"
_INCLUDE = re.compile(r"^-- @include (.+)$", re.MULTILINE)
_FLAGS = re.compile(r"^-- flags: (.+)$", re.MULTILINE)


@frozen
class LuaScript:
    """A script in two forms: with a first line of flags for Redis 7.0 and later, and without it before."""

    name: str
    durable: bool = field(default=False, kw_only=True)
    """True if the caller relies on the write: then `min_replicas` applies to it."""
    fail_fast: bool = field(default=False, kw_only=True)
    """True if the caller repeats the call by itself, and must not wait for one failing server of several."""
    _plain: str = field(init=False, repr=False)
    _first_line: str = field(init=False, repr=False)
    """Of the form with flags, which is not kept: all scripts are in the memory of each process."""
    shas: tuple[str, str] = field(init=False, repr=False)
    """The SHA-1 by which the server knows the script: without and with flags."""

    @_plain.default
    def _load(self) -> str:
        source = (_LUA / f"{self.name}.lua").read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda found: "\n".join(map(_snippet, found[1].split())), source)

    @_first_line.default
    def _declare(self) -> str:
        flags = _FLAGS.search(self._plain)
        return f"#!lua{f' flags={flags[1]}' if flags else ''}\n"

    @shas.default
    def _digest(self) -> tuple[str, str]:
        plain, flagged = (
            hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for text in (self.text(flags=False), self.text(flags=True))
        )
        return plain, flagged

    def text(self, flags: bool) -> str:  # noqa: FBT001 - a property of the server
        """The source, with flags for Redis 7.0 and later."""
        return self._first_line + self._plain if flags else self._plain


@cache
def _snippet(name: str) -> str:
    return (_LUA / "lib" / f"{name}.lua").read_text(encoding="utf-8").rstrip()


ENQUEUE = LuaScript("enqueue", durable=True)
DEQUEUE = LuaScript("dequeue", fail_fast=True)
EXTEND = LuaScript("extend", fail_fast=True)
WRITE_RESULT = LuaScript("write_result")
DONE = LuaScript("done", durable=True, fail_fast=True)
COMPLETE = LuaScript("complete", durable=True, fail_fast=True)
RETRY = LuaScript("retry", durable=True, fail_fast=True)
ARCHIVE = LuaScript("archive", durable=True, fail_fast=True)
REQUEUE = LuaScript("requeue", durable=True, fail_fast=True)
SET_ASIDE = LuaScript("set_aside", fail_fast=True)
FORWARD = LuaScript("forward", fail_fast=True)
LIST_LOST = LuaScript("list_lost", fail_fast=True)
RECOVER = LuaScript("recover", fail_fast=True)
ADOPT = LuaScript("adopt", fail_fast=True)
PURGE = LuaScript("purge", fail_fast=True)
TRIM = LuaScript("trim", fail_fast=True)
ADVANCE_SEQUENCES = LuaScript("advance_sequences", fail_fast=True)
TAKE_PARENTS = LuaScript("take_parents", fail_fast=True)
FINISH_PARENT = LuaScript("finish_parent", fail_fast=True)
ARRIVE = LuaScript("arrive", durable=True, fail_fast=True)
CLAIM_TRANSFER = LuaScript("claim_transfer")
EXPORT = LuaScript("export", durable=True)
IMPORT = LuaScript("import", durable=True)
RELEASE = LuaScript("release", durable=True)
PAUSE = LuaScript("pause", durable=True)
STATS = LuaScript("stats")
SUM_GROUPS = LuaScript("sum_groups")
LIST_GROUPS = LuaScript("list_groups", fail_fast=True)
TAKE_GROUP = LuaScript("take_group", fail_fast=True)
READ_SET = LuaScript("read_set")
DROP_MEMBERS = LuaScript("drop_members")
EXTEND_SET = LuaScript("extend_set", fail_fast=True)
FINISH_SET = LuaScript("finish_set", durable=True)
RETURN_SET = LuaScript("return_set")
RECLAIM_SET = LuaScript("reclaim_set", fail_fast=True)
REPAIR_GROUPS = LuaScript("repair_groups", fail_fast=True)
ENQUEUE_TICK = LuaScript("enqueue_tick", durable=True)
WRITE_SCHEDULE = LuaScript("write_schedule", durable=True)
PAUSE_SCHEDULE = LuaScript("pause_schedule", durable=True)
LIST_QUEUES = LuaScript("list_queues")
PRESENT = LuaScript("present")
WRITE_SERVER = LuaScript("write_server")
WRITE_SCHEDULER = LuaScript("write_scheduler")
GET_TASK = LuaScript("get_task")
ACQUIRE_SLOT = LuaScript("acquire_slot")
TAKE_TOKEN = LuaScript("take_token")
LIST_TASKS = LuaScript("list_tasks")
MOVE = LuaScript("move", durable=True)
MOVE_FIRST = LuaScript("move_first", durable=True)
UPDATE_TASK = LuaScript("update_task", durable=True)
CANCEL = LuaScript("cancel")
DELETE_QUEUE = LuaScript("delete_queue", durable=True)
QUEUE_HISTORY = LuaScript("history")
QUEUE_MEMORY = LuaScript("memory")
SCAN_KEYS = LuaScript("scan_keys")
DOCTOR_TASKS = LuaScript("doctor_tasks")
REPAIR_TASKS = LuaScript("repair_tasks", durable=True)
DOCTOR_IDS = LuaScript("doctor_ids")
DOCTOR_LOCKS = LuaScript("doctor_locks")
DOCTOR_GROUPS = LuaScript("doctor_groups")
MARK = LuaScript("mark")
