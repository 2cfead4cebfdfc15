"""Reads how much processor time a process has used, all its threads together. Knows nothing of what it did."""

from __future__ import annotations

import time

_SCHED = 2
"""CPUCLOCK_SCHED: to the nanosecond, from the scheduler, where /proc/PID/stat counts ticks (linux/posix-timers.h)."""


def cpu_ns(pid: int) -> int | None:
    """Nanoseconds of the processor since the process was forked; None when it has ended.

    In virtual time this is what reading the clock costs and no more, since computation is free there.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHED)
    except OSError:
        return None
