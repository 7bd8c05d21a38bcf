"""What a shell completes: values that are known, and the names of queues."""

from __future__ import annotations

from contextlib import closing, suppress

import typer  # noqa: TC002 - typer reads the annotations of functions that complete

STATES = ("active", "pending", "aggregating", "scheduled", "retry", "archived", "completed")


def states(incomplete: str) -> list[str]:
    """The states that begin so."""
    return [state for state in STATES if state.startswith(incomplete)]


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of queues that begin so; none if the broker cannot be asked."""
    from asynq.cli.session import existing
    from asynq.inspector.inspector import Inspector

    # Whatever is wrong, a shell that completes should show nothing of it.
    with suppress(Exception), closing(existing(ctx.params.get("broker"))) as broker:
        return [name for name in Inspector(broker).queues() if name.startswith(incomplete)]
    return []
