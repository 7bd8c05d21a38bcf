from __future__ import annotations

import io

import pytest

from asynq.cli.terminal.output import Output, table_of

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


def test_with_json_nothing_else_is_printed() -> None:
    stream = io.StringIO()
    output = Output(as_json=True, stream=stream)
    output.say("x")
    output.block("x")
    output.done("x", {"a": 1})
    assert output.each(["a"], [{"b": "é"}], lambda item: [item], empty="none") == 1
    assert stream.getvalue() == '{"a": 1}\n{"b": "é"}\n'
