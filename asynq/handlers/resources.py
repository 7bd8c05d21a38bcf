"""`Resources`: what a server offers all its handlers through their contexts: its state and clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.client.client import AsyncClient, Client

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


class Resources:
    """The state that a lifespan made, and clients of the server's broker. They connect at their first call.

    Args:
        broker: the broker.
        state: what the lifespan yielded; None without one.
    """

    def __init__(self, broker: Broker, state: Any = None) -> None:
        self.broker = broker
        self.state = state
        self.client = AsyncClient(broker)
        self.client_sync = Client(broker)

    async def aclose(self) -> None:
        """Free what the clients hold for `wait`."""
        await self.client.aclose()
        self.client_sync.close()
