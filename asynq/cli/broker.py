"""`asynq broker`: what the store is and how it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.cli.session import JSON, BrokerURL, inspecting

if TYPE_CHECKING:
    from asynq.protocol.broker_info import BrokerNode


def broker(*, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Show the store: version, nodes, memory, warnings.

    Warnings name what may lose tasks. With --json, `details` has all that the nodes report.
    """
    from asynq.cli.terminal.output import Output

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        info = inspector.broker_info()
    if as_json:
        output.json(info)
        return
    output.details([("store", f"{info.product} {info.version}".strip()), ("topology", info.topology)])
    output.say("")
    output.each(
        ["node", "role", "state", "version", "up", "memory", "eviction", "persistence", "slots", "lag"],
        info.nodes,
        _row,
        optional=("version", "up", "eviction", "persistence"),
    )
    for warning in info.warnings:
        output.say("")
        output.say(f"Warning: {warning}.")


def _row(node: BrokerNode) -> list[object]:
    from asynq.runtime.short_texts import short_duration, size

    limit = f" of {size(node.memory_limit)}" if node.memory_limit else ""
    slots = [str(first) if first == last else f"{first}-{last}" for first, last in node.slots]
    return [
        node.address or "this process",
        node.role,
        node.link or ("up" if node.reachable else "down"),
        node.version,
        "" if node.uptime is None else short_duration(node.uptime),
        f"{size(node.memory_used)}{limit}" if node.memory_used is not None else "",
        node.eviction,
        node.persistence,
        " ".join(slots),
        size(node.lag_bytes),
    ]
