"""`python -m testbed.effort FOLDER [JOBS]`: from FOLDER/case.json to result.json and cost.json beside it."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from testbed.effort.case import play


def main(folder: Path) -> int:
    """Count one case."""
    values = json.loads((folder / "case.json").read_text())
    began = time.monotonic()
    result = play(values["way"], values["routers"], folder)
    cost = {
        "cpu_s": round(time.process_time(), 1),
        "wall_s": round(time.monotonic() - began, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    (folder / "result.json").write_text(json.dumps(result) + "\n")
    (folder / "cost.json").write_text(json.dumps(cost) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
