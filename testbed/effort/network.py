"""The network that is protected: a grid of routers with point-to-point links. Knows nothing of keys."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """A router's end of a link. `name`: of the interface; the addresses are of a /30."""

    router: str
    name: str
    link: str
    address: str
    link_local: str
    peer: str
    peer_name: str
    peer_address: str


@dataclass(frozen=True)
class Network:
    """Routers, and each one's ports."""

    ports: dict[str, tuple[Port, ...]]

    @property
    def routers(self) -> tuple[str, ...]:
        return tuple(self.ports)

    @property
    def links(self) -> tuple[Port, ...]:
        """One end of each link."""
        return tuple(each for ports in self.ports.values() for each in ports if each.address.endswith(".1"))

    def port_to(self, router: str, peer: str) -> Port:
        """The port of this router that leads to that one."""
        return next(each for each in self.ports[router] if each.peer == peer)


def grid(count: int) -> Network:
    """As square as `count` routers can be: r1 to rN, the last in a corner, so that its links are its neighbours' last
    ones."""
    rows = max(each for each in range(1, math.isqrt(count) + 1) if count % each == 0)
    columns = count // rows
    ports: dict[str, list[Port]] = {f"r{number}": [] for number in range(1, count + 1)}
    number = 0
    for index in range(count):
        ways = [index + 1] if (index + 1) % columns else []
        ways += [index + columns] if index + columns < count else []
        for other in ways:
            _join(ports, f"r{index + 1}", f"r{other + 1}", number)
            number += 1
    return Network({name: tuple(each) for name, each in ports.items()})


def _join(ports: dict[str, list[Port]], a: str, b: str, number: int) -> None:
    link, subnet = f"{a}-{b}", f"10.{number >> 8}.{number & 255}"
    names = {each: f"eth{len(ports[each])}" for each in (a, b)}
    ends = ((a, b, 1, 2), (b, a, 2, 1))
    for here, there, own, other in ends:
        port = Port(
            here, names[here], link, f"{subnet}.{own}", f"fe80::{number + 1:x}:{own}", there, names[there],
            f"{subnet}.{other}",
        )  # fmt: skip
        ports[here].append(port)
