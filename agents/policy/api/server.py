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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            notify.ready()
            self._tell_alive()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        notify.stopping()
        await super().shutdown(sockets)

    def _tell_alive(self) -> None:
        every_s = notify.watchdog_s()
        if every_s is not None:
            notify.alive()
            asyncio.get_running_loop().call_later(every_s, self._tell_alive)
