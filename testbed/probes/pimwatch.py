"""Hears the PIM messages that a router's kernel gives to pimd: Joins, Prunes, Registers and Register-Stops.

A raw socket of its own beside pimd's hears what has passed the kernel's policies and been decrypted, whatever the
keying mode, and nothing that the router itself sends. Every message is counted; told is what matters for trees. The
kernel stamps each with its time, so that it does not matter when they are read. It must not know what anybody ought to
join.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections import Counter
from typing import Any

from testbed.net.namespace import Namespace
from testbed.probes.many import SO_TIMESTAMPNS, Many, stamp_ns
from testbed.probes.pcap import PIM
from testbed.probes.pim import Entry, Kind, entries, kind_of
from testbed.record.writer import Recorder

_IP_PKTINFO = 8
_SO_RCVBUFFORCE = 33
_ADDRESS = struct.Struct("=HH4s8x")
_ROOM = Many(65535, count=16, name=_ADDRESS.size, control=64)
"""For all routers in turn."""
_ROW_NS = 5 * 10**9
_MOST = 5000
"""Events of one router in one run, whatever a flood holds; counters go on."""


class PimWatch:
    """Watches one router."""

    def __init__(
        self, node: str, namespace: Namespace, addresses: frozenset[str], record: Recorder, offset_ns: int
    ) -> None:
        """`addresses`: the router's own. A Join that names another is heard on a LAN, and is not for this router.
        `offset_ns`: wall-clock time minus monotonic time."""
        self._node, self._namespace, self._record = node, namespace, record
        self._addresses, self._offset_ns = addresses, offset_ns
        with namespace.enter():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, PIM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._counts: Counter[str] = Counter()
        self._names: dict[int, str] = {}
        self._rows: dict[tuple[str, Entry], int] = {}
        self._events = 0

    def read(self) -> None:
        """Take in all that has come."""
        for packet, address, control in _ROOM.all(self._socket):
            kind = kind_of(packet)
            self._counts[kind.name.lower() if kind is not None else "other"] += 1
            if kind in (Kind.JOIN_PRUNE, Kind.REGISTER, Kind.REGISTER_STOP):
                neighbor = socket.inet_ntoa(_ADDRESS.unpack(address)[2])
                index = int.from_bytes(control[socket.IPPROTO_IP, _IP_PKTINFO][:4], sys.byteorder)
                moment = stamp_ns(control) - self._offset_ns
                for each in entries(packet):
                    self._tell(each, neighbor, index, moment)

    def _tell(self, each: Entry, neighbor: str, index: int, moment: int) -> None:
        if self._events >= _MOST or (each.upstream and each.upstream not in self._addresses):
            return
        fields: dict[str, Any] = {"neighbor": neighbor, "origin": each.origin, "group": each.group}
        if each.what == "register":
            self._counts["null_register"] += each.null
            if not self._begins(each, neighbor, moment):
                return
            fields["null"] = each.null
        elif each.what in ("join", "prune"):
            fields = {"ifname": self._name(index), **fields}
            if each.rp_tree:
                fields["rpt"] = True
        self._events += 1
        self._record(self._node, "pim", each.what, t=moment, **fields)

    def _begins(self, each: Entry, neighbor: str, now: int) -> bool:
        """Whether it is the first Register of a row: a source that nobody stops registers every packet."""
        key = (neighbor, each)
        before = self._rows.pop(key, None)
        if len(self._rows) > _MOST:
            self._rows.clear()
        self._rows[key] = now
        return before is None or now - before > _ROW_NS

    def _name(self, index: int) -> str:
        if index not in self._names:
            with self._namespace.enter(), contextlib.suppress(OSError):
                self._names[index] = socket.if_indextoname(index)
        return self._names.get(index, f"#{index}")

    def snapshot(self, at: str) -> None:
        """Write how many messages of each kind were heard so far."""
        self.read()
        self._record(self._node, "pim", "stat", at=at, counters=dict(sorted(self._counts.items())))

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()
