"""Every kind of event that agents record: a class each, with its meaning and its fields.

The table of docs/agents.md is made from here (`table`). `wrong` checks an event against its class, as
tests/unit/runtime/test_kinds.py does with those of simulated domains. A field that some events of a kind lack is `|
None`. Knows nothing of the writers.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

KINDS: dict[str, type[Kind]] = {}
"""All kinds by their word in the record, in the order of the table."""
Number = int | float
Names = list[str]


class Kind:
    """The properties of a kind of event. A class's docstring is its line of the table; its annotations are its
    fields."""

    kind: ClassVar[str]
    free: ClassVar[bool] = False
    """True if an event may have further fields."""
    fields: ClassVar[Mapping[str, Any]] = {}
    """Their types by name."""

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        own = typing.get_type_hints(cls)
        cls.fields = {name: of for name, of in own.items() if name not in typing.get_type_hints(Kind)}
        KINDS[cls.kind] = cls


@functools.cache
def _plain(of: Any) -> Any:
    """A type in the form of isinstance: lists of any elements."""
    kinds = typing.get_args(of) if isinstance(of, types.UnionType) else (of,)
    return tuple(typing.get_origin(each) or each for each in kinds)


class Began(Kind):
    """A daemon starts, with this version of the code and the configuration it was given."""

    free = True
    version: str


class Ended(Kind):
    """A daemon ends in order."""


class NoRouters(Kind):
    """DKS: the folder `documents` holds no document, or none for the routers that this process serves."""

    documents: str
    allowed: str


class Started(Kind):
    """The core runs. LKS: its router, the issuer of keys, and the number of interfaces and neighbours; DKS: the number
    of documents."""

    router: str | None
    issuer: str | None
    interfaces: int | None
    neighbors: int | None
    documents: int | None


class StateLoaded(Kind):
    """LKS: counters were read from the disk; no generation below the floor is used again."""

    generation_floor: int


class Policy(Kind):
    """A signed document is in force. DKS: a router's."""

    version: int
    router: str | None


class Ike(Kind):
    """An IKE SA: `established`, or why it ended; the peer's name, once it is known."""

    peer: str | None
    role: str
    state: str
    interface: str | None


class Registered(Kind):
    """LKS: we are a member of a group, `at` a router or `dks`. DKS: a router is. Generation 0 is that of a control
    group."""

    group: str
    generation: int
    at: str | None
    peer: str | None


class Member(Kind):
    """LKS: a neighbour registered at us."""

    group: str
    peer: str
    generation: int


class Keyed(Kind):
    """LKS: both directions with a neighbour are ready."""

    interface: str
    neighbor: str


class Sa(Kind):
    """LKS: a group's SA was `added`, `removed`, or is used to send from now on."""

    spi: str
    direction: str
    destination: str
    interface: str
    generation: int
    change: str


class Installed(Kind):
    """With `timings`: SAs added or replaced, `changes` with policies and removals, `apply_ns` of the kernel, and
    `since_ns` from the datagram, timer or command that caused them."""

    sas: int
    changes: int
    apply_ns: int
    since_ns: int


class Mended(Kind):
    """Another program had changed the kernel: the number of changes that correct it; the first of them."""

    changes: int
    first: str


class Pair(Kind):
    """LKS: `keyed` (an SA both ways for every address) or `lost`."""

    peer: str
    state: str


class Ready(Kind):
    """LKS: it lets the service manager continue; `keyed`: all neighbours are keyed, else the time was up."""

    keyed: bool


class Revocation(Kind):
    """A list is in force from now on. `origin`: a router, `dks`, `administrator`, `disk`. LKS: `neighbors` dropped, and
    whether it is itself revoked (`alone`); DKS: the `routers` it names."""

    version: int
    origin: str
    neighbors: Names | None
    alone: bool | None
    routers: Names | None


class Lease(Kind):
    """LKS: what is left of the lease at the start, in seconds."""

    left_s: Number


class Rekeyed(Kind):
    """A new generation of a group's keys, and why."""

    group: str
    generation: int
    reason: str
    members: int | None
    apart: int | None


class Behind(Kind):
    """LKS: a neighbour showed that we had been further; our folder was lost or restored."""

    group: str
    peer: str
    version: int
    generation: int


class RekeyMessage(Kind):
    """A multicast rekey message (GSA_REKEY). DKS: sent, with `peer`; LKS: accepted."""

    group: str
    generation: int
    peer: str | None


class Excluded(Kind):
    """An exclusion from the group, sent under the Rekey SA. DKS: `peer`."""

    group: str
    peer: str | None


class DksScheduled(Kind):
    """LKS: when the next visit to the DKS is due, in seconds of the monotonic clock and from now."""

    at_s: Number
    wait_s: Number


class DksContact(Kind):
    """LKS: the result of a visit to the DKS."""

    ok: bool
    reason: str | None


class Request(Kind):
    """DKS: a request datagram arrived, from this address."""

    exchange: str
    peer: str
    retransmission: bool


class Confirmed(Kind):
    """LKS: the DKS has our confirmation. DKS: a router's confirmation arrived."""

    version: int
    peer: str | None


class ConfirmationPassedOn(Kind):
    """DKS: a router's confirmation is at the Policy Server."""

    peer: str


class Issued(Kind):
    """DKS: a speaker has new keys, after the generation that it showed."""

    peer: str
    group: str
    generation: int
    after: int | None


class Reported(Kind):
    """DKS: a speaker's LKS has issued up to this generation."""

    peer: str
    group: str
    generation: int


class PolicyFetched(Kind):
    """DKS: the news from the Policy Server's `policy_url`."""

    documents: int | None
    revocation: int | None


class Renewed(Kind):
    """Policy Server: it has signed documents again before their expiry, by itself."""

    version: int
    documents: int


class Carried(Kind):
    """A router's signed document that another carries for it. LKS: it came from `origin`, a router, `dks` or
    `administrator`; `handed`: an administrator handed it to a router. DKS: this `peer` brought it."""

    router: str
    version: int
    peer: str | None
    origin: str | None
    handed: bool | None


class Worker(Kind):
    """DKS of several processes: `started`, or `ended` with a code."""

    worker: int
    state: str
    pid: int | None
    code: int | None


class Paced(Kind):
    """DKS: a router was asked to come back later."""

    peer: str
    group: str
    wait_s: Number


class PutOff(Kind):
    """LKS: the DKS asked to come back later with this registration; it is repeated then, over the same IKE SA."""

    group: str
    wait_s: Number


class Closed(Kind):
    """LKS: it ends because its state is unusable, and the kernel is closed."""

    detail: str


class Dropped(Kind):
    """A datagram was rejected, and why. `suppressed`: the number of further ones of this reason that were not
    recorded."""

    interface: str
    reason: str
    peer: str | None
    suppressed: int | None


class Disk(Kind):
    """The disk has accepted what it had refused."""

    state: str
    files: str


class Lost(Kind):
    """The number of events before this one that could not be written."""

    events: int


class Error(Kind):
    """An error. `suppressed`: the number of further ones of this kind (`what`, `peer`, `group`, `interface`) that were
    not written in the last minute."""

    free = True
    what: str
    detail: str | None


class Fault(Kind):
    """A defect of ours: an unexpected exception. One SA is closed, and the daemon continues."""

    free = True


class Log(Kind):
    """A library's own message."""

    free = True


def wrong(kind: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """How an event differs from its class; None when it does not."""
    declared = KINDS.get(kind)
    if declared is None:
        yield f"{kind} is declared nowhere"
        return
    yield from unlike(kind, fields, declared.fields, free=declared.free)


def unlike(kind: str, fields: Mapping[str, Any], known: Mapping[str, Any], *, free: bool) -> Iterator[str]:
    """How fields differ from those of their kind. `free`: further ones are allowed."""
    for name, value in fields.items():
        if name not in known:
            if not free:
                yield f"{kind} has a field {name} that is not declared"
        elif not isinstance(value, _plain(known[name])):
            yield f"{kind}: {name} is {value!r}, and not {known[name]}"
    for name, type_ in known.items():
        if name not in fields and not isinstance(None, _plain(type_)):
            yield f"{kind} has no {name}"


def listed(known: Mapping[str, Any], *, free: bool) -> str:
    """Fields as the table shows them."""
    fields = ", ".join(f"(`{field}`)" if isinstance(None, _plain(of)) else f"`{field}`" for field, of in known.items())
    return f"{fields}{' and others' if free else ''}"


def table() -> str:
    """The table of docs/agents.md."""
    rows = ["| kind | meaning | fields; those in brackets not always |", "|---|---|---|"]
    for name, kind in KINDS.items():
        meaning = " ".join((kind.__doc__ or "").split())
        rows.append(f"| `{name}` | {meaning} | {listed(kind.fields, free=kind.free)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
