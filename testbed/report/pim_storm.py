"""The figure of the storm where PIM alone is protected: how soon multicast is back, against what the DKS is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from testbed.report.page import Drawn
from testbed.report.style import COLUMN_IN, FAINT, figure, look, ordered, save

NAME = "back"
Point = tuple[str, float | None, int]
"""Of one run: keying, seconds until all receivers hear again (None: never), requests in the first minute."""


def draw_back(folder: Path, points: Sequence[Point], said: Sequence[str]) -> list[Drawn]:
    """back.png and .svg: a point for each run; those that never came back stand at the right. `said`: what was found,
    for the caption. None without runs."""
    if not points:
        return []
    latest = max((time for _keying, time, _count in points if time is not None), default=1.0)
    never_s = 1.25 * latest
    lost = any(time is None for _keying, time, _count in points)
    with figure(COLUMN_IN, 2.9, NAME) as made:
        axis = made.subplots()
        if lost:
            axis.axvline((latest + never_s) / 2, color=FAINT, linewidth=0.6, linestyle=(0, (2, 2)))
            axis.annotate("never", (never_s, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                          fontsize=7, color=FAINT)  # fmt: skip
        for keying in ordered({keying for keying, _time, _count in points}):
            style = look(keying)
            rows = [(never_s if time is None else time, count) for each, time, count in points if each == keying]
            axis.plot(
                [time for time, _count in rows], [count for _time, count in rows],
                linestyle="", marker=style.marker, color=style.color, markersize=5, alpha=0.8, label=keying,
            )  # fmt: skip
        axis.set_xlim(0, (never_s if lost else latest) * 1.08)
        axis.set_ylim(bottom=-0.04 * max(1, *(count for _keying, _time, count in points)))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("first boot until all receivers hear (s)")
        axis.set_ylabel("requests at the DKS in the\nfirst minute of power")
        axis.grid(axis="y")
        axis.legend(loc="best", fontsize=7)
        save(made, folder, NAME)
    text = "Each point is a run. Left: multicast is back soon; low: few requests reach the DKS. " + " ".join(said)
    return [Drawn(NAME, text.strip(), "column")]
