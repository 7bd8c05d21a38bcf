"""Transcript of a program, as text for people and as a law that repeats it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from asynq.errors import AsynqError
from asynq_conformance import profiles
from asynq_conformance.lab import START
from asynq_conformance.value_fields import fields_of, has_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.protocol.ops import Op
    from asynq_conformance.machine.differences import Difference

_LONGEST = 300


@frozen
class TranscriptLine:
    """An operation, or a move of the clock."""

    now: int
    op: Op[Any] | None
    expected: Any = None
    actual: Any = None
    wait: int = 0


@define
class Transcript:
    """The lines of one program."""

    lines: list[TranscriptLine] = Factory(list)

    def report(self, what: str, differences: Sequence[Difference]) -> str:
        """The program, the differences, and the command that repeats it."""
        parts = [what, "", *self._numbered(), "", "differences:"]
        parts += [f"  {difference}" for difference in differences]
        parts += ["", f"to repeat it: {command()}", "", "as a law:", "", *self.law(differences)]
        return "\n".join(parts)

    def _numbered(self) -> Iterator[str]:
        for number, line in enumerate(self.lines, start=1):
            at = f"{number:4} {(line.now - START) / 1000:+12.3f} s"
            if line.op is None:
                yield f"{at}  the clock moves {line.wait} ms"
                continue
            yield f"{at}  {short(line.op)}"
            same = line.expected == line.actual or isinstance(line.expected, tuple)
            yield f"{'':19} = {short(line.actual)}"
            if not same and repr(line.expected) != repr(line.actual):
                yield f"{'':19} ? {short(line.expected)}  (expected)"

    def law(self, differences: Sequence[Difference]) -> Iterator[str]:
        """Python source lines to paste into a class of laws."""
        yield "    def test_(self, lab: Lab) -> None:"
        names: dict[int, str] = {}
        for number, line in enumerate(self.lines, start=1):
            last = number == len(self.lines)
            if line.op is None:
                yield f"        lab.advance({line.wait})"
                continue
            call = f"lab.execute({source(line.op, names)})"
            if isinstance(line.expected, AsynqError):
                yield f"        with pytest.raises({type(line.expected).__name__}):"
                yield f"            {call}"
            elif last and any(difference.path.startswith("answer") for difference in differences):
                yield f"        assert {call} == {source(line.expected, names)}"
            else:
                for path, value in _parts(line.actual):
                    names.setdefault(id(value), f"answer_{number}{path}")
                yield f"        answer_{number} = {call}" if names else f"        {call}"
        for difference in differences:
            if not difference.path.startswith("answer"):
                yield f"        # {difference}"


def _parts(answer: Any) -> Iterator[tuple[str, Any]]:
    """Values of an answer that later operations may need, with the expressions that yield them."""
    if isinstance(answer, tuple):
        yield from ((f"[{place}]", value) for place, value in enumerate(answer))
    elif has_fields(type(answer)):
        yield "", answer
        leases = getattr(answer, "leases", ())
        yield from ((f".leases[{place}]", value) for place, value in enumerate(leases))


def source(value: Any, names: Mapping[int, str]) -> str:
    """The value as Python source; by the name of an earlier answer if it comes from one."""
    if id(value) in names and has_fields(type(value)):
        return names[id(value)]
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        inside = ", ".join(source(one, names) for one in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key!r}: {source(one, names)}" for key, one in value.items())
        return f"{{{inside}}}"
    if has_fields(type(value)):
        prefix = "ops." if type(value).__module__.startswith("asynq.protocol.ops") else ""
        inside = ", ".join(
            f"{name}={source(getattr(value, name), names)}"
            for name, default in fields_of(type(value)).items()
            if getattr(value, name) != default
        )
        return f"{prefix}{type(value).__name__}({inside})"
    return repr(value)


def short(value: Any) -> str:
    """The value on one line."""
    if isinstance(value, AsynqError):
        return f"{type(value).__name__}: {value}"
    text = re.sub(r"\s+", " ", source(value, {}).removeprefix("ops."))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def command() -> str:
    """The command that runs the same programs again."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    seed = profiles.seed()
    again = "" if seed is None else f" --conformance-seed={seed}"
    return f"python -m pytest -p no:randomly '{test}' --conformance-profile={profiles.current().name}{again}"
