"""One router loses its power and gets it back: how long until its neighbours and all routes are there again?"""

from __future__ import annotations

import random

from testbed.analysis import adjacency, requests
from testbed.analysis.convergence import converged_at
from testbed.analysis.run import NS, Run
from testbed.record.plan import Step
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
from testbed.topology.resolved import Topology

SETTLE_S = 90
DARK_S = 60
MAX_RATIO = 1.10


def busiest(topology: Topology) -> str:
    """The router with the most neighbours; of several the first."""
    return max(topology.routers, key=lambda name: len(topology.neighbors(name)))


class PowerCycle(Experiment):
    name = "power_cycle"
    title = "One router's power is cut and returns"
    question = "How long after its boot does a router have its neighbours and its routes again, and whom does it ask?"
    method = (
        f"The network runs for {SETTLE_S} s. The router with the most neighbours is cut off, and boots again {DARK_S} "
        "s later, long after its neighbours gave it up. Convergence is counted from that boot to the last moment at "
        "which the forwarding table of every router became what shortest paths say, and stayed so."
    )
    shows_not = "Computation costs nothing in virtual time. One router boots; for a crowd see recovery_storm."
    duration_s = 270.0
    main = Span("boot to routes right", "the boot of the router whose power was cut", ROUTES_RIGHT)
    requests_since = "the return of the power"

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        phase_s = round(rng.uniform(0, 10), 3)  # against the phase of the hello timers
        node = busiest(topology)
        return [
            step(SETTLE_S + phase_s, "power_off", nodes=[node]),
            step(SETTLE_S + phase_s + DARK_S, "mark", name="power_returns"),
            step(SETTLE_S + phase_s + DARK_S, "power_on", nodes=[node], jitter_s=0),
        ]

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        node = busiest(topology)
        boot = min(event["t"] for event in run.where("fault", "power_on"))
        converged = converged_at(topology, run.events, run.expected())
        ups = [
            max((moment for moment, up in changes if up and moment >= boot), default=None)
            for ends, changes in adjacency.timeline(topology, run.events).items()
            if node in ends
        ]
        asked = requests.at_dks(run, run.mark("power_returns"))
        known = [moment for moment in ups if moment is not None]
        return Measures(
            convergence_s=None if converged is None else (converged - boot) / NS,
            adjacencies_expected=len(adjacency.expected(topology)),
            adjacencies_restored=adjacency.up_at_end(topology, run.events),
            dks_total=asked.total,
            dks_unique=asked.unique,
            dks_before_schedule=asked.before_schedule,
            dks_peak_per_s=asked.peak_per_s,
            extra={
                "boot to first adjacency, s": (min(known) - boot) / NS if known else None,
                "boot to last adjacency, s": (max(known) - boot) / NS if len(known) == len(ups) else None,
            },
        )

    def judge(self, table: Table) -> list[Criterion]:
        if "lks" not in table:
            return []
        runs = table.measures["lks"]
        restored = sum(run.adjacencies_restored for run in runs)
        expected = sum(run.adjacencies_expected for run in runs)
        found = [Criterion("lks", "every adjacency is back", f"{restored} of {expected}", restored == expected)]
        if "none" in table:
            ratio = table.ratio("lks")
            value = "never" if ratio is None else f"{ratio:.3f}"
            text = f"{self.main.name}: median at most {MAX_RATIO:.2f} × that of none"
            found.append(Criterion("lks", text, value, ratio is not None and ratio <= MAX_RATIO))
        return found

    def findings(self, table: Table) -> list[str]:
        return [
            f"{keying}: {between(run.dks_total or 0 for run in runs)} requests reach the DKS "
            "from the boot to the end of the run."
            for keying, runs in table.measures.items()
            if any(run.dks_total for run in runs)
        ]
