"""Protection is deployed in a running network, link by link, and withdrawn: is an adjacency lost?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from testbed.analysis import adjacency, multicast, of_run, protected, trees
from testbed.analysis.convergence import converged_at
from testbed.analysis.multicast import LOST, Phase
from testbed.analysis.run import NS, Event, Run
from testbed.errors import InputError
from testbed.record.plan import Flow, Plan, Step, Stream
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, between, in_order, step
from testbed.runner.streams import ANY_SOURCE, SOURCE_SPECIFIC
from testbed.runner.streams import RATE_PPS as STREAM_PPS
from testbed.topology.paths import Routes, expected_paths
from testbed.topology.resolved import Topology
from testbed.values import quoted

if TYPE_CHECKING:
    from testbed.report.page import Drawn

START_S = 120.0
"""By then every router has visited the DKS; see `reconnect`."""
TRY_S = 6.0
MODES = 3
"""Steps of a segment each way: listen, permissive, required."""
DARK_S = 60.0
HELD_S = 150.0
"""The longest time for which the router that is down holds the step: without power, booting, and until it visits the
DKS."""
MARGIN_S = 30.0
RATE_PPS = 20.0
INTERVAL_S = 2.0
DRAWN_S = 10.0
"""A hello interval: a shorter one may hold packets of some routers only, in a small network."""
LOSSES, SHARE, BACK = "adjacency losses", "protected at required, %", "protected at the end, %"
PROBES, TAKEN, LEFT, HELD = "probe packets lost", "steps taken", "steps not taken", "attempts held"
AHEAD = "steps taken while a member was down"
MODERN = ("lks", "central-mgmt")


def segments(topology: Topology) -> list[str]:
    """The segments that are protected: all with two routers or more."""
    return [
        name
        for name, each in topology.segments.items()
        if sum(node in topology.routers for node, _ in each.members) >= 2
    ]


def down(topology: Topology) -> str:
    """The router that loses its power: the last by name of those no probe passes through. A designated router or backup
    is avoided if possible: when it dies, OSPF itself loses the LAN for a moment."""
    names = sorted(topology.routers)
    return ([name for name in names[2:] if name not in elected(topology)] or names)[-1]


def deployed(topology: Topology) -> list[str]:
    """The protocols that can be deployed one after the other, in the order of deployment."""
    there = {"ospf": topology.ospf.v2, "ospf6": topology.ospf.v3, "pim": topology.pim is not None}
    return [name for name, runs in there.items() if runs]


def elected(topology: Topology) -> set[str]:
    """The two routers of each LAN that ospfd elects when all begin together: with equal priorities, the two with the
    greatest IDs (RFC 2328, section 9.4)."""
    lans = [each for each in topology.segments.values() if each.kind == "lan"]
    members = [[node for node, _ in each.members if node in topology.routers] for each in lans]
    return {name for each in members for name in sorted(each, key=lambda one: topology.routers[one].router_id)[-2:]}


class IncrementalDeployment(Experiment):
    name = "incremental_deployment"
    title = "Protection brought in, and taken back, in service"
    question = (
        "Can links be protected one by one while the network runs, and protection withdrawn again, without the loss "
        "of an adjacency, even when a router loses its power at a step and comes back under the policy before it?"
    )
    method = (
        "The network starts with every interface in clear. From 120 s on, the Policy Server tries the next step of "
        f"the deployment every {TRY_S:g} s: one link further from clear to listen, permissive and required, each step "
        "only when all members have confirmed the one before. While one of its links takes a step, a router loses its "
        f"power for {DARK_S:g} s. It holds that step, comes back with its older document, and visits the DKS 30 to 60 "
        "s later, so that neighbours act under two policies for longer than the dead interval. Then everything goes "
        "back to clear. `-o apart=true` deploys one protocol after the other: OSPF, then PIM; and withdraws PIM "
        "first. The protected share is counted in captures of every interface. Adjacencies of the router without "
        "power do not count as lost meanwhile. Multicast goes to routers whose path does not lead through it."
    )
    shows_not = (
        "Computation costs nothing in virtual time. One small network, with routers of one make. An administrator who "
        "takes two steps at once, or continues without a router (`--without`), is not shown."
    )
    topology = "ring"
    keyings: ClassVar[tuple[str, ...]] = ("none", "central-mgmt", "lks")
    seeds = 3
    duration_s = 600.0
    main = Span(
        "boot to all adjacencies",
        "the boot of the router that was without power at a step",
        "the last moment at which one of its adjacencies came up again",
    )
    requests_since = "the run's start"
    options: ClassVar[Mapping[str, Any]] = {
        "apart": False,
        "mode": "clear",
        "policy": {"reconnect": {"first_min_s": 30, "first_max_s": 60, "max_s": 60}},
    }

    def timeline(self, topology: Topology, rng: random.Random, *, apart: bool = False) -> list[Step]:
        count, protocols = len(segments(topology)) * MODES, deployed(topology) if apart else ["all"]
        timeline = []
        # Near the end of the deployment, when the links of the last router take their steps.
        first = next(n for n, name in enumerate(sorted(segments(topology))) if self._touches(topology, name))
        cut_s = (
            START_S + TRY_S * (first * MODES + rng.randrange(1, MODES + 1)) + round(rng.uniform(0.2, TRY_S - 0.2), 3)
        )
        node, now_s = down(topology), START_S
        timeline += [
            step(cut_s, "power_off", nodes=[node]),
            step(cut_s + DARK_S, "power_on", nodes=[node], jitter_s=0),
        ]

        def steps(direction: str, protocol: str, spare_s: float) -> float:
            attempts = count + int(spare_s / TRY_S)
            for number in range(attempts):
                at_s = now_s + TRY_S * number
                timeline.append(step(at_s, "policy_step", direction=direction, protocol=protocol))
            return now_s + TRY_S * attempts

        for protocol in protocols:
            now_s = steps("up", protocol, HELD_S + MARGIN_S if protocol == protocols[0] else MARGIN_S)
        now_s += MARGIN_S
        timeline.append(step(now_s - 1, "mark", name="turn"))
        for protocol in reversed(protocols):
            now_s = steps("back", protocol, MARGIN_S)
        return timeline

    @staticmethod
    def _touches(topology: Topology, segment: str) -> bool:
        return any(node == down(topology) for node, _ in topology.segments[segment].members)

    def flows(self, topology: Topology) -> list[Flow]:
        one, other, *_ = sorted(topology.routers)
        pairs = ((one, other), (other, one))
        return [Flow(src=a, dst=b, rate_pps=RATE_PPS, start_s=START_S - 20) for a, b in pairs]

    def streams(self, topology: Topology) -> list[Stream]:
        """One stream of each kind, from the source that reaches most routers without the one that loses its power."""
        gone, streams, routes = down(topology), [], expected_paths(topology)
        names = [name for name in sorted(topology.routers) if name != gone]
        for kind, groups in (("any", ANY_SOURCE), ("specific", SOURCE_SPECIFIC)):
            choices = [self._stream(topology, routes, gone, names, source, kind, f"{groups}.1") for source in names]
            best = max(choices, key=lambda each: 0 if each is None else len(each.receivers))
            streams += [] if best is None else [best]
        return streams

    @staticmethod
    def _stream(
        topology: Topology, routes: Routes, gone: str, names: Sequence[str], source: str, kind: str, group: str
    ) -> Stream | None:
        others = [name for name in names if name != source]
        if not others:
            return None
        stream = Stream(
            name=kind, source=source, group=group, receivers=tuple(others), rate_pps=STREAM_PPS, since_s=START_S - 60,
            specific=kind == "specific",
        )  # fmt: skip
        wanted = trees.expected(topology, [stream], frozenset(), routes).values()
        far = {each for each in others for tree in wanted if gone in (tree.root, *tree.through(each))}
        near = tuple(each for each in others if wanted and each not in far)
        return stream.model_copy(update={"receivers": near}) if near else None

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        made = super().plan(topology, keying, seed, {"captures": "all", **options})
        if not isinstance(made.own["apart"], bool):
            raise InputError(f"apart is {quoted(made.own['apart'])}", where="-o apart", allowed="true or false")
        if made.own["apart"]:
            steps = self.timeline(topology, random.Random(f"{self.name} {seed}"), apart=True)
            made = made.model_copy(update={"timeline": in_order(steps, topology)})
        last = max(each.at_s for each in made.timeline)
        return made.model_copy(update={"duration_s": max(made.duration_s, last + MARGIN_S)})

    # -- measures

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        turn = run.mark("turn")
        tried = run.where("lab", "deploy")
        taken = [each for each in tried if each["result"] == "taken"]
        off, on = (self._moment(run, kind) for kind in ("power_off", "power_on"))
        shares = protected.shares(run.folder, INTERVAL_S)
        right = self._return(run, on)
        converged = converged_at(topology, run.events, run.expected())
        end = max(event["t"] for event in run.events)
        return of_run.measures(
            run,
            main_s=None if converged is None or right is None else max(0.0, (right - on) / NS),
            asked_from=0,
            extra={
                LOSSES: float(self._losses(run, off, on)),
                PROBES: float(self._probes(run)),
                TAKEN: float(len(taken)),
                LEFT: float(2 * MODES * len(segments(topology)) * self._deployments(run) - len(taken)),
                HELD: float(sum(each["result"] == "held" for each in tried)),
                AHEAD: float(sum(off < each["t"] < on and self._concerns(each, down(topology)) for each in taken)),
                SHARE: self._percent(shares, turn - int(20 * NS), turn),
                BACK: self._percent(shares, end - int(20 * NS), end),
                **multicast.series(run, {self.begin: Phase(on)}),
            },
        )

    @staticmethod
    def _deployments(run: Run) -> int:
        return len(deployed(run.plan.topology)) if run.plan.own["apart"] else 1

    @staticmethod
    def _moment(run: Run, kind: str) -> int:
        return min(int(event["t"]) for event in run.where("fault", kind))

    @staticmethod
    def _concerns(event: Event, node: str) -> bool:
        return any(change.startswith(f"{node}:") for change in event["changes"])

    @staticmethod
    def _losses(run: Run, off: int, on: int) -> int:
        """How often a direction of an adjacency was lost since the deployment began, except at the router without
        power."""
        node = down(run.plan.topology)
        began = min((int(each["t"]) for each in run.where("lab", "deploy")), default=0)
        return sum(
            moment >= began and not (off <= moment <= on and node in (ends.router, ends.neighbor))
            for ends, moments in adjacency.falls(run.plan.topology, run.events).items()
            for moment in moments
        )

    @staticmethod
    def _return(run: Run, on: int) -> int | None:
        """When the router that was down had all its adjacencies again, both ways (ns)."""
        node = down(run.plan.topology)
        moments = [
            max((moment for moment, up in changes if up and moment >= on), default=None)
            for ends, changes in adjacency.timeline(run.plan.topology, run.events).items()
            if node in (ends.router, ends.neighbor)
        ]
        known = [moment for moment in moments if moment is not None]
        return max(known) if known and len(known) == len(moments) else None

    @staticmethod
    def _probes(run: Run) -> int:
        return sum(int(each["sent"]) - int(each["received"]) for each in run.where("probe", "flow"))

    @staticmethod
    def _percent(shares: list[protected.Share], since: int, until: int) -> float | None:
        value = protected.between(shares, since, until).value
        return None if value is None else 100 * value

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying in MODERN:
            if keying not in table:
                continue
            runs = table.measures[keying]

            def total(name: str, runs: Sequence[Measures] = runs) -> float:
                return sum(value for run in runs if (value := run.extra.get(name)) is not None)

            def every(name: str, value: float, runs: Sequence[Measures] = runs) -> bool:
                return all(run.extra.get(name) == value for run in runs)

            # A router that confirmed a step and then lost its power is one step behind when the next is taken, and no
            # more.
            held = all((run.extra[HELD] or 0) > 0 and (run.extra[AHEAD] or 0) <= 1 for run in runs)
            criteria += [
                Criterion(keying, "no adjacency is lost", f"{total(LOSSES):g}", total(LOSSES) == 0),
                Criterion(keying, "no probe packet is lost", f"{total(PROBES):g}", total(PROBES) == 0),
                *(
                    [Criterion(keying, "no multicast packet is lost", f"{total(LOST):g}", total(LOST) == 0)]
                    if table.has(keying, LOST)
                    else []
                ),
                Criterion(keying, "all is protected at required", _values_text(runs, SHARE), every(SHARE, 100)),
                Criterion(keying, "all is in clear again at the end", _values_text(runs, BACK), every(BACK, 0)),
                Criterion(
                    keying,
                    "a router without power is at most one step behind",
                    f"{total(HELD):g} attempts held, {total(AHEAD):g} steps taken meanwhile",
                    held,
                ),
                Criterion(keying, "every step is taken, up and back", f"{total(LEFT):g} left", every(LEFT, 0)),
            ]
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying in MODERN:
            if keying in table:
                runs = table.measures[keying]
                sentences.append(
                    f"{keying}: {between(run.extra[TAKEN] or 0 for run in runs)} steps, "
                    f"{between(run.extra[HELD] or 0 for run in runs)} attempts held because a member was without power "
                    f"or had not confirmed yet, {between(run.extra[LOSSES] or 0 for run in runs)} adjacencies lost."
                )
        return sentences

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        from testbed.report.deployment import draw_deployment

        return draw_deployment(folder, [run for run in runs if run.plan.keying in MODERN], DRAWN_S)


def _values_text(runs: Sequence[Measures], name: str) -> str:
    values = [run.extra.get(name) for run in runs]
    return "never" if None in values else f"{between(value for value in values if value is not None)} %"
