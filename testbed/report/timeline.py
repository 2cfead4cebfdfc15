"""Figure of one run: when each adjacency was down, which faults struck, what the agents did, what the DKS was asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from testbed.analysis.adjacency import Ends, timeline
from testbed.analysis.requests import at_dks
from testbed.analysis.run import NS, Event, Run
from testbed.report.requests import Origin, origin
from testbed.report.style import FAINT, INK, PAGE_IN, PALE, figure, look, save

Span = tuple[float, float]
_DOWN, _HALF, _FAULT = "#3d3d3d", "#c8c8c8", "#b03a2e"
_BINS = 120
_ROW_IN, _LEAST_IN, _MOST_IN = 0.15, 1.1, 8.0


def down_spans(changes: Sequence[tuple[int, bool]], start: int, end: int) -> list[tuple[int, int]]:
    """When a direction that changed so (ns, up) was down in [start, end]; before its first change it was down."""
    spans: list[tuple[int, int]] = []
    since: int | None = start
    for moment, up in changes:
        if up and since is not None:
            spans.append((since, moment))
        since = None if up else moment if since is None else since
    if since is not None:
        spans.append((since, end))
    clipped = [(max(low, start), min(high, end)) for low, high in spans]
    return [(low, high) for low, high in clipped if high > low]


def pair_spans(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """When an adjacency was not up both ways: (from, to, whether it was down in both directions)."""
    edges = sorted({edge for span in (*one, *other) for edge in span})
    found: list[tuple[int, int, bool]] = []
    for low, high in itertools.pairwise(edges):
        covered = [any(a <= low and high <= b for a, b in spans) for spans in (one, other)]
        if not any(covered):
            continue
        if found and found[-1][1] == low and found[-1][2] == all(covered):
            low = found.pop()[0]
        found.append((low, high, all(covered)))
    return found


def draw_timeline(folder: Path, run: Run, name: str) -> None:
    """`name`.png and .svg of one run."""
    zero, changes = origin(run), timeline(run.plan.topology, run.events)
    pairs = sorted({_pair(*ends) for ends in changes}, key=lambda pair: [_natural(end) for end in pair])
    low, high = _window(run, zero, changes)
    height = min(max(_ROW_IN * len(pairs), _LEAST_IN), _MOST_IN)
    with figure(PAGE_IN, height + 1.75, name) as made:
        rows, below = made.subplots(2, 1, sharex=True, height_ratios=[height, 0.75])
        _rows(rows, run, zero, changes, pairs)
        labels = range(0, len(pairs), max(round(0.14 * len(pairs) / height), 1))
        rows.set_yticks(list(labels), [" – ".join(pairs[index]) for index in labels])
        rows.set_ylim(len(pairs) - 0.4, -0.6)
        rows.tick_params(axis="both", length=0)
        _asked(below, run, zero, (low, high))
        faults = _faults(run.events, zero)
        for panel in (rows, below):
            for moment in faults:
                panel.axvline(moment, color=_FAULT, linewidth=0.8, linestyle=(0, (4, 1.5)), zorder=2.5)
        _name_faults(rows, faults, low, high)
        below.set_xlim(low, high)
        below.set_xlabel(f"time since {zero.name} (s)")
        seen = {event["kind"] for event in run.where("agent")} & {"keyed", "registered", "sa"}
        made.legend(handles=_key(run.plan.keying, seen, bool(faults)), loc="outside lower center", ncols=6)
        save(made, folder, name)


def _window(run: Run, zero: Origin, changes: dict[Ends, list[tuple[int, bool]]]) -> Span:
    """From shortly before the first fault to shortly after the last thing that happened (s)."""
    if not run.events:
        return 0.0, 1.0
    faults = [event["t"] for event in run.where("fault")]
    first = (min(faults) if faults else run.events[0]["t"]) - zero.moment
    last = [moment for each in changes.values() for moment, _ in each] + faults
    last += [event["t"] for event in run.where("agent") if event["kind"] in ("keyed", "request")]
    end = run.events[-1]["t"] - zero.moment
    span = (max(last, default=run.events[-1]["t"]) - zero.moment - first) or NS
    # An adjacency that is down for good needs room to be seen as such.
    stuck = any(not each or not each[-1][1] for each in changes.values())
    until = end if stuck else min(end, first + 1.06 * span)
    return (max(first - 0.06 * (until - first), run.events[0]["t"] - zero.moment)) / NS, until / NS


def _rows(panel: Axes, run: Run, zero: Origin, changes: dict[Ends, list[tuple[int, bool]]], pairs: list[Ends]) -> None:
    start, end = (run.events[0]["t"], run.events[-1]["t"]) if run.events else (0, 1)
    form = look(run.plan.keying)
    ticks: dict[str, list[tuple[float, int]]] = {"keyed": [], "registered": [], "sa": []}
    for event in run.where("agent"):
        pair = _place(run, event)
        if event["kind"] in ticks and pair in pairs:
            ticks[event["kind"]].append(((event["t"] - zero.moment) / NS, pairs.index(pair)))
    for row, (one, other) in enumerate(pairs):
        panel.axhline(row, color="#e3e3e3", linewidth=0.5, zorder=0)
        ways = [down_spans(changes.get(ends, []), start, end) for ends in ((one, other), (other, one))]
        for low, high, both in pair_spans(*ways):
            place = ((low - zero.moment) / NS, (high - low) / NS)
            style: dict[str, Any] = {"facecolor": _DOWN if both else _HALF, "edgecolor": _DOWN, "linewidth": 0.3}
            panel.broken_barh([place], (row - 0.34, 0.68), hatch=None if both else "/////", zorder=1.5, **style)
    # One collection each: a mark's size does not depend on how many rows there are.
    if ticks["sa"]:
        times, places = zip(*ticks["sa"], strict=True)
        panel.scatter(times, places, marker="|", s=9, color=FAINT, linewidth=0.5, zorder=3)
    if ticks["registered"]:
        times, places = zip(*ticks["registered"], strict=True)
        panel.scatter(times, places, marker=".", s=14, facecolor="white", edgecolor=INK, linewidth=0.5, zorder=3.2)
    if ticks["keyed"]:
        times, places = zip(*ticks["keyed"], strict=True)
        mark: dict[str, Any] = {"marker": form.marker, "s": 17, "facecolor": form.color}
        panel.scatter(times, places, **mark, edgecolor="white", linewidth=0.5, zorder=3.4)


def _asked(panel: Axes, run: Run, zero: Origin, span: Span) -> None:
    times = at_dks(run, run.events[0]["t"]).times_s if run.events else ()
    offset = (run.events[0]["t"] - zero.moment) / NS if run.events else 0.0
    width = max((span[1] - span[0]) / _BINS, 1e-3)
    edges = [span[0] + width * index for index in range(_BINS + 1)]
    form = look(run.plan.keying)
    panel.grid(axis="y")
    if times:
        shown = [time + offset for time in times]
        panel.hist(shown, bins=edges, facecolor=form.color, edgecolor=INK, linewidth=0.3)
    else:
        none = "no request" if run.where("agent") else "no DKS in this keying mode"
        panel.text(0.5, 0.5, none, transform=panel.transAxes, ha="center", va="center", color=FAINT)
        panel.set_ylim(0, 1)
    for event in run.where("agent", "dks_scheduled"):
        due = event["at_s"] - zero.moment / NS
        if span[0] <= due <= span[1]:
            panel.plot([due], [0], marker="^", color=INK, markersize=3, clip_on=False, zorder=4)
    panel.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    panel.set_ylabel(f"DKS requests\nper {width:.2g} s")


def _faults(events: Iterable[Event], zero: Origin) -> dict[float, str]:
    """The moments (s) of the faults, and what they are; those of one kind within 10 s are one burst's first."""
    found: dict[float, str] = {}
    last: dict[str, int] = {}
    for event in events:
        if event["source"] != "fault":
            continue
        kind = event["kind"]
        if kind not in last or event["t"] - last[kind] > 10 * NS:
            found[(event["t"] - zero.moment) / NS] = kind.replace("_", " ")
        last[kind] = event["t"]
    return found


def _name_faults(panel: Axes, faults: dict[float, str], low: float, high: float) -> None:
    free = low - (high - low)
    for moment, text in sorted(faults.items()):
        if moment < free:
            continue
        left = moment < low + 0.85 * (high - low)
        panel.annotate(
            text,
            (moment, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            color=_FAULT,
            ha="left" if left else "right",
            va="bottom",
        )
        free = moment + (high - low) * (0.013 * len(text) + 0.01)


def _key(keying: str, seen: set[str], faults: bool) -> list[Any]:
    form = look(keying)
    found: list[Any] = [
        Patch(facecolor=_DOWN, edgecolor=_DOWN, label="down"),
        Patch(facecolor=_HALF, edgecolor=_DOWN, hatch="/////", label="up one way"),
    ]
    plain: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.5}
    if faults:
        found.append(Line2D([], [], color=_FAULT, linewidth=0.8, linestyle=(0, (4, 1.5)), label="fault"))
    if "sa" in seen:
        found.append(Line2D([], [], marker="|", color=FAINT, markersize=4, **plain, label="SA changed"))
    if "registered" in seen:
        style: dict[str, Any] = {"marker": ".", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 5}
        found.append(Line2D([], [], **style, **plain, label="registered"))
    if "keyed" in seen:
        style = {"marker": form.marker, "markerfacecolor": form.color, "markeredgecolor": PALE, "markersize": 5}
        found.append(Line2D([], [], **style, **plain, label="keyed"))
    return found


def _place(run: Run, event: Event) -> Ends | None:
    """The adjacency that an agent's event is about, where it is about one."""
    other = event.get("neighbor") or (event.get("at") if event.get("at") != "dks" else None)
    if other is None and "interface" in event and event["node"] in run.plan.topology.routers:
        near = [
            each for each in run.plan.topology.neighbors(event["node"]) if each.interface.name == event["interface"]
        ]
        other = near[0].neighbor_router if len(near) == 1 else None
    return _pair(event["node"], other) if other else None


def _pair(one: str, other: str) -> Ends:
    first, second = sorted((one, other), key=_natural)
    return first, second


def _natural(name: str) -> tuple[str, int, str]:
    """r2 before r10."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0), name
