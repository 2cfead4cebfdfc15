"""The figure of who knew what when: each router's newest policy and list of revoked keys, while a domain is cut in two.

Knows moments by router; must not know how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.analysis.run import NS, Run
from testbed.report.page import Drawn
from testbed.report.style import FAINT, INK, PAGE_IN, PALE, figure, look, ordered, save

NAME = "knowledge"
_BEFORE_S, _AFTER_S = 15.0, 130.0
_ROW_IN = 0.17
_NEWS = "#7b7b7b"


@dataclass(frozen=True)
class News:
    """One run. Moments in ns; None: never. `sides`: routers by the name of their half; rows are those with a moment."""

    run: Run
    cut: int
    healed: int
    sides: Mapping[str, Sequence[str]]
    policy: Mapping[str, int | None]
    revocation: Mapping[str, int | None]


def draw_knowledge(folder: Path, runs: Sequence[News]) -> list[Drawn]:
    """knowledge.png and .svg: one panel for each keying mode, of its first seed; none without runs."""
    keyings = ordered({each.run.plan.keying for each in runs})
    if not keyings:
        return []
    rows = max(len(each.policy) for each in runs)
    with figure(PAGE_IN, (_ROW_IN * rows + 0.35) * len(keyings) + 0.8, NAME) as made:
        panels = made.subplots(len(keyings), 1, sharex=True, squeeze=False)[:, 0]
        for keying, panel in zip(keyings, panels, strict=True):
            first = min((each for each in runs if each.run.plan.keying == keying), key=lambda each: each.run.plan.seed)
            _rows(panel, first)
            panel.set_title(f"{keying}, seed {first.run.plan.seed}", loc="left")
        panels[-1].set_xlabel("time since the cut (s)")
        handles = [
            Patch(facecolor=PALE, edgecolor=FAINT, label="older policy"),
            Patch(facecolor=_NEWS, edgecolor=INK, label="newest policy (in colour)"),
            Line2D([], [], marker="D", color=INK, linestyle="", ms=4, label="knows of the revocation"),
            Line2D([], [], color=INK, lw=0.9, linestyle=(0, (4, 1.5)), label="cut, and healed"),
        ]
        made.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.6, columnspacing=1.3)
        save(made, folder, NAME)
    caption = (
        "When each router had the newest policy that the DKS had before the cut healed, and when it had the "
        "revocation of the stolen router (which is left out), for the first seed of each mode. Above the line: the "
        "DKS's side; below: beyond the cut."
    )
    return [Drawn(NAME, caption, "page")]


def _rows(panel: Axes, news: News) -> None:
    names = [name for side in news.sides.values() for name in side if name in news.policy]
    low, high = -_BEFORE_S, (news.healed - news.cut) / NS + _AFTER_S
    color = look(news.run.plan.keying).color
    for row, name in enumerate(names):
        had, heard = news.policy[name], news.revocation.get(name)
        turn = high if had is None else min(high, max(low, (had - news.cut) / NS))
        panel.barh(row, turn - low, left=low, height=0.72, facecolor=PALE, edgecolor=FAINT, linewidth=0.5)
        if turn < high:
            panel.barh(row, high - turn, left=turn, height=0.72, facecolor=color, edgecolor=INK, linewidth=0.5)
        if heard is not None and low <= (heard - news.cut) / NS <= high:
            panel.plot([(heard - news.cut) / NS], [row], marker="D", color=INK, ms=4, mec="white", mew=0.7, zorder=4)
    inside = [sum(name in news.policy for name in side) for side in news.sides.values()]
    panel.axhline(inside[0] - 0.5, color=INK, lw=1.1)
    for moment in (0.0, (news.healed - news.cut) / NS):
        panel.axvline(moment, color=INK, lw=0.9, linestyle=(0, (4, 1.5)), zorder=3)
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(len(names) - 0.45, -0.55)
    panel.set_xlim(low, high)
