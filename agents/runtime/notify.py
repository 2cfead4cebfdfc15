"""Tells the service manager that an agent is ready: sd_notify's protocol, for units of Type=notify.

What must come after keys, such as the routing daemons, is ordered after the agent's unit. Knows nothing of keys.
"""

from __future__ import annotations

import os
import socket


def ready() -> None:
    """Send READY=1 to $NOTIFY_SOCKET. Nothing happens without a service manager, or when it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(path)
            sender.send(b"READY=1")
        except OSError:
            return
