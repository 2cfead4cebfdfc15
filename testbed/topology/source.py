"""What a person may write in a topology file: the schema, with its units and its defaults.

Exported as JSON Schema by `lab topology schema`. Knows only values one at a time; what they mean together is
checked in `check`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv4Network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,7}$"
DOMAIN_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"


def _quantity(units: dict[str, float], allowed: str) -> BeforeValidator:
    """A validator that turns a number with a unit into a number of the first unit."""
    pattern = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\s*")

    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"allowed: {allowed}")
        found = pattern.fullmatch(str(value))
        if found is None or (found[2] and found[2] not in units):
            raise ValueError(f"allowed: {allowed}")
        return float(found[1]) * (units[found[2]] if found[2] else 1.0)

    return BeforeValidator(convert)


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}], "examples": [example]})


Delay = Annotated[
    float,
    _quantity({"ms": 1.0, "us": 0.001, "s": 1000.0}, "a delay such as 5ms, 200us or 0.1s (a bare number is ms)"),
    Field(le=10_000),
    _schema("5ms"),
]
Loss = Annotated[float, _quantity({"%": 1.0}, "a share of packets such as 1%"), Field(le=100), _schema("1%")]
Bandwidth = Annotated[
    float,
    _quantity({"Mbps": 1.0, "kbps": 0.001, "Gbps": 1000.0}, "a rate such as 100Mbps, 64kbps or 1Gbps"),
    Field(gt=0),
    _schema("100Mbps"),
]
Seconds = Annotated[
    float, _quantity({"s": 1.0, "min": 60.0}, "whole seconds such as 10s"), Field(ge=1, le=65535), _schema("10s")
]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Area = Annotated[
    int, Field(ge=0, le=0xFFFFFFFF, description="OSPF area, as a number; 0 is the backbone")
]
Cost = Annotated[int, Field(ge=1, le=65535)]


class Source(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WireSource(Source):
    """What a link and a LAN have in common. Absent values come from `defaults`."""

    delay: Delay | None = None
    loss: Loss | None = None
    bandwidth: Bandwidth | None = None
    cost: Cost | None = None
    subnet: IPv4Network | None = None
    area: Area | None = None


class Defaults(Source):
    """For every link and LAN that does not say otherwise."""

    delay: Delay = 1.0
    loss: Loss = 0.0
    bandwidth: Bandwidth | None = None
    cost: Cost = 10
    area: Area = 0


class LinkSource(WireSource):
    """A point-to-point link. `costs` gives each direction its own, in the order of `between`."""

    between: Annotated[list[Name], Field(min_length=2, max_length=2)]
    costs: Annotated[list[Cost], Field(min_length=2, max_length=2)] | None = None


class LanSource(WireSource):
    """A shared segment."""

    routers: Annotated[list[Name], Field(min_length=2)]


class RouterSource(Source):
    """A router that needs more than its name."""

    loopback: IPv4Interface | None = None
    at: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="latitude and longitude in degrees, for drawings"
    )


class HostSource(Source):
    """A host on a stub network of its own behind a router."""

    on: Name


class OspfSource(Source):
    """Which OSPF runs, and its timers."""

    versions: list[Annotated[int, Field(ge=2, le=3)]] = [2]
    hello: Seconds = 10
    dead: Seconds = 40
    fast: bool = Field(default=True, description="short SPF and LSA brakes; false leaves FRR's own")


class PimSource(Source):
    """PIM-SM with one rendezvous point."""

    rp: Name


class DksSource(Source):
    """Where the DKS is plugged in."""

    attach: Name


class TopologySource(Source):
    """A topology file."""

    name: str = Field(default="", max_length=64)
    description: str = ""
    domain: Annotated[str, Field(pattern=DOMAIN_PATTERN)] = "example"
    defaults: Defaults = Defaults()
    ospf: OspfSource = OspfSource()
    pim: PimSource | None = None
    routers: dict[Name, RouterSource] = {}
    links: list[LinkSource] = []
    lans: dict[Name, LanSource] = {}
    hosts: dict[Name, HostSource] = {}
    dks: DksSource | None = Field(default=None, description="default: attached to the first router")

    @field_validator("routers", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if told is None else told for name, told in value.items()}
        return value

    @field_validator("links", mode="before")
    @classmethod
    def _short_links(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [
            {"between": [end.strip() for end in link.split("-")]} if isinstance(link, str) else link for link in value
        ]

    @field_validator("lans", mode="before")
    @classmethod
    def _short_lans(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"routers": told} if isinstance(told, list) else told for name, told in value.items()}
