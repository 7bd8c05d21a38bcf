"""The kill matrix: which broken backends the suite catches. Read from the file that a mutation run writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from attrs import fields, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KILLED: Final = "killed"
EQUIVALENT: Final = "equivalent"


@frozen(kw_only=True)
class Mutant:
    """A backend with a bug, and what caught it."""

    id: str
    bug: str
    promise: str = ""
    layer: str = ""
    """Where it must be caught."""
    killed_by: str = ""
    """The test that caught it."""
    seconds: float = 0.0
    status: str = ""
    """killed, survived, or equivalent: what it changes nobody can see."""


def read(path: Path) -> list[Mutant]:
    """The matrix in a file: `{"mutants": [{...}, ...]}`. ValueError when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["mutants"]
        return [_mutant(plain) for plain in found]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no kill matrix: {error}") from error


def _mutant(plain: dict[str, Any]) -> Mutant:
    known = {field.name for field in fields(Mutant)}
    values = {name: _plain(value) for name, value in plain.items() if name in known and value is not None}
    return Mutant(**{**values, "id": str(plain["id"])})


def _plain(value: Any) -> Any:
    """A list, where a mutant concerns several promises or layers, is written with commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def gate(mutants: Iterable[Mutant]) -> tuple[int, int, int]:
    """How many were killed, how many ought to be, how many cannot be told from the original."""
    known = list(mutants)
    equivalent = sum(mutant.status == EQUIVALENT for mutant in known)
    return sum(mutant.status == KILLED for mutant in known), len(known) - equivalent, equivalent
