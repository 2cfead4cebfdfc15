"""The domain is cut in two for longer than keys live and policy changes on one side: when do both sides agree again?"""

from __future__ import annotations

import random
from typing import ClassVar

import networkx

from testbed.analysis import adjacency, requests
from testbed.analysis.convergence import phases
from testbed.analysis.numbering import numbering
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Step
from testbed.runner.experiment import Criterion, Experiment, Measures, Table, between, step
from testbed.topology.resolved import Topology

LIFETIME_S = 60
CUT_S = 180
POLICY_S = CUT_S + 1
"""Before anybody has noticed: a router that reports a neighbour lost holds every further step of a deployment."""
HEAL_S = CUT_S + 5 * LIFETIME_S
AFTER_S = 240
CUT, HEALED = "cut", "healed"
LOCAL = ("dks-lks", "lks")
NEAR, FAR = "adjacencies lost on the DKS's side", "adjacencies lost on the other side"
REKEYS_NEAR, REKEYS_FAR = "rekeys on the DKS's side while cut", "rekeys on the other side while cut"
STEPS, EARLY, LATE = (
    "policy steps taken while cut",
    "routers beyond the cut that had the new policy before it healed",
    "routers of the DKS's side without the new policy when it healed",
)
AGREE = "all at the newest policy, s after healing"
WRONG = ("SAs of no group", "groups without a key in common", "groups with two keys of one number")
BESIDE = "groups numbered otherwise than in the DKS's book"


def sides(topology: Topology) -> tuple[list[str], list[str]]:
    """The routers of the DKS's side, and the others: two halves that each hang together. InputError without such."""
    graph = networkx.Graph()
    for name in topology.routers:
        graph.add_edges_from((name, each.neighbor_router) for each in topology.neighbors(name))
    near: list[str] = []
    for name in networkx.bfs_tree(graph, topology.dks.router, sort_neighbors=sorted):
        near.append(name)
        rest = graph.subgraph(set(graph) - set(near))
        if 2 * len(near) >= len(graph) and len(rest) >= 2 and networkx.is_connected(rest):
            return near, sorted(rest)
    raise InputError("it cannot be cut into two halves that each hang together", where=f"topology {topology.name}")


def groups(topology: Topology) -> list[list[str]]:
    """All nodes by side, hosts with a router of their segment."""
    near, far = sides(topology)
    found = [[*near, "dks"], list(far)]
    for name, host in topology.hosts.items():
        members = {node for node, _interface in topology.segments[host.segment].members}
        found[0 if members & set(near) else 1].append(name)
    return found


class Partition(Experiment):
    name = "partition"
    title = "The domain is cut in two, and policy changes meanwhile"
    question = (
        "When half of the domain is cut off from the DKS for longer than keys live, and policy changes meanwhile, does "
        "routing go on in both halves, and how long after healing do all routers have one policy and one numbering?"
    )
    method = (
        f"A group's key lives {LIFETIME_S} s; everything is `permissive`. After {CUT_S} s no packet passes between the "
        "two halves any more, on links nor on the management network, and no interface loses its carrier. "
        f"{POLICY_S - CUT_S} s later the Policy Server takes all links to `required`: only the DKS's half can be told. "
        "(Later it would refuse: routers at the cut tell the DKS that they have lost a neighbour.) "
        f"{HEAL_S - CUT_S} s after the cut it heals. Convergence counts from there to the last moment at which every "
        "router's forwarding table became what shortest paths say; adjacencies between two routers of one half count "
        "as lost, those across the cut do not. A router has the policy when its agent says so. At the end every "
        "kernel's SAs are compared with each other and with the DKS's book."
    )
    shows_not = (
        "One cut of one length, in two halves. The change is one that old and new policy can live with, as every step "
        "of a deployment is; a revocation is the experiment `revocation`. Routers of the far half learn of it when "
        "their own schedule takes them to the DKS, or when they have lost their keys: the time depends on `reconnect`. "
        "With lks the DKS hears of generations only then, and its book is behind by design."
    )
    topology = "ring:6"
    keyings: ClassVar[tuple[str, ...]] = ("central-mgmt", "dks-lks", "lks")
    seeds = 3
    duration_s = float(HEAL_S + AFTER_S)
    options: ClassVar = {
        "sad": True,
        "mode": "permissive",
        "policy": {
            "lifetimes": {"group_s": LIFETIME_S},
            "reconnect": {"first_min_s": 20, "first_max_s": 60, "max_s": 90},
        },
    }

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        links = len(topology.segments)
        return [
            step(CUT_S, "mark", name=CUT),
            step(CUT_S, "partition", groups=groups(topology)),
            step(POLICY_S, "policy_step", direction="up", at_once=links),
            step(HEAL_S, "mark", name=HEALED),
            step(HEAL_S, "heal"),
        ]

    def measure(self, run: Run) -> Measures:
        topology, cut, healed = run.plan.topology, run.mark(CUT), run.mark(HEALED)
        near, far = sides(topology)
        end = run.events[-1]["t"]
        right = dict(phases(topology, run.events, {healed: run.expected()}))[healed]
        asked = requests.at_dks(run, healed)
        taken = [event for event in run.where("lab", "deploy") if event["result"] == "taken"]
        extra: dict[str, float | None] = {
            NEAR: losses(run, near, cut, end),
            FAR: losses(run, far, cut, end),
            REKEYS_NEAR: rekeys(run, near, cut, healed),
            REKEYS_FAR: rekeys(run, far, cut, healed),
            STEPS: len(taken),
        }
        if taken:
            newest, told = int(taken[-1]["version"]), taken[-1]["routers"]
            when = {name: policy_at(run, name, newest) for name in told}
            extra |= {
                EARLY: sum((when.get(name) or end) < healed for name in far),
                LATE: sum((when.get(name) or end) > healed for name in near if name in when),
                AGREE: None if None in when.values() else max(0, max(w or 0 for w in when.values()) - healed) / NS,
            }
        found = numbering(run)
        if found is not None:
            counts = (found.foreign, len(found.keyless), len(found.two_keys))
            extra |= {"SAs compared": found.compared, **dict(zip(WRONG, counts, strict=True))}
            extra[BESIDE] = len(found.beside_book)
        return Measures(
            convergence_s=None if right is None else (right - healed) / NS,
            adjacencies_expected=len(adjacency.expected(topology)),
            adjacencies_restored=adjacency.up_at_end(topology, run.events),
            dks_total=asked.total,
            dks_unique=asked.unique,
            dks_before_schedule=asked.before_schedule,
            dks_peak_per_s=asked.peak_per_s,
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        found = []
        for keying, runs in table.measures.items():
            if keying not in LOCAL or not runs:
                continue
            for text, name in (("no adjacency lost on the DKS's side", NEAR), ("nor beyond the cut", FAR)):
                lost = sum(int(run.extra[name] or 0) for run in runs)
                found.append(Criterion(keying, text, str(lost), lost == 0))
            fewest = min(int(run.extra[REKEYS_FAR] or 0) for run in runs)
            found.append(Criterion(keying, "the half without the DKS goes on rekeying", str(fewest), fewest > 0))
            steps = [run.extra[STEPS] for run in runs]
            early, late = (sum(int(run.extra.get(name) or 0) for run in runs) for name in (EARLY, LATE))
            parted = all(each == 1 for each in steps) and not early and not late
            value = f"{between(each or 0 for each in steps)} steps; {early} routers told early, {late} late"
            found.append(Criterion(keying, "the new policy reaches the DKS's half and no other", value, parted))
            moments = [run.extra.get(AGREE) for run in runs]
            agreed = all(each is not None and each < AFTER_S for each in moments)
            value = ", ".join("never" if each is None else f"{each:.1f} s" for each in moments)
            found.append(Criterion(keying, "after healing all have the newest policy", value, agreed))
            names = (*WRONG, *([BESIDE] if keying == "dks-lks" else []))
            wrong = {name: sum(int(run.extra.get(name) or 0) for run in runs) for name in names}
            compared = all(run.extra.get("SAs compared") for run in runs)
            said = "; ".join(f"{name}: {count}" for name, count in wrong.items() if count) or "all SAs agree"
            text = "one key for each number" + (", and the DKS's book has it" if keying == "dks-lks" else "")
            found.append(Criterion(keying, text, said, compared and not any(wrong.values())))
        return found

    def findings(self, table: Table) -> list[str]:
        found = []
        for keying, runs in table.measures.items():
            if runs:
                near, far, rekeyed = (between(run.extra[name] or 0 for run in runs) for name in (NEAR, FAR, REKEYS_FAR))
                known = [value for run in runs if (value := run.extra.get(AGREE)) is not None]
                when = f"{min(known):.1f} to {max(known):.1f} s" if len(known) == len(runs) else "not in all runs"
                found.append(
                    f"{keying}: {near} adjacencies lost on the DKS's side and {far} on the other, for whose "
                    f"speakers {rekeyed} generations were made while it was cut off; all had the newest policy after "
                    f"healing: {when}."
                )
        return found


def losses(run: Run, side: list[str], since: int, until: int) -> int:
    """How often an adjacency between two routers of one side went down (ns)."""
    return sum(
        not up and since <= moment <= until
        for ends, changes in adjacency.timeline(run.plan.topology, run.events).items()
        if ends.router in side and ends.neighbor in side
        for moment, up in changes
    )


def rekeys(run: Run, side: list[str], since: int, until: int) -> int:
    """Generations that came into use for groups of this side's speakers, whoever made them (ns)."""
    found = set()
    for event in run.where("agent", "rekeyed"):
        if since <= event["t"] < until and event["group"].split("/")[1] in side:
            found.add((event["group"], event["generation"]))
    return len(found)


def policy_at(run: Run, router: str, version: int) -> int | None:
    """When the router's agent first acted under this version or a newer one (ns)."""
    return next((e["t"] for e in run.where("agent", "policy", router) if int(e["version"]) >= version), None)
