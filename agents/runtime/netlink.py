"""Netlink's framing: messages, attributes, whole dumps, and one error for all malformed input.

Used for XFRM and nftables, and to read interfaces and routes. A library for rtnetlink would nearly double the cost of
starting an agent: `import pyroute2.netlink.rtnl.ifinfmsg` imports all of pyroute2, 240 ms and 12 MiB in addition to the
340 ms and 50 MiB of `agents.lks.daemon` (docs/agents.md). Knows nothing of the messages' content.
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
"""The number of tries of a dump that changes while it is read."""
_RECEIVE_BYTES = 1 << 18


class MalformedReply(ValueError):
    """The octets are not a netlink answer of the kernel."""


def strict(reader: Callable[_P, _R]) -> Callable[_P, _R]:
    """Raises MalformedReply in place of any exception from reading truncated or out-of-range octets."""

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
    """One message; others may follow it."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, number, port) + body + bytes(-len(body) % 4)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute; others may follow it."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def error_code(body: bytes) -> int:
    """The errno of an answer of type ERROR; 0: done. struct.error when it is truncated."""
    return -int(struct.unpack_from("=i", body)[0])


def dump(connection: socket.socket, request: int, body: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of everything that the kernel lists for a request on a blocking socket. A list that changed while it
    was read (NLM_F_DUMP_INTR) may lack entries that existed all the time, so it is read again. OSError,
    MalformedReply."""
    for number in range(1, DUMPS + 1):
        connection.send(message(request, F_REQUEST | F_DUMP, number, body))
        messages, whole = _dumped(connection)
        if whole:
            return messages
    raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: the list of netlink request {request} kept changing")


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
