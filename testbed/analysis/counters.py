"""Counters of /proc/net/xfrm_stat, which the record has at some marks. Knows no mark."""

from __future__ import annotations

from testbed.analysis.run import Run


def grown(run: Run, since: str, until: str) -> dict[str, int]:
    """How much each counter grew from one mark to another, all routers together."""
    growth: dict[str, int] = {}
    for event in run.where("xfrm", "stat"):
        sign = -1 if event["at"] == since else 1 if event["at"] == until else 0
        for name, count in event["counters"].items():
            growth[name] = growth.get(name, 0) + sign * int(count)
    return {name: count for name, count in sorted(growth.items()) if count}
