"""What `lab reproduce` says when it is done: how much is the same, and what it took."""

from __future__ import annotations

import subprocess
import sys

from testbed.analysis.equal_numbers import numbers
from testbed.cli.reproduce import total
from testbed.runner.reproduce import Reproduced, _children_s

ROW = {"keyings": {"lks": {"n": 3, "convergence_s": {"median": 1.0}}}}
OTHER = {"keyings": {"lks": {"n": 3, "convergence_s": {"median": 2.0}}}}


def test_the_last_line_adds_up_numbers_and_time() -> None:
    same, other = numbers(ROW, ROW), numbers(ROW, OTHER)
    done = [
        Reproduced("one", "./lab run one", same, [], [], 90.0, 120.0),
        Reproduced("two", "./lab run two", other, [], [], 30.0, 60.0),
    ]
    count, right = len(same) + len(other), len(same) + len(other) - 1
    assert total(done) == f"2 folders: {right} of {count} numbers are the same; 2.0 min, 3.0 min of processor time"
    assert total([]) == "there are no reference results"


def test_the_time_of_programs_within_programs_counts() -> None:
    before = _children_s()
    work = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"])
    assert _children_s() - before > 0.25
