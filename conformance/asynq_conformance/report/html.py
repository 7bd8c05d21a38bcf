"""The report as a self-contained HTML file."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from asynq_conformance.promises import LAYERS, Promise
from asynq_conformance.report import text
from asynq_conformance.report.outcomes import SHOWN, statuses
from asynq_conformance.report.timeline import draw, read_spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asynq_conformance.report.outcomes import Cell, ConformanceReport, LawOutcome

STATUS_MEANINGS: Final = {
    "ok": "verified; -2: two of its tests were skipped",
    "weaker": "a weaker promise, verified",
    "failed": "broken",
    "known": "known to fail",
    "unknown": "could not be determined",
    "skipped": "cannot be tested on this backend",
    "none": "not tested",
}


def as_html(report: ConformanceReport) -> str:
    """The report as HTML, for people."""
    style = files("asynq_conformance.report").joinpath("style.css").read_text(encoding="utf-8")
    body = "\n".join(_body(report))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(text.title(report))}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _body(report: ConformanceReport) -> Iterator[str]:
    yield from _top(report)
    yield from _promises(report)
    yield from _failures(report.of("failed"))
    yield from _layers(report)
    if lines := list(text.details(report)):
        yield "<h2>Details</h2>"
        yield '<div class="card"><ul>' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul></div>"
    yield from _backends(report)
    yield "<h2>Run</h2>"
    yield _table(
        (), ([_head(name), f"<code>{escape(str(value))}</code>"] for name, value in report.run.items())
    )


def _top(report: ConformanceReport) -> Iterator[str]:
    word, style = (
        ("no promise is broken", "ok") if report.ok else ("some promises are broken or unknown", "failed")
    )
    if report.ok and report.complete:
        word = "all promises are kept"
    yield '<div class="top"><h1>Conformance of asynq brokers</h1>'
    yield f'<span class="verdict {style}">{word}</span></div>'
    yield f'<p class="soft">{escape(text.title(report).removeprefix("asynq conformance, "))}</p>'
    tiles = [(len(report.outcomes), "tests"), (len(report.columns), "backends")]
    tiles += [(len(report.of(status)), SHOWN[status]) for status in ("failed", "unknown", "known", "weaker")]
    shown = [_tile(f"{number:,}", name) for number, name in tiles]
    yield '<div class="tiles">' + "".join(shown) + "</div>"


def _tile(number: str, name: str) -> str:
    return f'<div class="tile"><b>{number}</b><span>{escape(name)}</span></div>'


def _promises(report: ConformanceReport) -> Iterator[str]:
    yield "<h2>Promises</h2>"
    rows = []
    for promise in Promise:
        cells = [_cell(report.cell(promise, column)) for column in report.columns]
        rows.append([_head(promise.name), escape(promise.value), *cells])
    yield _table(("", "Promise", *report.columns), rows)
    used = {report.cell(promise, column).status for promise in Promise for column in report.columns}
    yield (
        '<div class="legend">'
        + "".join(
            f'<span><span class="cell {status}">{SHOWN[status]}</span> {escape(meaning)}</span>'
            for status, meaning in STATUS_MEANINGS.items()
            if status in used
        )
        + "</div>"
    )


def _cell(cell: Cell) -> str:
    counts = escape(_counts(cell.outcomes), quote=True)
    return f'<span class="cell {cell.status}" title="{counts}">{cell.text}</span>'


def _counts(outcomes: Iterable[LawOutcome]) -> str:
    found = statuses(outcomes)
    return ", ".join(f"{number} {SHOWN[status]}" for status, number in found.items()) or "no tests"


def _layers(report: ConformanceReport) -> Iterator[str]:
    yield "<h2>Layers</h2>"
    rows = []
    for layer in report.layers:
        cells = []
        for column in report.columns:
            found = report.layer(layer, column)
            seconds = f"{sum(outcome.seconds for outcome in found):.1f} s"
            lines = [escape(line) for line in (_counts(found), *text.counted(found), seconds)]
            cells.append("<br>".join(lines) if found else '<span class="soft">not run</span>')
        rows.append([_head(f"{layer} {LAYERS[layer]}"), *cells])
    yield _table(("Layer", *report.columns), rows)


def _failures(failed: Sequence[LawOutcome]) -> Iterator[str]:
    if not failed:
        return
    yield f"<h2>Failures ({len(failed)})</h2>"
    for number, outcome in enumerate(failed):
        promises = ", ".join(outcome.fact.promises)
        yield f'<div class="card bad"><h3>{escape(outcome.fact.column)}: {escape(_law(outcome.test))}</h3>'
        yield f'<p class="soft">breaks {promises}, layer {outcome.fact.layer}</p>'
        for timeline in outcome.timelines:
            yield f"<p>{escape(timeline['title'])}</p>"
            yield from _timeline(timeline)
        opened = " open" if number == 0 else ""
        yield f"<details{opened}><summary>Message</summary><pre>{escape(outcome.reason)}</pre></details>"
        if outcome.repeat:
            yield f'<p class="soft">To repeat it:</p><pre class="command">{escape(outcome.repeat)}</pre>'
        yield "</div>"


def _timeline(timeline: Mapping[str, Any]) -> Iterator[str]:
    spans = read_spans(timeline["spans"])
    yield draw(timeline["title"], spans)
    described = [span for span in spans if span.marked and span.text]
    if described:
        lines = (
            f"<li><code>{escape(f'{span.process} {span.op}: {span.text}')}</code></li>" for span in described
        )
        yield "<ul>" + "".join(lines) + "</ul>"


def _law(test: str) -> str:
    """The name of a test as a sentence, with its parameters."""
    name, bracket, parameters = test.rpartition("::")[2].partition("[")
    return name.removeprefix("test_").replace("_", " ") + (f" [{parameters}" if bracket else "")


def _backends(report: ConformanceReport) -> Iterator[str]:
    names = list(dict.fromkeys(name for facts in report.about.values() for name in facts))
    if not names:
        return
    yield "<h2>Backends</h2>"
    rows = (
        [_head(name.replace("_", " "))]
        + [escape(str(report.about.get(column, {}).get(name, ""))) for column in report.columns]
        for name in names
    )
    yield _table(("", *report.columns), rows)


def _head(name: str) -> str:
    return f'<th scope="row">{escape(name)}</th>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [
        "<tr>" + "".join(cell if cell.startswith("<th") else f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in rows
    ]
    started = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="scroll"><table>{started}<tbody>{"".join(lines)}</tbody></table></div>'
