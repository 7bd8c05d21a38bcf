"""Small changes of the Lua scripts are noticed by the tests that run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq_mutants.scripts.equivalents import read_equivalents, stale
from asynq_mutants.scripts.lua import parse
from asynq_mutants.scripts.operators import mutations
from asynq_mutants.scripts.sources import read_sources, rendered, scripts, traced
from tests.servers import require_redis_server

if TYPE_CHECKING:
    from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
BUDGET = 120
"""Seconds after which no other mutant is begun."""


def changes(source: str) -> set[str]:
    return {mutation.applied(source) for mutation in mutations("a", source)}


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("redis.call('DEL', a)", ""),
        ("redis.call('ZADD', a, b)", "redis.call('ZADD', b, a)"),
        ("redis.call('ZADD', a, b)", "redis.call('ZADD', a)"),
        ("local a, b = key(), key()", "local b, a = key(), key()"),
        ("local a, b = arg(), tonumber(arg())", "local b, a = arg(), tonumber(arg())"),
        ("local q = { a = key(), b = key() }", "local q = { b = key(), a = key() }"),
        ("if a <= b then c() end", "if a < b then c() end"),
        ("if a > b then c() end", "if a >= b then c() end"),
        ("if a == b then c() end", "if a ~= b then c() end"),
        ("if a then b() end", "if not (a) then b() end"),
        ("if a then b() end", "if a then  end"),
        ("while a and b do c() end", "while a or b do c() end"),
        ("return a + 1", "return a - 1"),
        ("return a + 1", "return a"),
        ("for _, a in ipairs(b) do if a then break end end", "for _, a in ipairs(b) do if a then  end end"),
    ],
)
def test_a_mistake_of_each_kind_is_made(source: str, change: str) -> None:
    assert change in changes(source)


def test_a_script_is_no_mutant_of_itself() -> None:
    assert "count(a, a)" not in changes("count(a, a)")
    assert not changes("local a = math.max(b, c)")


def test_what_is_no_lua_is_refused() -> None:
    for source in ("if a then", "a = = b", "x ? y"):
        with pytest.raises(SyntaxError):
            parse(source)


def test_every_script_is_read_whole_and_still_compiles_when_traced(redis_server: RedisServer) -> None:
    sources = read_sources()
    assert [script for script in scripts() if rendered(script, sources) != script] == []
    for script in traced(sources):
        assert redis_server.client.script_load(script.text(flags=False))


def test_every_mutant_that_is_listed_as_equivalent_is_still_made() -> None:
    sources = read_sources()
    made = [found for file, source in sources.items() for found in mutations(file, source)]
    assert stale(read_equivalents(), made, sources) == []


@pytest.mark.timeout(600)
def test_mutants_of_scripts_that_changed_and_some_others_are_noticed() -> None:
    require_redis_server()
    command = [sys.executable, "-m", "asynq_mutants", "--changed", "--budget", str(BUDGET)]
    # It runs pytest itself, in one process: of the run it is part of it knows nothing.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
