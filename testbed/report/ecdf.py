"""Figure of the empirical distribution of the main span of time. Knows the summary's shape, not the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.analysis.statistics import ecdf
from testbed.report.style import COLUMN_IN, INK, figure, look, ordered, save
from testbed.report.table import Summary, present


def draw_ecdf(folder: Path, summary: Summary) -> None:
    """The figure ecdf: the share of all runs whose span had ended after so many seconds."""
    rows = summary["keyings"]
    with figure(COLUMN_IN, 2.7, "ecdf") as made:
        panel = made.add_subplot()
        panel.grid(axis="both")
        last = 1.05 * max((value for each in rows.values() for value in _known(each)), default=1.0) or 1.0
        for keying in ordered(rows):
            values = rows[keying].get("convergence_s", {}).get("values", [])
            steps, form = ecdf(values), look(keying)
            times = [0.0, *(time for time, _ in steps), last]
            shares = [0.0, *(share for _, share in steps), steps[-1][1] if steps else 0.0]
            style: dict[str, Any] = {"color": form.color, "linestyle": form.line, "linewidth": 1.4, "zorder": 3}
            panel.step(times, shares, where="post", **style)
            marks: dict[str, Any] = {"marker": form.marker, "facecolor": form.color, "edgecolor": INK, "s": 16}
            panel.scatter(
                [time for time, _ in steps],
                [share for _, share in steps],
                **marks,
                linewidth=0.4,
                zorder=4,
                clip_on=False,
            )
            mark: dict[str, Any] = {
                "marker": form.marker,
                "markersize": 4,
                "markeredgecolor": INK,
                "markeredgewidth": 0.4,
            }
            panel.plot([], [], **{**style, **mark}, label=f"{keying} (n={len(values)})")
        first = min((value for each in rows.values() for value in _known(each)), default=0.0)
        # Where all times lie close together, the empty room before them is left out.
        panel.set_xlim(first - 0.15 * (last - first) if first > 0.5 * last else 0.0, last)
        panel.set_ylim(0, 1.02)
        panel.set_xlabel(f"{summary['measured']['main']['name']} (s)")
        panel.set_ylabel("share of the runs")
        if rows:
            made.legend(loc="outside lower left", ncols=2)
        save(made, folder, "ecdf")


def _known(row: dict[str, Any]) -> list[float]:
    return present(row.get("convergence_s", {}).get("values", []))
