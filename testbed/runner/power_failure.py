"""The power failure of a whole domain, shared by several experiments. Knows nothing of measures."""

from __future__ import annotations

from testbed.record.plan import Step
from testbed.report.requests import POWER_RETURNS
from testbed.runner.experiment import step

SETTLE_S = 90
"""Seconds that the network runs before."""
SETTLED = "settled"
"""The mark a second before the failure."""
DARK_S = 10
BOOT_SPREAD_S = 4.0
DKS_WIRE = ["dks-eth0"]
"""The captured interface: it shows what reaches the DKS."""
FIRST_S = 60.0
"""Routers with an LKS first visit the DKS later than this (seconds); all others have done so by then."""


def power_failure() -> list[Step]:
    """All nodes lose their power at once; DARK_S later it returns, and each boots within BOOT_SPREAD_S."""
    return [
        step(SETTLE_S - 1, "mark", name=SETTLED),
        step(SETTLE_S, "power_off", nodes="all", dks=True),
        step(SETTLE_S + DARK_S, "mark", name=POWER_RETURNS),
        step(SETTLE_S + DARK_S, "power_on", nodes="all", dks=True, jitter_s=BOOT_SPREAD_S),
    ]
