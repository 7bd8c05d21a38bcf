from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from asynq.cli.terminal.output import Output, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("id", "payload", "error", "n")
ROW = ["x" * 36, "p" * 50, "e" * 50, 1234]


def lines(width: int, *rows: list[object]) -> list[str]:
    """A table as a console of this width shows it."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    table = table_of(COLUMNS, rows or [ROW], width, right=("n",), optional=("n", "payload"))
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_wide_table_is_shown_whole() -> None:
    assert lines(200)[1].split() == ["x" * 36, "p" * 50, "e" * 50, "1,234"]


@pytest.mark.parametrize(("width", "columns"), [(80, 4), (71, 4), (65, 3), (60, 2), (52, 2)])
def test_a_narrow_table_shortens_texts_and_leaves_out_columns_but_never_shortens_ids(
    width: int, columns: int
) -> None:
    header, row = lines(width)
    assert len(header.split()) == columns
    assert row.split()[0] == "x" * 36
    assert all(len(line) <= width for line in (header, row))


def test_nothing_of_a_value_controls_the_terminal() -> None:
    stream = io.StringIO()
    output = Output(as_json=False, stream=stream)
    output.table(["a"], [["\x1b[31m[bold]\n"]])
    output.details([("name", "\x07")])
    output.say("\x1b]0;x")
    output.block("\x1b\n\x07")
    assert "[bold]" in stream.getvalue()
    assert not set("\x1b\x07") & set(stream.getvalue())


def test_any_number_of_rows_makes_tables_of_a_bounded_number() -> None:
    stream = io.StringIO()
    held = 0
    highest = 0

    def items() -> Iterator[int]:
        nonlocal held, highest
        for number in range(2500):
            held += 1
            highest = max(highest, held)
            if stream.tell():
                held = 0
            yield number

    output = Output(as_json=False, stream=stream)
    assert output.each(["n"], items(), lambda item: [item], right=["n"]) == 2500
    assert [line.strip() for line in stream.getvalue().splitlines()].count("n") == 3
    assert highest <= 1001


def test_with_json_nothing_else_is_printed() -> None:
    stream = io.StringIO()
    output = Output(as_json=True, stream=stream)
    output.say("x")
    output.block("x")
    output.done("x", {"a": 1})
    assert output.each(["a"], [{"b": "é"}], lambda item: [item], empty="none") == 1
    assert stream.getvalue() == '{"a": 1}\n{"b": "é"}\n'
