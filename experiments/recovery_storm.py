"""A whole domain loses its power and gets it back: how fast does routing return, and what load reaches the DKS?"""

from __future__ import annotations

import random
from statistics import median
from typing import ClassVar

from testbed.analysis import multicast, of_run, protected, requests
from testbed.analysis.convergence import converged_at
from testbed.analysis.measures import total
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.keying.base import modes
from testbed.record.plan import Step, Stream
from testbed.report.requests import POWER_RETURNS
from testbed.runner.experiment import (
    ROUTES_RIGHT,
    Criterion,
    Experiment,
    Measures,
    Span,
    Table,
    between,
)
from testbed.runner.power_failure import BOOT_SPREAD_S, DARK_S, DKS_WIRE, FIRST_S, SETTLE_S, SETTLED, power_failure
from testbed.runner.streams import usual_streams
from testbed.topology.resolved import Topology

ASKING = modes(lambda mode: mode.dks)
PENDING = "routers whose first visit to the DKS falls after the run"


class RecoveryStorm(Experiment):
    name = "recovery_storm"
    title = "A power failure of the whole domain"
    question = (
        "When every router and the DKS lose their power at once, does routing return as fast as without security, and "
        "how many requests reach the DKS?"
    )
    method = (
        f"The network runs for {SETTLE_S} s. Then every node loses its power at once. After {DARK_S} s the power "
        f"returns, and each node boots within the next {BOOT_SPREAD_S:g} s. The boot times are drawn at random for "
        "each seed and are the same for every keying mode. After the power cut a node has only what was flushed to "
        "its retained folder. Convergence is the time from the first boot of a router to the last moment at which a "
        "router's forwarding table came to match the shortest paths for good. For multicast, it ends at the moment "
        "from which on every receiver hears every packet of its streams."
    )
    shows_not = (
        "Computation costs nothing in virtual time: the figures count the requests to the DKS and say nothing of how "
        "fast it can answer them. Counting stops at the end of the run. A router with an LKS makes its first visit to "
        "the DKS 60 to 600 s after its boot, unless the policy says otherwise, so most visits come later. All nodes "
        "boot the same software in the same time. With central keying, an operator types static routes into every "
        "router at its first start, and the power cut erases them. A network that keeps such routes in its "
        "configuration is not shown."
    )
    duration_s = 300.0
    seeds = 5
    main = Span("first boot to routes right", "the first boot of a router after the power returned", ROUTES_RIGHT)
    requests_since = "the return of the power"
    options: ClassVar = {"boot_jitter_s": 2.0, "captures": DKS_WIRE}

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        return power_failure()

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        # Time counts from the routers: the DKS boots too, but only some modes have one.
        boots = [event["t"] for event in run.where("fault", "power_on") if event["node"] in topology.routers]
        settled = converged_at(topology, run.events, run.expected(), until=run.mark(SETTLED))
        converged = converged_at(topology, run.events, run.expected())
        return of_run.measures(
            run,
            main_s=None if converged is None else (converged - min(boots)) / NS,
            asked_from=run.mark(POWER_RETURNS),
            first_s=FIRST_S,
            extra={
                **({PENDING: requests.due_after_end(run)} if requests.schedules(run.plan.keying) else {}),
                "last boot to routes right, s": None if converged is None else (converged - max(boots)) / NS,
                "first start to routes right, s": None if settled is None else settled / NS,
                **protected.in_clear(run),
                **multicast.series(
                    run,
                    {"first start": Phase(0, until=run.mark(SETTLED)), self.begin: Phase(min(boots))},
                ),
            },
        )

    def judge(self, table: Table) -> list[Criterion]:
        local = [keying for keying in modes(lambda mode: mode.schedules_visits) if keying in table]
        return [each for keying in local for each in self._judge(keying, table)]

    def _judge(self, keying: str, table: Table) -> list[Criterion]:
        runs = table.measures[keying]
        there = total(runs)
        restored, expected = there.restored, there.expected
        early = sum(run.asked.before_schedule or 0 for run in runs)
        criteria = [
            Criterion(keying, "every adjacency is back", f"{restored} of {expected}", restored == expected),
            Criterion(keying, "no request to the DKS before the first scheduled reconnection", str(early), early == 0),
        ]
        if "none" in table:
            criteria += self.as_fast(table, keying)
        return [*criteria, *self.hears_in_time(table, keying), *self.none_in_clear(table, keying)]

    def findings(self, table: Table) -> list[str]:
        sentences = []
        if "central" in table:
            stuck = [run for run in table.measures["central"] if run.main_s is None]
            if stuck:
                there = total(stuck)
                back, of = there.restored, there.expected
                sentences.append(
                    f"Central keying in-band deadlocks on a cold start in {len(stuck)} of "
                    f"{len(table.measures['central'])} runs: a router that is not next to the DKS has no route to it "
                    "until OSPF runs, and OSPF does not run until the router is keyed. "
                    f"{back} of {of} adjacencies come back."
                )
        minute = {
            keying: median(known)
            for keying, runs in table.measures.items()
            if (known := [run.asked.first_60s for run in runs if run.asked.first_60s is not None]) and keying in ASKING
        }
        if minute:
            listed = ", ".join(f"{keying} {value:g}" for keying, value in minute.items())
            sentences.append(
                f"Requests at the DKS in the first {FIRST_S:g} s after the power returns (medians): {listed}."
            )
        for keying in ("central-mgmt", "lks"):
            if keying in table:
                runs = table.measures[keying]
                sentences.append(
                    f"{keying}: {between(run.asked.total or 0 for run in runs)} requests reach the DKS from the "
                    f"return of the power to the end of the run, at most "
                    f"{max(run.asked.peak_per_s or 0 for run in runs)} in one second."
                )
                pending = [value for run in runs if (value := run.extra.get(PENDING)) is not None]
                if any(pending):
                    sentences.append(
                        f"{keying}: {between(pending)} routers have their first visit to the DKS scheduled after the "
                        "end of the run. The total and the peak of requests are therefore incomplete. Do not compare "
                        "them with those of a mode in which every router has visited the DKS."
                    )
        return sentences
