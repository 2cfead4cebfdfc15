"""Netlink's framing: messages, attributes, whole dumps, and one error for all that is malformed.

XFRM and nftables are written and read with it, interfaces and routes read. A library for rtnetlink would nearly double
what starting an agent costs: `import pyroute2.netlink.rtnl.ifinfmsg` imports all of pyroute2, 240 ms and 12 MiB beside
the 340 ms and 50 MiB of `agents.lks.daemon` (docs/agents.md). Knows nothing of what messages are about.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type."""
ERROR, DONE = 2, 3
F_REQUEST, F_ACK, F_CREATE, F_DUMP, F_DUMP_INTR = 0x1, 0x4, 0x400, 0x300, 0x10
DUMPS = 8
"""So often is a dump tried that changes while it is read."""
_RECEIVE_BYTES = 1 << 18


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


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (type, payload) pairs of a run of netlink attributes. MalformedReply."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > len(data):
            raise MalformedReply(f"netlink attribute {kind} of length {length} does not fit")
        yield kind & 0x3FFF, data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def message(kind: int, flags: int, number: int, body: bytes = b"", port: int = 0) -> bytes:
    """One message, with which another may begin."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, number, port) + body + bytes(-len(body) % 4)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, with which another may begin."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def error_code(body: bytes) -> int:
    """The errno that an answer of type ERROR bears; 0: it was done. struct.error when it is cut."""
    return -int(struct.unpack_from("=i", body)[0])


def dump(connection: socket.socket, request: int, body: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of everything that a blocking socket's kernel lists for a request. A list that changed while it was
    read (NLM_F_DUMP_INTR) may miss what was there all the time: it is read again. OSError, MalformedReply."""
    for number in range(1, DUMPS + 1):
        connection.send(message(request, F_REQUEST | F_DUMP, number, body))
        messages, whole = _dumped(connection)
        if whole:
            return messages
    raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: what netlink request {request} lists kept changing")


def _dumped(connection: socket.socket) -> tuple[list[tuple[int, bytes]], bool]:
    """One dump to its end, and whether nothing changed meanwhile."""
    messages: list[tuple[int, bytes]] = []
    whole = True
    while True:
        for kind, flags, _number, body in parts(connection.recv(_RECEIVE_BYTES)):
            whole = whole and not flags & F_DUMP_INTR
            if kind == DONE:
                return messages, whole
            if kind == ERROR:
                code = error_code(body)
                raise OSError(code, os.strerror(code))
            messages.append((kind, body))
