"""The computed storm beside guests, as a table for documents, from results/storm_at_scale/against.json.

`python -m testbed.storm.against --keep` writes that file. Knows its shape, and nothing of how either side is played.
"""

from __future__ import annotations

import json
from pathlib import Path


def table(file: Path) -> str:
    """A row for each network and keying mode, in Markdown."""
    sides = ("requests at the DKS, guest", "the same, computed", "last router keyed, guest, s", "computed, s")
    lines = [["routers", "mode", *sides, "a router keyed apart by, median and most, s"], ["--:", "---", *["--:"] * 5]]
    for row in json.loads(file.read_text(encoding="utf-8")):
        guest, computed = row["guest"], row["computed"]
        asked = [str(sum(side["asked"].values())) for side in (guest, computed)]
        last = [f"{side['last_keyed_s']:.2f}" for side in (guest, computed)]
        apart = f"{row['apart_s']['median']:.3f}, {row['apart_s']['most']:.3f}"
        lines.append([str(row["routers"]), f"`{row['keying']}`", *asked, *last, apart])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
