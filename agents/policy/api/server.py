"""uvicorn's server, which tells the service manager when it answers, that it still does, and when it ends.

Knows nothing of the API.
"""

from __future__ import annotations

import asyncio
import logging
import socket

import uvicorn

from agents.runtime import notify
from agents.runtime.metrics_http import MetricsServer


class Server(uvicorn.Server):
    """As uvicorn.Server."""

    _alive: asyncio.Task[None] | None = None
    metrics: MetricsServer | None = None
    """What Prometheus asks, if it is told where."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started and self.metrics is not None:
            try:
                await self.metrics.start()
            except OSError as error:
                logging.getLogger("policy.metrics").error("no metrics: %s", error)
        if self.started:
            notify.ready()
            self._alive = asyncio.create_task(notify.stay_alive())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        notify.stopping()
        if self.metrics is not None:
            self.metrics.stop()
        await super().shutdown(sockets)
        if self._alive is not None:
            self._alive.cancel()
