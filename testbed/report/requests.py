"""Figure of the requests that reach the DKS, added up over time, and when the first planned one was due."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from testbed.analysis.requests import schedules, times_s
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.report.style import COLUMN_IN, FAINT, INK, figure, look, ordered, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWER_RETURNS = "power_returns"


@dataclass(frozen=True)
class Origin:
    """Where a figure's time is 0, and what to call it. `moment` in ns."""

    moment: int
    name: str


@dataclass(frozen=True)
class Asked:
    """One run's requests; all times in seconds from the origin. `planned`: the first scheduled reconnection."""

    times_s: tuple[float, ...]
    planned_s: float | None
    end_s: float
    has_agents: bool
    origin: str


def origin(run: Run) -> Origin:
    """The return of the power where there is one, else the first fault, else the moment when all ran."""
    try:
        return Origin(run.mark(POWER_RETURNS), "power returned")
    except InputError:
        pass
    faults = run.where("fault")
    if faults:
        return Origin(int(faults[0]["t"]), "the first fault")
    ready = run.where("lab", "ready")
    if ready:
        return Origin(int(ready[0]["t"]), "the first start")
    return Origin(int(run.events[0]["t"]) if run.events else 0, "the record began")


def asked(run: Run) -> Asked:
    """What the DKS was asked in one run."""
    start = origin(run)
    planned = [
        (round(event["at_s"] * NS) - start.moment) / NS
        for event in run.where("agent", "dks_scheduled")
        if event["t"] >= start.moment
    ]
    end = run.events[-1]["t"] if run.events else start.moment
    return Asked(
        times_s=times_s(run, start.moment),
        planned_s=min(planned, default=None),
        end_s=(end - start.moment) / NS,
        has_agents=bool(run.where("agent")),
        origin=start.name,
    )


def local(keying: str) -> bool:
    """Whether the routers key each other, and mean to leave the DKS alone until a moment that they drew."""
    return schedules(keying)


def by_mode(runs: Sequence[Run]) -> dict[str, list[Asked]]:
    """What the DKS was asked in each run, by keying mode."""
    return {key: [asked(run) for run in runs if run.plan.keying == key] for key in {run.plan.keying for run in runs}}


def draw_requests(folder: Path, every: Mapping[str, Sequence[Asked]]) -> None:
    """The figure requests. Light: one run each; bold: the median of a keying mode's runs at each moment."""
    from matplotlib.ticker import MaxNLocator

    asking = [key for key in ordered(every) if any(run.has_agents or run.times_s for run in every[key])]
    silent = [key for key in ordered(every) if key not in asking]
    runs = [run for key in asking for run in every[key]]
    with figure(COLUMN_IN, 2.9, "requests") as made:
        panel = made.add_subplot()
        end = max((run.end_s for runs_of in every.values() for run in runs_of), default=1.0)
        panel.grid(axis="y")
        for key in asking:
            _series(panel, key, every[key])
        # Where the DKS keys everything, what is scheduled is only the next attempt: no promise to be silent before.
        drawn = [run.planned_s for key in asking if local(key) for run in every[key]]
        # One that is due only after the record's end has no place in the panel.
        planned = [moment for moment in drawn if moment is not None and moment <= end]
        if planned:
            panel.axvspan(min(planned), max(planned), color=FAINT, alpha=0.25, linewidth=0)
            panel.axvline(min(planned), color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
            side = "left" if min(planned) < 0.35 * end else "right" if min(planned) > 0.65 * end else "center"
            over = panel.get_xaxis_transform()
            panel.text(min(planned), 1.02, "first scheduled reconnection", transform=over, ha=side, va="bottom")
        names = {run.origin for runs_of in every.values() for run in runs_of}
        panel.set_xlim(0, end)
        panel.set_ylim(0, 1.08 * max((len(run.times_s) for run in runs), default=0) or 1)
        panel.set_xlabel(f"time since {names.pop() if len(names) == 1 else 'the start'} (s)")
        panel.set_ylabel("requests at the DKS,\ncumulative")
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        note = f"no DKS in: {', '.join(silent)}" if silent else None
        if every:
            style: dict[str, Any] = {"ncols": 2, "title": note, "alignment": "left", "title_fontsize": 8}
            made.legend(handles=panel.get_legend_handles_labels()[0], loc="outside lower left", **style)
        save(made, folder, "requests")


def _series(panel: Axes, keying: str, runs: Sequence[Asked]) -> None:
    form = look(keying)
    end = max(run.end_s for run in runs)
    if len(runs) > 1:
        for run in runs:
            panel.step(
                [0, *run.times_s, run.end_s], _counts(run), where="post", color=form.color, alpha=0.35, linewidth=0.7
            )
    moments = sorted({0.0, end, *(time for run in runs for time in run.times_s)})
    middle = [median(bisect_right(run.times_s, moment) for run in runs) for moment in moments]
    panel.step(
        moments,
        middle,
        where="post",
        color=form.color,
        linestyle=form.line,
        linewidth=1.6,
        marker=form.marker,
        markevery=0.14,
        markersize=4,
        markeredgecolor=INK,
        markeredgewidth=0.4,
        clip_on=False,
        label=f"{keying} (n={len(runs)})",
        zorder=3,
    )


def _counts(run: Asked) -> list[int]:
    return [*range(len(run.times_s) + 1), len(run.times_s)]
