"""Options of a run: those of the engine, and the further ones of each keying mode.

Their names are used with -o, as factors of a sweep, and in an experiment's `options`. Pure; usable on the host.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.domain import Settings, settings_problems
from testbed.errors import InputErrors
from testbed.topology.units import not_allowed
from testbed.values import OneOf, YesNo, explained, listed, one_of, seconds, whole

VALIDITY_S = 1 << 33


class PlanOptions(BaseModel):
    """The engine's options. A keying mode with options of its own has a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    boot_jitter_s: Annotated[float, seconds(0, 3600)] = 0.0
    """The bound of every router's random delay before its first boot, in seconds."""
    costs: YesNo = False
    """Record processor times of agents, and the times that their kernels took."""
    sad: YesNo = False
    """Record every kernel's SAs and the DKS's ledger at the end."""
    retained_mib: Annotated[int, whole("8 to 1024 MiB", 8, 1024)] = 8
    """The disk that survives a power cut, MiB a node."""

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


class NativeOptions(PlanOptions):
    """Options of `native`."""

    wrong_key: Annotated[
        tuple[str, ...], listed("a list of routers"), OneOf("router", lambda topology: topology.routers)
    ] = ()
    """Routers that get another key."""


def _protocol(value: Any) -> str:
    return RoutingProtocol(value).value


class ProtectingOptions(PlanOptions):
    """Options of the modes with IPsec."""

    clear: Annotated[
        tuple[str, ...], listed(f"a list of {', '.join(each.value for each in RoutingProtocol)}", part=_protocol)
    ] = ()
    """Protocols that are left in clear."""

    @property
    def in_clear(self) -> frozenset[RoutingProtocol]:
        """The same as protocols."""
        return frozenset(map(RoutingProtocol, self.clear))


class ManualOptions(ProtectingOptions):
    """Options of `manual`."""

    transform: Annotated[str, one_of("esp", "esp-null", "ah")] = "esp"
    """All with HMAC-SHA-256-128."""


class LaboratorySettings(Settings):
    """The domain's settings in the laboratory. Issuer and Local Key Server are the keying mode's."""

    hidden: ClassVar[tuple[str, ...]] = ("issuer", "local_key_server")
    """Decided by the keying mode, not by an option."""

    validity_s: int = Field(default=VALIDITY_S, ge=60, le=1 << 33)

    @model_validator(mode="before")
    @classmethod
    def _finite(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise not_allowed('a table of settings, such as {"lease": {"seconds": 240}}, or @FILE with one')
        known = [name for name in cls.model_fields if name not in cls.hidden]
        for name in cls.hidden:
            if name in data:
                raise not_allowed(f"--keying decides {name}; here {', '.join(known)}")
        if not _all_finite(data):
            raise not_allowed("finite numbers")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> LaboratorySettings:
        if problems := list(settings_problems(self)):
            raise ValueError("; ".join(problems))
        return self

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


def _all_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_all_finite, value.values()))
    return math.isfinite(value) if isinstance(value, float) else True


class AgentOptions(ProtectingOptions):
    """Options of the modes with a DKS."""

    mode: Annotated[str, one_of(*(each.value for each in Mode))] = Mode.REQUIRED.value
    """The mode of every interface at the start."""
    policy: LaboratorySettings = LaboratorySettings()
    region: Annotated[
        tuple[str, ...],
        listed("a list of links and LANs"),
        OneOf(
            "link or LAN", lambda topology: [name for name, each in topology.segments.items() if each.kind != "stub"]
        ),
    ] = ()
    """The links and LANs that are protected. All others stay in clear, and routers without any of them run no agent.
    Empty: all."""
    new_links: Annotated[int, whole("0 to 64 links", 0, 64)] = 0
    """The number of links that are in no router's policy at the start; the network stays connected without them."""
    previous: Annotated[
        tuple[str, ...], listed("a list of routers"), OneOf("router", lambda topology: topology.routers)
    ] = ()
    """Routers that run the previous release's LKS."""

    def settings(self, *, issuer: str, local_key_server: bool) -> Settings:
        """The domain's settings under a keying mode."""
        fixed = {"issuer": issuer, "local_key_server": local_key_server}
        return Settings.model_validate({**self.policy.__dict__, **fixed})


class CentralOptions(AgentOptions):
    """Options of `central`."""

    commission: YesNo = True
    """Static routes to the DKS at the first power-on."""


def options_of(kind: type[PlanOptions], given: Mapping[str, Any], where: str = "-o ") -> PlanOptions:
    """The given options, checked. InputErrors, each at `where` and its name."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InputErrors(explained(error, "option", kind, lambda *path: where + ".".join(map(str, path)))) from error
