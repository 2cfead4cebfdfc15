"""Deployment in steps: segment by segment from `clear` to `required` and back, in a running network.

A segment is a set of interfaces that adjacencies connect. All its members take a step together, one mode further, and
the next only when every member has confirmed the one before. Within one step, the members' updates may come in any
order without a break: that is a property of the modes (agents.ipsec.protection.Mode, docs/ipsec.md). Pure functions
over domain and confirmations; knows nothing of files, versions or the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.confirmation import Confirmation, missing
from agents.policy.document import InterfaceName, PolicyDocument, RouterName
from agents.policy.domain import Domain, InterfaceEntry, Value
from agents.policy.errors import NothingToDo, PolicyError

MAX_SEGMENTS = 100_000


class RouterInterface(Value):
    """An interface of a router."""

    router: RouterName
    interface: InterfaceName

    def __str__(self) -> str:
        return f"{self.router}:{self.interface}"


class Segment(Value):
    """Interfaces that hear each other, in order."""

    members: tuple[RouterInterface, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """All members' names."""
        return " -- ".join(str(each) for each in self.members)


class Deployment(Value):
    """The present deployment: these segments, in this order, to this mode. `protocols`: only these, or all when empty.
    `at_once`: the number of segments that take a step together; `last`: those of the latest step, whose members must
    confirm it."""

    format: int = 1
    goal: Mode
    protocols: tuple[RoutingProtocol, ...] = Field(default=(), max_length=len(RoutingProtocol))
    segments: tuple[Segment, ...] = Field(min_length=1, max_length=MAX_SEGMENTS)
    at_once: int = Field(default=1, ge=1, le=MAX_SEGMENTS)
    last: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Protocols of one interface take one step. `whole`: they are all its protocols."""

    at: RouterInterface
    protocols: tuple[RoutingProtocol, ...]
    before: Mode
    after: Mode
    whole: bool = True

    def __str__(self) -> str:
        which = "" if self.whole else f" {', '.join(each.value for each in self.protocols)}"
        return f"{self.at}{which}: {self.before.value} -> {self.after.value}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the segments, and the change of each member that is not there yet."""

    segments: tuple[Segment, ...]
    changes: tuple[Change, ...]

    @property
    def reason(self) -> str:
        """The reason of the version, for the history."""
        modes = sorted({each.after for each in self.changes}, key=lambda mode: mode.step)
        names = ", ".join(each.name for each in self.segments)
        which = {each.value: None for change in self.changes if not change.whole for each in change.protocols}
        return f"deploy {'/'.join([*which, *(mode.value for mode in modes)])}: {names}"[:1000]


# -- segments -----------------------------------------------------------------------------------------


def segments(domain: Domain, protocols: Collection[RoutingProtocol] = ()) -> tuple[Segment, ...]:
    """All segments of the domain with a protocol to protect (one of `protocols`, if any are named), in the order of
    their names."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def find(router_interface: tuple[str, str]) -> tuple[str, str]:
        while leader[router_interface] != router_interface:
            leader[router_interface] = leader[leader[router_interface]]
            router_interface = leader[router_interface]
        return router_interface

    for router in domain.routers.values():
        for interface in router.interfaces:
            if _of(interface, protocols):
                leader[router.name, interface.name] = (router.name, interface.name)
    for adjacency in domain.adjacencies:
        if adjacency.a.router_interface in leader and adjacency.b.router_interface in leader:
            leader[find(adjacency.a.router_interface)] = find(adjacency.b.router_interface)
    by_leader: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for router_interface in sorted(leader):
        by_leader.setdefault(find(router_interface), []).append(router_interface)
    return tuple(
        Segment(members=tuple(RouterInterface(router=router, interface=interface) for router, interface in members))
        for members in sorted(by_leader.values())
    )


def _of(interface: InterfaceEntry, protocols: Collection[RoutingProtocol]) -> tuple[RoutingProtocol, ...]:
    return tuple(each for each in interface.protocols if not protocols or each in protocols)


def chosen(domain: Domain, words: Iterable[str], protocols: Collection[RoutingProtocol] = ()) -> tuple[Segment, ...]:
    """The segments that hold these interfaces (ROUTER:INTERFACE) or routers, in the order of the words; all without
    words. PolicyError for a word that names none."""
    every = segments(domain, protocols)
    which = " or ".join(each.value for each in protocols) or "a protocol to protect"
    selected: dict[Segment, None] = {}
    given = list(words)
    for word in given:
        fitting = [each for each in every if any(word in (str(end), end.router) for end in each.members)]
        if not fitting:
            raise PolicyError(f"no segment has a member {word!r}; allowed: a router, or ROUTER:INTERFACE with {which}")
        selected.update(dict.fromkeys(fitting))
    result = tuple(selected) if given else every
    if not result:
        raise PolicyError(f"the domain has no interface with {which}")
    return result


def entries(domain: Domain, segment: Segment) -> list[tuple[RouterInterface, InterfaceEntry]]:
    """The present state of every member. PolicyError when one is gone."""
    interfaces = []
    for at in segment.members:
        entry = domain.router(at.router).interface(at.interface)
        if entry is None:
            raise PolicyError(f"{at} no longer exists; start again: policy deploy start")
        interfaces.append((at, entry))
    return interfaces


def modes(domain: Domain, segment: Segment, protocols: Collection[RoutingProtocol] = ()) -> list[Mode]:
    """The mode of each of these protocols of every member. PolicyError when one is gone."""
    return [entry.mode_of(each) for _, entry in entries(domain, segment) for each in _of(entry, protocols)]


def present(domain: Domain, deployment: Deployment) -> Deployment | None:
    """The deployment without interfaces that were removed since its start; None when nothing is left of it."""

    def kept(covered: Iterable[Segment]) -> tuple[Segment, ...]:
        members = (tuple(each for each in segment.members if _there(domain, each)) for segment in covered)
        return tuple(Segment(members=each) for each in members if each)

    left = kept(deployment.segments)
    return deployment.model_copy(update={"segments": left, "last": kept(deployment.last)}) if left else None


def _there(domain: Domain, at: RouterInterface) -> bool:
    router = domain.routers.get(at.router)
    return router is not None and router.interface(at.interface) is not None


# -- steps --------------------------------------------------------------------------------------------


def next_step(domain: Domain, deployment: Deployment) -> Step | None:
    """The next step; None when every segment has its goal."""
    goal, protocols = deployment.goal, deployment.protocols
    open_ = [each for each in deployment.segments if any(mode is not goal for mode in modes(domain, each, protocols))]
    if not open_:
        return None
    taken = tuple(open_[: deployment.at_once])
    return Step(taken, tuple(change for segment in taken for change in _towards(domain, segment, deployment)))


def _towards(domain: Domain, segment: Segment, deployment: Deployment) -> Iterator[Change]:
    """The members furthest from the goal take one step towards it; the others wait for them."""
    order, goal = list(Mode), deployment.goal
    distance = max(abs(mode.step - goal.step) for mode in modes(domain, segment, deployment.protocols))
    for at, entry in entries(domain, segment):
        going: dict[Mode, list[RoutingProtocol]] = {}
        for each in _of(entry, deployment.protocols):
            if abs(entry.mode_of(each).step - goal.step) == distance:
                going.setdefault(entry.mode_of(each), []).append(each)
        for mode, which in going.items():
            after = order[mode.step + (1 if mode.step < goal.step else -1)]
            yield Change(at, tuple(which), mode, after, whole=len(which) == len(entry.protocols))


def steps(domain: Domain, deployment: Deployment) -> Iterator[Step]:
    """All steps from here to the goal."""
    while (step := next_step(domain, deployment)) is not None:
        yield step
        domain = taken(domain, step)


def taken(domain: Domain, step: Step) -> Domain:
    """The domain after this step."""
    for change in step.changes:
        domain = edit.set_mode(domain, change.at.router, change.at.interface, change.after, change.protocols)
    return domain


def waiting(
    documents: Mapping[str, PolicyDocument],
    confirmations: Mapping[str, Confirmation],
    concerned: Iterable[Segment],
    without: Collection[str] = (),
) -> list[str]:
    """The missing confirmations for the documents of these segments, a sentence each; empty: continue.

    `without`: routers that are not waited for. A router without a document (not approved) is no router's neighbour yet
    and cannot confirm.
    """
    interfaces: dict[str, set[str]] = {}
    for segment in concerned:
        for at in segment.members:
            interfaces.setdefault(at.router, set()).add(at.interface)
    missing: list[str] = []
    for router, names in sorted(interfaces.items()):
        document = documents.get(router)
        if document is not None and router not in without:
            missing += _sentences(document, confirmations.get(router), names, without)
    return missing


def _sentences(
    document: PolicyDocument, said: Confirmation | None, names: set[str], without: Collection[str]
) -> list[str]:
    if without:
        # No router can be keyed with a router that is not waited for.
        kept = {
            each.name: tuple(other for other in each.neighbors if other.router not in without)
            for each in document.interfaces
        }
        document = document.model_copy(
            update={
                "interfaces": tuple(
                    each.model_copy(update={"neighbors": kept[each.name]}) for each in document.interfaces
                )
            }
        )
    return missing(document, said, names)


def begin(
    domain: Domain,
    words: Iterable[str] = (),
    *,
    goal: Mode = Mode.REQUIRED,
    at_once: int = 1,
    backwards: bool = False,
    protocols: Iterable[RoutingProtocol] = (),
) -> Deployment:
    """A deployment of these segments and protocols, all when none are named; `backwards`: the last segment first.
    NothingToDo when all have the goal."""
    only = tuple(dict.fromkeys(protocols))
    selected = chosen(domain, words, only)
    ordered = tuple(reversed(selected)) if backwards else selected
    made = Deployment(goal=goal, protocols=only, segments=ordered, at_once=at_once)
    if next_step(domain, made) is None:
        raise NothingToDo(f"every one of {len(selected)} segments is already {goal.value}")
    return made


def back(deployment: Deployment, goal: Mode = Mode.CLEAR) -> Deployment:
    """The same segments in reverse, the last one first."""
    return deployment.model_copy(update={"goal": goal, "segments": tuple(reversed(deployment.segments))})


def jumps(before: Domain | None, after: Domain) -> list[str]:
    """Changes of more than one step at once, a sentence each: while one end has the new document and the other the old,
    the two cannot understand, or reject, each other."""
    if before is None:
        return []
    sentences = []
    for asked, asks in sorted(_key_exchanges(before, after)) if before.adjacencies else ():
        sentences.append(
            f"post-quantum goes from {asked} to {asks} at once: neighbours reject each other until both have the new "
            "policy; preferred is the step between, until every router has confirmed it"
        )
    used = {end for adjacency in before.adjacencies for end in adjacency.router_interfaces}
    for router in after.routers.values():
        old = before.routers.get(router.name)
        for interface in router.interfaces:
            was = old.interface(interface.name) if old is not None else None
            if was is None or (router.name, interface.name) not in used:
                continue
            far = {
                (was.mode_of(each), interface.mode_of(each)): each
                for each in interface.protocols
                if abs(was.mode_of(each).step - interface.mode_of(each).step) > 1
            }
            for (before_, after_), protocol in far.items():
                which = "" if was.modes is interface.modes is None else f" {protocol.value}"
                sentences.append(
                    f"{router.name}:{interface.name}{which} goes from {before_.value} to {after_.value} at once: its "
                    "neighbours cannot understand it until both ends have the new policy; policy deploy takes the "
                    "steps"
                )
    return sentences


def _key_exchanges(before: Domain, after: Domain) -> set[tuple[str, str]]:
    """Jumps between `off` and `required`, of any router."""
    was = {name: settings.post_quantum for name, settings in before.every_settings()}
    now = {name: settings.post_quantum for name, settings in after.every_settings()}
    both = {(was[name], now[name]) for name in was.keys() & now.keys()}
    return {(old.value, new.value) for old, new in both if {old, new} == {PostQuantum.OFF, PostQuantum.REQUIRED}}
