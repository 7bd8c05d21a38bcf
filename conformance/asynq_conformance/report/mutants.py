"""The kill matrix: which broken backends the suite catches. Read from the file that a mutation run writes."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - attrs reads the annotations
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import field, fields, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KILLED: Final = "killed"
SURVIVED: Final = "survived"
EQUIVALENT: Final = "equivalent"


@frozen(kw_only=True)
class Cell:
    """What came of holding a mutant against one layer."""

    status: str = ""
    """killed or survived; "": it was not tried."""
    by: str = ""
    """What caught it; why it was not tried."""
    tried: int | None = None
    """How many it took, the one that caught it included; None: it is not a question of how many."""
    of: str = ""
    """Of what: programs, tasks; or what it was, where it was one."""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """As a table shows it."""
        if self.status != KILLED:
            return self.status or "-"
        return f"{self.tried or ''} {self.of}".strip() or KILLED


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
    cells: Mapping[str, Cell] = field(factory=dict)
    """By layer, where each layer was tried."""


@frozen(kw_only=True)
class Column:
    """What a layer did with all mutants it was tried on."""

    layer: str
    killed: int
    tried: int
    counted: int
    """Of those killed, for how many it is a question of how many it took."""
    median: float | None
    """Of how many it took to kill one of these."""
    of: str


def read(path: Path) -> list[Mutant]:
    """The matrix in a file: `{"mutants": [{...}, ...]}`. ValueError when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["mutants"]
        return [_mutant(plain) for plain in found]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no kill matrix: {error}") from error


def _mutant(plain: dict[str, Any]) -> Mutant:
    known = {one.name for one in fields(Mutant)}
    values = {name: _plain(value) for name, value in plain.items() if name in known and value is not None}
    cells = {layer: Cell(**cell) for layer, cell in plain.get("cells", {}).items()}
    return Mutant(**{**values, "id": str(plain["id"]), "cells": cells})


def _plain(value: Any) -> Any:
    """A list, where a mutant concerns several promises or layers, is written with commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def gate(mutants: Iterable[Mutant]) -> tuple[int, int, int]:
    """How many were killed, how many ought to be, how many cannot be told from the original."""
    known = list(mutants)
    equivalent = sum(mutant.status == EQUIVALENT for mutant in known)
    return sum(mutant.status == KILLED for mutant in known), len(known) - equivalent, equivalent


def columns(mutants: Iterable[Mutant]) -> list[Column]:
    """Layer by layer, but for those nobody can tell; nothing for mutants not tried layer by layer."""
    found: dict[str, list[Cell]] = {}
    for mutant in mutants:
        if mutant.status == EQUIVALENT:
            continue
        for layer, cell in mutant.cells.items():
            found.setdefault(layer, []).extend([cell] if cell.status else [])
    return [_column(layer, found[layer]) for layer in sorted(found)]


def _column(layer: str, cells: Sequence[Cell]) -> Column:
    took = [(cell.tried, cell.of) for cell in cells if cell.status == KILLED and cell.tried is not None]
    return Column(
        layer=layer,
        killed=sum(cell.status == KILLED for cell in cells),
        tried=len(cells),
        counted=len(took),
        median=median(number for number, _ in took) if took else None,
        of=took[0][1] if took else "",
    )


def told(column: Column) -> str:
    """The column in words: `layer B: 91 of 95 killed, 60 of them after 3 programs in the median`."""
    killed = f"layer {column.layer}: {column.killed} of {column.tried} killed"
    if column.median is None:
        return killed
    return f"{killed}, {column.counted} of them after {column.median:g} {column.of} in the median"
