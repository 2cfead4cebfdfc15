"""A link is cut in three ways: how long does routing take to go around it, and how much data is lost, by keying
mode?"""

from __future__ import annotations

import random

from testbed.analysis import adjacency, multicast, of_run, protected
from testbed.analysis.absent import NEVER, UNAFFECTED
from testbed.analysis.convergence import phases
from testbed.analysis.links import ends_of, most_used_link
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Flow, Step, Stream
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, step
from testbed.runner.streams import streams_over
from testbed.topology.resolved import Topology

SETTLE_S, DOWN_S, UP_S = 60, 60, 60
KINDS = {
    "admin-down": ("link_admin_down", "link_admin_up"),
    "carrier loss": ("link_carrier_down", "link_carrier_up"),
    "blackhole": ("link_blackhole", "link_heal"),
}
SPAN = "{} to routes right, s"
RATE_PPS = 20.0
NOTICED_S = 0.05


class LinkCut(Experiment):
    name = "link_cut"
    title = "A link is cut in three ways"
    question = "How long is traffic lost when a link fails, and does keying make it longer?"
    method = (
        "One link is cut and healed three times: its interface is taken down by the administrator, its carrier is "
        "lost at both ends, and its packets are dropped silently while the carrier stays. It is the link that most "
        "shortest paths use, among those that both ends use in both directions and whose loss leaves the network "
        "connected. The time to reconverge runs from the cut to the last moment at which a router's forwarding table "
        "came to match the shortest paths without that link; after healing, with it. A stream of UDP packets between "
        f"the link's two ends, {RATE_PPS:g} a second, shows how long data is lost. Multicast streams go from one end "
        "to the other end and to other routers."
    )
    shows_not = (
        "One link of one network. OSPF's hello and dead intervals, 10 s and 40 s unless the topology says otherwise, "
        "decide the time of the blackhole. Lost data is known to 1/20 s."
    )
    keyings = ("none", "manual", "central-mgmt", "lks")
    main = Span(
        "carrier loss to routes right",
        "the loss of the carrier at both ends of the link",
        "the last moment at which a router's forwarding table became what shortest paths without the link say",
    )
    requests_since = "the first cut"
    duration_s = SETTLE_S + len(KINDS) * (DOWN_S + UP_S) + 10.0

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        link, steps = most_used_link(topology), []
        for number, (kind, (down, up)) in enumerate(KINDS.items()):
            at_s = SETTLE_S + number * (DOWN_S + UP_S) + round(rng.uniform(0, 10), 3)
            steps += [step(at_s, "mark", name=f"cut {kind}"), step(at_s, down, segment=link)]
            steps += [step(at_s + DOWN_S, "mark", name=f"heal {kind}"), step(at_s + DOWN_S, up, segment=link)]
        return steps

    def flows(self, topology: Topology) -> list[Flow]:
        one, other = ends_of(topology, most_used_link(topology))
        return [Flow(src=one, dst=other, rate_pps=RATE_PPS, start_s=SETTLE_S - 20, stop_s=self.duration_s - 2)]

    def streams(self, topology: Topology) -> list[Stream]:
        return streams_over(topology, most_used_link(topology))

    def measure(self, run: Run) -> Measures:
        topology, link = run.plan.topology, most_used_link(run.plan.topology)
        whole, cut = run.expected(), run.expected(frozenset({link}))
        moments = {run.mark(f"{what} {kind}"): (what, kind) for kind in KINDS for what in ("cut", "heal")}
        intervals = phases(
            topology, run.events, {t: cut if what == "cut" else whole for t, (what, _) in moments.items()}
        )
        extra: dict[str, float | None] = {}
        refuse_dead_link(run, link, min(moments))
        for moment, right in intervals:
            what, kind = moments[moment]
            extra[SPAN.format(kind if what == "cut" else f"healed after {kind}")] = (
                None if right is None else (right - moment) / NS
            )
        for kind in KINDS:
            extra[f"{kind} to noticed at both ends, s"] = noticed_s(
                run, link, run.mark(f"cut {kind}"), run.mark(f"heal {kind}")
            )
            extra[f"data lost in {kind}, s"] = lost_s(run, run.mark(f"cut {kind}"), run.mark(f"heal {kind}"))
        extra |= protected.in_clear(run)
        extra |= multicast.series(
            run,
            {kind if what == "cut" else f"healed after {kind}":
                 Phase(moment, frozenset({link} if what == "cut" else ()))
             for moment, (what, kind) in moments.items()},
        )  # fmt: skip
        return of_run.measures(
            run,
            main_s=extra[SPAN.format("carrier loss")],
            asked_from=min(moments),
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        if "lks" not in table or "none" not in table:
            return []
        criteria = []
        for kind in KINDS:
            # A cut that is noticed within milliseconds gives a ratio of two noises.
            criteria += self.as_fast(table, "lks", SPAN.format(kind), NOTICED_S)
            criteria += self.hears_in_time(table, "lks", kind)
        return criteria + self.none_in_clear(table, "lks")

    def findings(self, table: Table) -> list[str]:
        if "none" not in table:
            return []
        untouched = {
            "routes": [SPAN.format(kind) for kind in KINDS],
            "multicast trees": [
                f"{kind}{multicast.TREES}" for kind in KINDS if table.has("none", f"{kind}{multicast.TREES}")
            ],
        }
        said = [
            f"No cut changed any of the {what}, so they are not judged. A link that more paths use shows more."
            for what, series in untouched.items()
            if series and all(table.median_s("none", each) == 0 for each in series)
        ]
        times = ", ".join(f"{kind} {_seconds_text(table.median_s('none', SPAN.format(kind)))}" for kind in KINDS)
        return [*said, f"Without security the network goes around the cut in: {times} (medians)."]


def refuse_dead_link(run: Run, link: str, moment: int) -> None:
    """InputError when the link had no adjacency at `moment` (ns), before the cut: such a cut shows nothing."""
    topology = run.plan.topology
    for ends, changes in adjacency.timeline(topology, run.events).items():
        here = topology.routers[ends.router].interface(ends.interface).segment == link
        if here and not [up for at, up in changes if at <= moment][-1:] == [True]:
            raise InputError(
                f"the link {link} was dead before it was cut: {ends.router} had no adjacency with {ends.neighbor}",
                where=f"topology {topology.name}", allowed="a link over which OSPF comes up",
            )  # fmt: skip


def noticed_s(run: Run, link: str, since: int, until: int) -> float | None:
    """Seconds from the cut at `since` (ns) until both ends have given up the adjacency; None if one has not by `until`.

    The rest of the reconvergence is flooding and computing paths.
    """
    topology = run.plan.topology
    ends = [
        [moment for moment, up in changes if not up and since <= moment < until]
        for each, changes in adjacency.timeline(topology, run.events).items()
        if topology.routers[each.router].interface(each.interface).segment == link
    ]
    return (max(moments[0] for moments in ends) - since) / NS if ends and all(ends) else None


def lost_s(run: Run, since: int, until: int) -> float:
    """Seconds of the probe stream that were sent in [since, until] (ns) and did not arrive."""
    gap = NS / RATE_PPS
    lost = 0.0
    for event in run.where("probe", "loss"):
        first, last = max(since, event["sent_first_ns"]), min(until, event["sent_last_ns"])
        if last >= first:
            lost += last - first + gap
    return lost / NS


def _seconds_text(value: float | None) -> str:
    return NEVER if value is None else UNAFFECTED if value == 0 else f"{value:.3f} s"
