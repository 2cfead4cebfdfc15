"""What a person may write in a topology file: its keys, their defaults and their short forms.

Knows only values one at a time; what they mean together is checked in `check`. Exported as JSON Schema by `schema`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from testbed.topology import shorthand
from testbed.topology.units import (
    ALLOWED,
    Address,
    Area,
    AreaType,
    Bandwidth,
    Cost,
    Delay,
    Domain,
    EndMtus,
    InterfaceName,
    Latitude,
    Longitude,
    Loopback,
    Loss,
    Mtu,
    Name,
    Network,
    Passive,
    Priorities,
    RouterMtus,
    Seconds,
    Switch,
    Version,
)

ON, OFF = (True, "on", "yes"), (False, "off", "no")
"""`pim: off` and the like; for YAML 1.2 all of them but true and false are texts."""


class Source(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class WireSource(Source):
    """What a link and a LAN have in common. Absent values come from `defaults`."""

    delay: Delay | None = None
    """one-way delay, such as 5ms"""
    jitter: Delay | None = None
    """how much the delay varies to either side, such as 1ms; at most the delay"""
    loss: Loss | None = None
    """share of packets lost, such as 1%"""
    bandwidth: Bandwidth | None = None
    """rate, such as 100Mbps; without one there is no limit"""
    cost: Cost | None = None
    """OSPF cost of every interface on it"""
    subnet: Network | None = None
    """its network; without one it gets a free one"""
    area: Area | None = None
    """OSPF area, as 1 or 0.0.0.1"""
    passive: Passive | None = None
    """true, or the routers whose interface on it is passive: announced, but no routing protocol speaks there"""


class Defaults(Source):
    """For every link and LAN that does not say otherwise."""

    delay: Delay = 1.0
    """one-way delay; 1 ms"""
    jitter: Delay = 0.0
    """how much the delay varies to either side; not at all"""
    loss: Loss = 0.0
    """share of packets lost; none"""
    bandwidth: Bandwidth | None = None
    """rate; no limit"""
    cost: Cost = 10
    """OSPF cost; 10"""
    area: Area = 0
    """OSPF area; 0"""
    mtu: Mtu = 1500
    """largest packet in octets; 1500"""


class LinkSource(WireSource):
    """A point-to-point link."""

    between: Annotated[list[Name], Field(min_length=2, max_length=2)]
    """the two routers"""
    costs: Annotated[list[Cost], Field(min_length=2, max_length=2)] | None = None
    """a cost for each direction, in the order of `between`, instead of `cost`"""
    mtu: EndMtus | None = None
    """largest packet in octets, or a list of one for each end, in the order of `between`"""
    addresses: Annotated[list[Address], Field(min_length=2, max_length=2)] | None = None
    """an address for each end, in the order of `between`; needs `subnet`"""
    interfaces: Annotated[list[InterfaceName], Field(min_length=2, max_length=2)] | None = None
    """what the interface is called at each end, in the order of `between`"""

    @model_validator(mode="before")
    @classmethod
    def _not_text(cls, value: Any) -> Any:
        """What is still text could be read in several ways, or in none."""
        if isinstance(value, str):
            raise ValueError(
                f"{ALLOWED}ONE--OTHER, or between: [ONE, OTHER]; names have hyphens too, and this text has several "
                "readings, or none that names two routers of the file"
            )
        return value


class LanSource(WireSource):
    """A shared segment."""

    routers: Annotated[list[Name], Field(min_length=2)]
    """the routers on it"""
    costs: dict[Name, Cost] | None = None
    """router: its own cost; the others have `cost`"""
    mtu: RouterMtus | None = None
    """largest packet in octets, or router: its own; the others have the default"""
    priority: Priorities | None = None
    """OSPF priority, or router: its own; the others have 1; 0 is never designated"""
    addresses: dict[Name, Address] | None = None
    """router: its own address; the others get free ones; needs `subnet`"""
    interfaces: dict[Name, InterfaceName] | None = None
    """router: what its interface is called"""


class RouterSource(Source):
    """A router that needs more than its name."""

    loopback: Loopback | None = None
    """its loopback address, which is its router ID too"""
    at: tuple[Latitude, Longitude] | None = None
    """latitude and longitude in degrees, for drawings"""
    areas: dict[Area, AreaType] = {}
    """area: the type that this router alone takes it for, in place of that in `ospf`"""


class HostSource(Source):
    """A host on a network of its own behind a router."""

    on: Name
    """the router"""
    interfaces: Annotated[list[InterfaceName], Field(min_length=2, max_length=2)] | None = None
    """what the interface is called at the router, and at the host"""


class OspfSource(Source):
    """Which OSPF runs, and its timers."""

    versions: Annotated[list[Version], Field(min_length=1, max_length=2)] = [2]
    """2 for IPv4, 3 for IPv6, or both"""
    hello: Seconds = 10
    """hello interval"""
    dead: Seconds = 40
    """router dead interval, above hello"""
    fast: Switch = True
    """short brakes on SPF runs and LSAs; false leaves FRR's own"""
    areas: dict[Area, AreaType] = {}
    """area: its type, for those that are not normal"""


class PimSource(Source):
    """PIM-SM with one rendezvous point."""

    rp: Name | None = None
    """the router that is the rendezvous point; without it the most central one is chosen"""
    ipv6: Switch = False
    """PIM and MLD for IPv6 too, where OSPFv3 runs"""


class DksSource(Source):
    """Where the Domain Key Server is plugged in."""

    attach: Name
    """the router behind which it stands"""
    management: Network | None = None
    """the network that joins it to every router when the keying uses one; without one it gets a free one"""


class TopologySource(Source):
    """A network of routers for the laboratory."""

    name: Name = ""
    """for reports and result folders; the file's name"""
    description: str = Field(default="", max_length=1000)
    """for reports and lists"""
    domain: Domain = "example"
    """the domain of keys and policy"""
    defaults: Defaults = Defaults()
    """for every link and LAN that does not say otherwise"""
    ospf: OspfSource = OspfSource()
    """which OSPF runs, and its timers"""
    pim: PimSource | None = PimSource()
    """PIM-SM on every link and LAN, where OSPFv2 runs; off: no multicast routing"""
    routers: dict[Name, RouterSource] = {}
    """the routers: their names, or a mapping of their names; without it those that links and LANs name"""
    links: list[LinkSource] = []
    """the point-to-point links: r1-r2, or a mapping"""
    lans: dict[Name, LanSource] = {}
    """the LANs by name: the routers on it, or a mapping"""
    hosts: dict[Name, HostSource] = {}
    """the hosts by name"""
    dks: DksSource | None = None
    """where the Domain Key Server is; without it behind the first router"""

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, value: Any) -> Any:
        """A key with nothing after it says nothing."""
        if not isinstance(value, dict):
            return value
        return {key: entry for key, entry in value.items() if entry is not None or key not in cls.model_fields}

    @model_validator(mode="before")
    @classmethod
    def _short_links(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("links"), list):
            return value
        return {**value, "links": shorthand.expanded(value)}

    @field_validator("pim", mode="before")
    @classmethod
    def _on_or_off(cls, value: Any) -> Any:
        if isinstance(value, str | bool):
            word = value.lower() if isinstance(value, str) else value
            return {} if word in ON else None if word in OFF else value
        return value

    @field_validator("routers", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {name: {} for name in _once(value)}
        if isinstance(value, dict):
            return {name: {} if entry is None else entry for name, entry in value.items()}
        return value

    @field_validator("lans", mode="before")
    @classmethod
    def _short_lans(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"routers": entry} if isinstance(entry, list) else entry for name, entry in value.items()}


def _once(names: Iterable[Any]) -> list[Any]:
    """The names of a list of routers. ValueError when one is no text or there twice."""
    items: list[Any] = []
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"{ALLOWED}names such as [r1, r2], or a mapping such as {{r1: {{loopback: 10.0.0.1}}, r2: }}"
            )
        if name in items:
            raise ValueError(f"{ALLOWED}each router once, not {name!r} twice")
        items.append(name)
    return items
