"""`lab abuse` at its shortest: real commands are ended, and real ones work afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from testbed.setup import tree
from testbed.setup.paths import PROJECT

pytestmark = pytest.mark.skipif(not tree.tree().ready, reason="./lab setup has not made the guest yet")


def test_commands_that_are_ended_leave_nothing_and_the_next_ones_work() -> None:
    words = [sys.executable, str(PROJECT / "lab"), "abuse", "--times", "4", "--seed", "3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 deeds, 5 commands to their end, 0 wrong" in done.stdout
