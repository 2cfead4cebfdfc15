"""What can go wrong in a laboratory: one model for each action of a timeline, with its arguments and their check.

A step in JSON is `{"at_s": 5, "action": "link_netem", "args": {"segment": "r1--r2", "delay_ms": 5}}`, as plan.json and
the requests of `lab fault` have it. Each says who performs it: the guest (`actions`), a simulation
(`testbed.simulation.performer`) or both. Pure; usable on the host. It must not know how a fault is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_serializer,
    model_validator,
)

from testbed.errors import InputError, InputErrors, Location, raise_errors
from testbed.topology.findings import nearest
from testbed.topology.resolved import Topology, label
from testbed.topology.units import not_allowed
from testbed.values import (
    Milliseconds,
    OneOf,
    Rate,
    Share,
    Text,
    Wrong,
    YesNo,
    explained,
    listed,
    misnamed,
    octets,
    one_of,
    quantity,
    seconds,
    whole,
)

DKS = "dks"
MAX_S = 1_000_000
"""The latest moment of a timeline, and the longest run, in seconds."""
_MAX_JITTER_MS = 2147
"""netem keeps jitter in 31 bits of nanoseconds, and cuts off what is more (net/sched/sch_netem.c)."""
_FRAME = (34, 9014)
"""Octets of a frame that is injected: Ethernet and IPv4 headers at least."""


def _nodes(topology: Topology) -> list[str]:
    return [*topology.routers, *topology.hosts, DKS]


_A_NODE = OneOf("node", lambda topology: [*_nodes(topology), "all"])


def _turned(segment: str) -> str:
    """The same link from its other end: r2--r1#2 for r1--r2#2."""
    ends, mark, number = segment.partition("#")
    return "--".join(reversed(ends.split("--"))) + mark + number


Segment = Annotated[Text, OneOf("segment", lambda topology: topology.segments, _turned)]
Router = Annotated[Text, OneOf("router", lambda topology: topology.routers)]
Nodes = Annotated[tuple[str, ...] | Literal["all"], listed('"all" or a list of nodes', every="all"), _A_NODE]
Jitter = Annotated[
    float, quantity(f"a jitter from 0 to {_MAX_JITTER_MS}ms, the limit of netem", 0, _MAX_JITTER_MS, {"ms": 1.0})
]
Count = Annotated[int, whole("a whole number from 1 to 1,000,000", 1, 1_000_000)]


def _groups(value: Any) -> tuple[tuple[str, ...], ...]:
    allowed = "a list of lists of nodes, each node once; on a command line r1,r2/r3"
    parts = value.split("/") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise not_allowed(allowed)
    split = [each.split(",") if isinstance(each, str) and isinstance(value, str) else each for each in parts]
    if not split or not all(isinstance(each, list | tuple) and each for each in split):
        raise not_allowed(allowed)
    if not all(isinstance(name, str) and name for each in split for name in each):
        raise not_allowed(allowed)
    return tuple(tuple(each) for each in split)


def _fresh(value: Any) -> tuple[tuple[int, int], ...]:
    allowed = "a list of [place, octets], numbers from 0 and from 1; on a command line 34:4,42:96"
    pairs = [each.split(":") for each in value.split(",")] if isinstance(value, str) else value
    try:
        numbers = tuple((int(offset), int(count)) for offset, count in pairs)
    except (TypeError, ValueError):
        raise not_allowed(allowed) from None
    if not all(0 <= offset <= _FRAME[1] and 1 <= count <= _FRAME[1] for offset, count in numbers):
        raise not_allowed(allowed)
    return numbers


class Where(StrEnum):
    """Who performs steps."""

    GUEST = "guest"
    SIMULATION = "simulation"


EVERYWHERE = frozenset(Where)


class Step(BaseModel):
    """One action, `at_s` seconds after `ready`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_s: Annotated[float, seconds(0, MAX_S), AfterValidator(float)]
    action: str
    hidden: ClassVar[tuple[str, ...]] = ("at_s", "action")
    """What is no argument."""
    where: ClassVar[frozenset[Where]] = frozenset({Where.GUEST})
    """Who performs it."""
    needs_tap: ClassVar[bool] = False
    """Only where somebody listens on the segment already."""
    _written: Location | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "args" not in data:
            return data
        args, rest = data["args"], {name: value for name, value in data.items() if name != "args"}
        if not isinstance(args, Mapping) or rest.keys() & args.keys():
            raise not_allowed("args as a table of the action's arguments")
        return {**args, **rest}

    @model_serializer
    def _nested(self) -> dict[str, Any]:
        return {"at_s": self.at_s, "action": self.action, "args": self.args}

    @property
    def args(self) -> dict[str, Any]:
        """The arguments that were given, by name."""
        return {name: getattr(self, name) for name in self.arguments() if name in self.model_fields_set}

    @property
    def written(self) -> Location | None:
        """Where an experiment's file has the step, if that is known."""
        return self._written

    @classmethod
    def arguments(cls) -> list[str]:
        """The names of the action's arguments."""
        return [name for name in cls.model_fields if name not in cls.hidden]

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        """What of it the topology does not have, and what of its arguments does not fit together."""
        yield from (wrong for _, wrong in misnamed(self, topology))

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        """What it makes of which part of the network. Two steps of one moment that differ in one contradict."""
        return {}


class _Power(Step):
    where: ClassVar[frozenset[Where]] = EVERYWHERE
    nodes: Nodes = ()
    dks: YesNo = False

    def chosen(self, topology: Topology) -> list[str]:
        """The nodes that are meant, in a fixed order. "all" is every router.

        The DKS is among them when `dks` is true or it is named; hosts when they are named.
        """
        nodes = list(topology.routers) if self.nodes == "all" else list(dict.fromkeys(self.nodes))
        if self.dks and DKS not in nodes:
            nodes.insert(0, DKS)
        return nodes

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        if not self.nodes and not self.dks:
            yield f"{self.action} without a node", 'nodes="all", a list of nodes, or dks=true'
        elif self.nodes != "all" and "all" in self.nodes:
            yield 'nodes has "all" in a list', '"all" alone, or a list of nodes'

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("power", name): self.action for name in self.chosen(topology)}


class PowerOff(_Power):
    """Take nodes' power."""

    action: Literal["power_off"] = "power_off"


class PowerOn(_Power):
    """Give nodes power; each boots within `jitter_s` (drawn from the seed)."""

    action: Literal["power_on"] = "power_on"
    jitter_s: Annotated[float, seconds(0, 3600)] = 0.0


class _OfSegment(Step):
    segment: Segment


class _Admin(_OfSegment):
    side: Text | None = None

    def means(self, node: str) -> bool:
        """Whether a node's interface on the segment is meant."""
        return self.side in (None, "both", node)

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        if self.side is not None and self.segment in topology.segments:
            sides = [*(node for node, _ in topology.segments[self.segment].members), "both"]
            if self.side not in sides:
                yield f"there is no side {self.side!r} of {self.segment}", ", ".join(sides)

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        segment = topology.segments.get(self.segment)
        return {
            ("admin", label(*member)): self.action
            for member in (segment.members if segment else ())
            if self.means(member[0])
        }


class LinkAdminDown(_Admin):
    """Take the interfaces down, at one side or all."""

    action: Literal["link_admin_down"] = "link_admin_down"


class LinkAdminUp(_Admin):
    """Take them up again."""

    action: Literal["link_admin_up"] = "link_admin_up"


class _Carrier(_OfSegment):
    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("carrier", self.segment): self.action}


class LinkCarrierDown(_Carrier):
    """Cut the wire so that both ends notice."""

    action: Literal["link_carrier_down"] = "link_carrier_down"


class LinkCarrierUp(_Carrier):
    """Mend it."""

    action: Literal["link_carrier_up"] = "link_carrier_up"


class _Hole(_OfSegment):
    where: ClassVar[frozenset[Where]] = EVERYWHERE

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("blackhole", self.segment): self.action}


class LinkBlackhole(_Hole):
    """Swallow every packet, silently, both ways."""

    action: Literal["link_blackhole"] = "link_blackhole"


class LinkHeal(_Hole):
    """Swallow nothing any more."""

    action: Literal["link_heal"] = "link_heal"


class LinkNetem(_OfSegment):
    """Change what the wire does to packets; what is not named stays."""

    action: Literal["link_netem"] = "link_netem"
    delay_ms: Milliseconds = 0.0
    jitter_ms: Jitter = 0.0
    loss_percent: Share = 0.0
    rate_mbps: Rate = None

    @property
    def changes(self) -> dict[str, float | None]:
        """What was named."""
        return {name: value for name, value in self.args.items() if name != "segment"}

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        if not self.changes:
            yield "link_netem changes nothing", ", ".join(name for name in self.arguments() if name != "segment")

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("netem", self.segment, name): value for name, value in self.changes.items()}


class DksKill(Step):
    """End the key server's processes without notice; its node keeps its power."""

    action: Literal["dks_kill"] = "dks_kill"
    where: ClassVar[frozenset[Where]] = EVERYWHERE

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {(DKS,): self.action}


class DksStart(Step):
    """Start the key server again."""

    action: Literal["dks_start"] = "dks_start"
    where: ClassVar[frozenset[Where]] = EVERYWHERE

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {(DKS,): self.action}


class Partition(Step):
    """Let nothing pass between groups of nodes, silently; nodes that are named in none are one more group."""

    action: Literal["partition"] = "partition"
    where: ClassVar[frozenset[Where]] = EVERYWHERE
    groups: Annotated[tuple[tuple[str, ...], ...], PlainValidator(_groups)]

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        seen: set[str] = set()
        known = OneOf("node", _nodes)
        for group in self.groups:
            yield from known.wrong(group, topology)
            for name in group:
                if name in seen:
                    yield f"{name!r} is in two groups", "each node once"
                seen.add(name)

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("partition",): self.groups}


class Heal(Step):
    """End a partition."""

    action: Literal["heal"] = "heal"
    where: ClassVar[frozenset[Where]] = EVERYWHERE

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("partition",): ()}


class ClockStep(Step):
    """Set the wall clock of a node forward or back; `all`: of every node."""

    action: Literal["clock_step"] = "clock_step"
    where: ClassVar[frozenset[Where]] = EVERYWHERE
    node: Annotated[Text, _A_NODE]
    seconds: Annotated[float, quantity("-1e9 to 1e9 seconds, without 0", -1e9, 1e9, {"s": 1.0, "min": 60.0})]

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        if self.seconds == 0:
            yield "clock_step of 0 s", "-1e9 to 1e9 seconds, without 0"


class RouterRemove(Step):
    """The administrator revokes a router's key; `hand_to` gets the signed list instead of the DKS."""

    action: Literal["router_remove"] = "router_remove"
    where: ClassVar[frozenset[Where]] = EVERYWHERE
    router: Router
    hand_to: Router | None = None

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        yield from _to_itself(self, "is handed its own revocation")


class RouterReplace(Step):
    """Another machine, with a key and a disk of its own, comes in the place of a router without power: an administrator
    signs the documents with a delegated key, and `hand_to` gets them instead of the DKS. The machine has its own."""

    action: Literal["router_replace"] = "router_replace"
    router: Router
    hand_to: Router | None = None

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        yield from _to_itself(self, "has no power and is to get documents")


def _to_itself(step: RouterRemove | RouterReplace, problem: str) -> Iterator[Wrong]:
    if step.hand_to == step.router:
        yield f"{step.router} {problem}", "another router"


class LinkAllow(_OfSegment):
    """An administrator lets the routers of a link be neighbours; `hand_to` gets the signed documents instead of the
    DKS."""

    action: Literal["link_allow"] = "link_allow"
    where: ClassVar[frozenset[Where]] = EVERYWHERE
    hand_to: Router | None = None

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("allowed", self.segment): self.hand_to}


class Administrator(Step):
    """An administrator with a delegated key signs a document beside the Policy Server and gives it to its router, or is
    dismissed, and the router is given the list that says so."""

    action: Literal["administrator"] = "administrator"
    deed: Annotated[str, one_of("sign", "dismiss")]
    hand_to: Router


class Mark(Step):
    """A name for this moment in the record."""

    action: Literal["mark"] = "mark"
    name: Text


class PolicyStep(Step):
    """The Policy Server takes the next step of a deployment, of all protocols or of one, if all have confirmed the one
    before."""

    action: Literal["policy_step"] = "policy_step"
    direction: Annotated[str, one_of("up", "back")]
    at_once: Count = 1
    protocol: Annotated[str, one_of("all", "ospf", "ospf6", "pim", "pim6")] = "all"

    def sets(self, topology: Topology) -> dict[tuple[str, ...], Any]:
        return {("policy",): self.direction}


class Tap(_OfSegment):
    """An intruder goes there, and keeps what passes."""

    action: Literal["tap"] = "tap"


class Inject(_OfSegment):
    """Send frames (hexadecimal), all `copies` times. `fresh`: [place, octets] that are drawn anew each time."""

    action: Literal["inject"] = "inject"
    needs_tap: ClassVar[bool] = True
    frames: Annotated[
        tuple[str, ...],
        listed(f"frames of {_FRAME[0]} to {_FRAME[1]} octets in hexadecimal", least=1, part=octets(*_FRAME)),
    ]
    copies: Count = 1
    gap_s: Annotated[float, seconds(0, 3600)] = 0.0
    fresh: Annotated[tuple[tuple[int, int], ...], PlainValidator(_fresh)] = ()

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        shortest = min(len(bytes.fromhex(each)) for each in self.frames)
        for offset, count in self.fresh:
            if offset + count > shortest:
                yield f"fresh has octets {offset} to {offset + count}", f"places in a frame of {shortest} octets"
        if len(self.frames) * self.copies > 1_000_000:
            yield f"{len(self.frames) * self.copies} frames", "at most 1,000,000"


class Replay(_OfSegment):
    """Send again all that was kept; with `tamper`, ESP with a later number and its last octet changed."""

    action: Literal["replay"] = "replay"
    needs_tap: ClassVar[bool] = True
    tamper: YesNo = False


def _on_segment(step: _OfSegment, topology: Topology, **named: str) -> Iterator[Wrong]:
    segment = topology.segments.get(step.segment)
    there = [node for node, _ in (segment.members if segment else ()) if node in topology.routers]
    for name, router in named.items():
        if segment and router in topology.routers and router not in there:
            yield f"{name}: {step.segment} has no router {router!r}", ", ".join(there)


class Impersonate(_OfSegment):
    """Send an OSPF packet as `speaker`, with all that `insider` has."""

    action: Literal["impersonate"] = "impersonate"
    needs_tap: ClassVar[bool] = True
    insider: Router
    speaker: Router
    payload: Annotated[str, PlainValidator(octets(24, 1480))]

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        yield from _on_segment(self, topology, speaker=self.speaker)


class Impostor(_OfSegment):
    """Speak IKE to `victim` from the address of `router`, as `name`, with the key of `key`."""

    action: Literal["impostor"] = "impostor"
    needs_tap: ClassVar[bool] = True
    victim: Router
    router: Router
    name: Text
    key: Text

    def wrong(self, topology: Topology) -> Iterator[Wrong]:
        yield from super().wrong(topology)
        yield from _on_segment(self, topology, victim=self.victim, router=self.router)
        if self.victim == self.router:
            yield f"{self.router} speaks IKE to itself", "two routers of the segment"


_KINDS = (
    PowerOff | PowerOn | LinkAdminDown | LinkAdminUp | LinkCarrierDown | LinkCarrierUp | LinkBlackhole | LinkHeal
    | LinkNetem | DksKill | DksStart | Partition | Heal | ClockStep | RouterRemove | RouterReplace | LinkAllow
    | Administrator | Mark | PolicyStep | Tap
    | Inject | Replay | Impersonate | Impostor
)  # fmt: skip
ACTIONS: dict[str, type[Step]] = {kind.model_fields["action"].default: kind for kind in get_args(_KINDS)}
"""Every action of a timeline by its name. Those that a simulation alone performs are in `simulated`."""
SHARED = {name for name, kind in ACTIONS.items() if Where.SIMULATION in kind.where}
"""Those that a simulation performs too."""
if TYPE_CHECKING:
    AnyStep = Step
else:
    AnyStep = Annotated[_KINDS, Field(discriminator="action")]


def make(action: Any, args: Mapping[str, Any], at_s: Any = 0, written: Location | None = None) -> Step:
    """A step of this action. InputError for an action that there is not, InputErrors for all that is wrong with its
    arguments; they stand at `written`, or are named after the action."""
    if not isinstance(action, str) or action not in ACTIONS:
        raise InputError(
            f"there is no action {action!r}{nearest(str(action), ACTIONS)}", where=written, allowed=", ".join(ACTIONS)
        )
    kind, prefix = ACTIONS[action], f"{action}: " if written else ""
    foreign = [
        InputError(f"{prefix}unknown argument {name!r}", where=written or action, allowed=", ".join(kind.arguments()))
        for name in Step.hidden if name in args
    ]  # fmt: skip
    raise_errors(foreign)
    try:
        made = kind.model_validate({"at_s": at_s, "action": action, "args": args})
    except ValidationError as error:
        errors = explained(error, "argument", kind, lambda *_: written or action)
        raise InputErrors(
            InputError(prefix + each.problem, where=each.where, allowed=each.allowed) for each in errors
        ) from error
    made._written = written
    return made
