"""Figure of one run: when each adjacency was down, which faults struck, what the agents did, what the DKS was asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from testbed.analysis.adjacency import Ends, timeline
from testbed.analysis.multicast import silences
from testbed.analysis.requests import times_s
from testbed.analysis.run import NS, Event, Run
from testbed.analysis.trees import wrong_spans
from testbed.report.requests import Origin, origin
from testbed.report.style import INK, PAGE_IN, figure, look, save

Span = tuple[float, float]
Row = tuple[str, str, str]
"""An adjacency, both ways: its two routers and the segment that they share."""
_DOWN, _EDGE, _FAULT = "#b9bdc2", "#4a4a4a", "#b03a2e"
_ROW_IN, _LEAST_IN, _MOST_IN = 0.15, 1.1, 8.0
_ONE_LINE = 44
"""Characters of a row's name that stand side by side; the two routers of a longer one stand one above the other."""


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


def pair_spans(*ways: Sequence[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """When an adjacency was not up both ways, or a stream not heard by all: (from, to, whether it was so for all)."""
    edges = sorted({edge for spans in ways for span in spans for edge in span})
    open_spans: list[tuple[int, int, bool]] = []
    for low, high in itertools.pairwise(edges):
        covered = [any(a <= low and high <= b for a, b in spans) for spans in ways]
        if not any(covered):
            continue
        if open_spans and open_spans[-1][1] == low and open_spans[-1][2] == all(covered):
            low = open_spans.pop()[0]
        open_spans.append((low, high, all(covered)))
    return open_spans


def draw_timeline(folder: Path, run: Run, name: str) -> None:
    """The figure `name` of one run.

    Late requests stand to the right, the quiet time before them left out.
    """
    view = _View(run)
    windows = view.windows()
    names = [*(_name(row, list(view.rows)) for row in view.rows), *view.lanes]
    row_in = _ROW_IN * max((len(name.split("\n")) for name in names), default=1)
    height = min(max(row_in * len(names), _LEAST_IN), _MOST_IN)
    widths = [1.0] if len(windows) == 1 else [2.6, 1.0]
    with figure(PAGE_IN, height + 1.9, name) as made:
        panels = made.subplots(
            2,
            len(windows),
            sharex="col",
            sharey="row",
            squeeze=False,
            height_ratios=[height, 0.75],
            width_ratios=widths,
        )
        width = next((bin_s for bin_s in (1, 2, 5, 10, 20) if windows[0][1] - windows[0][0] < 150 * bin_s), 60)
        faults = _faults(run.events, view.zero)
        for column, window in enumerate(windows):
            rows, below = panels[0][column], panels[1][column]
            _rows(rows, view)
            _lanes(rows, view)
            _asked(below, view, width, window)
            for panel in (rows, below):
                for fault in faults:
                    panel.axvline(fault.first_s, color=_FAULT, linewidth=0.8, linestyle=(0, (4, 1.5)), zorder=2.5)
                    panel.axvspan(fault.first_s, fault.last_s, color=_FAULT, alpha=0.12, linewidth=0, zorder=0.5)
                if column:
                    panel.spines["left"].set_linestyle((0, (1, 2)))
                    panel.tick_params(axis="y", length=0)
            rows.tick_params(axis="both", length=0)
            below.set_xlim(*window)
        _name_rows(panels[0][0], names, row_in, height)
        _name_faults(panels[0][0], faults, *windows[0])
        panels[1][0].set_ylabel(f"DKS requests\nper {f'{width} s' if width > 1 else 'second'}")
        panels[1][0].set_ylim(0, max(panels[1][0].get_ylim()[1], 1.0))
        panels[1][0].yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _say_if_silent(panels[1][0], view)
        panels[1][0].set_xlabel(f"time since {view.zero.name} (s)")
        seen = {event["kind"] for event in run.where("agent") if _row_of(run, event) in view.rows}
        seen |= {"dks_scheduled"} if view.due() else set()
        close = {"columnspacing": 1.3, "handlelength": 1.8, "handletextpad": 0.5}
        made.legend(handles=_key(run.plan.keying, seen, bool(faults)), loc="outside lower center", ncols=7, **close)
        save(made, folder, name)


class _View:
    """One run, with what all panels need of it. Times of the drawing are seconds from `zero`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.zero: Origin = origin(run)
        self.changes = timeline(run.plan.topology, run.events)
        self.rows: dict[Row, list[Ends]] = {}
        for ends in self.changes:
            segment = run.plan.topology.routers[ends.router].interface(ends.interface).segment
            self.rows.setdefault(_row(ends.router, ends.neighbor, segment), []).append(ends)
        self.rows = dict(sorted(self.rows.items(), key=lambda row: [_natural(part) for part in row[0]]))
        self.start: int = run.events[0]["t"] if run.events else 0
        self.end: int = run.events[-1]["t"] if run.events else NS
        self.requests = [time + self.seconds(self.start) for time in times_s(run, self.start)]

    @cached_property
    def lanes(self) -> dict[str, list[tuple[int, int, bool]]]:
        """Of each multicast stream, and of their trees, when not all was well (from, to; ns), and whether for all."""
        silent, streams = silences(self.run), self.run.plan.streams
        lanes = {each.name: pair_spans(*(silent[each.name, name] for name in each.receivers)) for each in streams}
        return lanes | {"trees": pair_spans(wrong_spans(self.run))} if lanes else {}

    def seconds(self, moment: int) -> float:
        """Of a moment in ns."""
        return (moment - self.zero.moment) / NS

    def due(self) -> list[float]:
        """When routers mean to reconnect to the DKS; not what a power cut has made them forget."""
        offs = [(event["node"], event["t"]) for event in self.run.where("fault", "power_off")]
        moments = []
        for event in self.run.where("agent", "dks_scheduled"):
            due = round(event["at_s"] * NS)
            if not any(node == event["node"] and event["t"] <= moment < due for node, moment in offs):
                moments.append(self.seconds(due))
        return moments

    def windows(self) -> list[Span]:
        """From shortly before the first fault to shortly after the recovery; then, if they come late, the requests."""
        faults = [event["t"] for event in self.run.where("fault")]
        first = self.seconds(min(faults, default=self.start))
        end = self.seconds(self.end)
        # An adjacency that is down for good needs room to be seen as such.
        stuck = any(not each or not each[-1][1] for each in self.changes.values())
        last = [moment for each in self.changes.values() for moment, _ in each] + faults
        last += [event["t"] for event in self.run.where("agent", "keyed")]
        last += [high for spans in self.lanes.values() for _low, high, _every in spans if high < self.end]
        settled = end if stuck else self.seconds(max(last, default=self.end))
        span = max(settled - first, 1.0)
        start = max(first - 0.05 * span, self.seconds(self.start))
        late = [time for time in self.requests if time > settled + 0.05 * span]
        if not late:
            return [(start, min(end, settled + 0.08 * span))]
        until = min(end, late[-1] + 0.05 * span)
        if late[-1] < first + 1.6 * span:
            return [(start, until)]
        return [(start, min(end, settled + 0.08 * span)), (late[0] - 0.05 * (late[-1] - late[0]) - 1, until)]


def _rows(panel: Axes, view: _View) -> None:
    form = look(view.run.plan.keying)
    ticks: dict[str, list[tuple[float, int]]] = {"keyed": [], "registered": [], "sa": []}
    numbers = {row: number for number, row in enumerate(view.rows)}
    for event in view.run.where("agent"):
        lane = _row_of(view.run, event) if event["kind"] in ticks else None
        if lane in numbers:  # not so where no adjacency comes up, though there are keys
            ticks[event["kind"]].append((view.seconds(event["t"]), numbers[lane]))
    spans: dict[bool, list[list[tuple[float, float]]]] = {True: [], False: []}
    for row, directions in enumerate(view.rows.values()):
        panel.axhline(row, color="#e3e3e3", linewidth=0.5, zorder=0)
        ways = [down_spans(view.changes[ends], view.start, view.end) for ends in directions]
        for low, high, both in pair_spans(*ways):
            left, right, top, bottom = view.seconds(low), view.seconds(high), row - 0.36, row + 0.36
            spans[both].append([(left, top), (right, top), (right, bottom), (left, bottom)])
    # All of a kind together: hundreds of single ones are half of what the whole figure costs.
    for both, corners in spans.items():
        style: dict[str, Any] = {"facecolor": _DOWN if both else "white", "edgecolor": _EDGE, "linewidth": 0.4}
        bars = PolyCollection(corners, hatch=None if both else "//////", zorder=1.5, **style)
        panel.add_collection(bars, autolim=False)
    marks: dict[str, dict[str, Any]] = {
        "sa": {"marker": "|", "s": 12, "color": INK, "linewidth": 0.4, "zorder": 3},
        "registered": {"marker": "o", "s": 7, "facecolor": "white", "edgecolor": INK, "linewidth": 0.5, "zorder": 3.2},
        "keyed": {
            "marker": form.marker,
            "s": 18,
            "facecolor": form.color,
            "edgecolor": INK,
            "linewidth": 0.4,
            "zorder": 3.4,
        },
    }
    for kind, seen in ticks.items():
        if seen:
            times, drawn = zip(*seen, strict=True)
            # Beside each other, for all three often happen in one moment.
            lift = 0.14 if kind == "keyed" else -0.2
            panel.scatter(times, [number + lift for number in drawn], **marks[kind])


def _lanes(panel: Axes, view: _View) -> None:
    """Below the adjacencies: the multicast streams and their trees."""
    first = len(view.rows)
    if view.lanes:
        panel.axhline(first - 0.5, color=INK, linewidth=0.5, zorder=2)
    for row, spans in enumerate(view.lanes.values(), first):
        panel.axhline(row, color="#e3e3e3", linewidth=0.5, zorder=0)
        for low, high, every in spans:
            style: dict[str, Any] = {"facecolor": _DOWN if every else "white", "edgecolor": _EDGE, "linewidth": 0.4}
            span = [(view.seconds(low), (high - low) / NS)]
            panel.broken_barh(span, (row - 0.36, 0.72), hatch=None if every else "//////", zorder=1.5, **style)


def _asked(panel: Axes, view: _View, width: int, window: Span) -> None:
    form = look(view.run.plan.keying)
    panel.grid(axis="y")
    moments = [moment for moment in view.requests if window[0] <= moment <= window[1]]
    if moments:
        low = int(min(moments) // width) * width
        edges = range(low, int(max(moments)) + 2 * width, width)
        panel.hist(moments, bins=list(edges), facecolor=form.color, edgecolor=INK, linewidth=0.3)
    due = [moment for moment in view.due() if window[0] <= moment <= window[1]]
    if due:  # Without data and clipping, a line's extent is the whole plane to the layout.
        mark: dict[str, Any] = {"linestyle": "none", "marker": "^", "color": INK, "markersize": 4, "clip_on": False}
        panel.plot(due, [0] * len(due), zorder=6, **mark)


def _say_if_silent(panel: Axes, view: _View) -> None:
    low, high = panel.get_xlim()
    if any(low <= time <= high for time in view.requests):
        return
    text = "no DKS in this keying mode"
    if view.run.where("agent"):
        text = "no request in this time" if view.requests else "no request"
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", bbox=paper)


def _name_rows(panel: Axes, names: Sequence[str], row_in: float, height_in: float) -> None:
    step = max(round((row_in - 0.01) * len(names) / height_in), 1)
    labels = range(0, len(names), step)
    panel.set_yticks(list(labels), [names[index] for index in labels])
    panel.set_ylim(len(names) - 0.4, -0.6)


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The two routers. Where they share more than one segment: with the number of the link, or the LAN."""
    one, other, segment = row
    between = " – " if len(one + other) < _ONE_LINE else " –\n"
    name, (link, mark, number) = one + between + other, segment.partition("#")
    if mark:
        return f"{name} #{number}"
    alone = sum(each[:2] == row[:2] for each in rows) == 1
    return name if alone or link in (f"{one}--{other}", f"{other}--{one}") else f"{name} ({segment})"


@dataclass
class _Fault:
    """One kind of fault, struck once or in a burst; seconds."""

    text: str
    first_s: float
    last_s: float


def _faults(events: Iterable[Event], zero: Origin) -> list[_Fault]:
    """In the order of time; those of one kind that follow each other within 10 s are one burst."""
    faults: list[_Fault] = []
    for event in events:
        if event["source"] != "fault":
            continue
        text, moment = event["kind"].replace("_", " "), (event["t"] - zero.moment) / NS
        burst = next((fault for fault in reversed(faults) if fault.text == text and moment - fault.last_s <= 10), None)
        if burst is None:
            faults.append(_Fault(text, moment, moment))
        else:
            burst.last_s = moment
    return faults


def _name_faults(panel: Axes, faults: Sequence[_Fault], low: float, high: float) -> None:
    """Write each fault's name over its line, on a higher line where the one before would be in the way."""
    free = [low - 1.0] * 3
    for fault in faults:
        if not low <= fault.first_s <= high:
            continue
        level = next((level for level, until in enumerate(free) if until < fault.first_s), None)
        if level is None:
            continue
        length = (high - low) * (0.0125 * len(fault.text) + 0.01)
        left = fault.first_s + length < high
        panel.annotate(
            fault.text,
            (fault.first_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2 + 9 * level),
            textcoords="offset points",
            color=_FAULT,
            ha="left" if left else "right",
            va="bottom",
        )
        free[level] = fault.first_s + (length if left else 0.0)


def _key(keying: str, seen: set[str], faults: bool) -> list[Any]:
    form = look(keying)
    handles: list[Any] = [
        Patch(facecolor=_DOWN, edgecolor=_EDGE, linewidth=0.4, label="down"),
        Patch(facecolor="white", edgecolor=_EDGE, linewidth=0.4, hatch="//////", label="up one way"),
    ]
    plain: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.5, "markeredgecolor": INK}
    if faults:
        handles.append(Line2D([], [], color=_FAULT, linewidth=0.8, linestyle=(0, (4, 1.5)), label="fault"))
    if "sa" in seen:
        handles.append(Line2D([], [], marker="|", markersize=4, **plain, label="SA changed"))
    if "registered" in seen:
        handles.append(Line2D([], [], marker="o", markerfacecolor="white", markersize=3, **plain, label="registered"))
    if "keyed" in seen:
        style: dict[str, Any] = {"marker": form.marker, "markerfacecolor": form.color, "markersize": 4.5}
        handles.append(Line2D([], [], **style, **plain, label="keyed"))
    if "dks_scheduled" in seen:
        handles.append(Line2D([], [], marker="^", color=INK, markersize=3, linestyle="none", label="reconnection due"))
    return handles


def _row_of(run: Run, event: Event) -> Row | None:
    """The adjacency that an agent's event is about, where it is about just one."""
    router = event["node"]
    other = event.get("neighbor") or (event.get("at") if event.get("at") != "dks" else None)
    if router not in run.plan.topology.routers or (other is None and "interface" not in event):
        return None
    # A registration names the speaker's interface in its group's name: domain/router/interface/protocol.
    speaker = tuple(event.get("group", "").split("/")[1:3])
    near = [
        each
        for each in run.plan.topology.neighbors(router)
        if other in (None, each.neighbor_router) and event.get("interface") in (None, each.interface.name)
    ]
    if len(near) > 1:
        near = [
            each
            for each in near
            if speaker in ((end.router, end.name) for end in (each.interface, each.neighbor_interface))
        ]
    return _row(router, near[0].neighbor_router, near[0].interface.segment) if len(near) == 1 else None


def _row(one: str, other: str, segment: str) -> Row:
    first, second = sorted((one, other), key=_natural)
    return first, second, segment


def _natural(name: str) -> tuple[str, int, str]:
    """r2 before r10."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0), name
