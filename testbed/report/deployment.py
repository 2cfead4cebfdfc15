"""The figure of a deployment in steps: what part of the routing traffic is protected, and when steps were taken.

Knows the record's `deploy` events and the captures; must not know why a step is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.analysis.protected import shares
from testbed.analysis.run import NS, Run
from testbed.report.page import Drawn
from testbed.report.style import FAINT, INK, PAGE_IN, figure, look, noted, ordered, save

NAME = "deployment"


def draw_deployment(folder: Path, runs: Sequence[Run], interval_s: float) -> list[Drawn]:
    """deployment.png and .svg: one panel for each keying mode, of its first seed; none without runs."""
    keyings = ordered({run.plan.keying for run in runs})
    if not keyings:
        return []
    with figure(PAGE_IN, 1.75 * len(keyings) + 0.3, NAME) as made:
        panels = made.subplots(len(keyings), 1, sharex=True, squeeze=False)[:, 0]
        for keying, panel in zip(keyings, panels, strict=True):
            run = min((each for each in runs if each.plan.keying == keying), key=lambda each: each.plan.seed)
            zero = int(run.where("lab", "ready")[0]["t"])
            shares_ = [each for each in shares(run.folder, interval_s) if each.value is not None and each.t >= zero]
            seconds = [(each.t - zero) / NS for each in shares_]
            panel.step(
                seconds, [100 * (each.value or 0) for each in shares_], where="post", color=look(keying).color, lw=0.9
            )
            for event in run.where("lab", "deploy"):
                at_s = (event["t"] - zero) / NS
                if event["result"] == "taken":
                    panel.plot([at_s], [108], marker="|", color=INK, ms=5, clip_on=False)
                elif event["result"] == "held":
                    panel.plot([at_s], [108], marker="x", color=FAINT, ms=3, clip_on=False)
            off = [(e["t"] - zero) / NS for kind in ("power_off", "power_on") for e in run.where("fault", kind)]
            if len(off) == 2:
                panel.axvspan(off[0], off[1], color="#dddddd", lw=0, zorder=0)
            panel.set_ylim(-3, 104)
            panel.set_ylabel("protected (%)")
            panel.set_title(keying, loc="left", pad=12)
        panels[-1].set_xlabel("time since all daemons ran (s)")
        noted(made, "stroke: a step was taken; cross: held, as a member had not confirmed; grey: a router has no power")
        save(made, folder, NAME)
    caption = (
        f"The share of OSPF and PIM packets on all wires that are protected, in intervals of {interval_s:g} s, for "
        "the first seed. Strokes above: steps that were taken; crosses: attempts that were held because a member had "
        "not confirmed the step before. Shaded: a router is without power."
    )
    return [Drawn(NAME, caption, "page")]
