"""A row of the benchmark: one figure of a scenario with its floor and its goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.summary import Better

if TYPE_CHECKING:
    from asynq.bench.trial import Scenario


@frozen(kw_only=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    unit: str
    """Unit of the figure as it is measured, such as tasks/s."""
    better: Better
    scenario: Scenario
    figure: str
    """The figure of the scenario that this row shows."""
    calibration: str | None = None
    """The result is the figure divided by this calibration; None: the figure itself."""
    floor: float | None = None
    goal: float | None = None
    go_floor: float | None = None
    """The figure must also be this many times that of Go asynq, if that is measured in the same run."""
    go_goal: float | None = None


def rate_row(
    scenario: Scenario,
    name: str,
    title: str,
    calibration: str,
    bounds: tuple[float, float] | None = None,
    *,
    go_bounds: tuple[float, float] | None = None,
) -> Row:
    """A row of tasks a second. `bounds`: its floor and its goal; `go_bounds`: those in multiples of Go."""
    return Row(
        name=name,
        title=title,
        unit="tasks/s",
        better=Better.HIGHER,
        scenario=scenario,
        figure="rate",
        calibration=calibration,
        floor=bounds[0] if bounds else None,
        goal=bounds[1] if bounds else None,
        go_floor=go_bounds[0] if go_bounds else None,
        go_goal=go_bounds[1] if go_bounds else None,
    )


def latency_row(
    scenario: Scenario, name: str, title: str, figure: str, floor: float, *, goal: float | None = None
) -> Row:
    """A row of milliseconds."""
    return Row(
        name=name,
        title=title,
        unit="ms",
        better=Better.LOWER,
        scenario=scenario,
        figure=figure,
        floor=floor,
        goal=goal,
    )
