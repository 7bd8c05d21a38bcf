"""Mutants that change nothing anybody could notice, each with the reason: nobody is expected to kill them."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asynq_mutants.scripts.operators import Mutation


@frozen
class Equivalent:
    """The lines a mutant touches, as they are and as it makes them, and why that is the same."""

    file: str
    line: str
    becomes: tuple[str, ...]
    because: str

    def covers(self, mutation: Mutation, source: str) -> bool:
        """True for a mutant that is meant."""
        if mutation.file != self.file:
            return False
        before, after = mutation.shown(source)
        return before == self.line and after in self.becomes


def read_equivalents() -> list[Equivalent]:
    """Those of the file beside this one."""
    text = (files("asynq_mutants.scripts") / "equivalents.toml").read_text(encoding="utf-8")
    return [
        Equivalent(entry["file"], entry["line"], tuple(entry["becomes"]), entry["because"])
        for entry in tomllib.loads(text).get("mutant", [])
    ]


def stale(
    known: Iterable[Equivalent], mutations: Sequence[Mutation], sources: Mapping[str, str]
) -> list[str]:
    """Entries that mean no mutant: the script has changed since."""
    shown = {(mutation.file, *mutation.shown(sources[mutation.file])) for mutation in mutations}
    return [
        f"{entry.file}: {entry.line}  ->  {after}"
        for entry in known
        for after in entry.becomes
        if (entry.file, entry.line, after) not in shown
    ]
