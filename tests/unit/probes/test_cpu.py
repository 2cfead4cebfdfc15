"""The processor time of another process is read to the nanosecond, and that of none is none."""

from __future__ import annotations

import os
import signal
import time

from testbed.probes.cpu import cpu_ns


def test_it_is_what_the_process_itself_would_say() -> None:
    before = time.process_time_ns()
    found = cpu_ns(os.getpid())
    assert found is not None and before <= found <= time.process_time_ns()


def test_a_process_that_has_ended_has_none() -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    assert cpu_ns(child) is not None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert cpu_ns(child) is None
