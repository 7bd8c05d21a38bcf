"""Moving a slot of a cluster from one primary to another, in steps that a test can stop between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.crc import key_slot

if TYPE_CHECKING:
    from asynq_topologies.node import Node
    from asynq_topologies.topology import Topology

KEYS_PER_MIGRATE = 20
"""Keys moved at once."""


class Move:
    """A slot on its way. `begin`, `move_keys` as often as there may be new ones, `end`."""

    def __init__(self, topology: Topology, key: str, target: Node) -> None:
        """The slot is that of `key`."""
        self.slot = key_slot(key.encode())
        self.source = topology.primary_of(key)
        self.target = target
        self._primaries = topology.primaries()

    def begin(self) -> None:
        """From now on the source has no new keys, and the target takes those it is asked to by ASKING."""
        self.target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", _name(self.source))
        self.source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", _name(self.target))

    def move_keys(self, at_most: int | None = None) -> int:
        """Move the keys the source still has; how many."""
        moved = 0
        while at_most is None or moved < at_most:
            wanted = KEYS_PER_MIGRATE if at_most is None else min(KEYS_PER_MIGRATE, at_most - moved)
            keys = self.source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, wanted)
            if not keys:
                break
            host, port = self.target.address
            self.source.ask("MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end(self) -> None:
        """The slot is the target's."""
        others = [node for node in self._primaries if node not in (self.source, self.target)]
        for node in (self.target, self.source, *others):
            node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", _name(self.target))


def _name(node: Node) -> str:
    name: bytes = node.ask("CLUSTER", "MYID")
    return name.decode()
