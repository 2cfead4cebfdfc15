"""report.html: one file that stands alone, with no request to anywhere. Knows the summary's shape and the drawings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agents import look
from testbed.analysis.absent import ABSENT, LEGEND, NEVER, UNAFFECTED, is_span
from testbed.report.style import ordered, slug
from testbed.report.table import Summary, Values, middle, number, present, titled, verdict
from testbed.whole import put

_CLOCKS = {
    "virtual": "virtual time",
    "uml": "real clock (user-mode Linux)",
    "native": "real clock (the machine's own kernel)",
}
_NOTHING = ABSENT


@dataclass(frozen=True)
class Drawn:
    """A figure in `folder`, as `name`.svg, and what to say under it. `width` is "column" or "page"."""

    name: str
    caption: str
    width: str


def write_page(path: Path, summary: Summary, figures: Sequence[Drawn], more: Sequence[Drawn], drawings: Path) -> None:
    """Write the page; `more` are figures to be opened; `drawings` is the folder that holds all their SVG files."""
    here = FileSystemLoader([Path(__file__).parent, look.HERE])
    environment = Environment(
        loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("page.html.j2").render(
        summary=summary,
        verdict=_verdict(summary),
        legend=LEGEND,
        watched=tuple(_CLOCKS),
        clock=_CLOCKS.get(summary["kernel"], summary["kernel"]),
        results=[_result(summary, keying) for keying in ordered(summary["keyings"])],
        extra=_extra(summary),
        figures=[_figure(each, drawings) for each in figures],
        more=[_figure(each, drawings) for each in more],
        calibration=[_calibrated(row) for row in summary.get("calibration", ())],
        provenance=list(_flat(summary["provenance"])),
        runs=[_run(summary, run) for run in summary["runs"]],
    )
    put(path, text)


def _figure(drawn: Drawn, drawings: Path) -> dict[str, Any]:
    return {**vars(drawn), "svg": inline(drawings, drawn.name)}


def inline(folder: Path, name: str) -> Markup:
    """A figure's SVG as it may stand inside HTML: without prolog, metadata and namespaces, its ids its own."""
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    name = slug(name)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1))


def _verdict(summary: Summary) -> str:
    met = all(each["ok"] for each in summary["criteria"])
    if summary["ok"]:
        return "✓ Every criterion is met" if summary["criteria"] else "✓ Every run counts"
    return "✗ Not every run counts: see the reasons under Results" if met else "✗ Not every criterion is met"


def _result(summary: Summary, keying: str) -> dict[str, Any]:
    each = summary["keyings"][keying]
    times, asked, back = (each.get(name, {}) for name in ("convergence_s", "dks_requests", "adjacencies"))
    runs = str(each["n"]) + (f" ({each['failed']} failed)" if each.get("failed") else "")
    counts = ("total", "unique", "before_first_scheduled_reconnection", "peak_per_s")
    hears = each.get("multicast", {})
    cells = [
        runs,
        *_times(times),
        _ratio(each),
        f"{_range_text(back.get('restored', []))} of {number(back.get('expected')) or _NOTHING}",
    ]
    requests = [_range_text(asked.get(name, [])) for name in counts]
    requests.insert(0, _range_text(each.get("requests_first_60s", {}).get("values", [])))
    return {
        "keying": keying,
        "recovery": cells,
        "multicast": [*_times(hears.get("heard_s", {})), _ratio(hears)],
        "requests": requests,
        "verdict": verdict(summary, keying),
        "reasons": each.get("reasons", []),
    }


def _times(distribution: dict[str, Any]) -> list[str]:
    """A span of time: the cells that all tables of one share."""
    values = distribution.get("values", [])
    return [
        f"{len(present(values))}/{len(values)}",
        _span(distribution.get("median")),
        _between(distribution.get("low"), distribution.get("high")),
        _span(distribution.get("p95")),
        _between(distribution.get("min"), distribution.get("max")),
    ]


def _calibrated(row: dict[str, Any]) -> list[str]:
    """One measure on both clocks: the cells of its line."""
    verdict = {True: "differs", False: "no difference shown", None: "too few runs to tell"}[row["differs"]]
    return [
        row["keying"], titled(row["measure"]), f"{row['n'][0]}, {row['n'][1]}", _short(row["virtual"]),
        _short(row["real"]), _NOTHING if row["difference"] is None else f"{row['difference']:+.3f}",
        _NOTHING if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}", verdict,
    ]  # fmt: skip


def _ratio(row: dict[str, Any]) -> str:
    if row.get("ratio_to_none") is None:
        return _NOTHING
    low, high = row.get("ratio_interval") or (None, None)
    return f"{row['ratio_to_none']:.3f}" + ("" if low is None else f" ({low:.2f}–{high:.2f})")


def _extra(summary: Summary) -> dict[str, Any]:
    keyings = ordered(summary["keyings"])
    held = {keying: summary["keyings"][keying].get("extra", {}) for keying in keyings}
    names = list(dict.fromkeys(name for each in held.values() for name in each))
    rows = [[_series(name, held[keying].get(name, [])) for keying in keyings] for name in names]
    return {"names": [titled(name) for name in names], "keyings": keyings, "rows": rows}


def _run(summary: Summary, run: dict[str, Any]) -> dict[str, Any]:
    values = summary["keyings"].get(run["keying"], {}).get("convergence_s", {}).get("values", [])
    mine = [each for each in summary["runs"] if each["keying"] == run["keying"]]
    # The values stand in the order of the runs; with a failed run among them it is not known whose is whose.
    paired = len(mine) == len(values)
    value = values[mine.index(run)] if paired else None
    return {
        **{name: run.get(name, _NOTHING) for name in ("keying", "seed", "status", "folder")},
        "convergence": (NEVER if value is None else _span(value)) if paired else _NOTHING,
        "virtual": _short(run.get("virtual_s")),
        "wall": _short(run.get("wall_s")),
    }


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{before}{name} ")
        else:
            pairs.append((f"{before}{name}".replace("_", " "), _NOTHING if value is None else str(value)))
    return pairs


def _range_text(values: Values) -> str:
    there = present(values)
    if not there:
        return _NOTHING
    low, high = min(there), max(there)
    return _short(low) if low == high else f"{_short(middle(there))} ({_between(low, high)})"


def _series(name: str, values: Values) -> str:
    """A further measurement: of spans of time, also how many of the runs never came to their end."""
    lost = sum(value is None for value in values) if is_span(name) else 0
    if lost == len(values):
        return NEVER if lost else _NOTHING
    there = UNAFFECTED if is_span(name) and not any(present(values)) else _range_text(values)
    return there + (f", {lost} {NEVER}" if lost else "")


def _between(low: float | None, high: float | None) -> str:
    return _NOTHING if low is None or high is None else f"{_short(low)}–{_short(high)}"


def _span(value: float | None) -> str:
    return UNAFFECTED if value == 0 else _short(value)


def _short(value: float | None) -> str:
    """For reading: four significant digits, two decimals at most."""
    if value is None:
        return _NOTHING
    if value == int(value):
        return str(int(value))
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
