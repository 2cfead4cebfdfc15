"""The time for which neighbours can still accept a removed router: the bound that is shown, tested and measured.

For each neighbour: min(lease left, time until it has the list + life of keys that the removed router shares + delays of
a rekey). Computed from the domain alone; knows nothing of running agents. Times in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agents.ipsec.protection import Mode
from agents.policy import durations
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.pairs import pairs_of

DKS_POLL_S = 2.0
"""The interval at which the DKS reads its folder."""
DKS_PUSH_S = 25.936
"""All transmissions of one request of the DKS, including its last wait."""
VISIT_S = 35.864
"""The same for a request of a router to the DKS."""
HOP_S = 9.51
"""The same for a request between neighbours.

All three hold for short paths. If a round trip is longer than the first wait (0.25 s between neighbours, 0.5 s from the
DKS, 1 s to it), each is as many measured round trips as it has transmissions: 9, 7 and 11, of 30 s at most.
"""
SHORT_WAYS = (
    "The bound assumes round trips below 0.25 s between neighbours, 0.5 s from the DKS and 1 s to it. Over longer "
    "ways a request may take 11, 9 and 7 round trips."
)
PAIR = "PIM pair"
"""The place of a bound that does not belong to an interface."""


class Case(Enum):
    """The working connections when the removal is committed. The list is in the DKS's folder, or handed to one
    router."""

    DKS = "DKS reachable, router connected to it"
    VISIT = "DKS reachable, router between two visits"
    NEIGHBORS = "DKS down, list handed to one router of each part of the network"
    ISOLATED = "isolated: only the removed router is in reach"


@dataclass(frozen=True, slots=True)
class NeighborBound:
    """The bound at one neighbour. None: there is no such time.

    `told_s`: until it has the list; `keys_s`: life left of others' keys that the removed router holds too;
    `delays_s`: until older generations are no longer accepted; `lease_s`: until its lease closes it; `hops`: neighbours
    that the list passes on the longest way; `why`: the deciding reason, in a sentence.
    """

    router: str
    interface: str
    told_s: float | None
    keys_s: float
    delays_s: float
    lease_s: float | None
    hops: int | None
    why: str

    @property
    def total_s(self) -> float | None:
        """The time after which nothing from the removed router is accepted there; None: no bound."""
        by_notice = None if self.told_s is None else self.told_s + self.keys_s + self.delays_s
        known = [each for each in (by_notice, self.lease_s) if each is not None]
        return min(known, default=None)


def removal_bound(
    domain: Domain, router: str, case: Case, lease_left: Mapping[str, float] | None = None
) -> tuple[NeighborBound, ...]:
    """The bound at every neighbour of `router`. `lease_left`: known rests of leases; otherwise the whole lease.

    PolicyError when there is no such router.
    """
    entry = domain.router(router)
    bounds = []
    for interface in entry.interfaces:
        others = [(other, there) for _index, other, there in domain.neighbors(router, interface.name) if other.approved]
        for other, there in others:
            weak = {each: mode for each, mode in there.by_protocol().items() if mode is not Mode.REQUIRED}
            if weak or there.mode is not Mode.REQUIRED:
                what = f" for {', '.join(each.value for each in weak)}" if there.modes is not None else ""
                mode = next(iter(weak.values()), there.mode)
                why = f"{mode.value}: {other.name} needs no key from any router on {there.name}{what}"
                bounds.append(NeighborBound(other.name, there.name, None, 0, 0, None, None, why))
                continue
            life = domain.settings.lifetimes
            # On a LAN the removed router has the keys of all speakers, and may send as any of them until those are
            # replaced. A member that misses the replacement accepts the old ones until they expire.
            keys_s = float(life.group_s) if len(others) > 1 else 0.0
            keys = keys_s, float(life.atd_s + life.dtd_s)
            bounds.append(_bound(domain, router, case, other.name, there.name, keys, lease_left or {}))
    return tuple(bounds)


def pair_bound(
    domain: Domain, router: str, case: Case, lease_left: Mapping[str, float] | None = None
) -> tuple[NeighborBound, ...]:
    """The same for unicast PIM, at every router that has a pair with `router`, neighbour or not: only these two share
    the keys, which are dropped at once. PolicyError when there is no such router."""
    bounds = []
    for pair in pairs_of(domain, domain.router(router)):
        if pair.mode is Mode.REQUIRED:
            bounds.append(_bound(domain, router, case, pair.router, PAIR, (0.0, 0.0), lease_left or {}))
        else:
            why = f"{pair.mode.value}: {pair.router} needs no key for unicast PIM"
            bounds.append(NeighborBound(pair.router, PAIR, None, 0, 0, None, None, why))
    return tuple(bounds)


def _bound(
    domain: Domain,
    removed: str,
    case: Case,
    name: str,
    interface: str,
    keys: tuple[float, float],
    lease_left: Mapping[str, float],
) -> NeighborBound:
    settings = domain.settings_of(name)
    hops = distance(domain, removed, name) if case is Case.NEIGHBORS else None
    by_notice = _notice_s(settings, case, hops)
    closes = settings.lease.at_end == "close"
    lease = min(lease_left.get(name, settings.lease.seconds), settings.lease.seconds) if closes else None
    bound = NeighborBound(
        router=name,
        interface=interface,
        told_s=by_notice,
        keys_s=keys[0],
        delays_s=keys[1],
        lease_s=None if lease is None else float(lease),
        hops=hops,
        why="",
    )
    if bound.total_s is None:
        why = "it does not get the list, and its lease ends open: no bound"
    elif bound.lease_s is not None and bound.total_s == bound.lease_s:
        why = "its lease ends and closes it" + ("" if by_notice is not None else "; it does not get the list before")
    else:
        why = {
            Case.DKS: "the DKS pushes the list",
            Case.VISIT: "it gets the list at its next visit to the DKS",
            Case.NEIGHBORS: f"neighbours pass the list on, over at most {hops} of them",
        }.get(case, "")
    return NeighborBound(**{**_fields(bound), "why": why})


def _fields(bound: NeighborBound) -> dict[str, Any]:
    return {name: getattr(bound, name) for name in NeighborBound.__slots__}


def _notice_s(settings: Settings, case: Case, hops: int | None) -> float | None:
    # A request waits for the answer to at most one other (window 1), so every step counts twice.
    if case is Case.DKS:
        return DKS_POLL_S + 2 * DKS_PUSH_S
    if case is Case.VISIT:
        return DKS_POLL_S + settings.reconnect.longest_s + 2 * VISIT_S
    if case is Case.NEIGHBORS and hops is not None and settings.local_key_server:
        return hops * 2 * HOP_S
    return None


def distance(domain: Domain, removed: str, name: str) -> int | None:
    """The most steps between neighbours that a list needs to reach `name` without the removed router, from any router
    that can reach it; None when there is none."""
    reach: dict[str, set[str]] = {}
    for adjacency in domain.adjacencies:
        ends = [domain.router(end.router) for end in (adjacency.a, adjacency.b)]
        entries = [
            router.interface(end.interface) for router, end in zip(ends, (adjacency.a, adjacency.b), strict=True)
        ]
        keyed = all(each is not None and each.protected for each in entries)
        if keyed and all(router.approved and router.name != removed for router in ends):
            reach.setdefault(ends[0].name, set()).add(ends[1].name)
            reach.setdefault(ends[1].name, set()).add(ends[0].name)
    steps, queue = {name: 0}, deque([name])
    while queue:
        here = queue.popleft()
        for there in reach.get(here, ()):
            if there not in steps:
                steps[there] = steps[here] + 1
                queue.append(there)
    return max(steps.values()) or None


def leases(given: Iterable[str], domain: Domain, option: str) -> dict[str, float]:
    """The rests of leases, from ROUTER=SECONDS. PolicyError, which names the `option`."""
    left = {}
    for text in given:
        router, _, seconds = text.partition("=")
        try:
            left[router] = float(seconds)
        except ValueError:
            try:
                left[router] = float(durations.parse(seconds))
            except ValueError as error:
                raise PolicyError(f"{option} {text!r} is not ROUTER=SECONDS") from error
        if not 0 <= left[router] < float("inf"):
            raise PolicyError(f"{option} {text!r}: seconds are 0 or more")
        if router not in domain.routers:
            raise PolicyError(f"{option} {text!r}: domain {domain.name} has no router {router!r}")
    return left


def explain(domain: Domain, router: str, lease_left: Mapping[str, float] | None = None) -> dict[str, Any]:
    """All cases, fit for JSON. PolicyError when there is no such router."""
    cases = {}
    for case in Case:
        bounds = (*removal_bound(domain, router, case, lease_left), *pair_bound(domain, router, case, lease_left))
        totals = [each.total_s for each in bounds]
        known = [each for each in totals if each is not None]
        cases[case.name.lower()] = {
            "what": case.value,
            "total_s": max(known, default=0.0) if len(known) == len(totals) else None,
            "neighbors": [{**_fields(each), "total_s": each.total_s} for each in bounds],
        }
    return {"router": router, "domain": domain.name, "cases": cases}


def as_text(answer: Mapping[str, Any]) -> list[str]:
    """The lines of text for the result of `explain`."""
    lines = [f"no router accepts {answer['router']} after, at most:"]
    for case in answer["cases"].values():
        lines += ["", f"{case['what']}: {_seconds_text(case['total_s'])}"]
        width = max((len(f"{each['router']}:{each['interface']}") for each in case["neighbors"]), default=0)
        for each in case["neighbors"]:
            parts = ""
            if each["told_s"] is not None and each["total_s"] != each["lease_s"]:
                parts = f" = list {each['told_s']:g} s + keys {each['keys_s']:g} s + delays {each['delays_s']:g} s"
            where = f"{each['router']}:{each['interface']}"
            lines.append(f"  {where:{width}} {_seconds_text(each['total_s'])}{parts}; {each['why']}")
    return [*lines, "", SHORT_WAYS]


def _seconds_text(seconds: float | None) -> str:
    return "no bound" if seconds is None else f"{seconds:g} s"
