"""The paper's argument about PIM: OSPF runs in clear, only PIM is protected, and the whole domain loses its power."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from testbed.analysis import multicast, of_run, pim_neighbors
from testbed.analysis.convergence import converged_at
from testbed.analysis.measures import total
from testbed.analysis.multicast import HEARS, Phase
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.keying.base import modes
from testbed.record.plan import Plan, Step, Stream
from testbed.report.requests import POWER_RETURNS
from testbed.runner.experiment import HEARING_S, Criterion, Experiment, Measures, Span, Table, between
from testbed.runner.power_failure import BOOT_SPREAD_S, DARK_S, DKS_WIRE, FIRST_S, SETTLE_S, SETTLED, power_failure
from testbed.runner.streams import RATE_PPS, RECEIVERS, usual_streams
from testbed.topology.resolved import Topology

if TYPE_CHECKING:
    from testbed.report.page import Drawn

ROUTES, NEIGHBOURS = "first boot to routes right, s", "first boot to all PIM neighbours, s"
KEYED = "first boot to all routers keyed, s"
HELLO_S = 30
"""The interval of PIM Hellos (RFC 7761, section 4.11)."""
LOCAL, CENTRAL = modes(lambda mode: mode.local_key_server), "central"


class PimStorm(Experiment):
    name = "pim_storm"
    title = "A power failure where PIM alone is protected"
    question = (
        "PIM starts when unicast paths already exist. Does central keying then restore multicast after a power "
        "failure, and how much load do Local Key Servers still take off the DKS?"
    )
    method = (
        "OSPF runs in clear, and only PIM is protected (`-o clear=ospf,ospf6`, the default here). Two nodes, far from "
        "the rendezvous point and from each other, send all the time: each to an any-source group and to a "
        f"source-specific group, {RATE_PPS:g} packets a second to each group. {RECEIVERS} nodes, as far apart as "
        "possible, receive all groups (`-o receivers=` sets another number; a small network has fewer). After "
        f"{SETTLE_S} s all routers and the DKS lose their power at once. {DARK_S} s later the power returns, and each "
        f"of them boots within {BOOT_SPREAD_S:g} s. The boot times are drawn at random for each seed and are the same "
        "for every keying mode. The measured time runs from the first boot of a router to the moment from which on no "
        "receiver misses a packet."
    )
    shows_not = (
        "Computation costs nothing in virtual time: the figures count the requests to the DKS and say nothing of how "
        "fast it can answer them. OSPF is in clear here, so an attacker who forges OSPF packets also controls the "
        "paths of multicast. Routers with an LKS first visit the DKS 60 to 600 s after their boot, most of them after "
        "the run."
    )
    keyings: ClassVar[tuple[str, ...]] = ("none", "manual", "central", "dks-lks", "lks")
    seeds = 5
    duration_s = 240.0
    main = Span("first boot to all receivers hear", "the first boot of a router after the power returned", HEARS)
    restored = "PIM neighbours at the end"
    requests_since = "the return of the power"
    options: ClassVar = {
        "boot_jitter_s": 2.0, "captures": DKS_WIRE, "clear": ["ospf", "ospf6"], "commission": False,
        "receivers": RECEIVERS,
    }  # fmt: skip

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        return power_failure()

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """As Experiment.plan, with the number of receivers from `-o receivers=`, and without the static routes of
        central keying: OSPF is in clear and needs none. InputError."""
        if not topology.ospf.v2:
            raise InputError(
                "PIM needs IPv4 routes, and OSPFv3 alone provides none",
                where=f"topology {topology.name}", allowed="--ospf 2, or --ospf 2,3",
            )  # fmt: skip
        if topology.pim is None:
            raise InputError(
                "this network has no PIM",
                where=f"topology {topology.name}", allowed="one with PIM, which is the default: leave out `pim: off`",
            )  # fmt: skip
        made = super().plan(topology, keying, seed, options)
        wanted = made.own["receivers"]
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
            raise InputError(f"receivers is {wanted!r}", where="-o receivers", allowed="a whole number, 1 or more")
        return made.model_copy(update={"streams": tuple(usual_streams(topology, receivers=wanted))})

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        boot = min(event["t"] for event in run.where("fault", "power_on") if event["node"] in topology.routers)
        routes = converged_at(topology, run.events, run.expected())
        there = pim_neighbors.all_up_at(topology, run.events)
        phases = {"first start": Phase(0, until=run.mark(SETTLED)), self.begin: Phase(boot)}
        series = multicast.series(run, phases)
        return of_run.measures(
            run,
            main_s=series.pop(multicast.hears(self.begin), None),
            adjacencies=pim_neighbors.at_end(topology, run.events),
            asked_from=run.mark(POWER_RETURNS),
            first_s=FIRST_S,
            extra={
                ROUTES: None if routes is None else (routes - boot) / NS,
                NEIGHBOURS: None if there is None else (there - boot) / NS,
                **({KEYED: self.keyed(run, boot)} if run.plan.keying in (CENTRAL, *LOCAL) else {}),
                **series,
            },
        )

    @staticmethod
    def keyed(run: Run, boot: int) -> float | None:
        """Seconds until the last pair of neighbours had each other's keys; None when a pair never had them."""
        since: dict[tuple[str, str, str], int] = {}
        for event in run.where("agent", "keyed"):
            if event["t"] >= boot:
                since.setdefault((event["node"], event["interface"], event["neighbor"]), event["t"])
        whole = len(since) == len(pim_neighbors.expected(run.plan.topology))
        return (max(since.values()) - boot) / NS if since and whole else None

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying in (each for each in self.keyings if each != "none" and each in table):
            runs = table.measures[keying]
            back = [run for run in runs if run.main_s is not None]
            there = total(runs)
            up, of = there.restored, there.expected
            criteria += [
                Criterion(
                    keying, "every receiver hears again", f"{len(back)} of {len(runs)} runs", len(back) == len(runs)
                ),
                Criterion(keying, "every PIM neighbour is back", f"{up} of {of}", up == of),
            ]
        for keying in LOCAL:
            if keying in table:
                early = sum(run.asked.before_schedule or 0 for run in table.measures[keying])
                text = "no request to the DKS before the first scheduled reconnection"
                criteria.append(Criterion(keying, text, str(early), early == 0))
                criteria += self.as_fast(table, keying, spare_s=HEARING_S) if "none" in table else []
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        minute = {
            keying: median(known)
            for keying in (CENTRAL, *LOCAL)
            if (
                known := [count for run in table.measures.get(keying, ()) if (count := run.asked.first_60s) is not None]
            )
        }
        if CENTRAL in minute:
            own, none = (table.median_s(each) for each in (CENTRAL, "none"))
            if own is None:
                sentences.append(
                    "Refuted: central keying does not restore PIM, although unicast routes to the DKS exist: "
                    "receivers do not hear again within the run."
                )
            else:
                against = "" if none is None else f", {own - none:+.2f} s against no security"
                sentences.append(
                    "As the paper says (V-C), central keying works for PIM, since unicast routing provides the path "
                    f"to the DKS: receivers hear again after {own:.2f} s{against}."
                )
            keyed, up = (table.median_s(CENTRAL, each) for each in (KEYED, NEIGHBOURS))
            if keyed is not None and up is not None and up - keyed > HELLO_S / 10:
                sentences.append(
                    f"central: the last router has its keys after {keyed:.2f} s, and the last PIM neighbour is up "
                    f"after {up:.2f} s. Hellos that pimd sends before a key exists are dropped, and the next Hello "
                    f"comes {HELLO_S} s later."
                )
        if CENTRAL in minute and any(each in minute for each in LOCAL):
            storm = ", ".join(f"{keying} {value:g}" for keying, value in minute.items())
            lower = all(minute[each] < minute[CENTRAL] for each in LOCAL if each in minute)
            said = "As the paper says (VI), Local Key Servers reduce the storm of requests after a power failure"
            refuted = "Refuted: Local Key Servers do not reduce the storm of requests after a power failure"
            sentences.append(
                f"{said if lower else refuted}: requests in the first {FIRST_S:g} s after the power returns (medians) "
                f"are {storm}."
            )
        for keying in LOCAL:
            if keying in table:
                runs = table.measures[keying]
                sentences.append(
                    f"{keying}: {between(run.asked.total or 0 for run in runs)} requests reach the DKS from the return "
                    "of the power to the end of the run."
                )
        return sentences

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        from testbed.report.pim_storm import draw_back

        rows: dict[str, list[Measures]] = {}
        for run in runs:
            rows.setdefault(run.plan.keying, []).append(self.measure(run))
        points = [(key, each.main_s, each.asked.first_60s or 0) for key, row in rows.items() for each in row]
        said = [each for each in self.findings(Table(rows)) if "paper" in each or "Refuted" in each]
        return draw_back(folder, points, said)
