"""Figures in documents, taken from the reference results: what stands between two marks is made from a summary.

    <!-- measured: recovery_storm -->
    ...
    <!-- end of measured -->

and of a sweep that is kept (`swept.py`) between `swept: pim_storm/by_size` and `end of swept`, and of all calibrations
(`calibrated.py`) between `calibrated: all` and `end of calibrated`, and of the computed storm beside guests
(`against.py`) between `against: storm_at_scale/against.json` and `end of against`.
`python -m testbed.documents.measured` writes every such part anew. Knows the summary's shape, not the experiments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from testbed.analysis.absent import ABSENT, NEVER
from testbed.documents import against, calibrated, swept
from testbed.documents.pages import pages
from testbed.documents.swept import number
from testbed.record.summary import FILE, read_summary
from testbed.report.style import ordered
from testbed.report.table import Summary, present
from testbed.setup.paths import PROJECT
from testbed.whole import put

_PART = re.compile(r"(<!-- (measured|swept|calibrated|against): (\S+) -->\n).*?(<!-- end of \2 -->)", re.S)


def filled(text: str) -> str:
    """The document with every marked part made anew from results/."""
    return _PART.sub(lambda part: part[1] + _made(part[2], part[3]) + part[4], text)


def _made(kind: str, name: str) -> str:
    folder = PROJECT / "results" / name
    if kind in ("measured", "swept") and not any((folder / each).is_file() for each in (FILE, swept.FILE)):
        return f"Not measured yet ([results](../../results/README.md) has the command of `{name}`).\n"
    match kind:
        case "swept":
            return swept.tables(name, swept.read(folder))
        case "against":
            return against.table(folder)
        case "calibrated":
            return calibrated.table()
        case _:
            return measured(read_summary(folder), whole="/" not in name)


def measured(summary: Summary, *, whole: bool = True) -> str:
    """Question, method, command, numbers and criteria of a reference result, in Markdown. Not `whole`, of one within
    the folder of another, which has said the question, the method, and what is not shown."""
    parts = [
        f"**Question.** {summary['question']}" if whole else "",
        f"**Method.** {summary['method']}" if whole else "",
        f"**Command.** `{summary['command']}` ({_runs(summary)})",
        _numbers(summary),
        "\n".join(
            f"- {'met' if each['ok'] else '**not met**'}: `{each['keying']}`, {each['text']}: {each['value']}"
            for each in summary["criteria"]
        ),
        f"**Not shown.** {summary['shows_not']}" if whole and summary["shows_not"] else "",
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
        main: [_range_text(each.get("convergence_s", {}).get("values", ()), main) for each in columns],
        "… × none": [number(each.get("ratio_to_none")) for each in columns],
    }
    if heard := named.get("multicast"):
        title, values = f"{heard['name']}, s", [each.get("multicast", {}) for each in columns]
        rows[title] = [_range_text(each.get("heard_s", {}).get("values", ()), title) for each in values]
        rows["… of that × none"] = [number(each.get("ratio_to_none")) for each in values]
    rows[named["restored"]] = [_restored(each.get("adjacencies", {})) for each in columns]
    first = [each.get("requests_first_60s", {}).get("values", ()) for each in columns]
    rows["DKS requests in the first 60 s of power"] = [_range_text(each) for each in first]
    total = [each.get("dks_requests", {}).get("total", ()) for each in columns]
    rows[f"DKS requests from {named['requests']} on"] = [_range_text(each) for each in total]
    for name in dict.fromkeys(name for each in columns for name in each.get("extra", {})):
        if name not in rows:
            rows[name] = [_range_text(each.get("extra", {}).get(name, ()), name) for each in columns]
    body = [[title, *(cell or ABSENT for cell in cells)] for title, cells in rows.items() if any(cells)]
    lines = [["median (from to)", *(f"`{name}`" for name in keyings)], ["---", *("--:" for _ in keyings)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _restored(adjacencies: Summary) -> str:
    there = present(adjacencies.get("restored", ()))
    return f"{min(there):g} of {adjacencies['expected']}" if there else ""


def _range_text(values: Sequence[float | None], title: str = "") -> str:
    """The median of the runs and their range; `never` where an interval has no end in any, else empty."""
    there = sorted(present(values))
    if not there:
        return NEVER if values and " to " in title and title.endswith(", s") else ""
    text = number(median(there))
    if there[0] != there[-1]:
        text += f" ({number(there[0])} to {number(there[-1])})"
    return text if len(there) == len(values) else f"{text}; {len(values) - len(there)} of {len(values)} {NEVER}"


def main() -> None:
    """Write every document's marked parts anew, and print the names of those that changed."""
    for path in pages():
        before = (PROJECT / path).read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            put(PROJECT / path, after)
            print(path)


if __name__ == "__main__":
    main()
