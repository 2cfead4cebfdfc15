"""One case of `effort`: a way to protect a network of so many routers, and what each task takes.

What a case gives depends on its values alone. Knows nothing of figures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from testbed.effort.by_hand import KeyChains, ManualIpsec
from testbed.effort.network import Network, grid
from testbed.effort.ours import Ours
from testbed.effort.parsers import Parsers
from testbed.effort.script import Script, counts

WAYS = ("manual", "manual-link", "native", "native-link", "lks")
TASKS = ("service", "add", "replace", "leaves", "roll")


def scripts(way: str, network: Network, folder: Path) -> tuple[dict[str, Script], int]:
    """Every task's script, and how many of its lines were run while it was made."""
    last, other = network.routers[-1], network.routers[0]
    by_hand = ManualIpsec if way.startswith("manual") else KeyChains
    typed = Ours(network, folder) if way == "lks" else by_hand(network, one_key=not way.endswith("-link"))
    made = {  # in this order: each task of ours goes on with the store of those before
        "service": typed.service(),
        "add": typed.add(last),
        "replace": typed.replace(other),
        "leaves": typed.leaves(),
        "roll": typed.roll(),
    }
    return made, typed.ran if isinstance(typed, Ours) else 0


def play(way: str, routers: int, folder: Path) -> dict[str, Any]:
    """The counts of every task, and how many lines were run, or tried by the program that they are for."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="work-") as name:
        work = Path(name)
        counted, ran = scripts(way, grid(routers), work)
        parsers = Parsers(work)
        if way != "lks":
            for script in counted.values():
                parsers.look(script.lines)
    return {
        "way": way,
        "routers": routers,
        "until_s": 0.0,
        "tasks": {task: counts(counted[task]) for task in TASKS},
        "tried": parsers.tried + ran,
        "taken": parsers.taken + ran,
    }
