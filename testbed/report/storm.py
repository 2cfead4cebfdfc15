"""Figures of a computed storm: what comes to the DKS over time, by size, and when routers are keyed.

Knows the results' shape (testbed.storm.case.together), not how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from testbed.keying.base import Look
from testbed.report.page import Drawn
from testbed.report.style import COLUMN_IN, FAINT, PAGE_IN, figure, look, noted, ordered, save

SECONDS, STEP = 60, 10
Result = Mapping[str, Any]
Results = Mapping[str, Sequence[Result]]


def by_size(results: Results) -> dict[int, dict[str, Sequence[Result]]]:
    """Size → keying → cases."""
    sizes: dict[int, dict[str, Sequence[Result]]] = {}
    for cases in results.values():
        case = cases[0]["case"]
        sizes.setdefault(case["routers"], {})[case["keying"]] = cases
    return dict(sorted(sizes.items()))


def draw_load(folder: Path, results: Results) -> list[Drawn]:
    """Datagrams a second, and the queue, one column for each size."""
    sizes, room = by_size(results), _room(results)
    with figure(PAGE_IN, 3.6, "load") as made:
        axes = made.subplots(2, len(sizes), squeeze=False, sharex="col", sharey="row")
        for column, (size, keyings) in enumerate(sizes.items()):
            for keying in ordered(keyings):
                _lines(axes[0][column], keying, keyings[keying], "offered")
                _lines(axes[1][column], keying, keyings[keying], "depth")
            n = len(next(iter(keyings.values())))
            axes[0][column].set_title(f"{size:,} routers (n = {n})")
            axes[1][column].set_xlabel("time since the power returned (s)" if column == 0 else "time (s)")
            for row in (0, 1):
                axis = axes[row][column]
                axis.set_yscale("symlog", linthresh=1)
                axis.set_ylim(0, 1.5 * max(1.0, _most(results, ("offered", "depth")[row])))
                axis.set_xscale("symlog", linthresh=10, linscale=0.6)
                axis.set_xlim(0, 1000)
                _plain(axis.xaxis, (0, 5, 10, 100, 1000))
                _plain(axis.yaxis, (0, 1, 10, 100, 1000, 10_000, 100_000))
                axis.grid(axis="y")
        for axis in axes[1]:
            axis.axhline(room, color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)))
        axes[1][0].annotate("the socket is full", (0.5, room), xytext=(0, 2), textcoords="offset points", fontsize=6.5)
        axes[0][0].set_ylabel("datagrams to the\nDKS per second")
        axes[1][0].set_ylabel("longest queue in\nthe second")
        axes[0][0].legend(loc="upper right", fontsize=7)
        save(made, folder, "load")
    text = (
        "Above: datagrams that reach the DKS in a second, those that find no room included; after the first minute the "
        f"greatest number of each ten seconds. Below: how many wait in its socket, which holds {room}. "
        "Bold: the median over seeds at each second; thin: each seed. Where a line of "
        "central-mgmt ends, all its routers are keyed, or no more was computed."
    )
    return [Drawn("load", text, "page")]


def _room(results: Results) -> int:
    """How many datagrams wait in the DKS's socket: as many in every case."""
    return int(next(iter(results.values()))[0]["case"]["service"]["buffer"])


def _most(results: Results, what: str) -> float:
    return max(max(case["series"][what], default=0) for cases in results.values() for case in cases)


def _plain(axis: Any, ticks: Sequence[float]) -> None:
    """Ticks at these places, as plain numbers."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(FixedLocator([each for each in ticks if low <= each <= high]))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _position: f"{value:,.0f}" if value >= 1 or not value else f"{value:g}")
    )
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _lines(axis: Axes, keying: str, cases: Sequence[Result], what: str) -> None:
    style = look(keying)
    rows = [_thinned(case["series"][what]) for case in cases]
    if len(rows) > 1:
        for row in rows:
            axis.plot(list(row), list(row.values()), color=style.color, linewidth=0.4, alpha=0.5)
    middle = {second: median(row[second] for row in rows if second in row) for second in max(rows, key=len)}
    axis.plot(list(middle), list(middle.values()), color=style.color, linestyle=style.line, linewidth=1.2, label=keying)


def _thinned(row: Sequence[int]) -> dict[float, int]:
    """Second by second at first, then the greatest of each ten: the axis has no room for more."""
    points = {second + 0.5: value for second, value in enumerate(row[:SECONDS])}
    for start in range(SECONDS, len(row) - STEP + 1, STEP):
        points[start + STEP / 2] = max(row[start : start + STEP])
    return points


def draw_keyed(folder: Path, results: Results) -> list[Drawn]:
    """When half of the routers, 95 % and the last are keyed, against the size."""
    sizes = by_size(results)
    keyings = ordered({keying for each in sizes.values() for keying in each})
    with figure(COLUMN_IN, 2.9, "keyed") as made:
        axis = made.subplots()
        axis.set_xscale("log")
        axis.set_yscale("log")
        top = 1.0
        for keying in keyings:
            style = look(keying)
            points = [(size, case) for size, each in sizes.items() for case in each.get(keying, ())]
            there = [(size, case["keyed_s"]) for size, case in points if case["keyed_s"]["last"] is not None]
            if there:
                last = {size: median(each["last"] for other, each in there if other == size) for size, _each in there}
                axis.plot(list(last), list(last.values()), color=style.color, linestyle=style.line, linewidth=1.0)
                top = max(top, *last.values())
                for size, each in there:
                    axis.plot([size, size], [each["median"], each["last"]], color=style.color, linewidth=0.6, alpha=0.6)
                    axis.plot([size], [each["p95"]], marker="_", color=style.color, markersize=6)
                    axis.plot([size], [each["last"]], marker=style.marker, color=style.color, markersize=4)
            for size, until in [(size, case["until_s"]) for size, case in points if case["keyed_s"]["last"] is None]:
                top = max(top, until)
                _later(axis, size, until, style)
            axis.plot([], [], color=style.color, linestyle=style.line, marker=style.marker, markersize=4, label=keying)
        axis.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
        axis.set_ylim(1, top * 6)
        _plain(axis.xaxis, [10**power for power in range(6)])
        _plain(axis.yaxis, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000))
        axis.set_xlabel("routers")
        axis.set_ylabel("power returned to router keyed (s)")
        axis.grid(axis="y")
        axis.legend(loc="upper left", fontsize=7)
        noted(
            made, "keyed: it and its neighbours have each other's keys. Marker: the last router; dash: 95 % of them; "
            "end of the stroke: half",
        )  # fmt: skip
        save(made, folder, "keyed")
    text = (
        "When routers have all keys of their neighbours. Marker: the last router of a run; dash: 95 % of them; the end "
        "of the line: half of them. The line joins the medians of the last. Hollow, with an arrow: not all by then, "
        "when no more was computed. With LKSs in domains above 1,000 routers: the 500 routers whose exchange with "
        "neighbours is computed."
    )
    return [Drawn("keyed", text, "column")]


def _later(axis: Axes, size: int, until_s: float, style: Look) -> None:
    axis.plot([size], [until_s], marker=style.marker, color=style.color, fillstyle="none", markersize=5)
    arrow = {"arrowstyle": "->", "color": style.color, "linewidth": 0.8}
    axis.annotate("", (size, until_s * 1.6), (size, until_s * 1.1), arrowprops=arrow)
    axis.annotate(f"later than {until_s:g} s", (size, until_s), xytext=(-6, -3), textcoords="offset points",
                  ha="right", fontsize=6, color=FAINT)  # fmt: skip
