"""Every kind of event of a record except the agents' own: a class each, with its meaning and its fields.

The table of docs/experiments.md is made from here (`table`), and `wrong` checks an event against its class. The agents'
kinds are in `agents.runtime.kinds`. Knows nothing of the writers.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from agents.runtime import kinds as agents
from testbed.faults.steps import ACTIONS

_PLACE = frozenset({"t", "node", "source", "kind"})
"""What every event has."""


class Kind:
    """The properties of a kind of event. A class's docstring is its line of the table; its annotations are its fields,
    and a field that some events lack is `| None`."""

    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    node: ClassVar[str] = "router"
    """Whose event it is."""
    free: ClassVar[bool] = False
    """True if an event may have further fields."""
    fields: ClassVar[Mapping[str, Any]] = {}
    """Their types by name."""

    def __init_subclass__(cls) -> None:
        own = typing.get_type_hints(cls)
        cls.fields = {name: of for name, of in own.items() if name not in typing.get_type_hints(Kind)}
        KINDS.update({(cls.source, kind): cls for kind in cls.kinds})


KINDS: dict[tuple[str, str], type[Kind]] = {}
"""All of them by source and kind, in the order of the table."""


class RunStart(Kind):
    """The run begins."""

    source, kinds, node = "lab", ("run_start",), "lab"
    experiment: str
    keying: str
    seed: int


class Ready(Kind):
    """All daemons run: the timeline's second 0."""

    source, kinds, node = "lab", ("ready",), "lab"


class Mark(Kind):
    """A moment with a name. `routes`: how many commissioning routes the keying mode added."""

    source, kinds, node = "lab", ("mark",), "lab or router"
    name: str
    routes: int | None


class NothingToDo(Kind):
    """A step had nothing to change."""

    source, kinds, node = "lab", ("nothing_to_do",), "lab"
    action: str
    reason: str


class Deploy(Kind):
    """The outcome of a step of a deployment: `result` is taken, held or done."""

    source, kinds, node = "lab", ("deploy",), "lab"
    direction: str
    result: str
    version: int | None
    changes: list[str] | None
    routers: list[str] | None
    left: int | None
    waiting: list[str] | None


class Exit(Kind):
    """A program ended. `killed`: the laboratory ended it."""

    source, kinds, node = "lab", ("exit",), "any"
    program: str
    status: int | None
    killed: bool


class AgentNotReady(Kind):
    """A router's agent did not say within this time that it was ready, and its boot went on."""

    source, kinds = "lab", ("agent_not_ready",)
    after_s: float


class BadEvent(Kind):
    """An agent wrote a line that is no event."""

    source, kinds, node = "lab", ("bad_event",), "any"
    line: str


class RunEnd(Kind):
    """The run is over."""

    source, kinds, node = "lab", ("run_end",), "lab"
    status: str
    reason: str | None


class FaultMade(Kind):
    """A step of the timeline took effect: one event for each node or segment, with the arguments of the step."""

    source, kinds, node, free = "fault", tuple(ACTIONS), "any", True


class Link(Kind):
    """An interface came up, or went down."""

    source, kinds = "link", ("up", "down")
    ifname: str


class Route(Kind):
    """The kernel's route. `nexthops` have `via` and `dev`; `proto` says which program added it."""

    source, kinds, node = "route", ("add", "replace", "del"), "any"
    dst: str
    nexthops: list[dict[str, str | None]]
    proto: str | int
    metric: int


class MulticastRoute(Kind):
    """The kernel's multicast forwarding entry. `origin`: the source's address, or `*`; `iif`, `oifs`: interfaces."""

    source, kinds = "mroute", ("add", "replace", "del")
    origin: str
    group: str
    iif: str | None
    oifs: list[str]


class Adjacency(Kind):
    """A neighbour of ospfd, ospf6d, pimd or pim6d changed its state."""

    source, kinds = "frr", ("adjacency",)
    daemon: str
    ifname: str
    neighbor: str
    state: str
    old: str
    why: str
    address: str | None


class Election(Kind):
    """The designated router according to pimd."""

    source, kinds = "frr", ("dr",)
    ifname: str
    address: str


class JoinPrune(Kind):
    """The router received this from a neighbour, which names it as the upstream router. `rpt`: of the shared tree."""

    source, kinds = "pim", ("join", "prune")
    ifname: str
    neighbor: str
    origin: str
    group: str
    rpt: bool | None


class Register(Kind):
    """The first of a series of Registers. `neighbor`: the registering router; `null`: without data."""

    source, kinds, node = "pim", ("register",), "rendezvous point"
    neighbor: str
    origin: str
    group: str
    null: bool


class RegisterStop(Kind):
    """A Register-Stop of the rendezvous point."""

    source, kinds, node = "pim", ("register_stop",), "first-hop router"
    neighbor: str
    origin: str
    group: str


class PimCount(Kind):
    """Messages received so far, by kind. `at`: a mark, or `end`. Null Registers count among Registers and alone."""

    source, kinds = "pim", ("stat",)
    at: str
    counters: dict[str, int]


class XfrmCount(Kind):
    """Counters of /proc/net/xfrm_stat. `at`: a mark, or `end`."""

    source, kinds, node = "xfrm", ("stat",), "any"
    at: str
    counters: dict[str, int]


class Sad(Kind):
    """The SAs that the kernel has at the end (option `sad`)."""

    source, kinds = "xfrm", ("sad",)
    sas: list[dict[str, Any]]


class Book(Kind):
    """The highest generation of each group in the DKS's ledger, at the end (option `sad`)."""

    source, kinds, node = "xfrm", ("book",), "dks"
    generations: dict[str, int]


class Loss(Kind):
    """A gap in a flow: consecutive numbers that did not arrive, split where the source had no power; `t` is that of the
    first."""

    source, kinds, node = "probe", ("loss",), "lab"
    flow: str
    first_seq: int
    last_seq: int
    sent_first_ns: int
    sent_last_ns: int


class Flow(Kind):
    """Packets of a flow, at the end."""

    source, kinds, node = "probe", ("flow",), "lab"
    flow: str
    sent: int
    received: int


class StreamLoss(Kind):
    """A gap in a multicast stream, as `loss`, at one receiver."""

    source, kinds, node = "probe", ("stream_loss",), "lab"
    stream: str
    receiver: str
    first_seq: int
    last_seq: int
    sent_first_ns: int
    sent_last_ns: int


class Stream(Kind):
    """Packets of a stream at one receiver, at the end; `duplicated`: beyond the first of their number."""

    source, kinds, node = "probe", ("stream",), "lab"
    stream: str
    receiver: str
    sent: int
    received: int
    duplicated: int


class Clear(Kind):
    """Of each interface that sent OSPF or PIM in clear, `packets` by protocol (unicast PIM separately), `first_ns`,
    `last_ns`. `missed`: packets that arrived faster than they were read."""

    source, kinds, node = "probe", ("clear",), "lab"
    interfaces: dict[str, dict[str, Any]]
    missed: int


class Cpu(Kind):
    """Processor time of an agent so far (option `costs`). `at`: a mark, or `end`."""

    source, kinds, node = "probe", ("cpu",), "any"
    at: str
    program: str
    ns: int


class Intruded(Kind):
    """A routing daemon received a packet of the intruder, or one for the second time."""

    source, kinds = "probe", ("intruded",)
    what: str
    protocol: int


class Tap(Kind):
    """The intruder is on the segment, and keeps what passes."""

    source, kinds, node = "probe", ("tap",), "intruder"
    segment: str


class Sent(Kind):
    """The intruder sent frames, and received `answers`."""

    source, kinds, node = "probe", ("sent",), "intruder"
    segment: str
    frames: int
    octets: int
    answers: int
    answer_octets: int


class Replayed(Kind):
    """The intruder sent captured frames again."""

    source, kinds, node = "probe", ("replayed",), "intruder"
    segment: str
    frames: int
    tampered: bool


class Impersonated(Kind):
    """The intruder sent an OSPF packet as `speaker`, with the keys of `insider`."""

    source, kinds, node = "probe", ("impersonated",), "intruder"
    segment: str
    insider: str
    speaker: str
    how: str
    frames: int


class ImpostorSpoke(Kind):
    """The intruder spoke IKE to a router, with this `outcome`."""

    source, kinds, node = "probe", ("impostor",), "intruder"
    segment: str
    victim: str
    name: str
    key: str
    outcome: str


def wrong(event: Mapping[str, Any]) -> Iterator[str]:
    """How an event differs from its class; None when it does not."""
    source, kind = event["source"], event["kind"]
    fields = {name: value for name, value in event.items() if name not in _PLACE}
    if source == "agent":
        yield from agents.wrong(kind, fields)
    elif (source, kind) not in KINDS:
        yield f"{source} {kind} is declared nowhere"
    else:
        declared = KINDS[source, kind]
        yield from agents.unlike(f"{source} {kind}", fields, declared.fields, free=declared.free)


def table() -> str:
    """The table of docs/experiments.md."""
    rows = ["| source | kind | node | meaning | fields; those in brackets not always |", "|---|---|---|---|---|"]
    for declared in dict.fromkeys(KINDS.values()):
        named = "an action" if declared.source == "fault" else ", ".join(f"`{each}`" for each in declared.kinds)
        fields = agents.listed(declared.fields, free=declared.free)
        meaning = " ".join((declared.__doc__ or "").split())
        rows.append(f"| `{declared.source}` | {named} | {declared.node} | {meaning} | {fields} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
