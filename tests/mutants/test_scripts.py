"""Mutations of the Lua scripts are detected by the tests that execute them."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq_mutants.scripts.equivalents import Equivalent, invalid, read_equivalents
from asynq_mutants.scripts.lua import parse, tokens, without_layout
from asynq_mutants.scripts.operators import mutations
from asynq_mutants.scripts.sources import read_sources, rendered, scripts, traced
from tests.servers import require_redis_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_mutants.scripts.operators import Mutation
    from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
BUDGET = 120
"""Seconds after which no further mutant is started, counted from the end of tracing."""


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
def test_every_kind_of_mutation_is_generated(source: str, change: str) -> None:
    assert change in changes(source)


def test_a_script_is_not_a_mutant_of_itself() -> None:
    assert "count(a, a)" not in changes("count(a, a)")
    assert not changes("local a = math.max(b, c)")


def test_invalid_lua_is_refused() -> None:
    for source in ("if a then", "a = = b", "x ? y"):
        with pytest.raises(SyntaxError):
            parse(source)


def test_every_script_is_parsed_completely_and_compiles_when_traced(redis_server: RedisServer) -> None:
    sources = read_sources()
    assert [script for script in scripts() if rendered(script, sources) != script] == []
    for script in traced(sources):
        assert redis_server.client.script_load(script.text(flags=False))


def all_mutations(sources: Mapping[str, str]) -> list[Mutation]:
    return [found for file, source in sources.items() for found in mutations(file, source)]


def test_every_equivalent_entry_matches_one_mutant() -> None:
    sources = read_sources()
    assert invalid(read_equivalents(), all_mutations(sources), sources) == []


LAYOUTS = ("\n", "  ", " -- a comment\n\t", "\n\n", " --[[ another ]] ")


def laid_out_anew(source: str) -> str:
    """The same tokens with different spaces, line breaks and comments."""
    words = [token.text for token in tokens(source) if token.text]
    return "".join(word + layout for word, layout in zip(words, cycle(LAYOUTS), strict=False))


def covered(sources: Mapping[str, str]) -> list[tuple[str, str]]:
    """The mutants covered by entries, as tokens of the whole mutated script."""
    entries = read_equivalents()
    return [
        (mutation.file, without_layout(mutation.applied(sources[mutation.file])))
        for mutation in all_mutations(sources)
        if any(entry.covers(mutation, sources[mutation.file]) for entry in entries)
    ]


def test_entries_match_the_same_mutants_after_reformatting() -> None:
    sources = read_sources()
    others = {file: laid_out_anew(source) for file, source in sources.items()}
    assert all(len(others[file].splitlines()) > len(source.splitlines()) for file, source in sources.items())
    assert sorted(covered(others)) == sorted(covered(sources)) != []
    assert invalid(read_equivalents(), all_mutations(others), others) == []


@pytest.mark.parametrize(
    ("source", "code", "problem"),
    [
        ("renew(a,\n  b)", "renew(a, b)", None),
        ("if renew(a, b) then c() end", "renew(a, b)", None),
        ("renew(a, c)", "renew(a, b)", "stale"),
        ("renew(a, b) d() renew(a, b)", "renew(a, b)", "ambiguous"),
        ("renew(a, b) if d then renew(a, b) end", "if d then renew(a, b) end", None),
    ],
)
def test_an_entry_must_match_exactly_one_mutant(source: str, code: str, problem: str | None) -> None:
    after = code.replace("a, b", "b, a")
    entry = Equivalent("a", code, (after,), "of a reason")
    told = invalid([entry], mutations("a", source), {"a": source})
    assert [line.partition(":")[0].partition(",")[0] for line in told] == ([problem] if problem else [])


@pytest.mark.timeout(600)
def test_mutants_of_changed_scripts_and_a_sample_of_others_are_killed() -> None:
    require_redis_server()
    command = [sys.executable, "-m", "asynq_mutants", "--changed", "--budget", str(BUDGET)]
    # It runs pytest in its own process, without settings of the surrounding run.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
