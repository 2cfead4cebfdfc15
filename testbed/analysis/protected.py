"""How much of the routing protocols' traffic is protected, over time: counted in the captures of the wires. And without
captures, whether any packet of it was in clear at all.

An ESP packet counts as protected, an OSPF or PIM packet as clear; nothing else in the laboratory uses ESP. Each
packet is seen at both ends of a link and counted at each, which leaves the share as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.probes.pcap import ESP, OSPF, PIM, ip_packets

CLEAR = "OSPF and PIM packets in clear, on all interfaces"


class Share(NamedTuple):
    """Packets in the interval that begins at `t` (ns of the record)."""

    t: int
    protected: int
    clear: int

    @property
    def value(self) -> float | None:
        """The part that was protected, 0 to 1; None when there were no packets."""
        count = self.protected + self.clear
        return self.protected / count if count else None


def shares(folder: Path, interval_s: float) -> list[Share]:
    """One after the other over the whole run. Raises InputError when the run has no captures."""
    files = sorted((folder / "pcap").glob("*.pcap"))
    if not files:
        raise InputError("the run has no captures", where=str(folder), next_command="lab run … -o captures=all")
    step = int(interval_s * NS)
    counts: dict[int, list[int]] = {}
    for file in files:
        for packet in ip_packets(file):
            if packet.protocol in (ESP, OSPF, PIM):
                counts.setdefault(packet.time_ns // step, [0, 0])[packet.protocol != ESP] += 1
    if not counts:
        return []
    span = range(min(counts), max(counts) + 1)
    return [Share(number * step, *counts.get(number, (0, 0))) for number in span]


def in_clear(run: Run) -> dict[str, float | None]:
    """For Measures.extra: the routing packets in clear that left any interface, from the first second of the run to the
    last, as the record has counted them. Empty for a record that has not."""
    events = run.where("probe", "clear")
    if not events:
        return {}
    counted = (count for event in events for each in event["interfaces"].values() for count in each["packets"].values())
    return {CLEAR: sum(counted) + sum(int(event["missed"]) for event in events)}


def between(shares: list[Share], since: int, until: int) -> Share:
    """All packets of the intervals that lie wholly in [since, until] (ns), added up."""
    step = shares[1].t - shares[0].t if len(shares) > 1 else 0
    inside = [each for each in shares if since <= each.t and each.t + step <= until]
    return Share(since, sum(each.protected for each in inside), sum(each.clear for each in inside))
