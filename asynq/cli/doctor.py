"""`asynq doctor`: find and repair damage in the store."""

from __future__ import annotations

from typing import Annotated

import typer

from asynq.cli.session import FAILED, JSON, BrokerURL, inspecting

Repair = Annotated[bool, typer.Option("--repair", help="Repair what is found.")]


def doctor(*, repair: Repair = False, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Find and repair damage in the store.

    Crashes, evictions and old Go programs leave it behind. It works while servers run.
    The exit status is 1 if there is damage that is not repaired.
    """
    from asynq.cli.terminal.output import Output
    from asynq.runtime.short_texts import plural

    output = Output(as_json=as_json)
    found = 0
    with inspecting(broker) as inspector:
        for finding in inspector.doctor(repair=repair):
            found += 1
            if as_json:
                output.json(finding)
            else:
                output.say(f"{'repaired: ' if repair else ''}{finding}")
        if not found:
            output.say("No damage was found.")
        elif repair:
            output.say(f"{plural(found, 'finding')} repaired.")
        else:
            output.say(f"{plural(found, 'finding')}. --repair repairs them.")
    if found and not repair:
        raise typer.Exit(FAILED)
