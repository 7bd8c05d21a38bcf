"""Redis servers to develop and test against: started, stopped and broken behind one interface.

`start("standalone")`, `start("sentinel")` and `start("cluster")` run them on loopback ports, as local
processes or, where a Docker engine answers, in containers; `python -m asynq_topologies cluster` does it by
hand.
"""

from __future__ import annotations

from asynq_topologies.layout import Access
from asynq_topologies.topology import Topology, start

__all__ = ["Access", "Topology", "start"]
