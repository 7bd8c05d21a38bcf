"""Base classes of objects that are given a broker, or the URL of one that they own and close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from asynq.protocol.connect import resolve

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


class _GivenBroker:
    def __init__(self, broker: Broker | str) -> None:
        self._broker, self._owned = resolve(broker)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._broker!r})"


class BrokerOwner(_GivenBroker):
    """Uses the blocking methods of its broker. A context manager, which closes what it owns."""

    def close(self) -> None:
        """Free what this object owns. Using it again connects again."""
        if self._owned:
            self._broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncBrokerOwner(_GivenBroker):
    """Uses the async methods of its broker. A context manager for `async with`, which closes what it owns."""

    async def aclose(self) -> None:
        """Free what this object owns for the running event loop. Using it again connects again."""
        if self._owned:
            await self._broker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
