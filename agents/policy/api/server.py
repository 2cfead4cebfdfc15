"""uvicorn's server, which tells the service manager when it answers, that it still does, and when it ends.

Knows nothing of the API.
"""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from agents.runtime import notify


class Server(uvicorn.Server):
    """As uvicorn.Server."""

    _alive: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            notify.ready()
            self._alive = asyncio.create_task(notify.stay_alive())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        notify.stopping()
        await super().shutdown(sockets)
        if self._alive is not None:
            self._alive.cancel()
