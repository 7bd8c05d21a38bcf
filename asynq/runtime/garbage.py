"""Garbage collection in a process that only runs a worker."""

from __future__ import annotations

import gc

YOUNG_THRESHOLD = 10_000
"""New objects after which the youngest generation is collected. Tasks in hand are new objects that live: with
the threshold of the interpreter, 700, they are looked at many times before they are freed."""
_INITIAL = gc.get_threshold()


def tune_collector() -> None:
    """Spare the collector what was loaded at start-up, and what belongs to the tasks in hand.

    Call it when everything is loaded, and only in a process that belongs to this package: the settings of
    the collector are those of the whole process. Thresholds that the user's module has set are kept.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _INITIAL:
        gc.set_threshold(YOUNG_THRESHOLD, *_INITIAL[1:])
