"""Figures in documents, taken from the reference results: what stands between two marks is made from a summary.

    <!-- measured: recovery_storm -->
    ...
    <!-- end of measured -->

`python -m testbed.documents.measured` writes every such part anew. Knows the summary's shape, not the experiments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from testbed.analysis.absent import ABSENT, NEVER
from testbed.documents.pages import pages
from testbed.record.summary import read_summary
from testbed.report.style import ordered
from testbed.report.table import Summary, present
from testbed.setup.paths import PROJECT
from testbed.whole import put

_PART = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end of measured -->)", re.S)


def filled(text: str) -> str:
    """The document with every marked part made anew from results/."""
    return _PART.sub(lambda part: part[1] + measured(read_summary(PROJECT / "results" / part[2])) + part[3], text)


def measured(summary: Summary) -> str:
    """Question, method, command, numbers and criteria of a reference result, in Markdown."""
    parts = [
        f"**Question.** {summary['question']}",
        f"**Method.** {summary['method']}",
        f"**Command.** `{summary['command']}` ({_runs(summary)})",
        _numbers(summary),
        "\n".join(
            f"- {'met' if each['ok'] else '**not met**'}: `{each['keying']}`, {each['text']}: {each['value']}"
            for each in summary["criteria"]
        ),
        f"**Not shown.** {summary['shows_not']}" if summary["shows_not"] else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _runs(summary: Summary) -> str:
    count = len(summary["seeds"])
    return f"{summary['topology']}, {count} {'seed' if count == 1 else 'seeds'}"


def _numbers(summary: Summary) -> str:
    """A row for each measure, a column for each keying mode: the median, and the range of the runs."""
    keyings = ordered(summary["keyings"])
    columns = [summary["keyings"][name] for name in keyings]
    named = summary["measured"]
    main = f"{named['main']['name']}, s"
    rows = {
        main: [_spread(each.get("convergence_s", {}).get("values", ()), main) for each in columns],
        "… × none": [_number(each.get("ratio_to_none")) for each in columns],
    }
    if heard := named.get("multicast"):
        title, values = f"{heard['name']}, s", [each.get("multicast", {}) for each in columns]
        rows[title] = [_spread(each.get("heard_s", {}).get("values", ()), title) for each in values]
        rows["… of that × none"] = [_number(each.get("ratio_to_none")) for each in values]
    rows[named["restored"]] = [_restored(each.get("adjacencies", {})) for each in columns]
    first = [each.get("requests_first_60s", {}).get("values", ()) for each in columns]
    rows["DKS requests in the first 60 s of power"] = [_spread(each) for each in first]
    total = [each.get("dks_requests", {}).get("total", ()) for each in columns]
    rows[f"DKS requests from {named['requests']} on"] = [_spread(each) for each in total]
    for name in dict.fromkeys(name for each in columns for name in each.get("extra", {})):
        if name not in rows:
            rows[name] = [_spread(each.get("extra", {}).get(name, ()), name) for each in columns]
    told = [[title, *(cell or ABSENT for cell in cells)] for title, cells in rows.items() if any(cells)]
    lines = [["median (from to)", *(f"`{name}`" for name in keyings)], ["---", *("--:" for _ in keyings)], *told]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _restored(adjacencies: Summary) -> str:
    there = present(adjacencies.get("restored", ()))
    return f"{min(there):g} of {adjacencies['expected']}" if there else ""


def _spread(values: Sequence[float | None], title: str = "") -> str:
    """The median of the runs and their range; `never` where an interval has no end in any, else empty."""
    there = sorted(present(values))
    if not there:
        return NEVER if values and " to " in title and title.endswith(", s") else ""
    text = _number(median(there))
    if there[0] != there[-1]:
        text += f" ({_number(there[0])} to {_number(there[-1])})"
    return text if len(there) == len(values) else f"{text}; {len(values) - len(there)} of {len(values)} {NEVER}"


def _number(value: float | None) -> str:
    """Three digits at least, and all before the point."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def main() -> None:
    """Write every document's marked parts anew, and print the names of those that changed."""
    for path in pages():
        before = (PROJECT / path).read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            put(PROJECT / path, after)
            print(path)


if __name__ == "__main__":
    main()
