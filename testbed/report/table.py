"""summary.csv: one row for each keying mode, units in the columns' names. Knows the summary's shape, not the runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from testbed.report.style import ordered
from testbed.whole import put

Summary = dict[str, Any]
Values = Sequence[float | None]


def present(values: Iterable[float | None]) -> list[float]:
    """Those that are there: a run that never got so far has None."""
    return [value for value in values if value is not None]


def middle(values: Iterable[float | None]) -> float | None:
    """The median of those that are there; None when none is."""
    there = present(values)
    return median(there) if there else None


def rows(summary: Summary) -> list[dict[str, str]]:
    """One row per keying mode. An empty cell: there is no such number."""
    extra = list(dict.fromkeys(name for each in summary["keyings"].values() for name in each.get("extra", {})))
    return [_row(summary, keying, extra) for keying in ordered(summary["keyings"])]


def verdict(summary: Summary, keying: str) -> str:
    """ "met", "not met", or "not judged" where no criterion speaks of this mode: silence is no praise."""
    if not summary["keyings"][keying].get("ok"):
        return "not met"
    return "met" if any(each["keying"] == keying for each in summary["criteria"]) else "not judged"


def write_csv(path: Path, summary: Summary) -> None:
    """Write `rows`; a summary without keying modes gives the heading line alone."""
    table = rows(summary)
    text = io.StringIO()
    out = csv.DictWriter(text, list(table[0]) if table else ["experiment", "topology", "keying"], lineterminator="\n")
    out.writeheader()
    out.writerows(table)
    put(path, text.getvalue())


def _row(summary: Summary, keying: str, extra: list[str]) -> dict[str, str]:
    each = summary["keyings"][keying]
    times, asked, back = (each.get(name, {}) for name in ("convergence_s", "dks_requests", "adjacencies"))
    restored = present(back.get("restored", []))
    values = times.get("values", [])
    row = {
        "experiment": summary["experiment"],
        "topology": summary["topology"],
        "keying": keying,
        "measured": summary["measured"]["main"]["name"],
        "requests_counted_from": summary["measured"]["requests"],
        "verdict": verdict(summary, keying),
        "runs": number(each.get("n")),
        "runs_failed": number(each.get("failed")),
        "runs_not_converged": number(sum(value is None for value in values)),
        **{
            f"convergence_{name}_s": number(times.get(name))
            for name in ("median", "low", "high", "p25", "p75", "p95", "min", "max")
        },
        "ratio_to_none": number(each.get("ratio_to_none")),
        "adjacencies_expected": number(back.get("expected")),
        "adjacencies_restored_min": number(min(restored, default=None)),
        "adjacencies_restored_median": number(middle(restored)),
    }
    first = each.get("requests_first_60s", {})
    row["dks_requests_first_60s_median"] = number(first.get("median"))
    row["dks_requests_first_60s_max"] = number(first.get("max"))
    for name in ("total", "unique", "before_first_scheduled_reconnection", "peak_per_s"):
        counts = present(asked.get(name, []))
        row[f"dks_requests_{name}_median"] = number(middle(counts))
        row[f"dks_requests_{name}_max"] = number(max(counts, default=None))
    for name in extra:
        there = each.get("extra", {}).get(name, [])
        row[f"{name} (median)"] = number(middle(there))
        row[f"{name} (n)"] = number(len(present(there)))
    return row


def number(value: float | None) -> str:
    """Six significant digits at most, no exponent for what this project measures; empty for None."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def titled(name: str) -> str:
    """A series' name for people: a unit at its end goes into brackets."""
    for unit in ("ms", "s"):
        for sign in ("_", ", "):
            if name.endswith(sign + unit):
                return f"{name[: -len(sign + unit)].replace('_', ' ')} ({unit})"
    return name.replace("_", " ")
