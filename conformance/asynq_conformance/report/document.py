"""The report as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from asynq_conformance.promises import LAYERS, Promise
from asynq_conformance.report.outcomes import figures, statuses
from asynq_conformance.report.text import headline

if TYPE_CHECKING:
    from asynq_conformance.report.outcomes import ConformanceReport, LawOutcome

SCHEMA: Final = 2
"""Increased when a field changes its meaning or is removed. New fields may be added at any time."""


def as_json(report: ConformanceReport) -> str:
    """The report as JSON, for programs."""
    return json.dumps(document(report), indent=1, ensure_ascii=False) + "\n"


def document(report: ConformanceReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "schema": SCHEMA,
        "spec": report.spec,
        "ok": report.ok,
        "run": report.run,
        "headline": headline(report),
        "columns": [{"name": column, **report.about.get(column, {})} for column in report.columns],
        "promises": [
            {
                "id": promise.name,
                "sentence": promise.value,
                "cells": {column: _cell(report, promise, column) for column in report.columns},
            }
            for promise in Promise
        ],
        "layers": [
            {
                "id": layer,
                "name": LAYERS[layer],
                "columns": {
                    column: {
                        "tests": statuses(report.layer(layer, column)),
                        "figures": figures(report.layer(layer, column)),
                        "seconds": round(sum(found.seconds for found in report.layer(layer, column)), 3),
                    }
                    for column in report.columns
                },
            }
            for layer in report.layers
        ],
        "failures": [
            {**_outcome(outcome), "repeat": outcome.repeat, "timelines": list(outcome.timelines)}
            for outcome in report.of("failed")
        ],
        "unknown": [_outcome(outcome) for outcome in report.of("unknown")],
        "known_failures": [_outcome(outcome) for outcome in report.of("known")],
        "weaker": [_outcome(outcome) for outcome in report.of("weaker")],
        "skipped": [
            {"column": column, "reason": reason, "tests": number}
            for column, reason, number in report.skip_reasons()
        ],
        "complaints": report.complaints,
    }


def _cell(report: ConformanceReport, promise: Promise, column: str) -> dict[str, Any]:
    cell = report.cell(promise, column)
    return {"status": cell.status, "tests": statuses(cell.outcomes)}


def _outcome(outcome: LawOutcome) -> dict[str, Any]:
    return {
        "test": outcome.test,
        "column": outcome.fact.column,
        "layer": outcome.fact.layer,
        "promises": list(outcome.fact.promises),
        "reason": outcome.reason,
    }
