"""An administrator's changes as a program sends them: a list of steps, taken all or none.

Each says its kind in `op`, and is what the verb of that name does on the command line. Knows nothing of HTTP or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.document import InterfaceName, Issuer, RouterName
from agents.policy.domain import Domain
from agents.policy.keys import public_key_from_pem, spki

MAX_STEPS = 1000
Pem = Annotated[str, Field(max_length=1000, description="An Ed25519 public key, PEM.")]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class End(_Step):
    """An interface of a router."""

    router: RouterName
    interface: InterfaceName


class AddRouter(_Step):
    op: Literal["router.add"]
    name: RouterName
    key: Pem
    room: int = Field(default=4, ge=1, le=256, description="For how many interfaces to reserve SPIs.")


class ApproveRouter(_Step):
    op: Literal["router.approve"]
    name: RouterName
    key: Pem


class RemoveRouter(_Step):
    op: Literal["router.remove"]
    name: RouterName


class AddInterface(_Step):
    op: Literal["interface.add"]
    at: End
    address: IPv4Interface | None = Field(default=None, description="None: a link of IPv6 alone.")
    link_local: IPv6Address
    link: Literal["p2p", "lan"] = "p2p"
    protocols: tuple[RoutingProtocol, ...] = Field(default=(RoutingProtocol.OSPF,), max_length=len(RoutingProtocol))
    mode: Mode = Mode.CLEAR


class SetMode(_Step):
    op: Literal["interface.mode"]
    at: End
    mode: Mode
    protocols: tuple[RoutingProtocol, ...] = Field(
        default=(), max_length=len(RoutingProtocol), description="Of these alone; of all when empty."
    )


class SetIssuer(_Step):
    op: Literal["issuer"]
    issuer: Issuer
    protocols: tuple[RoutingProtocol, ...] = Field(
        default=(), max_length=len(RoutingProtocol), description="Of these alone; of all when empty."
    )


class Allow(_Step):
    op: Literal["adjacency.allow"]
    a: End
    b: End


class Deny(_Step):
    op: Literal["adjacency.deny"]
    a: End
    b: End


class SetPostQuantum(_Step):
    op: Literal["post-quantum"]
    asked: PostQuantum


EditStep = Annotated[
    AddRouter | ApproveRouter | RemoveRouter | AddInterface | SetMode | SetIssuer | Allow | Deny | SetPostQuantum,
    Field(discriminator="op"),
]


def take(domain: Domain, steps: Iterable[EditStep]) -> Domain:
    """The domain after these steps. PolicyError for the first that cannot be taken."""
    for step in steps:
        domain = _take(domain, step)
    return domain


def _take(domain: Domain, step: EditStep) -> Domain:
    match step:
        case AddRouter():
            return edit.add_router(domain, step.name, spki(public_key_from_pem(step.key.encode())), room=step.room)
        case ApproveRouter():
            return edit.approve_router(domain, step.name, spki(public_key_from_pem(step.key.encode())))
        case RemoveRouter():
            return edit.remove_router(domain, step.name)
        case AddInterface():
            return edit.add_interface(
                domain,
                step.at.router,
                step.at.interface,
                step.address,
                step.link_local,
                step.link,
                step.protocols,
                step.mode,
            )
        case SetMode():
            return edit.set_mode(domain, step.at.router, step.at.interface, step.mode, step.protocols)
        case SetIssuer():
            return edit.set_issuer(domain, step.issuer, step.protocols)
        case Allow():
            return edit.allow(domain, _place(step.a), _place(step.b))
        case Deny():
            return edit.deny(domain, _place(step.a), _place(step.b))
        case SetPostQuantum():
            return edit.set_post_quantum(domain, step.asked)


def _place(end: End) -> tuple[str, str]:
    return end.router, end.interface
