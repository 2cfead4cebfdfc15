"""Watches the links, the main routing tables and the multicast forwarding entries of all nodes, in one process.

One netlink socket per node, opened in its namespace. A table is mirrored, so that what the
kernel does in silence is seen too: it drops the IPv4 routes of an interface that goes down, and
changes every route of a next-hop object that changes, without a word about the routes. After each
such event the table is read again and compared. It must not know why
anything changes.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

from agents.runtime.netlink import dump, parts
from testbed.net.namespace import Namespace
from testbed.probes import rtnetlink
from testbed.probes.many import Many
from testbed.probes.rtnetlink import Link, Message, MulticastRoute, Route
from testbed.record.writer import Recorder
from testbed.topology.resolved import RECEIVERS

# Links, IPv4 and IPv6 routes, IPv4 and IPv6 multicast forwarding, next-hop objects. The groups MROUTE_R are left out:
# what the kernel asks pimd of each packet without an entry is no route.
_GROUPS = 0x1 | 0x40 | 0x400 | 0x20 | 0x200 | 1 << 31
_ROOM = Many(1 << 16)
"""For all nodes in turn. The kernel makes no message of news that is larger than a page or two."""
_SO_RCVBUFFORCE = 33
_UNPLUGGED = re.compile(rf"lo|{RECEIVERS}|pimreg[0-9]*|(sit|erspan|gre|gretap|tunl|ip6tnl|ip6gre|ip_vti|ip6_vti)0")
"""Interfaces that nobody plugged in. A router may well be called london."""
_Key = tuple[str, int]


class NodeMonitor:
    """Watches one node."""

    def __init__(
        self,
        node: str,
        namespace: Namespace,
        record: Recorder,
        on_link: Callable[[str, bool], None] = lambda _name, _up: None,
    ) -> None:
        """Start watching, the present state being reported as it is found.

        `on_link(name, up)` hears of interfaces that the administrator's flag changed of.
        """
        self._node, self._record, self._on_link = node, record, on_link
        with namespace.enter():
            self._events = self._open(_GROUPS)
            self._questions = self._open(0)
        self._links: dict[int, Link] = {}
        self._names = {1: "lo"}
        self._routes: dict[_Key, Route] = {}
        self._entries: dict[tuple[str, str], MulticastRoute] = {}
        self._nexthops: set[int] = set()
        for kind, body in self._dump(Message.GETLINK, 0):
            self._link(kind, body)
        self._compare()

    @staticmethod
    def _open(groups: int) -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        opened.bind((0, groups))
        return opened

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._events.fileno()

    def read(self) -> None:
        """Take in all that has come. Links are told once, as they are at the end of it."""
        heard, lost = self._heard()
        silent = lost
        before = {link.name: link.up for link in self._links.values()}
        for kind, _flags, _number, body in heard:
            if kind in (Message.NEWLINK, Message.DELLINK):
                silent |= self._link(kind, body)
            elif kind in (Message.NEWROUTE, Message.DELROUTE) and rtnetlink.is_multicast(body):
                self._entry(rtnetlink.decode_multicast(kind, body))
            elif kind in (Message.NEWROUTE, Message.DELROUTE):
                self._route(rtnetlink.decode_route(kind, body))
            elif kind in (Message.NEWNEXTHOP, Message.DELNEXTHOP):
                silent |= self._nexthop(kind, rtnetlink.decode_nexthop(body))
        if silent:
            self._compare()
        if lost:
            self._compare_entries()
        for link in self._links.values():
            if before.get(link.name) != link.up:
                self._on_link(link.name, link.up)

    def _heard(self) -> tuple[list[tuple[int, int, int, bytes]], bool]:
        """What the kernel has told, and whether it lost some of that (ENOBUFS): the tables tell what it was."""
        messages: list[tuple[int, int, int, bytes]] = []
        lost = False
        while True:
            try:
                batch = _ROOM.take(self._events)
            except OSError:
                lost = True
                continue
            for each in batch:
                messages += parts(each.data)
            if len(batch) < _ROOM.count:
                return messages, lost

    def close(self) -> None:
        """Stop watching."""
        self._events.close()
        self._questions.close()

    def _link(self, kind: int, body: bytes) -> bool:
        """Whether routes may have gone in silence."""
        link = rtnetlink.decode_link(kind, body)
        if link is None:
            return False
        self._names[link.index] = link.name
        if _UNPLUGGED.fullmatch(link.name):
            return False
        old = self._links.get(link.index)
        if link.gone:
            self._links.pop(link.index, None)
        else:
            self._links[link.index] = link
        was = old is not None and old.running
        now = link.running and not link.gone
        if was != now or old is None:
            self._record(self._node, "link", "up" if now else "down", ifname=link.name)
        return was and not now

    def _nexthop(self, kind: int, number: int) -> bool:
        """Whether routes may have changed in silence: those of an object that was there before."""
        known = number in self._nexthops
        if kind == Message.DELNEXTHOP:
            self._nexthops.discard(number)
        else:
            self._nexthops.add(number)
        return known

    def _route(self, route: Route | None) -> None:
        if route is None or route.dst.startswith(("fe80:", "ff00:")):
            return
        key = (route.dst, route.metric)
        old = self._routes.get(key)
        if route.gone:
            if old is not None:
                del self._routes[key]
                self._tell("del", old)
            return
        self._routes[key] = route
        if old is None:
            self._tell("add", route)
        elif old != route:
            self._tell("replace", route)

    def _tell(self, kind: str, route: Route) -> None:
        hops = [{"via": via, "dev": self._device(index)} for via, index in route.nexthops]
        self._record(
            self._node,
            "route",
            kind,
            dst=route.dst,
            nexthops=hops,
            proto=route.proto,
            metric=route.metric,
        )

    def _device(self, index: int) -> str:
        return self._names.get(index, f"#{index}")

    def _entry(self, entry: MulticastRoute | None) -> None:
        if entry is None:
            return
        key = (entry.origin, entry.group)
        old = self._entries.get(key)
        if entry.gone:
            if old is not None:
                del self._entries[key]
                self._tell_entry("del", old)
        elif old != entry:
            self._entries[key] = entry
            self._tell_entry("add" if old is None else "replace", entry)

    def _tell_entry(self, kind: str, entry: MulticastRoute) -> None:
        self._record(
            self._node,
            "mroute",
            kind,
            origin=entry.origin,
            group=entry.group,
            iif=self._device(entry.iif) if entry.iif else None,
            oifs=sorted(self._device(index) for index in entry.oifs),
        )

    def _compare_entries(self) -> None:
        present = {}
        for family in (rtnetlink.FAMILY_IPMR, rtnetlink.FAMILY_IP6MR):
            for kind, body in self._dump(Message.GETROUTE, family):
                entry = rtnetlink.decode_multicast(kind, body)
                if entry is not None:
                    present[(entry.origin, entry.group)] = entry
        for key in [key for key in self._entries if key not in present]:
            self._tell_entry("del", self._entries.pop(key))
        for entry in present.values():
            self._entry(entry)

    def _compare(self) -> None:
        present: dict[_Key, Route] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind, body in self._dump(Message.GETROUTE, family):
                route = rtnetlink.decode_route(kind, body)
                if route is not None and not route.dst.startswith(("fe80:", "ff00:")):
                    present[(route.dst, route.metric)] = route
        for key in [key for key in self._routes if key not in present]:
            self._tell("del", self._routes.pop(key))
        for route in present.values():
            self._route(route)

    def _dump(self, kind: Message, family: int) -> list[tuple[int, bytes]]:
        try:
            return dump(self._questions, kind, rtnetlink.dump_body(kind, family))
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{kind.name} in {self._node}") from error
