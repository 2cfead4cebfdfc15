"""`python -m testbed.storm FOLDER [JOBS]`: from FOLDER/case.json to result.json and cost.json beside it."""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from testbed.storm.case import Case, cost, play, together
from testbed.storm.service import Service


def main(folder: Path, jobs: int = 1) -> int:
    """One process for each of the DKS's, `jobs` at a time: what one took in memory is free for the next."""
    values = json.loads((folder / "case.json").read_text())
    case = Case(**{**values, "service": Service(**values["service"])})
    if case.processes == 1:
        parts = [play(case, 0)]
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
            parts = list(pool.map(play, [case] * case.processes, range(case.processes)))
    (folder / "result.json").write_text(json.dumps(together(case, parts)) + "\n")
    (folder / "cost.json").write_text(json.dumps(cost(parts)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
