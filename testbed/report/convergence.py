"""Figures of one number per run, by keying mode: the main span of time, and what else an experiment measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from testbed.analysis.absent import UNAFFECTED, is_span
from testbed.report.style import COLUMN_IN, FAINT, INK, PAGE_IN, PALE, figure, look, noted, ordered, save, wrapped
from testbed.report.table import Summary, Values, middle, present, titled

_BOX = 0.34
_TITLE = {1: 48, 2: 48, 3: 32}
"""How many letters of a panel's title stand side by side above one of so many columns."""
_NOTE = "line: median; box: middle half of the runs; bracket: 95 % interval of the median"
_BAND = 0.17
"""What part of the panel the band of those that never converged takes."""


def draw_convergence(folder: Path, summary: Summary) -> None:
    """The figure convergence: every seed a point; those whose span never ended in a band at the top. Below it the same
    of the multicast streams, where there were any."""
    keyings, measured = ordered(summary["keyings"]), summary["measured"]
    spans = [(measured["main"], {key: summary["keyings"][key].get("convergence_s", {}) for key in keyings})]
    if "multicast" in measured:
        rows = {key: summary["keyings"][key].get("multicast", {}) for key in keyings}
        spans.append((measured["multicast"], {key: row.get("heard_s", {}) for key, row in rows.items()}))
    with figure(COLUMN_IN, 2.6 * len(spans), "convergence") as made:
        for number, (span, distribution) in enumerate(spans, 1):
            panel = made.add_subplot(len(spans), 1, number)
            values: dict[str, Values] = {keying: each.get("values", []) for keying, each in distribution.items()}
            unit, factor = _unit(values)
            _points(panel, values, distribution, factor, never="never (runs of n)", span=True)
            panel.set_ylabel(axis_of(span, unit))
            if number < len(spans):
                panel.set_xlabel("")
        noted(made, _NOTE)
        save(made, folder, "convergence")


def draw_extra(folder: Path, summary: Summary) -> bool:
    """The figure extra: one panel for each further series. False, and nothing drawn, when there is none."""
    keyings = ordered(summary["keyings"])
    extra: dict[str, dict[str, Values]] = {key: summary["keyings"][key].get("extra", {}) for key in keyings}
    # What was not measured is left out; a span of time that never ended is not.
    extra = {
        keying: {name: values if is_span(name) else present(values) for name, values in each.items()}
        for keying, each in extra.items()
    }
    extra = {keying: {name: values for name, values in each.items() if values} for keying, each in extra.items()}
    names = list(dict.fromkeys(name for each in extra.values() for name in each))
    if not names:
        return False
    columns = min(len(names), 3 if len(keyings) <= 4 else 2)
    lines = -(-len(names) // columns)
    with figure(PAGE_IN if columns > 1 else COLUMN_IN, 1.95 * lines + 0.2, "extra") as made:
        for index, name in enumerate(names):
            panel = made.add_subplot(lines, columns, index + 1)
            held: dict[str, Values] = {keying: extra[keying][name] for keying in keyings if name in extra[keying]}
            title = titled(name)
            unit, factor = _unit(held) if title.endswith("(s)") else ("", 1.0)
            _points(panel, held, {}, factor, never="never (runs of n)", span=is_span(name))
            # The band's own line stands between the panel and its title.
            lost = any(None in values for values in held.values())
            text = fill(title.replace("(s)", f"({unit})"), _TITLE[columns])
            panel.set_title(text, loc="left", pad=17 if lost else 6)
            if index + columns < len(names):
                panel.set_xlabel("")
        save(made, folder, "extra")
    return True


def draw_first_minute(folder: Path, summary: Summary) -> bool:
    """The figure requests-first-60s. False, and nothing drawn, where no power failure was measured."""
    rows = summary["keyings"]
    distribution = {key: rows[key]["requests_first_60s"] for key in ordered(rows) if "requests_first_60s" in rows[key]}
    if not any(any(each["values"]) for each in distribution.values()):
        return False
    with figure(COLUMN_IN, 2.6, "requests-first-60s") as made:
        panel = made.add_subplot()
        _points(panel, {key: each["values"] for key, each in distribution.items()}, distribution, 1.0, never="")
        panel.set_ylabel("requests at the DKS in the\nfirst 60 s after the power returned")
        noted(made, _NOTE)
        save(made, folder, "requests-first-60s")
    return True


def axis_of(span: Mapping[str, str], unit: str) -> str:
    """What an axis of a span says: from what to what, in two lines."""
    return f"{span['name']} ({unit})".replace(" to ", "\nto ", 1)


def _unit(series: Mapping[str, Values]) -> tuple[str, float]:
    """Seconds, or milliseconds where all is shorter than half a second; and how many make a second."""
    there = [value for values in series.values() for value in present(values)]
    return ("ms", 1000.0) if 0 < max(there, default=0.0) < 0.5 else ("s", 1.0)


def _points(
    panel: Axes, series: Mapping[str, Values], spans: Mapping[str, Mapping[str, Any]], factor: float, *, never: str,
    span: bool = False,
) -> None:  # fmt: skip
    highest = factor * max((value for values in series.values() for value in present(values)), default=0.0)
    top = 1.12 * highest or 1.0
    lost = {keying: sum(value is None for value in values) for keying, values in series.items()}
    band = top / (1 - _BAND) if any(lost.values()) else None
    panel.grid(axis="y")
    for x, (keying, values) in enumerate(series.items()):
        there, form = [factor * value for value in present(values)], look(keying)
        low, high = (spans.get(keying, {}).get(name) for name in ("p25", "p75"))
        if low is not None and high is not None and len(there) > 1:
            box: dict[str, Any] = {"facecolor": PALE, "edgecolor": FAINT, "linewidth": 0.6}
            panel.add_patch(Rectangle((x - _BOX, factor * low), 2 * _BOX, factor * (high - low), **box))
        edges = [factor * edge for name in ("low", "high") if (edge := spans.get(keying, {}).get(name)) is not None]
        if len(set(edges)) == 2:
            panel.vlines(x + _BOX + 0.07, edges[0], edges[1], color=INK, linewidth=1.0, zorder=3)
            panel.hlines(edges, x + _BOX + 0.03, x + _BOX + 0.11, color=INK, linewidth=1.0, zorder=3)
        # What the summary says, where it says it: its median counts the runs that never converged as it decides.
        center = spans[keying].get("median") if keying in spans else middle(present(values))
        if center is not None and len(there) > 1:
            panel.hlines(factor * center, x - _BOX, x + _BOX, color=INK, linewidth=1.6, zorder=3)
        points: dict[str, Any] = {"s": 20, "marker": form.marker, "facecolor": form.color, "edgecolor": INK}
        panel.scatter(_beside(x, len(there)), there, **points, linewidth=0.4, zorder=4, clip_on=False)
        if span and there and not any(there):
            panel.text(x, 0.04 * top, UNAFFECTED, ha="center", va="bottom", rotation=90, zorder=5)
        if band is not None and lost[keying]:
            y = top + 0.68 * (band - top)
            points["facecolor"] = "white"
            panel.scatter(_beside(x, lost[keying]), [y] * lost[keying], **points, linewidth=0.7, zorder=4)
            text = f"{lost[keying]}/{len(values)}"
            panel.text(x, top + 0.22 * (band - top), text, ha="center", va="center", zorder=5)
    if band is not None:
        panel.axhspan(top, band, facecolor=PALE, edgecolor="none", zorder=0)
        panel.axhline(top, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
        over = blended_transform_factory(panel.transAxes, panel.transData)
        panel.text(0.0, 1.01 * band, never, transform=over, ha="left", va="bottom")
    panel.set_ylim(0, band or top)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    anything = any(present(values) for values in series.values())
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= top] if anything else [])
    panel.set_ylim(0, band or top)
    panel.set_xlim(-0.6, max(len(series), 1) - 0.4)
    counts = {len(values) for values in series.values()}
    if len(counts) == 1:
        panel.set_xticks(range(len(series)), [wrapped(key) for key in series])
        panel.set_xlabel(f"keying mode (n = {counts.pop()} each)")
    else:
        labels = [f"{wrapped(key)}\n(n = {len(values)})" for key, values in series.items()]
        panel.set_xticks(range(len(series)), labels)
        panel.set_xlabel("keying mode")
    panel.tick_params(axis="x", length=0)


def _beside(x: int, count: int) -> list[float]:
    """Places side by side in the order of the seeds, the same each time: a random jitter would not be."""
    step = min(0.11, 0.5 / max(count - 1, 1))
    return [x + step * (index - (count - 1) / 2) for index in range(count)]
