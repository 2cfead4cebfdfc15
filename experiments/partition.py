"""The domain is cut in two for longer than keys live. Policy changes on one side, a router is stolen on the other: when
do both sides agree again?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import networkx

from testbed.analysis import adjacency, multicast, of_run
from testbed.analysis.convergence import phases
from testbed.analysis.measures import Adjacencies
from testbed.analysis.multicast import Phase
from testbed.analysis.numbering import numbering
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.keying.base import modes
from testbed.record.plan import Step, Stream
from testbed.runner.experiment import (
    ROUTES_RIGHT,
    Criterion,
    Experiment,
    Measures,
    Span,
    Table,
    between,
    step,
)
from testbed.runner.streams import usual_streams
from testbed.topology.resolved import Topology

if TYPE_CHECKING:
    from testbed.report.page import Drawn

LIFETIME_S = 60
CUT_S = 180
POLICY_S = CUT_S + 1
"""Before a router has noticed the cut: a router that reports a lost neighbour holds every further step."""
STOLEN_S = CUT_S + 90
REVOKED_S = STOLEN_S + 10
HEAL_S = CUT_S + 5 * LIFETIME_S
PHASE_S = 10.0
"""A hello interval: the bound of the random delay of each boot and of the healing. How long OSPF takes depends on the
phase of the Hellos, and routers that boot together send theirs together."""
NEWS_WITHIN_S = 10
"""Documents and lists pass from neighbour to neighbour; routers visit the DKS later than this."""
BACK_S = HEAL_S + 160
END_S = BACK_S + 90
CUT, HEALED, BACK = "cut", "healed", "stolen router is back"
LOCAL = modes(lambda mode: mode.local_key_server)
NEAR, FAR = "adjacencies lost on the DKS's side", "adjacencies lost on the other side"
REKEYS_NEAR, REKEYS_FAR = "generations made on the DKS's side while cut", "generations made on the other side while cut"
STEPS, EARLY, LATE = (
    "policy steps taken while cut",
    "routers beyond the cut that had updates before it healed",
    "routers on the DKS's side that lacked its updates until it healed",
)
AGREE, HEARD = "healed to all have the newest policy, s", "healed to all know of the revocation, s"
BARE = "interfaces beyond the cut without a key when it healed"
HELD = "adjacencies of the stolen router after its return"
WRONG = ("SAs of no group, or of the stolen router", "groups without a key in common",
         "groups with two keys of one number")  # fmt: skip
BESIDE = "groups whose newest number differs from the DKS's ledger"


def sides(topology: Topology) -> tuple[list[str], list[str]]:
    """The routers of the DKS's side, and those beyond the cut: two connected halves, the second still connected without
    the stolen router. InputError when the topology has no such halves."""
    graph = _graph(topology)
    near: list[str] = []
    for name in networkx.bfs_tree(graph, topology.dks.router, sort_neighbors=sorted):
        near.append(name)
        far = sorted(set(graph) - set(near))
        whole = len(far) > 2 and networkx.is_connected(graph.subgraph(far))
        if 2 * len(near) >= len(graph) and whole and _spare(graph, far):
            return near, far
    raise InputError(
        "it cannot be cut into two connected halves, one of them still connected without one of its routers",
        where=f"topology {topology.name}", allowed="for example ring:6 or abilene",
    )  # fmt: skip


def stolen(topology: Topology) -> str:
    """The router beyond the cut that is stolen."""
    return _spare(_graph(topology), sides(topology)[1])[0]


def _graph(topology: Topology) -> Any:
    graph = networkx.Graph()
    for name in topology.routers:
        graph.add_edges_from((name, each.neighbor_router) for each in topology.neighbors(name))
    return graph


def _spare(graph: Any, far: list[str]) -> list[str]:
    """The routers of `far` without which the network stays connected, and `far` as well."""
    parts = ((name, [each for each in far if each != name]) for name in far)
    return [
        name
        for name, rest in parts
        if all(networkx.is_connected(graph.subgraph(part)) for part in (rest, set(graph) - {name}))
    ]


def groups(topology: Topology) -> list[list[str]]:
    """All nodes by side, hosts with a router of their segment."""
    near, far = sides(topology)
    groups_ = [[*near, "dks"], list(far)]
    for name, host in topology.hosts.items():
        members = {node for node, _interface in topology.segments[host.segment].members}
        groups_[0 if members & set(near) else 1].append(name)
    return groups_


class Partition(Experiment):
    name = "partition"
    title = "The domain is cut in two, and policy changes meanwhile"
    question = (
        "Half of the domain is cut off from the DKS for longer than keys live. Meanwhile policy changes, and a router "
        "beyond the cut is revoked. Does routing go on in both halves, and how long after healing do all routers have "
        "one policy, one revocation list and one numbering?"
    )
    method = (
        f"A group's key lives {LIFETIME_S} s; all links are `permissive`. After {CUT_S} s no packet passes between the "
        "two halves, neither on links nor on the management network, and no interface loses its carrier. "
        f"{POLICY_S - CUT_S} s later the Policy Server takes all links to `required`; the new policy can reach only "
        "the DKS's half. (Any later, the Policy Server would refuse: routers at the cut report to the DKS that they "
        f"have lost a neighbour.) {STOLEN_S - CUT_S} s after the cut a router beyond it is stolen, and "
        f"{REVOKED_S - STOLEN_S} s later its key is revoked; the revocation can reach only the DKS's half. The cut "
        f"heals {HEAL_S - CUT_S} s after it was made, or up to {PHASE_S:g} s later. {BACK_S - CUT_S} s after the cut "
        "the stolen router is switched on at its old place. Convergence is the time from healing to the last moment, "
        "before the stolen router is on again, at which the forwarding table of another router came to match the "
        "shortest paths without the stolen router. Adjacencies between two routers of one half count as lost; those "
        "across the cut and those of the stolen router do not. A router has a policy, or the list, when its agent "
        "reports it. At the end every kernel's SAs are compared with each other and with the DKS's ledger."
    )
    shows_not = (
        "One cut of one length, into two halves. The old and the new policy are compatible, as they are at every step "
        "of a deployment. The thief does nothing beyond the cut; the experiment `revocation` measures how long a "
        "removed router is accepted when it goes on there. Each router carries the documents of the 16 nearest "
        "routers, which here are all of them. In a network with more routers beyond the cut than a router carries, "
        "the far ones wait for the routers in between, or for their own visit to the DKS. With lks the DKS learns of "
        "generations only at a visit, so its ledger lags by design."
    )
    topology = "ring:6"
    keyings: ClassVar[tuple[str, ...]] = ("none", "central-mgmt", "dks-lks", "lks")
    seeds = 3
    duration_s = float(END_S)
    main = Span("healed to routes right", "the moment at which the cut heals", ROUTES_RIGHT)
    restored = "adjacencies up at the end, of the routers that were not stolen"
    requests_since = "the moment at which the cut heals"
    options: ClassVar = {
        "sad": True,
        "boot_jitter_s": PHASE_S,
        "mode": "permissive",
        "policy": {
            "carries": 16,
            "lifetimes": {"group_s": LIFETIME_S},
            "reconnect": {"first_min_s": 20, "first_max_s": 60, "max_s": 90},
        },
    }

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        links, healed_s = len(topology.segments), round(HEAL_S + rng.uniform(0, PHASE_S), 3)
        return [
            step(CUT_S, "mark", name=CUT),
            step(CUT_S, "partition", groups=groups(topology)),
            step(POLICY_S, "policy_step", direction="up", at_once=links),
            step(STOLEN_S, "power_off", nodes=[stolen(topology)]),
            step(REVOKED_S, "router_remove", router=stolen(topology)),
            step(healed_s, "mark", name=HEALED),
            step(healed_s, "heal"),
            step(BACK_S, "mark", name=BACK),
            step(BACK_S, "power_on", nodes=[stolen(topology)], jitter_s=0),
        ]

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology, cut, healed, back = run.plan.topology, run.mark(CUT), run.mark(HEALED), run.mark(BACK)
        near, far = sides(topology)
        gone = stolen(topology)
        end = run.events[-1]["t"]
        without = run.expected(frozenset({gone}))
        right = dict(phases(topology, run.events, {healed: without, back: without}))[healed]
        changes = adjacency.timeline(topology, run.events)
        kept = {ends: numbers for ends, numbers in changes.items() if gone not in (ends.router, ends.neighbor)}
        extra: dict[str, float | None] = {
            NEAR: losses(run, near, cut, end),
            FAR: losses(run, far, cut, end),
            REKEYS_NEAR: rekeys(run, [*near, "dks"], cut, healed),
            REKEYS_FAR: rekeys(run, far, cut, healed),
            HELD: sum(up and moment >= back for ends in changes.keys() - kept.keys() for moment, up in changes[ends]),
        }
        newest = handed(run, healed)
        if newest:
            left = [name for name in topology.routers if name != gone]
            news = [
                {name: policy_at(run, name, newest.get(name, 1)) for name in left},
                {name: revocation_at(run, name) for name in left},
            ]
            extra |= {
                STEPS: sum(event["result"] == "taken" for event in run.where("lab", "deploy")),
                EARLY: sum((when[name] or end) < healed for when in news for name in far if name != gone),
                BARE: bare(run, [name for name in far if name != gone], healed),
                LATE: sum((when[name] or end) >= healed for when in news for name in near),
                AGREE: last(news[0], healed),
                HEARD: last(news[1], healed),
            }
        numbers = numbering(run, frozenset({gone}))
        if numbers is not None:
            counts = (numbers.foreign, len(numbers.keyless), len(numbers.two_keys))
            extra |= {"SAs compared": numbers.compared, **dict(zip(WRONG, counts, strict=True))}
            extra[BESIDE] = len(numbers.beside_ledger)
        extra |= multicast.series(run, {self.begin: Phase(healed, frozenset({gone}), until=back)})
        return of_run.measures(
            run,
            main_s=None if right is None else (right - healed) / NS,
            adjacencies=Adjacencies(len(kept), sum(bool(numbers) and numbers[-1][1] for numbers in kept.values())),
            asked_from=healed,
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            if keying not in LOCAL or not runs:
                continue
            for text, name in (
                ("no adjacency lost on the DKS's side", NEAR),
                ("no adjacency lost beyond the cut", FAR),
            ):
                lost = sum(int(run.extra[name] or 0) for run in runs)
                criteria.append(Criterion(keying, text, str(lost), lost == 0))
            fewest = min(int(run.extra[REKEYS_FAR] or 0) for run in runs)
            criteria.append(Criterion(keying, "the half without the DKS goes on rekeying", str(fewest), fewest > 0))
            without = sum(int(run.extra.get(BARE) or 0) for run in runs)
            criteria.append(
                Criterion(keying, "the half without the DKS keeps a key on every interface", str(without), without == 0)
            )
            steps = [run.extra.get(STEPS) for run in runs]
            early, late = (sum(int(run.extra.get(name) or 0) for run in runs) for name in (EARLY, LATE))
            parted = all(each == 1 for each in steps) and not early and not late
            value = f"{between(each or 0 for each in steps)} steps; updated early: {early}, late: {late}"
            criteria.append(
                Criterion(keying, "policy and revocation reach the DKS's half, and only that half", value, parted)
            )
            for text, name in (("have the newest policy", AGREE), ("know of the revocation", HEARD)):
                moments = [run.extra.get(name) for run in runs]
                agreed = all(each is not None and each <= NEWS_WITHIN_S for each in moments)
                value = ", ".join("never" if each is None else f"{each:.1f} s" for each in moments)
                criteria.append(
                    Criterion(keying, f"after healing all {text} within {NEWS_WITHIN_S:g} s", value, agreed)
                )
            held = sum(int(run.extra[HELD] or 0) for run in runs)
            criteria.append(Criterion(keying, "the stolen router gets no adjacency", str(held), held == 0))
            names = (*WRONG, *([BESIDE] if keying == "dks-lks" else []))
            wrong = {name: sum(int(run.extra.get(name) or 0) for run in runs) for name in names}
            compared = all(run.extra.get("SAs compared") for run in runs)
            said = "; ".join(f"{name}: {count}" for name, count in wrong.items() if count) or "all SAs agree"
            text = "one key for each number" + (", and it is in the DKS's ledger" if keying == "dks-lks" else "")
            criteria.append(Criterion(keying, text, said, compared and not any(wrong.values())))
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying, runs in table.measures.items():
            if not runs:
                continue
            near, far, made, held = (
                between(run.extra[name] or 0 for run in runs) for name in (NEAR, FAR, REKEYS_FAR, HELD)
            )
            said = (
                f"{keying}: {near} adjacencies lost on the DKS's side and {far} beyond the cut, where {made} "
                f"generations were made meanwhile; the stolen router got {held} adjacencies"
            )
            if all(BARE in run.extra for run in runs):
                said += f"; {between(run.extra[BARE] or 0 for run in runs)} {BARE}"
            for name in (AGREE, HEARD):
                known = [value for run in runs if (value := run.extra.get(name)) is not None]
                if known:
                    when = f"{min(known):.1f} to {max(known):.1f} s" if len(known) == len(runs) else "not in all runs"
                    said += f"; {name.removeprefix('healed to ').removesuffix(', s')}, after healing: {when}"
            sentences.append(f"{said}.")
        return sentences

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        from testbed.report.knowledge import News, draw_knowledge

        asked = [run for run in runs if handed(run, run.mark(HEALED))]
        news = []
        for run in asked:
            near, far = sides(run.plan.topology)
            gone, newest = stolen(run.plan.topology), handed(run, run.mark(HEALED))
            rows = [name for name in (*near, *far) if name != gone]
            news.append(
                News(
                    run, run.mark(CUT), run.mark(HEALED), {"this side": near, "beyond the cut": far},
                    {name: policy_at(run, name, newest.get(name, 1)) for name in rows},
                    {name: revocation_at(run, name) for name in rows},
                )
            )  # fmt: skip
        return draw_knowledge(folder, news)


def losses(run: Run, side: list[str], since: int, until: int) -> int:
    """How often an adjacency between two routers of one side went down from `since` to `until` (ns), without the stolen
    router's."""
    kept = set(side) - {stolen(run.plan.topology)}
    return sum(
        since <= moment <= until
        for ends, moments in adjacency.falls(run.plan.topology, run.events).items()
        if ends.router in kept and ends.neighbor in kept
        for moment in moments
    )


def rekeys(run: Run, makers: list[str], since: int, until: int) -> int:
    """How many generations these nodes put into use from `since` to `until` (ns)."""
    rekeyed = set()
    for event in run.where("agent", "rekeyed"):
        if since <= event["t"] < until and event["node"] in makers:
            rekeyed.add((event["group"], event["generation"]))
    return len(rekeyed)


def bare(run: Run, routers: list[str], moment: int) -> int:
    """How many interfaces between these routers have no outbound SA at `moment` (ns)."""
    topology = run.plan.topology
    held: dict[tuple[str, str], set[tuple[str, str]]] = {
        (name, each.interface.name): set()
        for name in routers
        for each in topology.neighbors(name)
        if each.neighbor_router in routers
    }
    for event in run.where("agent", "sa"):
        at = held.get((event["node"], event["interface"]))
        if at is not None and event["direction"] == "out" and event["t"] <= moment:
            (at.discard if event["change"] == "removed" else at.add)((event["spi"], event["destination"]))
    return sum(not sas for sas in held.values())


def handed(run: Run, until: int) -> dict[str, int]:
    """The newest policy version that the DKS had for each router before `until` (ns), from its events; empty without a
    DKS."""
    counts: dict[str, int] = {}
    for event in run.where("agent", "policy", "dks"):
        if event["t"] < until:
            counts[event["router"]] = max(int(event["version"]), counts.get(event["router"], 0))
    return counts


def policy_at(run: Run, router: str, version: int) -> int | None:
    """When the router's agent first acted under this version or a newer one (ns)."""
    return next((e["t"] for e in run.where("agent", "policy", router) if int(e["version"]) >= version), None)


def revocation_at(run: Run, router: str) -> int | None:
    """When the router's agent first had a revocation list with an entry (ns)."""
    return next((e["t"] for e in run.where("agent", "revocation", router) if int(e["version"]) > 0), None)


def last(when: dict[str, int | None], since: int) -> float | None:
    """Seconds from `since` (ns) to the latest of these moments, at least 0; None when one never came."""
    known = [moment for moment in when.values() if moment is not None]
    return max(0, max(known) - since) / NS if known and len(known) == len(when) else None
