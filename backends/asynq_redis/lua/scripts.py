"""Our Lua scripts, read from lua/: one file a script, what several of them need in lua/lib/.

A script's header is its type: what it does, its `flags:` from Redis 7.0 on, its `KEYS:` and `ARGV:`
(written `fixed ones | those of each item | rest*`), what it answers, and the snippets it includes.
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
class Script:
    """A script in two renderings: Redis 7.0 and later read flags in its first line, older ones refuse it."""

    name: str
    durable: bool = field(default=False, kw_only=True)
    """True if whoever calls it counts on what it did: then it is what `min_replicas` is about."""
    prompt: bool = field(default=False, kw_only=True)
    """True if whoever calls it tries again by himself, and meanwhile has other servers to attend to."""
    _plain: str = field(init=False, repr=False)
    _flagged: str = field(init=False, repr=False)
    _shas: tuple[str, str] = field(init=False, repr=False)

    @_plain.default
    def _load(self) -> str:
        source = (_LUA / f"{self.name}.lua").read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda found: "\n".join(map(_snippet, found[1].split())), source)

    @_flagged.default
    def _declare(self) -> str:
        flags = _FLAGS.search(self._plain)
        return f"#!lua{f' flags={flags[1]}' if flags else ''}\n{self._plain}"

    @_shas.default
    def _digest(self) -> tuple[str, str]:
        plain, flagged = (
            hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for text in (self._plain, self._flagged)
        )
        return plain, flagged

    def text(self, flags: bool) -> str:  # noqa: FBT001 - the server has them or not
        """The source; with its flags for Redis 7.0 and later."""
        return self._flagged if flags else self._plain

    def sha(self, flags: bool) -> str:  # noqa: FBT001 - the server has them or not
        """The SHA-1 the server knows it by."""
        return self._shas[flags]


@cache
def _snippet(name: str) -> str:
    return (_LUA / "lib" / f"{name}.lua").read_text(encoding="utf-8").rstrip()


ENQUEUE = Script("enqueue", durable=True)
DEQUEUE = Script("dequeue", prompt=True)
EXTEND = Script("extend", prompt=True)
WRITE_RESULT = Script("write_result")
DONE = Script("done", durable=True, prompt=True)
COMPLETE = Script("complete", durable=True, prompt=True)
RETRY = Script("retry", durable=True, prompt=True)
ARCHIVE = Script("archive", durable=True, prompt=True)
REQUEUE = Script("requeue", durable=True, prompt=True)
SET_ASIDE = Script("set_aside", prompt=True)
FORWARD = Script("forward", prompt=True)
LIST_LOST = Script("list_lost", prompt=True)
RECOVER = Script("recover", prompt=True)
ADOPT = Script("adopt", prompt=True)
PURGE = Script("purge", prompt=True)
TRIM = Script("trim", prompt=True)
PAUSE = Script("pause")
STATS = Script("stats")
SUM_GROUPS = Script("sum_groups")
LIST_GROUPS = Script("list_groups", prompt=True)
TAKE_GROUP = Script("take_group", prompt=True)
READ_SET = Script("read_set")
DROP_MEMBERS = Script("drop_members")
EXTEND_SET = Script("extend_set", prompt=True)
FINISH_SET = Script("finish_set", durable=True)
RETURN_SET = Script("return_set")
RECLAIM_SET = Script("reclaim_set", prompt=True)
REPAIR_GROUPS = Script("repair_groups", prompt=True)
ENQUEUE_TICK = Script("enqueue_tick", durable=True)
LIST_QUEUES = Script("list_queues")
PRESENT = Script("present")
WRITE_SERVER = Script("write_server")
WRITE_SCHEDULER = Script("write_scheduler")
GET_TASK = Script("get_task")
ACQUIRE_SLOT = Script("acquire_slot")
TAKE_TOKEN = Script("take_token")
LIST_TASKS = Script("list_tasks")
MOVE = Script("move")
MOVE_FIRST = Script("move_first")
UPDATE_PAYLOAD = Script("update_payload")
CANCEL = Script("cancel")
DELETE_QUEUE = Script("delete_queue")
HISTORY = Script("history")
MEMORY = Script("memory")
SCAN_KEYS = Script("scan_keys")
DOCTOR_TASKS = Script("doctor_tasks")
REPAIR_TASKS = Script("repair_tasks")
DOCTOR_IDS = Script("doctor_ids")
DOCTOR_LOCKS = Script("doctor_locks")
DOCTOR_GROUPS = Script("doctor_groups")
MARK = Script("mark")
