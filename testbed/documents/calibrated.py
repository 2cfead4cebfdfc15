"""Every experiment on the real clock beside virtual time: made anew, and as a table for the documents.

    python -m testbed.documents.calibrated [--seeds N] [--out FOLDER] [NAME...]

runs each experiment that has a guest at its smallest on both clocks, one guest after the other, and writes
results/calibration/NAME.json. It takes as long as the runs' own time: about two hours with one seed. Knows which
network is an experiment's smallest; not how runs are played.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed.documents.ending import ended
from testbed.errors import EnvironmentFailure
from testbed.setup.paths import PROJECT
from testbed.whole import put

FOLDER = PROJECT / "results" / "calibration"
SMALLEST = {
    "dks_outage": ("ring:3", "lks"), "incremental_deployment": ("ring:3", "lks"), "intruder": ("office", "none,lks"),
    "link_cut": ("ring:3", "none,lks"), "long_way": ("line:2", "none,lks"),
    "new_neighbor": ("regular:4:degree=3", "lks"), "overhead": ("ring:3", "none,lks"), "partition": ("ring:6", "lks"),
    "pim_storm": ("ring:3", "none,lks"), "power_cycle": ("ring:3", "none,lks"),
    "recovery_storm": ("line:3", "none,lks"), "rekey_soak": ("line:2", "lks"), "revocation": ("ring:6", "lks"),
    "sub_region": ("areas", "lks"),
}  # fmt: skip
"""Network and keying modes of each experiment."""
RAN = (0, 1)
"""What `lab run` leaves with when it has numbers: in so small a network a criterion need not hold."""


def make(name: str, seeds: int, out: Path) -> None:
    """Play it on both clocks, and keep what came of it. EnvironmentFailure when there are no numbers."""
    topology, keying = SMALLEST[name]
    folder = str(out / name)
    lab = [sys.executable, "-m", "testbed.cli"]
    asked = ["run", name, "--topology", topology, "--keying", keying, "--seeds", str(seeds), "--out", folder]
    for words in (asked, ["calibrate", folder]):
        code = subprocess.run([*lab, *words], cwd=PROJECT, stdin=subprocess.DEVNULL, check=False).returncode
        if code not in RAN:
            raise EnvironmentFailure(f"left with exit code {code}", where=f"lab {' '.join(words)}")
    put(FOLDER / f"{name}.json", (Path(folder) / "calibration.json").read_text())


def table() -> str:
    """The number that stands first in each, on both clocks; in Markdown."""
    lines = [["experiment", "network", "seeds", "number"]]
    for keying in ("none", "lks"):
        lines[0] += [f"`{keying}`: virtual, s", "real − virtual, s"]
    lines.append(["---"] * 4 + ["--:"] * 4)
    for name, (topology, _keyings) in SMALLEST.items():
        rows = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        first = rows[0]["measure"]
        cells = {each["keying"]: each for each in rows if each["measure"] == first}
        seeds = str(max(each["n"][1] for each in cells.values()))
        line = [f"`{name}`", f"`{topology}`", seeds, first.removesuffix(", s")]
        for keying in ("none", "lks"):
            line += _sides(cells.get(keying))
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _sides(row: dict[str, Any] | None) -> list[str]:
    if row is None or row["virtual"] is None or row["real"] is None:
        return ["", ""]
    apart = row["real"] - row["virtual"]
    return [f"{row['virtual']:.2f}", f"{apart:+.2f}".replace("-", "−")]


def main(words: Sequence[str]) -> int:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m testbed.documents.calibrated")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SMALLEST))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"), help="where the runs are kept")
    asked = parser.parse_args(words)
    if unknown := [each for each in asked.names if each not in SMALLEST]:
        parser.error(f"unknown experiment {unknown[0]!r}; allowed: {', '.join(SMALLEST)}")

    def play() -> None:
        for name in asked.names or SMALLEST:
            make(name, asked.seeds, asked.out)

    return ended(play)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
