"""Reads and sends many messages to a system call (recvmmsg(2), sendmmsg(2)), and lets a kernel's filter choose frames.

A guest's system calls are what a run costs its host: a probe that asks for each packet by itself costs more than the
network that it watches. Knows nothing of what the messages hold.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

SO_TIMESTAMPNS = 35
_SO_ATTACH_FILTER = 26
_TIMESPEC = struct.Struct("=qq")
_IOVEC = struct.Struct("PN")
_MMSGHDR = struct.Struct("PI4xPNPNi4xI4x")
"""struct mmsghdr: name and its length, vector and its length, control messages and their length, flags; length."""
_CMSGHDR = struct.Struct("Nii")
_SOCKADDR = struct.Struct("!2sH4s8x")
_libc = ctypes.CDLL(None, use_errno=True)

# Classic BPF (linux/filter.h): load a word, half-word or octet at a fixed place, jump, compare and jump, return.
LD, LDH, LDB, JA, JEQ, RET = 0x20, 0x28, 0x30, 0x05, 0x15, 0x06
PACKET_TYPE, INTERFACE = 0xFFFFF004, 0xFFFFF008
"""Places for LD: not of the frame, but how it passed (PACKET_OUTGOING, …) and its interface's number."""
Instruction = tuple[int, int, int, int]


class Message(NamedTuple):
    """One message. `name`: the sender's sockaddr as it is; `control`: control messages by level and type."""

    data: bytes
    name: bytes
    control: dict[tuple[int, int], bytes]


class Many:
    """Room for many messages, for any number of sockets in turn."""

    def __init__(self, most: int, *, count: int = 64, name: int = 0, control: int = 0) -> None:
        """Of each message `most` octets, of its sender's address `name`, of its control messages `control`."""
        self.count = count
        self._most, self._name, self._control = most, name, control
        each = most + name + control
        head = count * (_MMSGHDR.size + _IOVEC.size)
        # Anonymous memory: what no message fills is never touched.
        self._room = mmap.mmap(-1, head + count * each)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._room))
        self._offsets = [head + number * each for number in range(count)]
        vectors = count * _MMSGHDR.size
        for number, offset in enumerate(self._offsets):
            _IOVEC.pack_into(self._room, vectors + number * _IOVEC.size, self._address + offset, most)
        self._fresh = b"".join(self._header(number, vectors) for number in range(count))

    def _header(self, number: int, vectors: int) -> bytes:
        offset = self._address + self._offsets[number] + self._most
        return _MMSGHDR.pack(
            offset if self._name else 0, self._name,
            self._address + vectors + number * _IOVEC.size, 1,
            offset + self._name if self._control else 0, self._control, 0, 0,
        )  # fmt: skip

    def take(self, opened: socket.socket) -> list[Message]:
        """What waits now, `count` at most. OSError for what the socket itself reports, after the messages before it."""
        self._room[: len(self._fresh)] = self._fresh
        taken = _libc.recvmmsg(opened.fileno(), ctypes.c_void_p(self._address), self.count, socket.MSG_DONTWAIT, None)
        if taken < 0:
            code = ctypes.get_errno()
            if code in (socket.EAGAIN, socket.EWOULDBLOCK):
                return []
            raise OSError(code, os.strerror(code))
        return [self._message(number) for number in range(taken)]

    def all(self, opened: socket.socket) -> Iterator[Message]:
        """What waits, all of it. OSError as of `take`; what follows is there for the next call."""
        while True:
            batch = self.take(opened)
            yield from batch
            if len(batch) < self.count:
                return

    def _message(self, number: int) -> Message:
        header = _MMSGHDR.unpack_from(self._room, number * _MMSGHDR.size)
        names, controls, length = header[1], header[5], header[7]
        offset = self._offsets[number]
        data = self._room[offset : offset + length]
        offset += self._most
        name = self._room[offset : offset + min(names, self._name)]
        offset += self._name
        control = {}
        end = offset + min(controls, self._control)
        while offset + _CMSGHDR.size <= end:
            size, level, kind = _CMSGHDR.unpack_from(self._room, offset)
            control[level, kind] = self._room[offset + _CMSGHDR.size : offset + size]
            offset += max(size + 7 & ~7, _CMSGHDR.size)
        return Message(data, name, control)


class Out:
    """Room for messages of one size to fixed addresses, which one socket sends by one system call."""

    def __init__(self, destinations: Sequence[tuple[str, int]], size: int) -> None:
        """`destinations`: IPv4 addresses and ports; `size`: octets of each message."""
        self._size, self.count = size, len(destinations)
        heads, vectors = self.count * _MMSGHDR.size, self.count * _IOVEC.size
        self._names = heads + vectors
        self._data = self._names + self.count * _SOCKADDR.size
        self._room = ctypes.create_string_buffer(self._data + self.count * size)
        self._address = ctypes.addressof(self._room)
        for number, (address, port) in enumerate(destinations):
            name, data = self._names + number * _SOCKADDR.size, self._data + number * size
            vector = heads + number * _IOVEC.size
            family = socket.AF_INET.to_bytes(2, sys.byteorder)
            _SOCKADDR.pack_into(self._room, name, family, port, socket.inet_aton(address))
            _IOVEC.pack_into(self._room, vector, self._address + data, size)
            _MMSGHDR.pack_into(
                self._room, number * _MMSGHDR.size,
                self._address + name, _SOCKADDR.size, self._address + vector, 1, 0, 0, 0, 0,
            )  # fmt: skip

    def send(self, opened: socket.socket, messages: Sequence[bytes]) -> None:
        """Send one message to each destination. What cannot go is lost, and the others go all the same."""
        ctypes.memmove(self._address + self._data, b"".join(messages), self.count * self._size)
        number = 0
        while number < self.count:
            place = ctypes.c_void_p(self._address + number * _MMSGHDR.size)
            sent = _libc.sendmmsg(opened.fileno(), place, self.count - number, 0)
            number += max(sent, 1)  # the first that is left was refused


def stamp_ns(control: Mapping[tuple[int, int], bytes]) -> int:
    """When the kernel had a message of a socket that asked for SO_TIMESTAMPNS, in nanoseconds of its wall clock."""
    seconds, nanoseconds = _TIMESPEC.unpack_from(control[socket.SOL_SOCKET, SO_TIMESTAMPNS])
    return int(seconds) * 10**9 + int(nanoseconds)


def choose(opened: socket.socket, program: Iterable[Instruction]) -> None:
    """Have the kernel give a packet socket only what this program of classic BPF returns octets of."""
    instructions = [struct.pack("=HBBI", *each) for each in program]
    held = ctypes.create_string_buffer(b"".join(instructions))
    filtered = struct.pack("HP", len(instructions), ctypes.addressof(held))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtered)


def of_interfaces(numbers: Iterable[int], most: int) -> list[Instruction]:
    """A program that takes `most` octets of frames of these interfaces, and no others."""
    tests = [each for number in numbers for each in ((JEQ, 0, 1, number), (RET, 0, 0, most))]
    return [(LD, 0, 0, INTERFACE), *tests, (RET, 0, 0, 0)]
