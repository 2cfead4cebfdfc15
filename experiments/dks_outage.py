"""The DKS is dead for ten key lifetimes: does routing go on, and is there one numbering at its return?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from testbed.analysis import adjacency, multicast, of_run, protected
from testbed.analysis.convergence import phases
from testbed.analysis.counters import grown
from testbed.analysis.links import most_used_link
from testbed.analysis.multicast import Phase, hears
from testbed.analysis.numbering import numbering
from testbed.analysis.run import NS, Event, Run
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
from testbed.runner.streams import streams_over
from testbed.topology.resolved import Topology

LIFETIME_S = 60
KILL_S = 120
OUTAGE_S = 10 * LIFETIME_S
CUT_S, HEAL_S = KILL_S + 240, KILL_S + 300
SETTLED_S = HEAL_S + 30
BACK_S = KILL_S + OUTAGE_S
AFTER_S = 240
LOCAL = modes(lambda mode: mode.local_key_server)
DEAD, CUT, HEALED, SETTLED, BACK = "dks_dead", "link_cut", "link_healed", "link_settled", "dks_back"
LOST, DROPPED, AT_HEAL, TWICE, BESIDE = (
    "adjacencies lost",
    "packets dropped by IPsec",
    "packets dropped by IPsec as the link comes back",
    "groups with two keys of one number",
    "groups whose newest number differs from the DKS's ledger",
)


class DksOutage(Experiment):
    name = "dks_outage"
    title = "The DKS is dead for ten key lifetimes"
    question = (
        "When the domain's key server is dead for ten lifetimes of a key, does routing go on, does a cut link come "
        "back meanwhile, and do all routers and the key server agree on the numbers of keys after its return?"
    )
    method = (
        f"A group's key lives {LIFETIME_S} s. After {KILL_S} s the DKS's process is killed. It is started again "
        f"{OUTAGE_S} s later from its disk. {CUT_S - KILL_S} s into the outage, the link that most shortest paths use "
        f"loses its carrier for {HEAL_S - CUT_S} s. Convergence is the time from the link's return to the last moment "
        "at which a router's forwarding table came to match the shortest paths. Adjacencies over the cut link do not "
        "count as lost while it is cut. At the end every kernel's SAs are read and checked: does a number of a group "
        "stand for two keys, and is the newest number of each group, at its speaker and at each receiver, the newest "
        "in the DKS's ledger? Packets dropped by IPsec are the growth of the counters in /proc/net/xfrm_stat from the "
        f"DKS's death to the end. The {SETTLED_S - HEAL_S} s after the link's return are counted separately, since a "
        "Hello that arrives before the Local Key Servers have spoken cannot be decrypted."
    )
    shows_not = (
        "One outage of one length. Keys are compared at the end of the run only, by a hash. That no number has two "
        "keys in between is tested in simulation (tests/unit/lks/test_issuing.py). With lks the DKS learns of "
        "generations when a router visits it, so its ledger lags between visits by design."
    )
    topology = "ring:6"
    keyings: ClassVar[tuple[str, ...]] = ("central-mgmt", "dks-lks", "lks")
    seeds = 3
    duration_s = float(BACK_S + AFTER_S)
    main = Span("cut link back to routes right", "the return of the cut link, while the DKS is dead", ROUTES_RIGHT)
    requests_since = "the DKS's return"
    options: ClassVar = {
        "sad": True,
        "policy": {
            "lifetimes": {"group_s": LIFETIME_S},
            "reconnect": {"first_min_s": 20, "first_max_s": 60, "max_s": 90},
        },
    }

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        link = most_used_link(topology)
        return [
            step(KILL_S, "mark", name=DEAD),
            step(KILL_S, "dks_kill"),
            step(CUT_S, "mark", name=CUT),
            step(CUT_S, "link_carrier_down", segment=link),
            step(HEAL_S, "mark", name=HEALED),
            step(HEAL_S, "link_carrier_up", segment=link),
            step(SETTLED_S, "mark", name=SETTLED),
            step(BACK_S, "mark", name=BACK),
            step(BACK_S, "dks_start"),
        ]

    def streams(self, topology: Topology) -> list[Stream]:
        return streams_over(topology, most_used_link(topology))

    def measure(self, run: Run) -> Measures:
        topology, link = run.plan.topology, most_used_link(run.plan.topology)
        dead, cut, healed, back = (run.mark(name) for name in (DEAD, CUT, HEALED, BACK))
        end = run.events[-1]["t"]
        right = dict(phases(topology, run.events, {cut: run.expected(frozenset({link})), healed: run.expected()}))[
            healed
        ]
        rekeyed = [event for event in run.where("agent", "rekeyed") if event["node"] != "dks"]
        drops = dropped(run)
        extra: dict[str, float | None] = {
            LOST: losses(run, link, dead, end),
            "rekeys by LKSs while the DKS is dead": sum(dead <= event["t"] < back for event in rekeyed),
            "rekeys after its return": sum(back <= event["t"] for event in run.where("agent", "rekeyed")),
            "generations from the DKS after its return": sum(back <= event["t"] for event in issued(run)),
            DROPPED: sum(drops.values()),
            AT_HEAL: sum(grown(run, HEALED, SETTLED).values()),
            **drops,
        }
        cuts = {"link cut": Phase(cut, frozenset({link})), self.begin: Phase(healed)}
        extra |= protected.in_clear(run)
        extra |= multicast.series(run, cuts)
        numbers = numbering(run)
        if numbers is not None:
            extra |= {
                "SAs compared": numbers.compared,
                "SAs of no group": numbers.foreign,
                "groups": numbers.groups,
                "groups without a key in common": len(numbers.keyless),
                TWICE: len(numbers.two_keys),
                BESIDE: len(numbers.beside_ledger),
            }
        return of_run.measures(
            run,
            main_s=None if right is None else (right - healed) / NS,
            asked_from=back,
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            if keying not in LOCAL or not runs:
                continue
            lost, drops = (sum(int(run.extra[name] or 0) for run in runs) for name in (LOST, DROPPED))
            criteria.append(Criterion(keying, "no adjacency lost, except over the cut link", str(lost), lost == 0))
            criteria.append(Criterion(keying, "no packet dropped by IPsec", str(drops), drops == 0))
            slowest = [run.main_s for run in runs]
            before = all(each is not None and each < BACK_S - HEAL_S for each in slowest)
            text = "the cut link is in use again before the DKS is back"
            criteria.append(Criterion(keying, text, ", ".join(map(_seconds_text, slowest)), before))
            if table.has(keying, hears(self.begin)):
                heard = table.values(keying, hears(self.begin))
                ok = all(each is not None and each < BACK_S - HEAL_S for each in heard)
                text = "all receivers of multicast hear again before the DKS is back"
                criteria.append(Criterion(keying, text, ", ".join(map(_seconds_text, heard)), ok))
            criteria += self.none_in_clear(table, keying)
            criteria += [self._one_numbering(keying, [run.extra for run in runs])]
        return criteria

    @staticmethod
    def _one_numbering(keying: str, runs: Sequence[Mapping[str, float | None]]) -> Criterion:
        """With `lks` the DKS learns numbers only when routers visit it, so its ledger is not compared."""
        names = ["SAs of no group", "groups without a key in common", TWICE, *([BESIDE] if keying == "dks-lks" else [])]
        wrong = {name: sum(int(run.get(name) or 0) for run in runs) for name in names}
        compared = all(run.get("SAs compared") for run in runs)
        said = "; ".join(f"{name}: {count}" for name, count in wrong.items() if count) or "all SAs agree"
        text = "one key for each number" + (", and it is in the DKS's ledger" if keying == "dks-lks" else "")
        return Criterion(keying, text, said if compared else "no SAs on record", compared and not any(wrong.values()))

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying, runs in table.measures.items():
            if not runs:
                continue
            lost, made, given = (
                between(run.extra[name] or 0 for run in runs)
                for name in (
                    LOST,
                    "rekeys by LKSs while the DKS is dead",
                    "generations from the DKS after its return",
                )
            )
            sentences.append(
                f"{keying}: {lost} adjacencies lost; {made} rekeys by LKSs while the DKS was dead; {given} generations "
                "made by the DKS after its return."
            )
        return sentences


def losses(run: Run, link: str, since: int, until: int) -> int:
    """How often an adjacency went down from `since` to `until` (ns), except over the link while it is cut."""
    topology, cut, healed = run.plan.topology, run.mark(CUT), run.mark(HEALED)
    return sum(
        not up
        and since <= moment <= until
        and not (topology.routers[ends.router].interface(ends.interface).segment == link and cut <= moment <= healed)
        for ends, changes in adjacency.timeline(topology, run.events).items()
        for moment, up in changes
    )


def issued(run: Run) -> list[Event]:
    """The events in which the DKS made a generation, for an LKS to distribute or to push itself."""
    return [*run.where("agent", "issued", "dks"), *run.where("agent", "rekeyed", "dks")]


def dropped(run: Run) -> dict[str, int]:
    """The growth of each counter of /proc/net/xfrm_stat from the DKS's death to the end, without the seconds after the
    link's return: a neighbour with new keys cannot be decrypted until the two LKSs have exchanged them."""
    growth = grown(run, DEAD, "end")
    for name, count in grown(run, HEALED, SETTLED).items():
        growth[name] = growth.get(name, 0) - count
    return {name: count for name, count in growth.items() if count}


def _seconds_text(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
