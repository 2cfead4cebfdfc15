"""Reports an agent's state to the service manager: sd_notify's protocol, for units of Type=notify.

Services that must start after keys, such as the routing daemons, are ordered after the agent's unit. Knows nothing of
keys.
"""

from __future__ import annotations

import asyncio
import os
import socket

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""The environment variables that are for one process only."""


def ready() -> None:
    """The agent is ready."""
    _send("READY=1")


def stopping() -> None:
    """The agent ends in an orderly way."""
    _send("STOPPING=1")


def alive() -> None:
    """Reset the watchdog's timer."""
    _send("WATCHDOG=1")


async def stay_alive() -> None:
    """Reset the watchdog's timer as often as it asks, for ever: from the event loop, since a hanging loop is not alive.
    Returns if there is no watchdog."""
    while (every_s := watchdog_s()) is not None:
        alive()
        await asyncio.sleep(every_s)


def watchdog_s() -> float | None:
    """The interval of calls of `alive`: half of the unit's WatchdogSec (sd_watchdog_enabled(3)). None: no calls."""
    try:
        usec, pid = int(os.environ["WATCHDOG_USEC"]), int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return usec / 2e6 if usec > 0 and pid == os.getpid() else None


def _send(state: str) -> None:
    """Send to $NOTIFY_SOCKET. Does nothing without a service manager, or when it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.connect(path)
            sender.send(state.encode())
        except OSError:
            return
