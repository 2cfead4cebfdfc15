"""What the DKS was asked, over time, as it wrote down itself; and whether the signed policy allowed the router to ask
already, by what passed the DKS's wire, where that was captured."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from agents.ikev2.registry import Flag
from testbed.analysis.measures import RequestCounts
from testbed.analysis.run import NS, Event, Run
from testbed.domains.build import PORT
from testbed.keying.base import modes
from testbed.keying.options import AgentOptions
from testbed.probes.ike import ike_datagrams
from testbed.topology.resolved import IPAddress, Topology, of_stub

_FLAGS = 19
"""Where an IKE header has them (RFC 7296 §3.1)."""


@dataclass(frozen=True)
class Requests:
    """Requests that arrived at the DKS in a span of time. `times_s` counts from the span's start."""

    total: int
    unique: int
    before_schedule: int
    times_s: tuple[float, ...]
    peak_per_s: int

    def within(self, seconds: float) -> int:
        """How many came in the first `seconds` of the span."""
        return sum(time <= seconds for time in self.times_s)

    def counts(self, first_s: float | None = None) -> RequestCounts:
        """What an experiment's Measures have of them; with those of the first so many seconds apart."""
        first = None if first_s is None else self.within(first_s)
        return RequestCounts(self.total, self.unique, self.before_schedule, self.peak_per_s, first)


def at_dks(run: Run, since: int) -> Requests:
    """Every request datagram from `since` (ns) to the end; `unique` leaves repeats out.

    `before_schedule`: those that came to the DKS before the signed policy lets a router go there after its boot, by
    the capture of its wire where there is one; all of them in a keying mode whose policy lets them at once.
    """
    received = _asked(run, since)
    policy = SignedPolicy(run) if schedules(run.plan.keying) else None
    captured = None if policy is None else on_the_wire(run)
    asked = [(event["t"], ip_address(event["peer"])) for event in received] if captured is None else captured
    times = _after(since, received)
    return Requests(
        total=len(received),
        unique=sum(not event["retransmission"] for event in received),
        before_schedule=sum(
            policy is None or moment < policy.first_contact(moment, peer) for moment, peer in asked if moment >= since
        ),
        times_s=times,
        peak_per_s=peak(times),
    )


def times_s(run: Run, since: int) -> tuple[float, ...]:
    """When these requests came, in seconds after `since`. No capture is read for it."""
    return _after(since, _asked(run, since))


def _after(since: int, events: Sequence[Event]) -> tuple[float, ...]:
    return tuple((event["t"] - since) / NS for event in events)


def _asked(run: Run, since: int) -> list[Event]:
    return [event for event in run.where("agent", "request", "dks") if event["t"] >= since]


def schedules(keying: str) -> bool:
    """Whether this is a mode in which a router goes to the DKS when its policy says so, and not because it boots."""
    return keying in modes(lambda mode: mode.schedules_visits)


def on_the_wire(run: Run) -> list[tuple[int, IPAddress]] | None:
    """Moment (ns) and sender of each IKE request to the DKS that its wire carried; None where that was not captured."""
    own, family = run.plan.topology.dks, run.plan.topology.family
    capture = run.folder / "pcap" / f"{own.interface}.pcap"
    if not capture.exists():
        return None
    here = f"{own.address}:{PORT}" if family == 4 else f"[{own.address_of(family)}]:{PORT}"
    return [
        (each.time_ns, ip_address(each.source.rpartition(":")[0].strip("[]")))
        for each in ike_datagrams(capture)
        if each.destination == here and len(each.data) > _FLAGS and not each.data[_FLAGS] & Flag.RESPONSE
    ]


class SignedPolicy:
    """When the documents of a run let its routers go to the DKS: from the plan that they were made and signed of, and
    the boots that the laboratory made. What the routers say that they scheduled is not looked at."""

    def __init__(self, run: Run) -> None:
        options = run.plan.options
        assert isinstance(options, AgentOptions)
        self._wait = options.policy.reconnect.first_min_s * NS
        self._owners = owners(run.plan.topology)
        self._boots = {name: [0] for name in run.plan.topology.routers}
        for event in run.where("fault", "power_on"):
            self._boots.get(event["node"], []).append(event["t"])

    def first_contact(self, moment: int, sender: IPAddress) -> int:
        """The earliest moment (ns) for the router with this address since its latest boot before `moment`; for an
        address of no router the earliest for any."""
        router = self._owners.get(sender)
        asked = [self._boots[router]] if router is not None else self._boots.values()
        return min(max(boot for boot in boots if boot <= moment) for boots in asked) + self._wait


class Schedule:
    """When each router's contacts with the DKS are due, as it said. A power cut makes it forget that."""

    def __init__(self, run: Run) -> None:
        self._cuts = [(event["node"], event["t"]) for event in run.where("fault", "power_off")]
        self._contacts = [
            (event["node"], event["t"], round(event["at_s"] * NS)) for event in run.where("agent", "dks_scheduled")
        ]

    def known_at(self, moment: int) -> list[tuple[str, int]]:
        """What routers have scheduled and not forgotten at `moment` (ns): each router's name and the due moment."""
        return [
            (node, due)
            for node, contact, due in self._contacts
            if contact <= moment and not any(node == cut and contact <= off <= moment for cut, off in self._cuts)
        ]


def due_after_end(run: Run) -> int:
    """How many routers have yet to go to the DKS for the first time since their latest boot when the record ends.

    What these will ask is in no total of this run. Zero in a keying mode that schedules nothing.
    """
    if not schedules(run.plan.keying) or not run.events:
        return 0
    end = run.events[-1]["t"]
    first: dict[str, int] = {}
    for node, due in Schedule(run).known_at(end):
        first[node] = min(due, first.get(node, due))
    return sum(due > end for due in first.values())


def owners(topology: Topology) -> dict[IPAddress, str]:
    """The router that has each address, in-band or on the management network."""
    routers: dict[IPAddress, str] = {}
    for name, router in topology.routers.items():
        routers |= {router.loopback.ip: name, router.loopback6.ip: name}
        routers |= {each.ipv4.ip: name for each in router.interfaces}
        routers |= {of_stub(6, each.ipv4).ip: name for each in router.interfaces if each.kind == "stub"}
    return routers | {end.ipv4.ip: name for name, end in topology.dks.management.routers.items()}


def peak(times_s: Sequence[float]) -> int:
    """The most that came within any one second, wherever that second starts. `times_s` ascends."""
    return max((bisect_right(times_s, time) - bisect_right(times_s, time - 1.0) for time in times_s), default=0)
