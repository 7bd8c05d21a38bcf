"""Mutation operators: small changes of a script that resemble plausible mistakes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import frozen

from asynq_mutants.scripts.lua import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_mutants.scripts.lua import SyntaxNode, Token

_OTHERWISE = {
    "<=": "<",
    "<": "<=",
    ">": ">=",
    ">=": ">",
    "==": "~=",
    "~=": "==",
    "and": "or",
    "or": "and",
    "+": "-",
    "-": "+",
}
_OPERATORS = {
    **dict.fromkeys(("<=", "<", ">", ">=", "==", "~="), "comparison"),
    **dict.fromkeys(("and", "or"), "logic"),
    **dict.fromkeys(("+", "-"), "arithmetic"),
}
_IN_ANY_ORDER = frozenset({"math.min", "math.max"})
"""Functions for which the order of arguments does not matter."""
_SERVER = frozenset({"redis.call", "redis.pcall", "try"})
"""Functions that send a command to the server."""


@frozen
class Mutation:
    """One change of one file."""

    file: str
    """Name within the folder of scripts, without its suffix: `done`, `lib/lock`."""
    start: int
    end: int
    by: str
    """The replacement."""
    operator: str
    statement: int
    """Number of the statement that contains it, as counted by `statements`."""

    def applied(self, source: str) -> str:
        """The source with the change."""
        return source[: self.start] + self.by + source[self.end :]

    def line(self, source: str) -> int:
        """Number of its first line."""
        return source.count("\n", 0, self.start) + 1

    def shown(self, source: str) -> tuple[str, str]:
        """The changed lines before and after, without indentation."""
        first = source.rfind("\n", 0, self.start) + 1
        last = source.find("\n", self.end)
        last = len(source) if last < 0 else last
        after = source[first : self.start] + self.by + source[self.end : last]
        return " ".join(source[first:last].split()), " ".join(after.split())


def statements(source: str) -> list[SyntaxNode]:
    """All statements of a script in the order of their start. The index is the number of a statement."""
    return sorted(
        (node for top in parse(source) for node in top.walk() if node.is_statement),
        key=lambda node: (node.start, -node.end),
    )


def mutations(file: str, source: str) -> list[Mutation]:
    """All changes of this file. Changes with the same resulting text are listed once."""
    numbered = statements(source)
    found: dict[str, Mutation] = {}
    for top in parse(source):
        for node in top.walk():
            for start, end, by, operator in _changes(node, source):
                inside = [
                    at for at, around in enumerate(numbered) if around.start <= start and end <= around.end
                ]
                # the innermost of the enclosing statements starts last
                mutation = Mutation(file, start, end, by, operator, inside[-1])
                found.setdefault(mutation.applied(source), mutation)
    found.pop(source, None)
    return sorted(found.values(), key=lambda mutation: (mutation.start, mutation.end, mutation.by))


def _changes(node: SyntaxNode, source: str) -> Iterator[tuple[int, int, str, str]]:
    if node.is_statement and node.kind not in ("local", "function"):
        yield node.start, node.end, "", "dropped statement"
    if node.kind == "condition":
        yield node.start, node.end, f"not ({source[node.start : node.end]})", "negated condition"
    if node.kind == "binary" and node.text in _OTHERWISE:
        yield node.at, node.at + len(node.text), _OTHERWISE[node.text], _OPERATORS[node.text]
        left, right = node.parts
        if node.text in ("+", "-") and source[right.start : right.end] == "1":
            yield left.end, right.end, "", "no step"
    if node.kind == "local":
        yield from _exchanged(source, node.names, node.parts)
    if node.kind == "table" and len(node.names) == len(node.parts):
        yield from _exchanged(source, node.names, node.parts)
    if node.kind == "invoke":
        yield from _arguments(node, source)


def _exchanged(
    source: str, names: list[Token], values: list[SyntaxNode]
) -> Iterator[tuple[int, int, str, str]]:
    """Pairs of neighbouring names in the order given by this call."""
    if len(names) != len(values):
        return
    for (one, first), (two, second) in pairwise(zip(names, values, strict=True)):
        for taking, operator in (("key", "exchanged keys"), ("arg", "exchanged arguments")):
            if _calls(first, taking) and _calls(second, taking):
                between = source[one.end : two.start]
                yield one.start, two.end, f"{two.text}{between}{one.text}", operator


def _calls(value: SyntaxNode, function: str) -> bool:
    return any(node.kind == "invoke" and node.text == function for node in value.walk())


def _arguments(node: SyntaxNode, source: str) -> Iterator[tuple[int, int, str, str]]:
    arguments = node.parts[node.at :]
    to_server = node.text in _SERVER
    if to_server:
        for before, dropped in pairwise(arguments):
            yield before.end, dropped.end, "", "dropped element"
        arguments = arguments[1:]
    if node.text in _IN_ANY_ORDER:
        return
    for one, two in pairwise(arguments):
        first, second = source[one.start : one.end], source[two.start : two.end]
        yield one.start, two.end, f"{second}{source[one.end : two.start]}{first}", "exchanged arguments"
