"""The plan of one run: what the host asks the guest to do. Pure data, checked by pydantic.

`at_s` of a step, the times of flows and streams and `duration_s` count seconds from the event `ready` (every daemon of
every router runs for the first time).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, SerializeAsAny, model_validator

from testbed.faults.steps import MAX_S, AnyStep, Step
from testbed.keying.base import KEYINGS
from testbed.keying.options import PlanOptions, options_of
from testbed.record.reading import document
from testbed.topology.resolved import Topology
from testbed.topology.units import not_allowed
from testbed.values import Text, listed, quantity, seconds

__all__ = ["Flow", "Plan", "Step", "Stream"]

SOURCE_SPECIFIC = IPv4Network("232.0.0.0/8")
"""The groups that are joined for one source only (RFC 4607 §1), also pimd's default."""

Moment = Annotated[float, seconds(0, MAX_S), AfterValidator(float)]
Rate = Annotated[float, quantity("0.001 to 10,000 packets a second", 0.001, 10_000, {}), AfterValidator(float)]


def _group(value: Any) -> str:
    try:
        address = IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        address = IPv4Address(0)
    if not address.is_multicast or address in IPv4Network("224.0.0.0/24"):
        raise not_allowed("a group that routers forward: 224.0.1.0 to 239.255.255.255, such as 239.1.1.1")
    return str(address)


Captures = Annotated[
    tuple[str, ...] | Literal["all"], listed('"all", or interfaces such as r1-eth0,r2-eth0', every="all")
]
"""The interfaces whose packets are kept."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flow(_Frozen):
    """UDP probes from one node's address to another's, `rate_pps` packets a second."""

    src: Text
    dst: Text
    rate_pps: Rate
    start_s: Moment = 0.0
    stop_s: Moment | None = None
    """None: to the end of the run."""

    @property
    def name(self) -> str:
        """How the record names it."""
        return f"{self.src}->{self.dst}"


class Stream(_Frozen):
    """A multicast stream: numbered UDP packets from one node to a group, which the receivers join by IGMPv3."""

    name: Text
    """How the record names it."""
    source: Text
    group: Annotated[str, PlainValidator(_group)]
    receivers: Annotated[tuple[Text, ...], listed("the names of one or more nodes", least=1)]
    rate_pps: Rate
    since_s: Moment = 0.0
    until_s: Moment | None = None
    """None: to the end of the run."""
    specific: bool = False
    """The receivers join (source, group) in place of the group: in 232.0.0.0/8, and only there."""


class Plan(_Frozen):
    """Everything that one guest needs to know."""

    experiment: str
    topology: Topology
    keying: str
    seed: int = 1
    duration_s: Annotated[float, seconds(0.001, MAX_S), AfterValidator(float)]
    timeline: tuple[AnyStep, ...] = ()
    flows: tuple[Flow, ...] = ()
    streams: tuple[Stream, ...] = ()
    captures: Captures = ()
    options: SerializeAsAny[PlanOptions] = PlanOptions()
    """Options of the engine and of the keying mode, whose own model it is."""
    own: dict[str, Any] = Field(default_factory=dict)
    """Options that only the experiment reads."""
    live: bool = Field(default=False, exclude_if=lambda live: not live)
    """True if the run reports events as they happen, which takes some microseconds of virtual time."""

    @model_validator(mode="before")
    @classmethod
    def _options_of_the_mode(cls, data: Any) -> Any:
        """Options that other modes read, and this one does not, are left out."""
        if not isinstance(data, Mapping) or data.get("keying") not in KEYINGS:
            return data
        kind, given = KEYINGS[data["keying"]].options, data.get("options", {})
        if isinstance(given, Mapping):
            others = {name for name in given if name not in kind.model_fields and name in all_options()}
            given = options_of(kind, {name: value for name, value in given.items() if name not in others})
        return {**data, "options": given}

    @classmethod
    def read(cls, path: Path) -> Plan:
        """A plan from its JSON file. InputError, with the line, when it is not one."""
        return document(path, cls)

    def write(self, path: Path) -> None:
        """Write the JSON file that `read` reads."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")


def all_options() -> dict[str, list[str]]:
    """Every option that the engine or a keying mode reads, with the modes that read it."""
    readers: dict[str, list[str]] = {}
    for keying, mode in KEYINGS.items():
        for name in mode.options.model_fields:
            readers.setdefault(name, []).append(keying)
    return readers
