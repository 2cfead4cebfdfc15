"""The cost of keying: octets on the wire, handshakes, SAs, processor time, and the time to install an SA."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from testbed.analysis import costs, multicast, of_run, traffic
from testbed.analysis.convergence import converged_at
from testbed.analysis.measures import total
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.analysis.traffic import CLEAR, IKE, PROTECTED
from testbed.keying.base import modes
from testbed.record.plan import Plan, Step, Stream
from testbed.runner.experiment import ROUTES_RIGHT, Criterion, Experiment, Measures, Span, Table, step
from testbed.runner.streams import usual_streams
from testbed.topology.resolved import Topology

if TYPE_CHECKING:
    from testbed.report.page import Drawn

UP_S = 100
LIFETIME_S = 60
LIFETIMES = 4
STEADY, END = "steady", "steady_end"
AGENTS = modes(lambda mode: mode.dks)

ROUTING = "routing per interface, octet/s"
PACKET = "octets of a routing packet, mean"
IKE_UP = "IKE to come up, octets per router"
IKE_LIFETIME = "IKE per key lifetime, octets per router"
HANDSHAKES_UP = "handshakes to come up"
HANDSHAKES_LIFETIME = "handshakes per key lifetime"
IKE_KEY = "IKE for a new key of a group, octets"
IKE_ALIVE = "IKE for liveness and reports, octet/s per router"
MESSAGES_LIFETIME = "IKE messages per key lifetime"
CLEARTEXT = "routing packets in clear after coming up"
SAS = "SAs in a router's kernel, most"
UNITS = ("octets", "datagrams", "round trips")
HANDSHAKE, ML_KEM = "a handshake", "ML-KEM-768 in a handshake"


class Overhead(Experiment):
    name = "overhead"
    title = "What keying costs"
    question = "How many octets, handshakes and SAs, and how much processor time, does each way of keying cost?"
    method = (
        f"Every packet on every interface is captured. The network comes up for {UP_S} s, then runs for {LIFETIMES} "
        f"key lifetimes of {LIFETIME_S} s each, without faults. Octets are those of IP packets as they leave an "
        "interface, counted once for each link. Routers visit the DKS within the first minute. Each agent's processor "
        "time is read from the scheduler, and every agent records how long its kernel took for a change. A handshake "
        "counts the packets of both ends, in total and for ML-KEM-768 alone; the sweep post_quantum measures "
        "handshakes without it."
    )
    shows_not = (
        "Octets, messages and SAs are those of a network at rest. Losses cause retransmissions, and faults cost more "
        "(see recovery_storm). Routing packets in ESP are counted whatever their content. In virtual time computation "
        "is free, so the figures of processor time and installation are empty there. They come from the real clock "
        "(--kernel uml, lab calibrate), where a system call of User-Mode Linux costs several times that of a router's "
        "own kernel."
    )
    topology = "ring:4"
    keyings = ("none", "native", "manual", "central-mgmt", "dks-lks", "lks")
    seeds = 3
    duration_s = float(UP_S + LIFETIMES * LIFETIME_S + 1)
    main = Span("run's start to routes right", "the run's start", ROUTES_RIGHT)
    options: ClassVar = {
        "sad": True,
        "costs": True,
        "policy": {
            "lifetimes": {"group_s": LIFETIME_S, "atd_s": 2, "dtd_s": 5},
            "reconnect": {"first_min_s": 10, "first_max_s": 50},
        },
    }

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        return [
            step(UP_S, "mark", name=STEADY),
            step(UP_S + LIFETIMES * LIFETIME_S, "mark", name=END),
        ]

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """As Experiment.plan; everything is captured."""
        return super().plan(topology, keying, seed, {"captures": "all", **options})

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        since, until = run.mark(STEADY), run.mark(END)
        packets = traffic.sent(run.folder, topology)
        before = [each for each in packets if each.t < since]
        steady = [each for each in packets if since <= each.t < until]
        interfaces = set(traffic.routing_interfaces(topology))
        routing = [each for each in steady if each.kind in (CLEAR, PROTECTED) and each.interface in interfaces]
        seconds = (until - since) / NS
        routers, lifetimes = len(topology.routers), seconds / LIFETIME_S
        rekeys = sum(since <= each["t"] < until for each in run.where("agent", "rekeyed"))
        alive = _octets(traffic.informational(steady))
        converged = converged_at(topology, run.events, run.expected())
        return of_run.measures(
            run,
            main_s=None if converged is None else converged / NS,
            asked_from=None,
            extra={
                ROUTING: _octets(routing) / seconds / len(interfaces),
                PACKET: _octets(routing) / len(routing) if routing else None,
                CLEARTEXT: sum(each.kind == CLEAR for each in routing),
                IKE_UP: _octets(_ike(before)) / routers,
                IKE_LIFETIME: _octets(_ike(steady)) / routers / lifetimes,
                HANDSHAKES_UP: traffic.handshakes(before),
                HANDSHAKES_LIFETIME: traffic.handshakes(steady) / lifetimes,
                MESSAGES_LIFETIME: traffic.messages(steady) / lifetimes,
                "new keys per key lifetime": rekeys / lifetimes,
                IKE_KEY: (_octets(_ike(steady)) - alive) / rekeys if rekeys else None,
                IKE_ALIVE: alive / seconds / routers,
                SAS: max((len(each["sas"]) for each in run.where("xfrm", "sad")), default=None),
                **_handshakes(traffic.handshake_costs(before), costs.real(run)),
                **costs.processor(run, STEADY, END, lifetimes),
                **costs.installation(run, STEADY),
                **multicast.series(run, {self.begin: Phase(0)}),
            },
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            there = total(runs)
            restored, expected = there.restored, there.expected
            criteria.append(
                Criterion(keying, "every adjacency is up", f"{restored} of {expected}", restored == expected)
            )
            if keying in AGENTS:
                clear = sum(run.extra[CLEARTEXT] or 0 for run in runs)
                criteria.append(Criterion(keying, "no routing packet in clear", f"{clear:g}", clear == 0))
            if keying in AGENTS:
                again = sum(run.extra[HANDSHAKES_LIFETIME] or 0 for run in runs)
                criteria.append(Criterion(keying, "a new key needs no new handshake", f"{again:g}", again == 0))
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying, runs in table.measures.items():
            rate, size = _middle(runs, ROUTING), _middle(runs, PACKET)
            text = f"{keying}: {rate:.1f} octet/s of routing an interface ({size:.0f} octets a packet)"
            if keying != "none" and "none" in table:
                text += f", {rate / _middle(table.measures['none'], ROUTING):.2f} × that of none"
            if keying in AGENTS:
                text += (
                    f"; {_middle(runs, HANDSHAKES_UP):g} handshakes and {_middle(runs, IKE_UP) / 1000:.1f} kB of IKE a "
                    f"router to come up; {_middle(runs, IKE_LIFETIME) / 1000:.1f} kB a router in each lifetime, "
                    f"of which {_middle(runs, IKE_KEY):.0f} octets for each new key; liveness and reports take "
                    f"{_middle(runs, IKE_ALIVE):.1f} octet/s a router"
                )
                if table.has(keying, f"{HANDSHAKE}, octets"):
                    whole, part = ([_middle(runs, f"{name}, {unit}") for unit in UNITS] for name in (HANDSHAKE, ML_KEM))
                    text += "; {:.0f} octets in {:g} datagrams and {:g} round trips a handshake".format(*whole)
                    text += ", ML-KEM-768 {:.0f}, {:g} and {:g} of them".format(*part)
            if keying == "manual" and (clear := _middle(runs, CLEARTEXT)):
                text += f"; {clear:g} PIM Registers in clear, since static keys cover links only"
            sentences.append(text + ".")
            timed = [(name, run.extra[name]) for run in runs for name in run.extra if name.endswith(", ms")]
            if known := [name for name, value in timed if value is not None]:
                listed = ", ".join(
                    f"{name.removesuffix(', ms')} {_middle(runs, name):.1f}" for name in dict.fromkeys(known)
                )
                sentences.append(f"{keying}, real clock, ms: {listed}.")
        return sentences

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        from testbed.report.overhead import draw_overhead

        return draw_overhead(folder, runs, STEADY, END)


def _handshakes(handshakes: Sequence[traffic.Handshake], real: bool) -> dict[str, float | None]:
    """Medians of one handshake, and of its key exchange with ML-KEM-768 (0 without one). Empty without handshakes.
    Times are given on the real clock only: in virtual time computation is free."""
    if not handshakes:
        return {}
    nothing = traffic.Handshake(0, 0, 0, 0)
    parts = {HANDSHAKE: handshakes, ML_KEM: [each.further or nothing for each in handshakes]}
    extra: dict[str, float | None] = {}
    for name, costs_ in parts.items():
        extra[f"{name}, octets"] = median(each.octets for each in costs_)
        extra[f"{name}, datagrams"] = median(each.datagrams for each in costs_)
        extra[f"{name}, round trips"] = median(each.requests for each in costs_)
        extra[f"{name}, ms"] = median(each.ns for each in costs_) / costs.MS if real else None
    return extra


def _ike(packets: Iterable[traffic.Sent]) -> list[traffic.Sent]:
    return [each for each in packets if each.kind == IKE]


def _octets(packets: Iterable[traffic.Sent]) -> int:
    return sum(each.octets for each in packets)


def _middle(runs: Iterable[Measures], name: str) -> float:
    return median(run.extra[name] or 0 for run in runs)
