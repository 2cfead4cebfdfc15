"""What several tests of this folder need."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def number() -> int:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::1", 0))
        return int(free.getsockname()[1])
