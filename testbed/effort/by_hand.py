"""Keys that people carry: static IPsec keys (RFC 4552), and OSPF's own authentication with key chains (RFC 5709, 8177).

Each with one key for the network and with one a link. Lines are those of `ip` (iproute2) and of FRR's vtysh. A task's
script is made for the grid; that its lines are taken is checked in testbed.effort.parsers.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

from testbed.effort.network import Network, Port
from testbed.effort.script import DESK, Line, Script

ALL_ROUTERS = "224.0.0.5"


class ByHand(ABC):
    """`one_key`: for the whole network, else one a link. Keys of generation 1 are replaced by those of 2."""

    def __init__(self, network: Network, *, one_key: bool) -> None:
        self.network, self._one = network, one_key
        self.numbers = {port.link: number for number, port in enumerate(network.links)}

    def scope(self, port: Port) -> str:
        """What the key of this port is for."""
        return "network" if self._one else port.link

    def scopes(self, routers: Iterable[str]) -> list[str]:
        """Those of which these routers have keys, each once."""
        return list(dict.fromkeys(self.scope(port) for each in routers for port in self.network.ports[each]))

    # -- tasks ---------------------------------------------------------------------------------------

    def service(self) -> Script:
        """Bring the whole network into service."""
        routers = self.network.routers
        lines = (line for each in routers for line in self.set_up(each, self.network.ports[each]))
        return Script.of((*self.made(self.scopes(routers), 1), *lines))

    def add(self, router: str) -> Script:
        """Bring one more router into service: it has the new links' keys, and so have its neighbours."""
        ports = self.network.ports[router]
        made = [] if self._one else self.made(self.scopes([router]), 1)
        others = (line for each in ports for line in self.joined(self.network.port_to(each.peer, router)))
        return Script.of((*made, *self.set_up(router, ports), *others))

    def replace(self, router: str) -> Script:
        """A new machine in the place of one that is broken, under the same keys."""
        return Script.of(self.set_up(router, self.network.ports[router]))

    def leaves(self) -> Script:
        """Somebody who has typed the keys leaves: all that he knew are replaced."""
        return self.roll()

    def roll(self) -> Script:
        """Replace all keys without a break."""
        routers = self.network.routers
        first, *others = zip(*map(self.rolled, routers), strict=True)
        made = self.made(self.scopes(routers), 2)
        return Script.of((*made, *chain(*first)), *(chain(*each) for each in others))

    # -- what differs --------------------------------------------------------------------------------

    @abstractmethod
    def made(self, scopes: Iterable[str], generation: int) -> list[Line]:
        """Draw new keys."""

    @abstractmethod
    def set_up(self, router: str, ports: Iterable[Port]) -> list[Line]:
        """Protect a router's OSPF."""

    @abstractmethod
    def joined(self, port: Port) -> list[Line]:
        """A router in service gets one more neighbour, at this port."""

    @abstractmethod
    def rolled(self, router: str) -> list[list[Line]]:
        """What is typed on a router in each round of a change of keys."""


class ManualIpsec(ByHand):
    """ESP with static keys, in and out alike (RFC 4552, sections 7 and 10); 224.0.0.5 and the unicast of each link."""

    def made(self, scopes: Iterable[str], generation: int) -> list[Line]:
        lines = []
        for scope in scopes:
            for part, octets in (("auth", 32), ("enc", 16)):
                decided = (f"SPI of {scope}", "algorithms") if part == "auth" else ()
                lines.append(Line(DESK, f"openssl rand -hex {octets}", (_name(scope, part, generation),), decided))
        return lines

    def set_up(self, router: str, ports: Iterable[Port]) -> list[Line]:
        ports = list(ports)
        lines = [Line(router, _policy("add", "in", ALL_ROUTERS, 89))]
        if self._one:
            lines += [
                self._out(router, "add", ALL_ROUTERS, "network", 1),
                self._state(router, ALL_ROUTERS, "network", 1),
            ]
        return lines + [line for port in ports for line in self.joined(port)]

    def joined(self, port: Port) -> list[Line]:
        router, scope = port.router, self.scope(port)
        lines = []
        if not self._one:
            lines += [
                self._out(router, "add", ALL_ROUTERS, scope, 1, port.name),
                self._state(router, ALL_ROUTERS, scope, 1),
            ]
        # ospfd writes its own IP header: the kernel looks its unicast up as protocol 255, and in as 89.
        lines += [self._out(router, "add", port.peer_address, scope, 1, proto=each) for each in (255, 89)]
        lines.append(Line(router, _policy("add", "in", port.address, 89)))
        return lines + [self._state(router, each, scope, 1) for each in (port.address, port.peer_address)]

    def rolled(self, router: str) -> list[list[Line]]:
        """New SAs beside the old ones; then send with them; then take the old ones out (RFC 4552, section 10)."""
        multicast = [("network", ALL_ROUTERS, "")] if self._one else []
        unicast = []
        for port in self.network.ports[router]:
            scope = self.scope(port)
            if not self._one:
                multicast.append((scope, ALL_ROUTERS, port.name))
            unicast += [(scope, port.address, False), (scope, port.peer_address, True)]
        states = [(scope, address) for scope, address, _ in (*multicast, *unicast)]
        sent = [self._out(router, "update", address, scope, 2, device) for scope, address, device in multicast]
        sent += [
            self._out(router, "update", address, scope, 2, proto=proto)
            for scope, address, out in unicast
            if out
            for proto in (255, 89)
        ]
        return [
            [self._state(router, address, scope, 2) for scope, address in states],
            sent,
            [
                Line(router, f"ip xfrm state delete src 0.0.0.0 dst {address} proto esp spi {self._spi(scope, 1):#x}")
                for scope, address in states
            ],
        ]

    def _spi(self, scope: str, generation: int) -> int:
        if self._one:
            return 0x100 + generation
        return 0x1000 * generation + self.numbers[scope]

    def _state(self, router: str, address: str, scope: str, generation: int) -> Line:
        auth, enc = _name(scope, "auth", generation), _name(scope, "enc", generation)
        text = (
            f"ip xfrm state add src 0.0.0.0 dst {address} proto esp spi {self._spi(scope, generation):#x} "
            f"mode transport auth-trunc hmac(sha256) 0x{_hex(auth, 32)} 128 enc cbc(aes) 0x{_hex(enc, 16)}"
        )
        return Line(router, text, (auth, enc))

    def _out(
        self, router: str, verb: str, address: str, scope: str, generation: int, device: str = "", proto: int = 89
    ) -> Line:
        template = f"spi {self._spi(scope, generation):#x}"
        return Line(router, _policy(verb, "out", address, proto, device, template))


def _policy(verb: str, direction: str, address: str, proto: int, device: str = "", spi: str = "") -> str:
    where = f" dev {device}" if device else ""
    template = " ".join(each for each in ("tmpl proto esp", spi, "mode transport") if each)
    return f"ip xfrm policy {verb} src 0.0.0.0/0 dst {address}/32 proto {proto}{where} dir {direction} {template}"


class KeyChains(ByHand):
    """FRR's HMAC-SHA-256 with key chains. Nothing is encrypted; PIM has no such thing."""

    def made(self, scopes: Iterable[str], generation: int) -> list[Line]:
        return [
            Line(DESK, "openssl rand -hex 16", (_name(scope, "key", generation),), (f"key id of {scope}", "algorithm"))
            for scope in scopes
        ]

    def set_up(self, router: str, ports: Iterable[Port]) -> list[Line]:
        ports = list(ports)
        scopes = dict.fromkeys(self.scope(port) for port in ports)
        chains = (line for scope in scopes for line in self._chain(router, scope, 1))
        return _typed(router, (*chains, *(line for port in ports for line in self._used(port))))

    def joined(self, port: Port) -> list[Line]:
        chain = [] if self._one else self._chain(port.router, self.scope(port), 1)
        return _typed(port.router, (*chain, *self._used(port)))

    def rolled(self, router: str) -> list[list[Line]]:
        """A second key in each chain, with the time from which it is sent; then no first one (RFC 8177, section 2)."""
        scopes = self.scopes([router])
        first = [line for scope in scopes for line in self._chain(router, scope, 2)]
        second = [
            Line(router, text) for scope in scopes for text in (f"key chain {_chain_name(scope)}", "no key 1", "exit")
        ]
        return [_typed(router, first), _typed(router, second)]

    def _chain(self, router: str, scope: str, generation: int) -> list[Line]:
        secret = _name(scope, "key", generation)
        texts = [f"key chain {_chain_name(scope)}"]
        decided: tuple[str, ...] = ()
        if generation == 2:
            decided = (f"when the keys of {scope} change",)
            texts += ["key 1", "send-lifetime 00:00:00 Jan 1 2026 00:00:00 Jul 1 2026",
                      "accept-lifetime 00:00:00 Jan 1 2026 00:00:00 Jul 2 2026", "exit"]  # fmt: skip
        texts.append(f"key {generation}")
        texts += ["cryptographic-algorithm hmac-sha-256"]
        if generation == 2:
            texts += ["send-lifetime 00:00:00 Jul 1 2026 infinite", "accept-lifetime 00:00:00 Jun 30 2026 infinite"]
        lines = [Line(router, text, (), decided) for text in texts]
        return [*lines, Line(router, f"key-string {_hex(secret, 16)}", (secret,)), *_exits(router, 2)]

    def _used(self, port: Port) -> list[Line]:
        texts = (f"interface {port.name}", f"ip ospf authentication key-chain {_chain_name(self.scope(port))}", "exit")
        return [Line(port.router, text) for text in texts]


def _typed(router: str, lines: Iterable[Line]) -> list[Line]:
    """Lines of a configuration, as they are typed in vtysh."""
    return [Line(router, "configure terminal"), *lines, Line(router, "end"), Line(router, "write memory")]


def _exits(router: str, count: int) -> Iterator[Line]:
    return (Line(router, "exit") for _ in range(count))


def _chain_name(scope: str) -> str:
    return scope.replace("-", "_")


def _name(scope: str, part: str, generation: int) -> str:
    return f"{part} {generation} of {scope}"


def _hex(secret: str, octets: int) -> str:
    """A secret's value: FOR THE LABORATORY ONLY, from its name."""
    return hashlib.sha256(secret.encode()).hexdigest()[: 2 * octets]
