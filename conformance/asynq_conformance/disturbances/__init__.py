"""Layer D: the same recorded runs, while workers, servers and networks are disturbed.

A backend's author names what can be done to the store; what can be done to clients is here already.
"""

from __future__ import annotations

from asynq_conformance.disturbances.clients import CLIENT_DISTURBANCES
from asynq_conformance.disturbances.disturbance import Disturbance

__all__ = ["CLIENT_DISTURBANCES", "Disturbance"]
