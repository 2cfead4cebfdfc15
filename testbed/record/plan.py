"""The plan of one run: what the host asks the guest to do. Pure data, checked by pydantic.

`at_s` of a step and of a flow count seconds from the event `ready` (every daemon of every
router runs for the first time); `duration_s` too.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from testbed.record.reading import document
from testbed.topology.resolved import Topology


class Action(StrEnum):
    """What a step of the timeline may do."""

    POWER_OFF = "power_off"
    POWER_ON = "power_on"
    LINK_ADMIN_DOWN = "link_admin_down"
    LINK_ADMIN_UP = "link_admin_up"
    LINK_CARRIER_DOWN = "link_carrier_down"
    LINK_CARRIER_UP = "link_carrier_up"
    LINK_BLACKHOLE = "link_blackhole"
    LINK_HEAL = "link_heal"
    LINK_NETEM = "link_netem"
    DKS_KILL = "dks_kill"
    DKS_START = "dks_start"
    PARTITION = "partition"
    HEAL = "heal"
    CLOCK_STEP = "clock_step"
    ROUTER_REMOVE = "router_remove"
    MARK = "mark"
    POLICY_STEP = "policy_step"
    TAP = "tap"
    INJECT = "inject"
    REPLAY = "replay"
    IMPERSONATE = "impersonate"
    IMPOSTOR = "impostor"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Frozen):
    """One action, `at_s` seconds after `ready`."""

    at_s: float = Field(ge=0)
    action: Action
    args: dict[str, Any] = Field(default_factory=dict)


class Flow(_Frozen):
    """UDP probes from one node's address to another's, `rate_pps` packets a second."""

    src: str
    dst: str
    rate_pps: float = Field(gt=0, le=10_000)
    start_s: float = Field(default=0.0, ge=0)
    stop_s: float | None = Field(default=None, ge=0)
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
    duration_s: float = Field(gt=0)
    timeline: tuple[Step, ...] = ()
    flows: tuple[Flow, ...] = ()
    captures: tuple[str, ...] | Literal["all"] = ()
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
