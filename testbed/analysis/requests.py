"""What the DKS was asked, over time, as it wrote down itself, and whether a router's schedule had called for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from testbed.analysis.run import NS, Event, Run
from testbed.keying.base import modes
from testbed.topology.resolved import Topology


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

    def measures(self) -> dict[str, int]:
        """What an experiment's Measures have of them."""
        return {
            "dks_total": self.total,
            "dks_unique": self.unique,
            "dks_before_schedule": self.before_schedule,
            "dks_peak_per_s": self.peak_per_s,
        }


def at_dks(run: Run, since: int) -> Requests:
    """Every request datagram from `since` (ns) to the end; `unique` leaves repeats out.

    `before_schedule`: those of a router that came before the first contact which it had scheduled since its latest
    boot was due; all of them in a keying mode that schedules none. As no router's own contact is due before the first
    of the domain, this also counts whatever came before the first of the domain.
    """
    found = [event for event in run.where("agent", "request", "dks") if event["t"] >= since]
    schedule = Schedule(run) if schedules(run.plan.keying) else None
    times = tuple((event["t"] - since) / NS for event in found)
    return Requests(
        total=len(found),
        unique=sum(not event["retransmission"] for event in found),
        before_schedule=sum(schedule is None or not schedule.called_for(event) for event in found),
        times_s=times,
        peak_per_s=peak(times),
    )


def schedules(keying: str) -> bool:
    """Whether this is a mode in which a router goes to the DKS when its policy says so, and not because it boots."""
    return keying in modes(lambda mode: mode.schedules_visits)


class Schedule:
    """When each router's contacts with the DKS were due. A power cut makes a router forget what it had scheduled."""

    def __init__(self, run: Run) -> None:
        self._owners = owners(run.plan.topology)
        self._cuts = [(event["node"], event["t"]) for event in run.where("fault", "power_off")]
        self._contacts = [
            (event["node"], event["t"], round(event["at_s"] * NS)) for event in run.where("agent", "dks_scheduled")
        ]

    def called_for(self, request: Event) -> bool:
        """Whether a contact of the router that sent it was due; of any router, when the sender is not known."""
        moment, router = request["t"], self._owners.get(IPv4Address(request["peer"]))
        return any(due <= moment for node, due in self.known_at(moment) if router in (None, node))

    def known_at(self, moment: int) -> list[tuple[str, int]]:
        """What routers have scheduled and not forgotten at `moment` (ns): each router's name and the due moment."""
        return [
            (node, due)
            for node, told, due in self._contacts
            if told <= moment and not any(node == cut and told <= off <= moment for cut, off in self._cuts)
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


def owners(topology: Topology) -> dict[IPv4Address, str]:
    """The router that has each address, in-band or on the management network."""
    found = {router.loopback.ip: name for name, router in topology.routers.items()}
    found |= {interface.ipv4.ip: name for name, router in topology.routers.items() for interface in router.interfaces}
    return found | {end.ipv4.ip: name for name, end in topology.dks.management.routers.items()}


def peak(times_s: Sequence[float]) -> int:
    """The most that came within any one second, wherever that second starts. `times_s` ascends."""
    return max((bisect_right(times_s, time) - bisect_right(times_s, time - 1.0) for time in times_s), default=0)
