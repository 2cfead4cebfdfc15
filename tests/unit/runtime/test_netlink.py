"""Netlink's framing: dumps are whole, or read again."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from agents.runtime.netlink import DONE, DUMPS, ERROR, F_DUMP_INTR, HEADER, MalformedReply, attributes, dump


def message(kind: int, body: bytes = b"", flags: int = 2) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        yield ours, kernel


def test_a_dump_is_all_messages_of_all_datagrams_up_to_its_end(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    kernel.send(message(16, b"abcd") + message(16, b"efgh"))
    kernel.send(message(16, b"ijkl") + message(DONE))
    assert dump(ours, 18, bytes(4)) == [(16, b"abcd"), (16, b"efgh"), (16, b"ijkl")]
    length, kind, flags, *_rest = HEADER.unpack_from(kernel.recv(1024))
    assert (length, kind, flags) == (HEADER.size + 4, 18, 0x301)


def test_a_dump_that_changed_while_it_was_read_is_read_again(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    kernel.send(message(16, b"abcd") + message(16, b"lost", 2 | F_DUMP_INTR) + message(DONE, b"", 2 | F_DUMP_INTR))
    kernel.send(message(16, b"abcd") + message(16, b"efgh") + message(DONE))
    assert dump(ours, 18, bytes(4)) == [(16, b"abcd"), (16, b"efgh")]


def test_a_dump_that_changes_every_time_is_an_error_at_last(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    for _each in range(DUMPS):
        kernel.send(message(DONE, b"", 2 | F_DUMP_INTR))
    with pytest.raises(OSError, match="kept changing"):
        dump(ours, 18, bytes(4))


def test_a_dump_that_the_kernel_refuses_is_its_error(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    kernel.send(message(ERROR, struct.pack("=i", -errno.EPERM)))
    with pytest.raises(PermissionError):
        dump(ours, 18, bytes(4))


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_attribute_whose_length_does_not_fit_is_malformed(length: int) -> None:
    with pytest.raises(MalformedReply):
        list(attributes(struct.pack("=HH", length, 1) + bytes(4)))
