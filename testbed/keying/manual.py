"""Keying `manual`: IPsec with one static key for the whole network, as RFC 4552 and RFC 5796 specify.

Every router has the same SAs, inbound and outbound alike (RFC 4552, section 7), in a file of its own that is loaded
with `ip -batch` before the routing daemons start. No replay protection, as the key never changes (RFC 4552, section
12). The selectors, and the reason for protocol 255: docs/ipsec.md. PIM's unicast Registers are not covered, only its
link-local messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agents.ipsec.protection import RoutingProtocol
from testbed.keying.base import Keying, KeyingLab, KeyingNode, Look
from testbed.keying.options import ManualOptions, PlanOptions

if TYPE_CHECKING:
    from testbed.topology.resolved import Router, Topology

_Address = IPv4Address | IPv6Address
_FILE = "ipsec.batch"
_SPI, _REQID, _PRIORITY = 0x100, 0x4D414E, 1000
_OSPF, _PIM, _SENT_BY_HEADER = 89, 103, 255
_OSPF_GROUPS = tuple(IPv4Address(text) for text in ("224.0.0.5", "224.0.0.6"))
_OSPF6_GROUPS = tuple(IPv6Address(text) for text in ("ff02::5", "ff02::6"))
_PIM_GROUPS = (IPv4Address("224.0.0.13"),)
_PIM6_GROUPS = (IPv6Address("ff02::d"),)


class ManualKeying(Keying):
    """One key. Option `transform`: esp (default), esp-null or ah; all with HMAC-SHA-256-128."""

    name: ClassVar[str] = "manual"
    look: ClassVar[Look | None] = Look("#e69f00", "D", (0, (3, 1, 1, 1)))
    ipsec: ClassVar[bool] = True
    options: ClassVar[type[PlanOptions]] = ManualOptions

    def prepare(self, topology: Topology, folder: Path, seed: int, options: PlanOptions) -> None:
        """Write each router's file."""
        assert isinstance(options, ManualOptions)
        keys = _key_words(options.transform, seed)
        for name, router in topology.routers.items():
            path = folder / "retained" / name / _FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text("\n".join(batch_lines(topology, router, keys, options.in_clear)) + "\n")

    def start_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """Load the file, policies and SAs in one go."""
        node.run("ip", "-batch", str(node.retained / _FILE))


def _key_words(transform: str, seed: int) -> str:
    """The SA's protocol and keys, as `ip xfrm state add` words them."""
    secret = hashlib.sha512(f"{seed}/manual".encode()).hexdigest()
    authentication = f"auth-trunc hmac(sha256) 0x{secret[:64]} 128"
    if transform == "ah":
        return f"proto ah spi {_SPI:#x} mode transport reqid {_REQID} {authentication}"
    cipher = 'ecb(cipher_null) ""' if transform == "esp-null" else f"cbc(aes) 0x{secret[64:96]}"
    return f"proto esp spi {_SPI:#x} mode transport reqid {_REQID} {authentication} enc {cipher}"


def batch_lines(
    topology: Topology, router: Router, keys: str, clear: Collection[RoutingProtocol] = ()
) -> Iterator[str]:
    """The lines of one router's file: policies first, so that only the protocols of `clear` ever pass in clear."""
    v2 = topology.ospf.v2 and RoutingProtocol.OSPF not in clear
    v3 = topology.ospf.v3 and RoutingProtocol.OSPF6 not in clear
    template = f"tmpl proto {keys.split()[1]} reqid {_REQID} mode transport"
    groups: list[tuple[_Address, int]] = []
    if v2:
        groups += [(group, _OSPF) for group in _OSPF_GROUPS]
    if v3:
        groups += [(group, _OSPF) for group in _OSPF6_GROUPS]
    if topology.pim is not None and RoutingProtocol.PIM not in clear:
        groups += [(group, _PIM) for group in _PIM_GROUPS]
    if topology.pim is not None and topology.pim.ipv6 and RoutingProtocol.PIM6 not in clear:
        groups += [(group, _PIM) for group in _PIM6_GROUPS]
    own, neighbors = _unicast(topology, router, v2, v3)

    for group, protocol in groups:
        yield from _policy("out", group, None, template)
        yield from _policy("in", group, protocol, template)
    for address in neighbors:
        # ospfd writes its own IP header: the kernel then looks it up as protocol 255.
        yield from _policy("out", address, _SENT_BY_HEADER, template)
        yield from _policy("out", address, _OSPF, template)
    for address in own:
        yield from _policy("in", address, _OSPF, template)
    for address in [*(group for group, _ in groups), *own, *neighbors]:
        anyone = "0.0.0.0" if address.version == 4 else "::"
        yield f"xfrm state add src {anyone} dst {address} {keys} replay-window 0"


def _unicast(topology: Topology, router: Router, v2: bool, v3: bool) -> tuple[list[_Address], list[_Address]]:
    """The router's own addresses that receive unicast OSPF, and its neighbours'."""
    own: dict[_Address, None] = {}
    neighbors: dict[_Address, None] = {}
    segments = {interface.segment for interface in router.interfaces if not interface.passive}
    for other in topology.routers.values():
        for interface in other.interfaces:
            if interface.segment not in segments:
                continue
            addresses = own if other.name == router.name else neighbors
            if v2:
                addresses[interface.ipv4.ip] = None
            if v3:
                addresses[interface.ipv6_link_local] = None
    return list(own), list(neighbors)


def _policy(direction: str, destination: _Address, protocol: int | None, template: str) -> Iterator[str]:
    bits = destination.max_prefixlen
    source = "0.0.0.0/0" if destination.version == 4 else "::/0"
    selector = f"src {source} dst {destination}/{bits}"
    if protocol is not None:
        selector += f" proto {protocol}"
    yield (f"xfrm policy add {selector} dir {direction} priority {_PRIORITY} {template}")
