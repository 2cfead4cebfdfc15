"""Reading what comes from netlink: one error for all that is malformed, and a datagram cut into its messages.

Knows nothing of IPsec.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""


class MalformedReply(ValueError):
    """Octets that are no netlink answer as the kernel gives it."""


def strict(reader: Callable[_P, _R]) -> Callable[_P, _R]:
    """MalformedReply instead of whatever reading octets that are cut or out of range raises."""

    @functools.wraps(reader)
    def read(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return reader(*args, **kwargs)
        except MalformedReply:
            raise
        except (struct.error, IndexError, ValueError) as error:
            raise MalformedReply(f"{reader.__name__}: {error}") from error

    return read


def parts(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence number, body) of each message in a datagram. MalformedReply."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, number, _port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise MalformedReply(f"a netlink message of length {length} does not fit")
        yield kind, flags, number, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3
