"""The scripts as they are on disk, and replacement of the broker's scripts by other texts."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from asynq_mutants.scripts.operators import statements
from asynq_redis.lua import scripts as registry
from asynq_redis.lua.scripts import LuaScript

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "backends/asynq_redis/lua"
"""Directory of the scripts, relative to the root of the project."""

_INCLUDE = re.compile(r"^-- @include (.+)$", re.MULTILINE)

RAN = "ran statement "
"""Prefix of the lines that a traced script writes to the server's log, before the file and a number."""
_TRACER = f"""
local traced = {{}}
local function trace(place)
  if not traced[place] then _G.redis.log(_G.redis.LOG_WARNING, '{RAN}' .. place) end
  traced[place] = true
end
"""


def read_sources() -> dict[str, str]:
    """The text of each file by name: `done`, `lib/lock`."""
    folder = files("asynq_redis") / "lua"
    found = {}
    for prefix, place in (("", folder), ("lib/", folder / "lib")):
        for path in place.iterdir():
            if path.name.endswith(".lua"):
                found[prefix + path.name.removesuffix(".lua")] = path.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def scripts() -> list[LuaScript]:
    """All scripts of the broker."""
    return [value for value in vars(registry).values() if isinstance(value, LuaScript)]


def included(source: str) -> list[str]:
    """Files whose text is part of a script with this source."""
    return [f"lib/{name}" for found in _INCLUDE.finditer(source) for name in found[1].split()]


def users(file: str, sources: Mapping[str, str]) -> list[LuaScript]:
    """Scripts that contain the text of this file."""
    return [script for script in scripts() if file in (script.name, *included(sources[script.name]))]


def rendered(script: LuaScript, sources: Mapping[str, str]) -> LuaScript:
    """The script built from these files."""
    plain = _INCLUDE.sub(
        lambda found: "\n".join(sources[f"lib/{name}"].rstrip() for name in found[1].split()),
        sources[script.name],
    )
    made = LuaScript(script.name, durable=script.durable, fail_fast=script.fail_fast)
    _set(made, plain)
    return made


def install(changed: list[LuaScript]) -> None:
    """Replace the scripts that the broker sends, until the end of this process."""
    by_name = {script.name: script for script in scripts()}
    for script in changed:
        _set(by_name[script.name], script.text(flags=False))


def traced(sources: Mapping[str, str]) -> list[LuaScript]:
    """All scripts with statements that log which statements ran."""
    marked = {file: _marked(file, source) for file, source in sources.items()}
    for script in scripts():
        first, newline, rest = marked[script.name].partition("\n")
        marked[script.name] = first + newline + _TRACER + rest
    return [rendered(script, marked) for script in scripts()]


def told(log: str) -> set[tuple[str, int]]:
    """Statements that ran according to a log."""
    return {(file, int(number)) for file, number in re.findall(rf"{RAN}(\S+):(\d+)", log)}


def _marked(file: str, source: str) -> str:
    for number, statement in reversed(list(enumerate(statements(source)))):
        at = statement.start
        source = f"{source[:at]}trace('{file}:{number}') {source[at:]}"
    return source


def _set(script: LuaScript, plain: str) -> None:
    object.__setattr__(script, "_plain", plain)
    object.__setattr__(script, "shas", script._digest())
