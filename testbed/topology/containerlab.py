"""Imports a topology of containerlab: what its containers are to each other, not what runs in them.

A node whose image is FRR's is a router, as is a node of a router's kind, in whose place FRR runs. Another container of
kind `linux` is a host behind the one router that it is linked to. A `bridge` is a LAN. Interfaces keep their names.
Knows what containerlab writes, and not what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from testbed.errors import InputError, Location
from testbed.owned import NAME_PATTERN
from testbed.topology.findings import nearest, some
from testbed.topology.names import refusal
from testbed.topology.read import Lines, Reading
from testbed.topology.source import HostSource, LanSource, LinkSource, RouterSource, TopologySource
from testbed.topology.units import INTERFACE_ALLOWED, MAX_MTU, MIN_MTU, is_interface

BRIDGES = frozenset({"bridge", "ovs-bridge"})
# Ends of links that are no node of the topology.
OUTSIDE = frozenset({"host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch"})
NODE = "a mapping such as r1: {kind: linux, image: quay.io/frrouting/frr:10.3.0}"
LINK = 'endpoints: ["r1:eth1", "r2:eth1"]'


class End(NamedTuple):
    """One end of a link."""

    node: str
    interface: str


class Wire(NamedTuple):
    """A link of the file: its ends, its MTU if it has one, and its place in the list."""

    ends: tuple[End, End]
    mtu: int | None
    number: int


def is_one(data: Any) -> bool:
    """Whether a file's data are a topology of containerlab: ours has no key of that name."""
    return isinstance(data, dict) and "topology" in data


def reading(data: Mapping[str, Any], lines: Lines, file: Path) -> Reading:
    """The source of the topology in `data`, and where its parts stand. Raises InputError when it cannot be one."""
    return _Import(data, lines, file).reading()


class _Import:
    def __init__(self, data: Mapping[str, Any], lines: Lines, file: Path) -> None:
        self.data, self.lines, self.file = data, lines, file
        value = data["topology"]
        self.topology: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self.nodes: Mapping[str, Any] = self._mapping("nodes")
        if not self.nodes:
            raise self._wrong("a topology without nodes", "topology", allowed=f"nodes: {NODE}")
        self.kinds = {str(name): self._kind(name) for name in self.nodes}
        self.left_out: list[str] = []
        self.wires = list(self._wires())
        self.instead: dict[str, None] = {}

    def reading(self) -> Reading:
        routers = [name for name in self.kinds if self._is_router(name)]
        bridges = [name for name, kind in self.kinds.items() if kind in BRIDGES]
        hosts = [name for name in self.kinds if name not in routers and name not in bridges]
        links = [wire for wire in self.wires if all(end.node in routers for end in wire.ends)]
        source: dict[str, Any] = {
            "name": re.sub(r"[^A-Za-z0-9_.-]", "-", str(self.data.get("name", "")))[:64],
            "routers": {name: RouterSource() for name in routers},
            "links": [_link(wire) for wire in links],
            "lans": {name: self._lan(name, routers) for name in bridges},
            "hosts": {name: host for name in hosts if (host := self._host(name, routers)) is not None},
        }
        description = self._description(list(source["hosts"]))
        try:
            made = TopologySource.model_validate({**source, "description": description})
        except ValidationError as error:
            raise InputError(str(error.errors()[0]["msg"]), where=str(self.file), allowed=LINK) from error

        def where(*path: Any) -> Location:
            if path and path[0] == "links" and len(path) > 1:
                return self.lines.of("topology", "links", links[path[1]].number, "endpoints")
            if len(path) > 1 and path[0] in ("routers", "hosts", "lans"):
                return self.lines.of("topology", "nodes", path[1])
            return self.lines.of("topology") if path else self.lines.of()

        return Reading(made, where, [], True)

    def _description(self, hosts: list[str]) -> str:
        said = [f"imported from {self.file.name[:100]}"]
        if hosts:
            said.append(f"hosts, since their images are not FRR: {some(hosts)}")
        if self.left_out:
            said.append(f"left out: {some(self.left_out)}")
        if self.instead:
            said.append(f"FRR runs in place of {some(self.instead)}")
        return "; ".join(said)[:1000]

    # -- nodes

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.topology.get(key)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(f"topology.{key}: bad value", "topology", key, allowed=f"{key}: {NODE}")
        return value or {}

    def _settings(self, name: str) -> Mapping[str, Any]:
        value = self.nodes[name]
        if value is not None and not isinstance(value, dict):
            raise self._wrong(f"node {name!r}: bad value", "topology", "nodes", name, allowed=NODE)
        return value or {}

    def _inherited(self, name: str, key: str, kind: str = "") -> str:
        """What holds for a node: its own word, its group's, its kind's, that of all (containerlab's order)."""
        own = self._settings(name)
        groups, kinds = self._mapping("groups"), self._mapping("kinds")
        group = own.get("group", self._mapping("defaults").get("group"))
        for holder in (own, groups.get(str(group)), kinds.get(kind), self._mapping("defaults")):
            if isinstance(holder, dict) and isinstance(holder.get(key), str):
                return str(holder[key])
        return ""

    def _kind(self, name: Any) -> str:
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            raise self._wrong(
                f"node {name!r}: bad name", "topology", "nodes", name,
                allowed="1 to 63 letters, digits, '.', '_' and '-', a letter or digit first",
            )  # fmt: skip
        kind = self._inherited(name, "kind") or "linux"
        reason = refusal(name, node=kind not in BRIDGES)
        if reason is not None:
            raise self._wrong(f"a node named {name!r}", "topology", "nodes", name, allowed=f"another name: {reason}")
        return kind

    def _is_router(self, name: str) -> bool:
        kind = self.kinds[name]
        if kind in BRIDGES or kind in OUTSIDE:
            return False
        image = self._inherited(name, "image", kind)
        if kind != "linux":
            self.instead.setdefault(kind)
            return True
        if not image:
            raise self._wrong(f"node {name!r} has no image, so it may be a router or a host", "topology", "nodes", name,
                              allowed="an image of FRR for a router, another for a host")  # fmt: skip
        return "frr" in image.lower()

    # -- links

    def _wires(self) -> Iterator[Wire]:
        value = self.topology.get("links")
        if not isinstance(value, list) or not value:
            raise self._wrong("a topology without links", "topology", "links", allowed=f"links: [{LINK}]")
        for index, link in enumerate(value):
            path = ("topology", "links", index)
            ends = link.get("endpoints") if isinstance(link, dict) else None
            if ends is None and isinstance(link, dict) and isinstance(link.get("endpoint"), dict):
                self.left_out.append("a link with one end")  # to the machine, its management, or another machine
                continue
            if not isinstance(ends, list) or len(ends) != 2:
                raise self._wrong(f"topology.links.{index}: not a link with two ends", *path, allowed=LINK)
            pair = tuple(self._end(end, (*path, "endpoints", at)) for at, end in enumerate(ends))
            outside = [end.node for end in pair if end.node not in self.kinds]
            if outside:
                self.left_out.append(f"a link to {outside[0]}")
            else:
                yield Wire((pair[0], pair[1]), self._mtu(link, path), index)

    def _end(self, value: Any, path: tuple[Any, ...]) -> End:
        if isinstance(value, dict):
            node, interface = value.get("node"), value.get("interface")
        else:
            node, _, interface = str(value).partition(":")
        if not isinstance(node, str) or not isinstance(interface, str) or not node or not interface:
            raise self._wrong(f"endpoint {value!r}", *path, allowed=f"NODE:INTERFACE, as in {LINK}")
        if node in OUTSIDE and node not in self.kinds:
            return End(node, interface)
        if node not in self.kinds:
            raise self._wrong(f"unknown node {node!r}{nearest(node, self.kinds)}", *path, allowed=some(self.kinds))
        name = interface.replace("/", "-")  # which no interface of Linux may have
        if not is_interface(name):
            raise self._wrong(
                f"interface {interface!r} of {node!r}", *path,
                allowed=INTERFACE_ALLOWED,
            )  # fmt: skip
        return End(node, name)

    def _mtu(self, link: Mapping[str, Any], path: tuple[Any, ...]) -> int | None:
        value = link.get("mtu")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not MIN_MTU <= value <= MAX_MTU:
            raise self._wrong(f"mtu {value!r}", *path, "mtu", allowed=f"octets from {MIN_MTU} to {MAX_MTU}")
        return value

    def _of(self, name: str) -> list[tuple[End, End, Wire]]:
        """A node's links: its own end, the other, the link."""
        turned = [(wire.ends[0], wire.ends[1], wire) for wire in self.wires]
        turned += [(wire.ends[1], wire.ends[0], wire) for wire in self.wires]
        return [each for each in turned if each[0].node == name]

    def _host(self, name: str, routers: list[str]) -> HostSource | None:
        links = self._of(name)
        if not links:
            self.left_out.append(f"{name}, which has no link")
            return None
        image = self._inherited(name, "image", self.kinds[name])
        path = ("topology", "nodes", name)
        if len(links) > 1:
            raise self._wrong(
                f"node {name!r} has {len(links)} links, and its image {image!r} is not FRR", *path,
                allowed="an image of FRR for a router, or one link for a host",
            )  # fmt: skip
        own, other, _wire = links[0]
        if other.node not in routers:
            raise self._wrong(
                f"node {name!r} is a host, since its image {image!r} is not FRR, but {other.node!r} is not a router",
                *path, allowed="a host behind a router",
            )  # fmt: skip
        return HostSource(on=other.node, interfaces=[other.interface, own.interface])

    def _lan(self, name: str, routers: list[str]) -> LanSource:
        ends = [(other, wire) for _own, other, wire in self._of(name)]
        path = ("topology", "nodes", name)
        for other, _wire in ends:
            if other.node not in routers:
                raise self._wrong(
                    f"{other.node!r} on bridge {name!r} is not a router", *path, allowed="only routers on a bridge"
                )
        members = [other.node for other, _wire in ends]
        if len(members) < 2 or len(set(members)) < len(members):
            allowed = "two or more routers on a bridge, each once"
            raise self._wrong(f"bridge {name!r} joins {some(members) or 'no routers'}", *path, allowed=allowed)
        mtus = {other.node: wire.mtu for other, wire in ends if wire.mtu is not None}
        return LanSource(
            routers=members, interfaces={other.node: other.interface for other, _wire in ends}, mtu=mtus or None
        )

    def _wrong(self, problem: str, *path: Any, allowed: str) -> InputError:
        return InputError(
            problem, where=self.lines.of(*path), allowed=allowed, next_command=f"lab validate {self.file}"
        )


def _link(wire: Wire) -> LinkSource:
    one, other = wire.ends
    return LinkSource(
        between=[one.node, other.node],
        interfaces=[one.interface, other.interface],
        mtu=None if wire.mtu is None else [wire.mtu, wire.mtu],
    )
