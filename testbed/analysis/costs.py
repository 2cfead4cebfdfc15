"""What agents cost a processor, and how long a new SA takes to be in force: from records on the real clock only.

In virtual time computation is free, and such a number is None. Knows the events that the option `costs` makes.
"""

from __future__ import annotations

from statistics import median

from testbed.analysis.run import Run
from testbed.analysis.statistics import percentile
from testbed.record import origin

DKS = "dks"
MS = 1_000_000
_PROCESSOR = ("to come up, ms", "per key lifetime, ms")
_INSTALL = (
    "kernel's part of an SA, median, ms",
    "from a key's arrival to its SA in force, median, ms",
    "from a key's arrival to its SA in force, p95, ms",
)


def real(run: Run) -> bool:
    """Whether the run's clock was a real one."""
    made = origin.read(run.folder)
    return made is not None and made.kind != "virtual"


def processor(run: Run, since: str, until: str, lifetimes: float) -> dict[str, float | None]:
    """Processor time of the DKS, and of a router's agent (the mean of all), before mark `since` and from there to mark
    `until` for each of so many lifetimes. Empty for a mode without agents."""
    spent: dict[str, dict[str, int]] = {}
    for event in run.where("probe", "cpu"):
        spent.setdefault(event["node"], {})[event["at"]] = event["ns"]
    seconds: dict[str, float | None] = {}
    for title, nodes in (("DKS", [DKS]), ("an LKS", sorted(set(spent) - {DKS}))):
        parts = [spent[node] for node in nodes if node in spent]
        if not parts:
            continue
        up = sum(each[since] for each in parts) / len(parts) / MS
        steady = sum(each[until] - each[since] for each in parts) / len(parts) / lifetimes / MS
        for name, value in zip(_PROCESSOR, (up, steady), strict=True):
            seconds[f"processor time of {title} {name}"] = value if real(run) else None
    return seconds


def installation(run: Run, since: str) -> dict[str, float | None]:
    """Of all changes of a kernel after mark `since` that installed SAs: its own part for each SA (median), and the time
    from the datagram, timer or command that brought the keys until they were in force. Empty without agents."""
    moment = run.mark(since)
    changes = [event for event in run.where("agent", "installed") if event["sas"] and event["t"] >= moment]
    if not changes:
        return {}
    if not real(run):
        return dict.fromkeys(_INSTALL)
    whole = sorted(event["since_ns"] / MS for event in changes)
    own = median(event["apply_ns"] / event["sas"] / MS for event in changes)
    return dict(zip(_INSTALL, (own, median(whole), percentile(whole, 0.95)), strict=True))
