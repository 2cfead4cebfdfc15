"""What can go wrong in a simulation alone: what needs a party's inside, or a datagram in one's hand.

The vocabulary is one with `steps`, which has what the guest performs, and what both do. It must not know how a fault is
made (`testbed.soak`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from agents.ipsec.protection import Mode, RoutingProtocol
from testbed.faults.steps import Router, Segment, Step, Where

Times = Annotated[float, Field(ge=0)]
Number = Annotated[int, Field(ge=0)]


class _Simulated(Step):
    where: ClassVar[frozenset[Where]] = frozenset({Where.SIMULATION})


class _OfRouter(_Simulated):
    router: Router


# -- wires


class Noise(_Simulated):
    """Datagrams are lost, come twice and overtake each other for so long."""

    action: Literal["noise"] = "noise"
    for_s: Times


class ReplayDatagrams(_Simulated):
    """Old datagrams come again, to whom they were for."""

    action: Literal["replay_datagrams"] = "replay_datagrams"
    count: Number


class AlterDatagrams(_Simulated):
    """Old datagrams come again with a bit turned over."""

    action: Literal["alter_datagrams"] = "alter_datagrams"
    count: Number


# -- power and disks: what a party finds when it starts again


class CrashAtEffect(_OfRouter):
    """The power goes at the effect of this number from now, and comes back."""

    action: Literal["crash_at_effect"] = "crash_at_effect"
    effect: Number


class LoseWrite(_OfRouter):
    """The power goes after a write and before fsync, and comes back."""

    action: Literal["lose_write"] = "lose_write"


class TornCounters(_OfRouter):
    """The counters are cut off after this part of them, half old and half new, or have a bit turned over: the router
    does not start, until the administrator puts the right ones back."""

    action: Literal["torn_counters"] = "torn_counters"
    how: Literal["cut", "mixed", "altered"]
    part: Annotated[float, Field(ge=0, le=1)] = 0.0


class OldFile(_OfRouter):
    """Document or list are those of before, or the list is gone: the router does not start, as with torn counters."""

    action: Literal["old_file"] = "old_file"


class OldFolder(_OfRouter):
    """All of a router's files are those of before, or it is commissioned anew with its newest document."""

    action: Literal["old_folder"] = "old_folder"
    older: bool


class OldLedger(_Simulated):
    """The DKS loses its power, and a part of its ledger is that of before."""

    action: Literal["old_ledger"] = "old_ledger"


# -- policy


class Rekey(_OfRouter):
    """An administrator orders new keys."""

    action: Literal["rekey"] = "rekey"


class NewDocuments(_Simulated):
    """Every router has a new document, with another deactivation delay."""

    action: Literal["new_documents"] = "new_documents"
    dtd_s: Number


class HandDocuments(_OfRouter):
    """A router is handed the documents of all."""

    action: Literal["hand_documents"] = "hand_documents"


class HandList(_OfRouter):
    """A router is handed the newest revocation list."""

    action: Literal["hand_list"] = "hand_list"


class LinkDeny(_Simulated):
    """An administrator lets the routers of a link be neighbours no more."""

    action: Literal["link_deny"] = "link_deny"
    segment: Segment


class SegmentMode(_Simulated):
    """An administrator sets the mode of all interfaces of a segment: of all protocols, or of these."""

    action: Literal["segment_mode"] = "segment_mode"
    segment: Segment
    mode: Mode
    protocols: tuple[RoutingProtocol, ...] = ()


class Issuer(_Simulated):
    """Somebody else makes the keys: LKSs, the DKS while it is reached, or the DKS alone."""

    action: Literal["issuer"] = "issuer"
    issuer: Literal["lks", "dks", "central"]


# -- parties that do not keep to the rules


class Deafen(_OfRouter):
    """From now on a router acts on no list and no new document."""

    action: Literal["deafen"] = "deafen"


class FalseList(_OfRouter):
    """A router is handed a list that another key signed, that is altered, or that is not newer."""

    action: Literal["false_list"] = "false_list"
    how: Literal["forged", "altered", "older"]


class FalseDocument(_OfRouter):
    """The DKS gives a router that it is connected to a document that is not the Policy Server's newest for it."""

    action: Literal["false_document"] = "false_document"
    how: Literal["of the DKS", "altered", "older", "another router's", "its own", "for another router"]


class Lie(_OfRouter):
    """An insider says authenticated things that are not for it to say, for so long."""

    action: Literal["lie"] = "lie"
    for_s: Times


_KINDS = (
    Noise | ReplayDatagrams | AlterDatagrams | CrashAtEffect | LoseWrite | TornCounters | OldFile | OldFolder
    | OldLedger | Rekey | NewDocuments | HandDocuments | HandList | LinkDeny | SegmentMode | Issuer | Deafen | FalseList
    | FalseDocument | Lie
)  # fmt: skip
SIMULATED: dict[str, type[Step]] = {kind.model_fields["action"].default: kind for kind in get_args(_KINDS)}
"""Every action that only a simulation performs, by its name."""
