"""Close connections without waiting, even if their event loop can no longer be used."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asynq.runtime.loop_local import LoopState


class _AbortedTransport(asyncio.Transport):
    """Replaces a transport that is closed but does not report it."""

    def is_closing(self) -> bool:
        return True


_ABORTED: Final = _AbortedTransport()


def abort_stream(writer: asyncio.StreamWriter, loop: LoopState) -> None:
    """Close the socket of a stream without waiting. Unsent data is lost."""
    transport = writer.transport
    if loop != "running":
        # The stream must not use a transport that can no longer report that it is closed.
        writer._transport = _ABORTED  # type: ignore[attr-defined]  # noqa: SLF001
    abort_transport(transport, loop)


def abort_transport(transport: asyncio.WriteTransport, loop: LoopState) -> None:
    """Close the socket of a transport without waiting. Unsent data is lost.

    asyncio has no public API for this on a closed loop: the transport would keep its socket open until it is
    collected, and then emit a ResourceWarning.
    """
    if loop == "running":
        transport.abort()
        return
    own: Any = transport
    if (tls := getattr(own, "_ssl_protocol", None)) is not None:
        own._closed = True  # noqa: SLF001
        own = tls._transport  # noqa: SLF001
    opened = getattr(own, "_sock", None)
    if isinstance(opened, socket.socket):
        own._sock, own._closing = None, True  # noqa: SLF001
        opened.close()
    elif loop == "inherited":
        _replace(own)


def _replace(transport: Any) -> None:
    """Close the connection of a transport without a Python socket (uvloop). Its descriptor stays open."""
    if transport is None or transport.is_closing():
        return
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(nothing, transport.get_extra_info("socket").fileno(), inheritable=False)
    finally:
        os.close(nothing)
