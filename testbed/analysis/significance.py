"""What changed between two summaries of one experiment, and whether it is more than chance.

Reads summaries only. A difference is real when the 95 % interval of the ratio of medians leaves out 1 (of the
difference, where a median is 0), or when so many more runs came to no end that chance would rarely do it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from testbed.analysis import statistics
from testbed.analysis.statistics import Interval

CHANCE = 0.05
EVERY = "every measure"
REQUESTS = {"total": "DKS requests", "peak_per_s": "DKS requests, peak in 1 s"}
"""Of these two, rows of nothing but zeros are left out."""
HASHES = "guest.sha256."
VERSIONS = {"debian": "packages", "wheels": "python_packages", "kernel": "kernel_made_of"}
"""Where in a summary's provenance the versions of what is hashed stand."""


class Verdict(StrEnum):
    """What can be said of one measure."""

    IDENTICAL = "identical"
    REAL = "a real difference"
    NOT_SHOWN = "no difference shown"
    TOO_FEW = "too few runs to tell"
    NOT_IN_FIRST = "absent in the first"
    NOT_IN_SECOND = "absent in the second"


@dataclass(frozen=True)
class Row:
    """One measure of one keying mode. `ratio` or else `difference` is set where every run has a number; `never` counts
    those without one, first and second."""

    keying: str
    measure: str
    n: tuple[int, int]
    medians: tuple[float | None, float | None]
    ratio: Interval | None
    difference: Interval | None
    never: tuple[int, int]
    verdict: Verdict


def rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    """Every measure of every keying mode that both summaries have, or one of them."""
    comparisons = []
    for keying in dict.fromkeys([*a["keyings"], *b["keyings"]]):
        there = [side["keyings"].get(keying) for side in (a, b)]
        if None in there:
            n = (_runs(there[0]), _runs(there[1]))
            absent = Verdict.NOT_IN_FIRST if there[0] is None else Verdict.NOT_IN_SECOND
            comparisons.append(Row(keying, EVERY, n, (None, None), None, None, (0, 0), absent))
            continue
        sides = [dict(measures(row, whole["measured"])) for row, whole in zip(there, (a, b), strict=True)]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            one, other = (side.get(name, ()) for side in sides)
            if name not in REQUESTS.values() or any([*one, *other]):
                comparisons.append(compared(keying, name, one, other))
    return comparisons


def _runs(row: Mapping[str, Any] | None) -> int:
    return 0 if row is None else int(row.get("n", 0))


def measures(row: Mapping[str, Any], measured: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[float | None]]]:
    """The series of one keying mode's row of a summary, by name; `measured` is the summary's own word of them."""
    if times := row["convergence_s"]["values"]:
        yield f"{measured['main']['name']}, s", times
    if any(value is not None for value in row.get("adjacencies", {}).get("restored", ())):
        yield measured["restored"], row["adjacencies"]["restored"]
    for name, words in REQUESTS.items():
        values = row.get("dks_requests", {}).get(name, ())
        if any(value is not None for value in values):
            yield words, values
    if "requests_first_60s" in row:
        yield "DKS requests in the first 60 s", row["requests_first_60s"]["values"]
    yield from row.get("extra", {}).items()


def compared(keying: str, name: str, first: Sequence[float | None], second: Sequence[float | None]) -> Row:
    """One measure, second against first."""
    a, b = ([value for value in side if value is not None] for side in (first, second))
    never = (len(first) - len(a), len(second) - len(b))
    middles = (statistics.median_of(a).value if a else None, statistics.median_of(b).value if b else None)
    ratio = difference = None
    # With runs that came to no end left out, only those that went well would be compared.
    if a and b and not any(never):
        if middles[0]:
            ratio = statistics.ratio_of_medians(a, b)
        else:
            difference = statistics.difference_of_medians(a, b)
    verdict = _verdict(first, second, never, ratio, difference)
    return Row(keying, name, (len(first), len(second)), middles, ratio, difference, never, verdict)


def _verdict(
    first: Sequence[float | None],
    second: Sequence[float | None],
    never: tuple[int, int],
    ratio: Interval | None,
    difference: Interval | None,
) -> Verdict:
    if not first or not second:
        return Verdict.NOT_IN_SECOND if first else Verdict.NOT_IN_FIRST
    if list(first) == list(second):
        return Verdict.IDENTICAL
    if rare(never, (len(first), len(second))):
        return Verdict.REAL
    outside = ratio.excludes(1.0) if ratio else difference.excludes(0.0) if difference else None
    if outside is None:
        return Verdict.TOO_FEW
    return Verdict.REAL if outside else Verdict.NOT_SHOWN


def rare(never: tuple[int, int], of: tuple[int, int]) -> bool:
    """Whether one side has so many more runs without a number that chance does it in less than 5 % (Fisher's exact)."""
    total, whole = sum(never), sum(of)

    def ways(first: int) -> int:
        """In how many ways `total` runs without a number are spread with `first` of them on the first side."""
        return math.comb(of[0], first) * math.comb(of[1], total - first)

    seen = ways(never[0])
    as_rare = sum(many for first in range(total + 1) if (many := ways(first)) <= seen)
    return never[0] / of[0] != never[1] / of[1] and as_rare / math.comb(whole, total) < CHANCE


def provenance(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What the two were made from that is not the same, in words."""
    changed = []
    for name in ("topology", "routers", "kernel", "seeds", "command"):
        if a.get(name) != b.get(name):
            changed.append(f"{name}: {_short(a.get(name))} → {_short(b.get(name))}")
    flat = [dict(_flat(side.get("provenance") or {})) for side in (a, b)]
    for name in dict.fromkeys([*flat[0], *flat[1]]):
        one, other = flat[0].get(name), flat[1].get(name)
        if name.startswith(HASHES) and (one is None or other is None or _renamed(flat, name)):
            continue  # the version says it
        if not name.startswith("records.") and one != other:
            changed.append(f"{name}: {_short(flat[0].get(name))} → {_short(flat[1].get(name))}")
    return changed


def _renamed(flat: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether the versions of what this hash is of are not the same."""
    kind, _, package = name.removeprefix(HASHES).partition(".")
    version = f"guest.{VERSIONS.get(kind, kind)}.{package}"
    return flat[0].get(version) != flat[1].get(version)


def same_records(first: Mapping[str, str | None], second: Mapping[str, str | None]) -> tuple[int, int]:
    """How many runs have the same record by its hash, and how many both sides have."""
    both = first.keys() & second.keys()
    return sum(first[name] is not None and first[name] == second[name] for name in both), len(both)


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 90 else text[:90] + "…"
