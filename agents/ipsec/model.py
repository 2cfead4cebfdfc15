"""The kernel's IPsec objects as plain values: selectors, SAs, policies, and the wanted state.

Values compare by what the kernel keeps of them, so an object read back equals the object written. Knows nothing of
netlink encodings (`messages`), of routing protocols (`protection`) or of the origin of keys.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from agents.ipsec.protection import IPAddress, IPNetwork

INFINITE = 0xFFFFFFFFFFFFFFFF
"""XFRM_INF: no limit on a lifetime."""


class Direction(IntEnum):
    """XFRM_POLICY_IN, OUT, FWD of linux/xfrm.h."""

    IN = 0
    OUT = 1
    FWD = 2


class Action(IntEnum):
    """XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK."""

    ALLOW = 0
    BLOCK = 1


class IpsecProtocol(IntEnum):
    """The IPsec protocols' IP protocol numbers."""

    ESP = 50
    AH = 51


class EncapsulationMode(IntEnum):
    """XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL."""

    TRANSPORT = 0
    TUNNEL = 1


class SaDirection(IntEnum):
    """XFRM_SA_DIR_IN, XFRM_SA_DIR_OUT (kernel 6.10 and newer)."""

    IN = 1
    OUT = 2


@dataclass(frozen=True)
class Mark:
    """A packet mark's value and mask."""

    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class Selector:
    """A set of packets. Protocol 0 is any; `interface` is a device name, or None for any.

    A port is (port, mask); (0, 0) is any.
    """

    source: IPNetwork
    destination: IPNetwork
    protocol: int = 0
    interface: str | None = None
    source_port: tuple[int, int] = (0, 0)
    destination_port: tuple[int, int] = (0, 0)

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return socket.AF_INET if self.source.version == 4 else socket.AF_INET6

    @property
    def matches_all(self) -> bool:
        """True when it matches every packet of its family."""
        return (
            self.source.prefixlen == self.destination.prefixlen == self.protocol == 0
            and self.interface is None
            and self.source_port == self.destination_port == (0, 0)
        )

    def __str__(self) -> str:
        text = f"src {_shown(self.source)} dst {_shown(self.destination)}"
        if self.protocol:
            text += f" proto {self.protocol}"
        if self.source_port != (0, 0):
            text += f" sport {self.source_port[0]}/{self.source_port[1]:#x}"
        if self.destination_port != (0, 0):
            text += f" dport {self.destination_port[0]}/{self.destination_port[1]:#x}"
        return text + (f" dev {self.interface}" if self.interface else "")


@dataclass(frozen=True)
class Lifetime:
    """Limits of an SA or a policy: bytes, packets, seconds since added and since first used.

    No limit is INFINITE for bytes and packets, and 0 for times, as in the kernel.
    """

    soft_bytes: int = INFINITE
    hard_bytes: int = INFINITE
    soft_packets: int = INFINITE
    hard_packets: int = INFINITE
    soft_add_s: int = 0
    hard_add_s: int = 0
    soft_use_s: int = 0
    hard_use_s: int = 0


UNLIMITED = Lifetime()


@dataclass(frozen=True)
class Algorithm:
    """A cipher or an integrity algorithm by its kernel crypto name, and its key."""

    name: str
    key: bytes = field(repr=False)
    icv_bits: int = 0
    """Length of the integrity check value: for AEAD and truncated integrity algorithms."""


@dataclass(frozen=True)
class SecurityAssociation:
    """One SA. The kernel identifies it by (destination, SPI, protocol), whatever its direction.

    Either `aead`, or `encryption` with `integrity`, or for AH `integrity` alone. `sequence` is the outbound counter, or
    inbound the highest number that counts as received. It is given when the SA is made, and excluded from comparison
    because the kernel advances it.
    """

    source: IPAddress
    destination: IPAddress
    spi: int
    protocol: IpsecProtocol = IpsecProtocol.ESP
    mode: EncapsulationMode = EncapsulationMode.TRANSPORT
    reqid: int = 0
    encryption: Algorithm | None = None
    integrity: Algorithm | None = None
    aead: Algorithm | None = None
    selector: Selector | None = None
    replay_window: int = 0
    esn: bool = False
    sequence: int = field(default=0, compare=False)
    direction: SaDirection | None = field(default=None, compare=False)
    """Not compared: kernels before 6.10 do not keep it."""
    mark: Mark | None = None
    if_id: int | None = None
    lifetime: Lifetime = UNLIMITED
    flags: int = 0
    added_s: int = field(default=0, compare=False, repr=False)
    """When the kernel made it, in Unix seconds: its lifetimes count from there."""

    def __post_init__(self) -> None:
        # The kernel turns "no selector" into one that matches everything, and returns it so.
        if self.selector is not None and self.selector.matches_all:
            object.__setattr__(self, "selector", None)

    @property
    def identity(self) -> tuple[IPAddress, int, IpsecProtocol]:
        """Its identity in the kernel."""
        return (self.destination, self.spi, self.protocol)

    def __str__(self) -> str:
        text = f"{self.protocol.name} SA spi {self.spi:#010x} src {self.source} dst {self.destination}"
        return text + (f" selector [{self.selector}]" if self.selector else "")


@dataclass(frozen=True)
class Template:
    """How a policy's packets must be, or were, protected. SPI 0: any matching SA."""

    protocol: IpsecProtocol = IpsecProtocol.ESP
    mode: EncapsulationMode = EncapsulationMode.TRANSPORT
    reqid: int = 0
    spi: int = 0
    optional: bool = False
    """Level `use`: protect if there is an SA. False is level `required`."""
    source: IPAddress | None = None
    destination: IPAddress | None = None

    def __str__(self) -> str:
        return (
            f"{self.protocol.name} {self.mode.name.lower()} reqid {self.reqid} "
            f"spi {self.spi:#010x} level {'use' if self.optional else 'required'}"
        )


@dataclass(frozen=True)
class Policy:
    """One SPD entry. A lower priority number is matched first."""

    selector: Selector
    direction: Direction
    priority: int
    action: Action = Action.ALLOW
    templates: tuple[Template, ...] = ()
    mark: Mark | None = None
    if_id: int | None = None
    lifetime: Lifetime = UNLIMITED
    flags: int = 0

    @property
    def identity(self) -> tuple[Selector, Direction, Mark | None, int | None]:
        """Its identity in the kernel."""
        return (self.selector, self.direction, self.mark, self.if_id)

    def __str__(self) -> str:
        text = f"policy dir {self.direction.name.lower()} {self.selector} priority {self.priority}"
        if self.action is Action.BLOCK:
            return text + " block"
        return text + "".join(f" [{template}]" for template in self.templates)


@dataclass(frozen=True)
class Guard:
    """Drop this IP protocol in clear on arrival at this interface, before IPsec.

    An IPv4 inbound policy cannot name the interface. If one interface is `required` and another is not, a packet that
    arrives at the first with a source from the second's subnet passes the SPD; only a hook at the device can tell.
    """

    interface: str
    family: int
    protocol: int


@dataclass(frozen=True)
class Wanted:
    """All SAs and policies of ours that the kernel must have."""

    policies: tuple[Policy, ...] = ()
    associations: tuple[SecurityAssociation, ...] = ()
    guards: tuple[Guard, ...] = ()


@lru_cache(maxsize=1024)
def _shown(network: IPNetwork) -> str:
    """Its text. Policies are installed in the order of their texts."""
    return str(network)


@lru_cache(maxsize=4096)
def host_network(address: IPAddress) -> IPNetwork:
    """The network that holds only this address."""
    return IPv4Network(address) if address.version == 4 else IPv6Network(address)
