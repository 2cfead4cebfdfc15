"""Reports changes of the kernel's IPsec databases, or of the guard's nftables table, by other programs.

Two netlink sockets listen to the kernel's notifications. A change of ours bears our own port, and is ignored. With
nftables each change has a port of its own, so all notifications of our table count. The content of a change is not
read: the listener checks the kernel (`reconciler`). Knows nothing of the wanted content.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator

from agents.ipsec.guard import TABLE
from agents.runtime.netlink import HEADER, MalformedReply, attributes

_NETLINK_XFRM, _NETLINK_NETFILTER = 6, 12
_XFRM_GROUPS = 1 << 1 | 1 << 2 | 1 << 3
"""XFRMNLGRP_EXPIRE, _SA and _POLICY. Not _ACQUIRE: for a listener to that, the kernel makes a larval SA for each packet
without one."""
_NFT_GROUPS = 1 << 6
"""NFNLGRP_NFTABLES."""
_NFT_SUBSYSTEM, _GENERIC_BYTES, _TABLE_NAME = 10, 4, 1
"""The first attribute of every message about a table, or its content, names the table."""
_MOST_A_TURN = 256
_RECEIVE_BYTES = 64 * 1024


class KernelMonitor:
    """Readable (`fileno`) when there is news. `port`: that of the socket which makes our changes (`Xfrm.port`)."""

    def __init__(self, port: int) -> None:
        """OSError when the kernel has no XFRM. Without nftables there is no table to change."""
        self._judges: dict[socket.socket, Callable[[bytes], bool]] = {}
        self._ready = select.epoll()
        self._listen(_NETLINK_XFRM, _XFRM_GROUPS, lambda data: foreign_xfrm(data, port))
        with contextlib.suppress(OSError):
            self._listen(_NETLINK_NETFILTER, _NFT_GROUPS, names_guard)

    def _listen(self, family: int, groups: int, judge: Callable[[bytes], bool]) -> None:
        news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family)
        try:
            news.bind((0, groups))
        except OSError:
            news.close()
            raise
        self._judges[news] = judge
        self._ready.register(news.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        return self._ready.fileno()

    def close(self) -> None:
        """Close the sockets."""
        for news in self._judges:
            news.close()
        self._ready.close()

    def changed(self) -> bool:
        """Read a bounded number of notifications; True if any is of a change that is not ours."""
        return any([self._changed(news, judge) for news, judge in self._judges.items()])

    def _changed(self, news: socket.socket, judge: Callable[[bytes], bool]) -> bool:
        changed = False
        for _ in range(_MOST_A_TURN):
            try:
                data = news.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                changed = True  # ENOBUFS: notifications were lost
                continue
            changed = judge(data) or changed
        return changed


def foreign_xfrm(data: bytes, port: int) -> bool:
    """True if a datagram of XFRM notifications reports a change by another port, or by the kernel itself."""
    return any(sender != port for _kind, sender, _body in _messages(data))


def names_guard(data: bytes) -> bool:
    """True if a datagram of nftables notifications is about the guard's table or its content."""
    for kind, _sender, body in _messages(data):
        if kind >> 8 != _NFT_SUBSYSTEM:
            continue
        with contextlib.suppress(MalformedReply):
            for attribute, value in attributes(body[_GENERIC_BYTES:]):
                if attribute == _TABLE_NAME and value.rstrip(b"\0") == TABLE.encode():
                    return True
    return False


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sender's port, body) of the messages of a datagram, as far as it is well-formed."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _flags, _number, sender = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        yield kind, sender, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3
