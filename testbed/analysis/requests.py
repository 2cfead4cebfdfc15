"""What the DKS was asked, over time, as it wrote down itself."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.analysis.run import NS, Run

# The keying modes in which a router goes to the DKS when its policy says so, and not because it boots.
SCHEDULES = ("lks",)


@dataclass(frozen=True)
class Requests:
    """Requests that arrived at the DKS in a span of time. `times_s` counts from the span's start."""

    total: int
    unique: int
    before_schedule: int
    times_s: tuple[float, ...]
    peak_per_s: int


def at_dks(run: Run, since: int) -> Requests:
    """Every request datagram from `since` (ns) to the end; `unique` leaves repeats out.

    `before_schedule`: those that came before the first contact that any router's LKS had scheduled from then on; all
    of them in a keying mode that schedules none.
    """
    requests = [event for event in run.where("agent", "request", "dks") if event["t"] >= since]
    contacts = run.where("agent", "dks_scheduled") if run.plan.keying in SCHEDULES else []
    planned = [round(event["at_s"] * NS) for event in contacts]
    first = min((moment for moment in planned if moment >= since), default=None)
    times = tuple((event["t"] - since) / NS for event in requests)
    seconds = [int(time) for time in times]
    return Requests(
        total=len(requests),
        unique=sum(not event["retransmission"] for event in requests),
        before_schedule=sum(first is None or event["t"] < first for event in requests),
        times_s=times,
        peak_per_s=max((seconds.count(second) for second in set(seconds)), default=0),
    )
