"""Sweeps that are kept among the reference results: their rows, a figure, and tables of them for documents.

    python -m testbed.documents.swept pim_storm/by_size [--runs runs]

takes what `lab sweep` left of the files that belong to this name, and writes results/pim_storm/by_size. Knows a sweep's
table, and which measures each name shows; not how runs are played.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from testbed.documents.ending import ended
from testbed.errors import InputError
from testbed.report.style import COLUMN_IN, PAGE_IN, figure, look, noted, ordered, save
from testbed.setup.paths import PROJECT
from testbed.whole import put

FILE, FIGURE = "sweep.json", "sweep"
MAIN, FIRST, PEAK, WALL = "convergence_s", "dks_first_60s", "dks_peak_per_s", "wall_s"
KEYED = "first boot to all routers keyed, s"
TITLES = {
    FIRST: "DKS requests in the first 60 s of power", PEAK: "most DKS requests within a second",
    WALL: "wall time of a run, s",
}  # fmt: skip
APART = ("run", "virtual_s")
"""Columns of a sweep's table that are not kept."""
Row = Mapping[str, Any]


def routers(row: Row) -> float:
    return float(row["routers"])


def neighbours(row: Row) -> float:
    """Of each router of `regular:N:degree=D`."""
    found = re.search(r"degree=(\d+)", row["topology"])
    if found is None:
        raise InputError(f"{row['topology']} says no degree", where="topology", allowed="regular:N:degree=D")
    return float(found[1])


@dataclass(frozen=True)
class Kept:
    """`files`: of experiments/sweeps, one after the other; `measures`: columns that tables show, of which the figure
    draws the first `drawn`; `across`: what the figure's axis counts, with its label."""

    files: Sequence[str]
    across: Callable[[Row], float]
    label: str
    measures: Sequence[str] = (MAIN, FIRST)
    drawn: int = 2


KEPT = {
    "pim_storm/by_size": Kept(
        ("pim_storm_by_size", "pim_storm_at_50"), routers, "routers", (MAIN, FIRST, KEYED)
    ),
    "pim_storm/by_members": Kept(("pim_storm_by_members",), neighbours, "neighbours of a router"),
    "recovery_storm/by_size": Kept(("storm_to_50",), routers, "routers", (MAIN, FIRST, WALL)),
    "recovery_storm/by_degree": Kept(
        ("storm_by_degree",), neighbours, "neighbours of a router", (MAIN, FIRST, PEAK)
    ),
}  # fmt: skip


def keep(name: str, runs: Path, into: Path) -> None:
    """Write sweep.json and the figure into the folder `into`, of those of its sweeps that were played. InputError when
    none was."""
    import polars

    tables = {file: runs / f"sweep-{file}" / "results.parquet" for file in KEPT[name].files}
    played = {file: path for file, path in tables.items() if path.is_file()}
    if not played:
        file, path = next(iter(tables.items()))
        raise InputError("does not exist", where=str(path), next_command=f"lab sweep experiments/sweeps/{file}.yaml")
    frames = [polars.read_parquet(path).to_dicts() for path in played.values()]
    rows = [{key: each[key] for key in each if key not in APART} for frame in frames for each in frame]
    about = polars.read_parquet_metadata(next(iter(played.values())))
    kept = {
        "commands": [f"./lab sweep experiments/sweeps/{file}.yaml" for file in played],
        **{key: about[key] for key in ("experiment", MAIN, "factors", "code", "kernel") if key in about},
    }
    lines = ",\n  ".join(json.dumps(_short(each), ensure_ascii=False) for each in rows)
    text = json.dumps(kept, indent=1).removesuffix("\n}") + f',\n "rows": [\n  {lines}\n ]\n}}\n'
    into.mkdir(parents=True, exist_ok=True)
    put(into / FILE, text)
    draw(into, name, read(into))


def _short(row: Row) -> dict[str, Any]:
    """Without what was not measured, and with no more digits than a time has."""
    return {
        name: round(value, 6) if isinstance(value, float) else value for name, value in row.items() if value is not None
    }


def read(folder: Path) -> dict[str, Any]:
    """What `keep` wrote. InputError when it is not there."""
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError("no sweep is kept here", where=str(folder / FILE), allowed=", ".join(KEPT)) from error


def tables(name: str, kept: Mapping[str, Any]) -> str:
    """The figure, commands, and a table for each measure, with a row for each level and a column for each keying mode.
    In Markdown, for a page in docs/results."""
    rows = kept["rows"]
    keyings, levels = ordered({each["keying"] for each in rows}), _levels(kept)
    parts = [
        f"![{' and '.join(_title(each, kept) for each in KEPT[name].measures[: KEPT[name].drawn])}, by "
        f"{KEPT[name].label}](../../results/{name}/{FIGURE}.svg)",
        "**Commands.** " + ", ".join(f"`{each}`" for each in kept["commands"]),
    ]
    for measure in KEPT[name].measures:
        lines = [[f"{_title(measure, kept)}: median (from to)", *(f"`{each}`" for each in keyings)]]
        lines.append(["---", *("--:" for _ in keyings)])
        for level, of in levels.items():
            lines.append([level, *(_cell([each for each in of if each["keying"] == one], measure) for one in keyings)])
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _levels(kept: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The rows by all factors but the keying mode, in words; a row says how many seeds it has."""
    others = [each for each in kept["factors"].split(",") if each not in ("topology", "keying")]
    found: dict[str, list[Row]] = {}
    for row in kept["rows"]:
        words = [f"`{row['topology']}`", *(f"{name} {row[name]}" for name in others)]
        found.setdefault(", ".join(words), []).append(row)
    seeds = {level: len({each["seed"] for each in of}) for level, of in found.items()}
    return {f"{level}, {seeds[level]} {'seed' if seeds[level] == 1 else 'seeds'}": of for level, of in found.items()}


def _title(measure: str, kept: Mapping[str, Any]) -> str:
    return f"{kept[MAIN]}, s" if measure == MAIN else TITLES.get(measure, measure)


def _cell(rows: Sequence[Row], measure: str) -> str:
    """The median and the range; a dash where nothing was measured, `never` where the main span had no end."""
    there = sorted(each[measure] for each in rows if measure in each)
    if not there:
        return "never" if rows and measure == MAIN else "-"
    text = number(median(there))
    text += f" ({number(there[0])} to {number(there[-1])})" if there[0] != there[-1] else ""
    return text if len(there) == len(rows) else f"{text}; {len(rows) - len(there)} of {len(rows)} never"


def number(value: float | None) -> str:
    """Three digits at least, and all before the point."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def draw(folder: Path, name: str, kept: Mapping[str, Any]) -> None:
    """sweep.svg: a column of panels for each measure, a row for each further factor's level; lines join medians."""
    spec, rows = KEPT[name], kept["rows"]
    other = next((each for each in kept["factors"].split(",") if each not in ("topology", "keying")), None)
    several = sorted({each[other] for each in rows}) if other else [None]
    from matplotlib.ticker import FixedLocator

    with figure(PAGE_IN if len(several) == 1 else 2 * COLUMN_IN, 0.6 + 2.0 * len(several), name) as made:
        axes = made.subplots(len(several), spec.drawn, squeeze=False, sharex=True, sharey="col")
        for line, level in zip(axes, several, strict=True):
            for panel, measure in zip(line, spec.measures, strict=False):
                here = [each for each in rows if other is None or each[other] == level]
                for keying in ordered({each["keying"] for each in here}):
                    _line(panel, keying, [each for each in here if each["keying"] == keying], measure, spec.across)
                panel.set_title("" if level is None else f"{other} {level}")
                panel.set_ylabel(_title(measure, kept), fontsize=7)
                panel.grid(axis="y")
        for panel in axes[-1]:
            panel.set_ylim(bottom=0)
            panel.set_xlabel(spec.label)
            panel.xaxis.set_major_locator(FixedLocator(sorted({spec.across(each) for each in rows})))
        axes[0][0].legend(loc="best", fontsize=7)
        noted(made, "Marks: runs. Lines: medians. A run without an end of its span has no mark.")
        save(made, folder, FIGURE)


def _line(panel: Any, keying: str, rows: Sequence[Row], measure: str, across: Callable[[Row], float]) -> None:
    style = look(keying)
    places: dict[float, list[float]] = {}
    for each in rows:
        if measure in each:
            places.setdefault(across(each), []).append(each[measure])
    points = [(place, value) for place, values in places.items() for value in values]
    color, marker = style.color, style.marker
    panel.plot(*zip(*points, strict=True), color=color, marker=marker, ls="", ms=3, alpha=0.6) if points else None
    middles = sorted((place, median(values)) for place, values in places.items())
    if middles:
        panel.plot(*zip(*middles, strict=True), color=color, ls=style.line, lw=0.9, marker=marker, ms=3, label=keying)


def main(words: Sequence[str]) -> int:
    """Keep one of them."""
    parser = argparse.ArgumentParser(prog="python -m testbed.documents.swept")
    parser.add_argument("name", choices=KEPT, metavar="NAME", help=", ".join(KEPT))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the sweeps' folders are")
    asked = parser.parse_args(words)
    from testbed.setup import python_env

    python_env.use("sweep")
    return ended(lambda: keep(asked.name, asked.runs, PROJECT / "results" / asked.name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
