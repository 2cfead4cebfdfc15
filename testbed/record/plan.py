"""The plan of one run: what the host asks the guest to do. Pure data, checked by pydantic.

`at_s` of a step and of a flow count seconds from the event `ready` (every daemon of every
router runs for the first time); `duration_s` too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from testbed.faults.steps import MAX_S, AnyStep, Step
from testbed.record.reading import document
from testbed.topology.resolved import Topology
from testbed.values import Text, listed, quantity, seconds

__all__ = ["Flow", "Plan", "Step"]

Moment = Annotated[float, seconds(0, MAX_S), AfterValidator(float)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flow(_Frozen):
    """UDP probes from one node's address to another's, `rate_pps` packets a second."""

    src: Text
    dst: Text
    rate_pps: Annotated[float, quantity("0.001 to 10,000 packets a second", 0.001, 10_000, {}), AfterValidator(float)]
    start_s: Moment = 0.0
    stop_s: Moment | None = None
    """None: to the end of the run."""

    @property
    def name(self) -> str:
        """How the record names it."""
        return f"{self.src}->{self.dst}"


class Plan(_Frozen):
    """All that one guest needs to know."""

    experiment: str
    topology: Topology
    keying: str
    seed: int = 1
    duration_s: Annotated[float, seconds(0.001, MAX_S), AfterValidator(float)]
    timeline: tuple[AnyStep, ...] = ()
    flows: tuple[Flow, ...] = ()
    captures: Annotated[
        tuple[str, ...] | Literal["all"], listed('"all", or interfaces such as r1-eth0,r2-eth0', every="all")
    ] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    """For the keying mode and the engine. The engine knows: boot_jitter_s (float, first power-on),
    retained_mib (int), frr_debug (bool)."""

    @classmethod
    def read(cls, path: Path) -> Plan:
        """A plan from its JSON file. InputError, with the line, when it is not one."""
        return document(path, cls)

    def write(self, path: Path) -> None:
        """Write the JSON file that `read` reads."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")
