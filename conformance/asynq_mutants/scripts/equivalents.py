"""Mutants without an observable effect, each with the reason. No test is expected to kill them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from attrs import field, frozen

from asynq_mutants.scripts.lua import parse, without_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asynq_mutants.scripts.operators import Mutation


def _all_without_layout(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(without_layout, texts))


@frozen
class Equivalent:
    """Code around a change, before and after it, and the reason why both are equivalent.

    Only the tokens count: spaces, line breaks, comments and code further away do not.
    """

    file: str
    code: str = field(converter=without_layout)
    becomes: tuple[str, ...] = field(converter=_all_without_layout)
    because: str

    def covers(self, mutation: Mutation, source: str) -> bool:
        """Whether this entry covers the mutant."""
        return any(self.means(mutation, source, after) for after in self.becomes)

    def means(self, mutation: Mutation, source: str, after: str) -> bool:
        """Whether the mutant turns `code` into one of the texts of `after`."""
        if mutation.file != self.file:
            return False
        return any(
            start <= mutation.start
            and mutation.end <= end
            and _changed(mutation, source, start, end) == after
            for start, end in _places(source).get(self.code, ())
        )


def _changed(mutation: Mutation, source: str, start: int, end: int) -> str:
    """This part of the source after the change, without layout."""
    return without_layout(source[start : mutation.start] + mutation.by + source[mutation.end : end])


@cache
def _places(source: str) -> dict[str, list[tuple[int, int]]]:
    """Positions of all statements and expressions."""
    places: dict[str, list[tuple[int, int]]] = {}
    for node in (node for top in parse(source) for node in top.walk()):
        found = places.setdefault(without_layout(source[node.start : node.end]), [])
        if (node.start, node.end) not in found:
            found.append((node.start, node.end))
    return places


def read_equivalents() -> list[Equivalent]:
    """The entries of the TOML file in this directory."""
    text = (files("asynq_mutants.scripts") / "equivalents.toml").read_text(encoding="utf-8")
    return [
        Equivalent(entry["file"], entry["code"], entry["becomes"], entry["because"])
        for entry in tomllib.loads(text).get("mutant", [])
    ]


def invalid(
    known: Iterable[Equivalent], mutations: Sequence[Mutation], sources: Mapping[str, str]
) -> list[str]:
    """Problems: entries that match no mutant, because the script has changed, or more than one."""
    wrong = []
    for entry in known:
        for after in entry.becomes:
            found = [
                mutation.line(sources[entry.file])
                for mutation in mutations
                if mutation.file == entry.file and entry.means(mutation, sources[entry.file], after)
            ]
            if len(found) != 1:
                many = f"ambiguous, lines {found}: quote more of the code" if found else "stale"
                wrong.append(f"{many}: {entry.file}: {entry.code}  ->  {after}")
    return wrong
