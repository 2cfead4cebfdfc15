"""One half of a network stays protected, the other half in clear: which packets cross the border between them?"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, ClassVar

import networkx

from testbed.analysis import adjacency, multicast, of_run
from testbed.analysis.convergence import converged_at
from testbed.analysis.measures import total
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Event, Run
from testbed.domains.build import members
from testbed.errors import InputError
from testbed.faults import packets
from testbed.keying.base import modes
from testbed.probes.cleartext import UNICAST
from testbed.record.plan import Plan, Step, Stream
from testbed.runner.experiment import (
    ROUTES_RIGHT,
    Criterion,
    Experiment,
    Measures,
    Span,
    Table,
    between,
    in_order,
    step,
)
from testbed.runner.streams import usual_streams
from testbed.topology.adjacent import live_graph, live_segments
from testbed.topology.resolved import BACKBONE, Interface, Topology

LIFETIME_S = 60
KILL_S, TAP_S, BACK_S, END_S = 100, 110, 1000, 1200
PHASES = {"forged LSA": 140, "forged Hello": 200, "over the border": 280, "quiet": 340}
"""The intruder's deeds on the clear side, and when (s); in the last phase it does nothing."""
CUT_CLEAR_S, CUT_INSIDE_S, DOWN_S = 380, 500, 60
HALF_OFF_S, ALL_OFF_S, DARK_S, SPREAD_S = 620, 760, 20, 4.0
RETURNS = "power returns"
AGENTS = modes(lambda mode: mode.schedules_visits)
BORDERS = ("across", "along")
LOST = "adjacencies of protected links lost without a fault of their own"
CLEAR = "OSPF and PIM packets in clear, on protected links"
REKEYS = "new keys while the DKS is dead"


class Region:
    """The protected links and LANs, the routers on them, and the border. InputError for a topology without a border."""

    def __init__(self, topology: Topology, border: str) -> None:
        if border not in BORDERS:
            raise InputError(f"the border cannot run {border!r}", where="-o border", allowed=", ".join(BORDERS))
        self.topology = topology
        live = live_segments(topology)
        wanted = _areas(topology, live) if border == "along" else _half(topology)
        self.inside = tuple(name for name in live if wanted(topology.ends(name)))
        self.clear = tuple(name for name in live if name not in self.inside)
        self.members = [each.name for each in members(topology, self.inside)] if self.inside else []
        self.outside = [name for name in topology.routers if name not in self.members]
        crossed = [name for name in self.clear if self._at_border(name) and any(
            end.router in self.outside for end in topology.ends(name))]  # fmt: skip
        if not self.inside or not crossed:
            raise InputError(
                f"no border between a protected and a clear half runs {border} an area of this network",
                where=f"topology {topology.name}",
                allowed="areas, or -o border=across" if border == "along" else "four routers or more in a row",
            )
        # Forged LSAs reach furthest where the clear and the protected side share an area.
        areas = {end.area for name in self.inside for end in topology.ends(name)}
        self.frontier = max(crossed, key=lambda name: topology.ends(name)[0].area in areas)
        ends = topology.ends(self.frontier)
        self.border = next(end for end in ends if end.router in self.members)
        """The end of the intruder's link that belongs to a router with interfaces of both kinds."""
        self.beyond = next(end for end in ends if end.router in self.outside)
        deep = [name for name in self.members if not any(each in self.clear for each in self._segments(name))]
        self.inner = next(iter(deep), next(name for name in self.members if name != self.border.router))
        """The protected router in whose name LSAs are forged; if possible without clear interfaces."""

    def _segments(self, router: str) -> list[str]:
        return [each.segment for each in self.topology.routers[router].interfaces]

    def _at_border(self, segment: str) -> bool:
        return any(end.router in self.members for end in self.topology.ends(segment))

    def protected_links(self, ends: adjacency.Ends) -> bool:
        """Whether this direction of an adjacency is over a protected link."""
        return self.topology.routers[ends.router].interface(ends.interface).segment in self.inside

    def forged(self) -> Mapping[str, list[bytes]]:
        """By phase, the frames that the intruder sends on the clear link in the names of routers."""
        inner, border, beyond = self.topology.routers[self.inner], self.border, self.beyond
        timers, family = self.topology.ospf, self.topology.family

        def hello(end: Interface) -> bytes:
            source = end.ipv4 if family == 4 else end.ipv6_link_local
            router = self.topology.routers[end.router]
            return packets.hello(router.router_id, source, end.area, timers.hello_s, timers.dead_s)

        def spoken(end: Interface, body: bytes) -> bytes:
            return packets.frame(end.hop(family), packets.all_ospf(family), packets.OSPF, body)

        neighbor = self.topology.routers[beyond.router]
        update = packets.update(neighbor.router_id, beyond.hop(family), beyond.area, inner.router_id)
        across = []
        for each in self.topology.neighbors(border.router):
            if each.interface.segment in self.inside:
                end = each.neighbor_interface
                # In the name of a neighbour behind the border, to all routers on the clear link.
                across.append(spoken(end, hello(end)))
                if family == 4:
                    across.append(packets.frame(end.ipv4.ip, packets.ALL_PIM, packets.PIM, packets.pim_hello()))
                    # And to that neighbour, through the border router; routers never forward to link-local addresses.
                    body = hello(beyond)
                    across.append(
                        packets.frame(beyond.ipv4.ip, end.ipv4.ip, packets.OSPF, body, mac=border.mac, ttl=64)
                    )
        return {
            "forged LSA": [spoken(beyond, update)],
            "forged Hello": [spoken(beyond, hello(beyond))],
            "over the border": across,
        }


def _areas(topology: Topology, live: Iterable[str]) -> Any:
    """The links of the first areas, without the backbone, that together have a third of the routers."""
    chosen: set[str] = set()
    routers: set[str] = set()
    for area in sorted({end.area for name in live for end in topology.ends(name)} - {BACKBONE}):
        if 3 * len(routers) < len(topology.routers):
            chosen.add(area)
            routers |= {end.router for name in live for end in topology.ends(name) if end.area == area}
    return lambda ends: ends[0].area in chosen


def _half(topology: Topology) -> Any:
    """The links and LANs between the half of the routers that is furthest from the DKS; LANs stay whole, so it may be
    more than half."""
    graph = networkx.Graph(live_graph(topology))
    away = networkx.single_source_shortest_path_length(graph, topology.dks.router)
    first = max(away, key=lambda name: (away[name], name))
    near = networkx.single_source_shortest_path_length(graph, first)
    half: set[str] = set()
    ends = {name: [end.router for end in topology.ends(name)] for name in live_segments(topology)}
    for name in sorted(ends, key=lambda name: (max(near.get(each, len(near)) for each in ends[name]), name)):
        if len(half) < max(2, len(topology.routers) // 2):
            half.update(ends[name])
    return lambda ends: all(end.router in half for end in ends)


class SubRegion(Experiment):
    name = "sub_region"
    title = "Half of the network stays protected, half in clear"
    question = (
        "A sub-region is protected and the rest of the network stays in clear. Does the protected part survive a dead "
        "DKS, cut links and power failures, and what can an intruder on the clear side do to it?"
    )
    method = (
        "Some links and LANs are protected from the first second on. All others stay in clear, and routers without a "
        "protected link run no key management. Routers at the border have interfaces of both kinds. `-o "
        "border=across` (the default) protects the half of the routers that is furthest from the DKS, so that the "
        "border runs through OSPF areas; `-o border=along` protects whole areas, so that it runs along their edge. "
        f"The DKS is reached through the clear part. A group's key lives {LIFETIME_S} s, and the DKS is dead from "
        f"{KILL_S} s to {BACK_S} s. Meanwhile an intruder on a clear link at the border forges: an LS Update with a "
        "router LSA of a protected router; a Hello of the clear neighbour; Hellos of OSPF and PIM in the names of the "
        "border router's protected neighbours, and packets through the border router to them. Then a clear and a "
        "protected link are cut and heal, the clear half loses its power and gets it back, and last the whole "
        "network, without the dead DKS. Convergence is the time from the first boot after that. An adjacency over a "
        "protected link counts as lost when it goes down, unless its own link or the power of one of its ends was cut."
    )
    shows_not = (
        "Anyone on a clear link can forge a legitimate neighbour of a border router. The border router floods "
        "whatever it believes of that neighbour under the protected part's own keys: protection of adjacencies cannot "
        "tell a forged LSA from a genuine one. Registers of the clear half are accepted in clear, and so are forged "
        "ones."
    )
    topology = "areas"
    keyings: ClassVar[tuple[str, ...]] = ("none", "lks", "dks-lks")
    seeds = 3
    duration_s = float(END_S)
    main = Span("first boot to routes right", "the first boot of a router after the power returned",
                ROUTES_RIGHT)  # fmt: skip
    requests_since = "the run's start"
    options: ClassVar = {
        "border": BORDERS[0], "policy": {"lifetimes": {"group_s": LIFETIME_S, "ike_s": 600, "atd_s": 2, "dtd_s": 5}}
    }  # fmt: skip

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """As Experiment.plan, with the region that `border` makes."""
        if not live_segments(topology):
            return super().plan(topology, keying, seed, options)  # rejects such a network
        region = Region(topology, str(options.get("border", self.options["border"])))
        chosen = {**options, "region": list(region.inside)} if keying in modes(lambda mode: mode.dks) else options
        made = super().plan(topology, keying, seed, chosen)
        steps = _timeline(region, random.Random(f"{self.name} {seed}"))
        return made.model_copy(update={"timeline": in_order(steps, topology)})

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        return list(_timeline(Region(topology, BORDERS[0]), rng)) if topology.routers else []

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        region = Region(topology, str(run.plan.own["border"]))
        off = min(event["t"] for event in run.where("fault", "power_off") if event["t"] >= run.mark("all off"))
        boot = min(event["t"] for event in run.where("fault", "power_on") if event["t"] > off)
        settled = converged_at(topology, run.events, run.expected(), until=run.mark("settled"))
        converged = converged_at(topology, run.events, run.expected())
        extra: dict[str, float | None] = {
            "first start to routes right, s": None if settled is None else settled / NS,
            LOST: lost_inside(run, region),
            CLEAR: in_clear(run, region),
            REKEYS: sum(
                run.mark("dks dead") <= event["t"] < run.mark("dks back") for event in run.where("agent", "rekeyed")
            ),
        }
        for phase in list(PHASES)[:-1]:
            extra[f"{phase}: packets at protected interfaces' daemons"] = reached(run, region, phase)
            extra[f"{phase}: changes of protected adjacencies"] = changed(run, region, phase, inside=True)
            extra[f"{phase}: changes of clear adjacencies"] = changed(run, region, phase, inside=False)
            extra[f"{phase}: route changes in the protected part"] = rerouted(run, region, phase)
        extra |= multicast.series(run, {self.begin: Phase(boot)})
        return of_run.measures(
            run,
            main_s=None if converged is None else (converged - boot) / NS,
            asked_from=0,
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying in (each for each in AGENTS if each in table):
            runs = table.measures[keying]
            for text, name in (
                ("no adjacency of a protected link is lost without a fault of its own", LOST),
                ("no OSPF or PIM in clear on a protected link", CLEAR),
                ("no packet in a protected router's name crosses the border",
                 "over the border: packets at protected interfaces' daemons"),
                ("no such packet changes a protected adjacency", "over the border: changes of protected adjacencies"),
                ("a forged Hello on the clear side changes no protected adjacency",
                 "forged Hello: changes of protected adjacencies"),
                ("a forged LSA on the clear side changes no protected adjacency",
                 "forged LSA: changes of protected adjacencies"),
            ):  # fmt: skip
                count = sum(int(run.extra[name] or 0) for run in runs)
                criteria.append(Criterion(keying, text, str(count), count == 0))
            fewest = min(int(run.extra[REKEYS] or 0) for run in runs)
            criteria.append(Criterion(keying, "keys are renewed without the DKS", str(fewest), fewest > 0))
            there = total(runs)
            down = there.expected - there.restored
            criteria.append(Criterion(keying, "every adjacency of both parts is back", f"{down} missing", down == 0))
            if "none" in table:
                criteria += self.as_fast(table, keying)
            criteria += self.hears_in_time(table, keying)
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying, runs in table.measures.items():
            if runs:
                said = (
                    f"{phase} {between(run.extra[f'{phase}: changes of clear adjacencies'] or 0 for run in runs)} "
                    f"changes of clear adjacencies, "
                    f"{between(run.extra[f'{phase}: changes of protected adjacencies'] or 0 for run in runs)} of "
                    f"adjacencies in the protected part, and "
                    f"{between(run.extra[f'{phase}: route changes in the protected part'] or 0 for run in runs)} of "
                    "routes there"
                    for phase in list(PHASES)[:-1]
                )
                sentences.append(f"{keying}, effects of the intruder on the clear side: {'; '.join(said)}.")
        return sentences


def _timeline(region: Region, rng: random.Random) -> tuple[Step, ...]:
    link, frames = region.frontier, region.forged()
    cut = {"clear": region.frontier, "protected": region.inside[0]}
    steps = [
        step(KILL_S - 10, "mark", name="settled"),
        step(KILL_S, "mark", name="dks dead"),
        step(KILL_S, "dks_kill"),
        # The protected links are tapped too: none of the intruder's packets should appear there.
        *(step(TAP_S, "tap", segment=name) for name in (link, *region.inside)),
        *(step(moment, "mark", name=phase) for phase, moment in PHASES.items()),
        *(
            step(PHASES[phase] + 1 + rng.random(), "inject", segment=link, frames=[each.hex() for each in made])
            for phase, made in frames.items()
        ),
        step(CUT_CLEAR_S, "link_carrier_down", segment=cut["clear"]),
        step(CUT_CLEAR_S + DOWN_S, "link_carrier_up", segment=cut["clear"]),
        step(CUT_INSIDE_S, "link_carrier_down", segment=cut["protected"]),
        step(CUT_INSIDE_S + DOWN_S, "link_carrier_up", segment=cut["protected"]),
        step(HALF_OFF_S, "power_off", nodes=region.outside),
        step(HALF_OFF_S + DARK_S, "power_on", nodes=region.outside, jitter_s=SPREAD_S),
        step(ALL_OFF_S, "mark", name="all off"),
        step(ALL_OFF_S, "power_off", nodes="all"),
        step(ALL_OFF_S + DARK_S, "mark", name=RETURNS),
        step(ALL_OFF_S + DARK_S, "power_on", nodes="all", jitter_s=SPREAD_S),
        step(BACK_S, "mark", name="dks back"),
        step(BACK_S, "dks_start"),
    ]
    return tuple(sorted(steps, key=lambda each: each.at_s))


def window(run: Run, phase: str) -> tuple[int, int]:
    """From a phase's mark to the next mark (ns)."""
    names = list(PHASES)
    return run.mark(phase), run.mark(names[names.index(phase) + 1])


def lost_inside(run: Run, region: Region) -> int:
    """How many times an adjacency over a protected link was lost after all were up, without a fault of its own within
    OSPF's dead interval before: the cut of its link, or the loss of power of one end."""
    topology, settled, count = run.plan.topology, run.mark("settled"), 0
    patience = topology.ospf.dead_s * NS + NS
    blame: dict[str, list[Event]] = {}
    for event in run.where("fault"):
        if event["kind"] in ("power_off", "link_carrier_down"):
            blame.setdefault(str(event.get("segment", event["node"])), []).append(event)
    for ends, moments in adjacency.falls(topology, run.events).items():
        if region.protected_links(ends):
            own = (ends.router, ends.neighbor, topology.routers[ends.router].interface(ends.interface).segment)
            faults = list(chain(*(blame.get(each, ()) for each in own)))
            count += sum(
                moment >= settled and not any(0 <= moment - each["t"] <= patience for each in faults)
                for moment in moments
            )
    return count


def in_clear(run: Run, region: Region) -> int:
    """Packets of OSPF and PIM between neighbours that left an interface of a protected link in clear, in the whole run.
    Registers are left out: those of the clear half cross protected links."""
    topology = run.plan.topology
    labels = {end.label for name in region.inside for end in topology.ends(name)}
    return sum(
        int(count)
        for event in run.where("probe", "clear")
        for label, each in event["interfaces"].items()
        if label in labels
        for name, count in each["packets"].items()
        if name != UNICAST
    )


def reached(run: Run, region: Region, phase: str) -> int:
    """Forged packets at raw sockets of protected routers.

    The border router takes part in the clear side. It counts only for packets forged in protected routers' names, and
    only with IPv4: a link-local address of a clear link names no router of a protected one.
    """
    since, until = window(run, phase)
    named = phase == "over the border" and run.plan.topology.family == 4
    mine = [name for name in region.members if named or name != region.border.router]
    return sum(since <= event["t"] < until and event["node"] in mine for event in run.where("probe", "intruded"))


def changed(run: Run, region: Region, phase: str, *, inside: bool) -> int:
    """How often a direction of an adjacency went up or down in a phase, over protected (`inside`) or clear links."""
    since, until = window(run, phase)
    return sum(
        since <= moment < until
        for ends, moments in adjacency.timeline(run.plan.topology, run.events).items()
        if region.protected_links(ends) is inside
        for moment, _up in moments
    )


def rerouted(run: Run, region: Region, phase: str) -> int:
    """Changes of the kernels' routes at protected routers."""
    since, until = window(run, phase)
    return sum(since <= event["t"] < until and event["node"] in region.members for event in run.where("route"))
