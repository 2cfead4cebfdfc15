"""One UDP port that several processes serve: each has its own sockets, and the kernel chooses by the IKE header.

An SA belongs to the process whose number is in its SPI (`agents.ikev2.party.shared_spi`), wherever its datagrams come
from. A first IKE_SA_INIT is assigned by the addresses and ports of both sides, so that its retransmission reaches the
same process. One process holds all the sockets open, so they keep their numbers, and datagrams for a process that is
being replaced wait in its queue. Knows nothing of processes.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from agents.runtime.udp import bind

SO_ATTACH_REUSEPORT_CBPF = 51
_LOAD_OCTET, _JUMP, _JUMP_IF_SET, _JUMP_IF_EQUAL = 0x30, 0x05, 0x45, 0x15
_SUBTRACT, _MODULO, _RETURN_A, _RETURN = 0x14, 0x94, 0x16, 0x06
_BY_ADDRESSES = 0xFFFFFFFF
"""No socket has this number, so the kernel chooses by its own hash."""
_FLAGS_AT, _INITIATOR, _SPI_R_AT = 19, 0x08, 8


def bind_shared(port: int, address: str, count: int) -> list[list[socket.socket]]:
    """The sockets of `count` processes, in the order of their numbers. OSError when the port is taken."""
    _refuse_taken(port, address)
    sockets: list[list[socket.socket]] = []
    try:
        for _number in range(count):
            sockets.append(bind(port, address, shared=True))
        for each in sockets[0]:
            _attach(each, count)
    except BaseException:
        for bound in sockets:
            for each in bound:
                each.close()
        raise
    return sockets


def _refuse_taken(port: int, address: str) -> None:
    """SO_REUSEPORT would let a second DKS of this user take half of the first one's datagrams."""
    for each in bind(port, address):
        each.close()


def _attach(one_of_all: socket.socket, count: int) -> None:
    """The filter applies to all sockets bound to the same address. Its input begins with the UDP payload."""
    program = (
        (_LOAD_OCTET, 0, 0, _FLAGS_AT),  # a datagram too short for this goes to number 0, which drops it
        (_JUMP_IF_SET, 0, 2, _INITIATOR),  # set: the sender began the SA, and our SPI is the responder's
        (_LOAD_OCTET, 0, 0, _SPI_R_AT),
        (_JUMP, 0, 0, 1),
        (_LOAD_OCTET, 0, 0, 0),
        (_JUMP_IF_EQUAL, 3, 0, 0),
        (_SUBTRACT, 0, 0, 1),
        (_MODULO, 0, 0, count),
        (_RETURN_A, 0, 0, 0),
        (_RETURN, 0, 0, _BY_ADDRESSES),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    try:
        one_of_all.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, described)
    except OSError as error:
        raise OSError(error.errno or errno.EINVAL, f"sharing the port among processes: {error.strerror}") from error
