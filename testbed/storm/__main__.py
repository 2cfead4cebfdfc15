"""`python -m testbed.storm FOLDER`: computes FOLDER/case.json, and writes result.json and cost.json beside it."""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from testbed.storm.case import Case, Part, cost, play, together
from testbed.storm.service import Service


def main(folder: Path) -> int:
    """One process for each of the DKS's, one after the other: what one took in memory is free for the next."""
    values = json.loads((folder / "case.json").read_text())
    case = Case(**{**values, "service": Service(**values["service"])})
    parts: list[Part] = []
    for number in range(case.processes):
        if case.processes == 1:
            parts.append(play(case, number))
        else:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one:
                parts.append(one.submit(play, case, number).result())
    (folder / "result.json").write_text(json.dumps(together(case, parts)) + "\n")
    (folder / "cost.json").write_text(json.dumps(cost(parts)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
