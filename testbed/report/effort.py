"""The figure of `effort`: commands and handled secrets of each task, against the number of routers.

Knows the results' shape (testbed.effort.case.play), not how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import NullFormatter, NullLocator

from testbed.report.page import Drawn
from testbed.report.style import PAGE_IN, figure, look, save

NAMES = {
    "service": "all into service",
    "add": "one more",
    "replace": "one replaced",
    "leaves": "somebody leaves",
    "roll": "all keys anew",
}
ROWS = {"commands": "commands", "entries": "times a secret is\ntyped or read"}
TEXT = (
    "Above: lines that people type. Below: how often a secret is typed, carried or read. Both against the number of "
    "routers, on logarithmic axes that begin at 0. Dashed, hollow: one key a link. With lks there is no secret to "
    "handle once the domain is in service, and one before: an administrator's token for the HTTP API."
)


def draw_effort(folder: Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Drawn]:
    """A column for each task."""
    cases = [each[0] for each in results.values()]
    ways = list(dict.fromkeys(case["way"] for case in cases))
    sizes = sorted({case["routers"] for case in cases})
    with figure(PAGE_IN, 3.6, "effort") as made:
        axes = made.subplots(len(ROWS), len(NAMES), squeeze=False, sharex=True, sharey="row")
        for row, (count, heading) in enumerate(ROWS.items()):
            for column, (task, name) in enumerate(NAMES.items()):
                axis = axes[row][column]
                for way in ways:
                    style, linked = look(way.removesuffix("-link")), way.endswith("-link")
                    points = sorted(
                        (each["routers"], each["tasks"][task][count]) for each in cases if each["way"] == way
                    )
                    axis.plot(
                        [size for size, _number in points], [number for _size, number in points], color=style.color,
                        marker=style.marker, markersize=4, linewidth=1.0, label=way,
                        linestyle=(0, (3, 2)) if linked else "-", fillstyle="none" if linked else "full",
                    )  # fmt: skip
                axis.set_xscale("log")
                axis.set_yscale("symlog", linthresh=1)
                axis.set_ylim(bottom=-0.3)
                axis.set_xlim(min(sizes) / 1.8, max(sizes) * 1.8)
                axis.xaxis.set_ticks(sizes, [f"{size:,}" for size in sizes])
                axis.xaxis.set_minor_locator(NullLocator())
                axis.yaxis.set_minor_locator(NullLocator())
                axis.yaxis.set_minor_formatter(NullFormatter())
                axis.grid(axis="y")
                if row == 0:
                    axis.set_title(name)
                else:
                    axis.set_xlabel("routers")
            axes[row][0].set_ylabel(heading)
        axes[0][0].legend(loc="upper left", fontsize=6.5)
        save(made, folder, "effort")
    return [Drawn("effort", TEXT, "page")]
