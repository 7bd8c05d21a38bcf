"""All task queues that can be compared, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.bench.peers.go_peer import GoPeer
from asynq.bench.peers.node_peer import NodePeer
from asynq.bench.peers.python_peer import PYTHON_PEERS

if TYPE_CHECKING:
    from asynq.bench.peers.peer import Peer

PEERS: dict[str, Peer] = {peer.name: peer for peer in (GoPeer(), *PYTHON_PEERS, NodePeer())}
