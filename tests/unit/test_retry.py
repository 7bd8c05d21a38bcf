"""The default retry delay against what Go asynq was seen to draw."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from asynq.retry import default_retry_delay

RECORDED = json.loads((Path(__file__).parents[1] / "golden/data/retry_delays.json").read_text())["delays"]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"retried-{recorded['n']}")
def test_the_default_draws_exactly_the_delays_go_draws(recorded: dict[str, Any]) -> None:
    rng = Random(7)
    drawn = {default_retry_delay(recorded["n"], rng).total_seconds() for _ in range(2000)}
    expected = range(recorded["sampled_min_s"], recorded["sampled_max_s"] + 1, recorded["step_s"])
    assert drawn == set(expected)
    assert len(drawn) == recorded["sampled_distinct"]
