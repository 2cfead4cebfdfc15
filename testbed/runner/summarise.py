"""The summary of an experiment: the content of summary.json and of --json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from testbed.analysis.statistics import Interval, median_of, percentile, ratio_of_medians
from testbed.record.summary import FORMAT
from testbed.runner.answers import findings, judged
from testbed.runner.execute import Outcome
from testbed.runner.experiment import Criterion, Measures, Question, Table


def distribution(values: Sequence[float | None]) -> dict[str, Any]:
    """Median, its 95 % interval and the spread of the known values; the list has None for a missing number."""
    known = sorted(value for value in values if value is not None)
    names = ("median", "low", "high", "min", "max", "p25", "p75", "p95")
    shape: dict[str, float | None] = dict.fromkeys(names)
    if known:
        middle = median_of(known)
        shape = {
            "median": middle.value, "low": middle.low, "high": middle.high, "min": known[0], "max": known[-1],
            "p25": percentile(known, 0.25), "p75": percentile(known, 0.75), "p95": percentile(known, 0.95),
        }  # fmt: skip
    return {
        **{name: _rounded(value) for name, value in shape.items()},
        "n": len(values),
        "values": list(map(_rounded, values)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def summarise(
    experiment: Question,
    outcomes: Sequence[Outcome],
    measures: Mapping[str, Sequence[Measures]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """`about`: topology, routers, kernel, command, seeds, provenance. `ok`: no run and no criterion failed."""
    table = Table(measures)
    criteria = judged(experiment, table)
    return {
        **table_of(experiment, outcomes, measures, about, criteria),
        "ok": all(each.done for each in outcomes) and all(each.ok for each in criteria),
        "criteria": [vars(each) for each in criteria],
        "findings": findings(experiment, table),
        "runs": [
            {
                "keying": each.keying, "seed": each.seed, "folder": f"runs/{each.folder.name}", "status": each.status,
                "wall_s": each.wall_s, "virtual_s": each.virtual_s,
            }
            for each in outcomes
        ],
    }  # fmt: skip


def table_of(
    experiment: Question,
    outcomes: Sequence[Outcome],
    measures: Mapping[str, Sequence[Measures]],
    about: Mapping[str, Any],
    criteria: Sequence[Criterion] = (),
) -> dict[str, Any]:
    """The part of the summary that the table shows: for runs of which some may be missing, and not judged."""
    table, series = Table(measures), f"{experiment.hears.name}, s"
    named = dict.fromkeys(each.keying for each in outcomes)
    keyings = {name: _keying(name, table, series, criteria, outcomes) for name in named}
    return {
        "format": FORMAT,
        "measured": {
            "main": asdict(experiment.main), "restored": experiment.restored, "requests": experiment.requests_since,
            **({"multicast": asdict(experiment.hears)} if any(table.has(each, series) for each in keyings) else {}),
        },
        "experiment": experiment.name,
        "title": experiment.title,
        "question": experiment.question,
        "method": experiment.method,
        "shows_not": experiment.shows_not,
        **about,
        "keyings": keyings,
    }  # fmt: skip


def _keying(
    name: str, table: Table, series: str, criteria: Sequence[Criterion], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """`series`: the series of the multicast streams that is shown beside the main span."""
    runs = table.measures.get(name, ())
    own = [each for each in criteria if each.keying == name]
    failed = sum(not each.done for each in outcomes if each.keying == name)
    reasons = [f"{each.text}: {each.value}" for each in own if not each.ok]
    if failed:
        reasons.append(f"{failed} runs failed")
    first = [run.asked.first_60s for run in runs if run.asked.first_60s is not None]
    return {
        "n": len(runs),
        "failed": failed,
        "convergence_s": distribution([run.main_s for run in runs]),
        **_adjacencies(runs),
        "dks_requests": {
            "total": [run.asked.total for run in runs],
            "unique": [run.asked.unique for run in runs],
            "before_first_scheduled_reconnection": [run.asked.before_schedule for run in runs],
            "peak_per_s": [run.asked.peak_per_s for run in runs],
        },
        **({"requests_first_60s": distribution(first)} if first else {}),
        **_against_none(table, name, None),
        **({"multicast": _multicast(table, name, series)} if table.has(name, series) else {}),
        "extra": {
            key: [run.extra.get(key) for run in runs] for key in dict.fromkeys(chain(*(run.extra for run in runs)))
        },
        "ok": not reasons,
        "reasons": reasons,
    }


def _adjacencies(runs: Sequence[Measures]) -> dict[str, Any]:
    """Left out if an experiment has none."""
    counted = [run.adjacencies for run in runs if run.adjacencies is not None]
    return (
        {"adjacencies": {"expected": counted[0].expected, "restored": [each.restored for each in counted]}}
        if counted
        else {}
    )


def _multicast(table: Table, name: str, series: str) -> dict[str, Any]:
    """The part of the multicast streams that is shown beside the main span; the rest is under `extra`."""
    return {"heard_s": distribution(table.values(name, series)), **_against_none(table, name, series)}


def _against_none(table: Table, name: str, series: str | None) -> dict[str, Any]:
    ratio = _ratio(table, name, series)
    return {
        "ratio_to_none": None if ratio is None else round(ratio.value, 4),
        "ratio_interval": None if ratio is None or ratio.low is None else [_rounded(ratio.low), _rounded(ratio.high)],
    }


def _ratio(table: Table, name: str, series: str | None) -> Interval | None:
    """Its median divided by that without security; None if a run of either has no number."""
    if not table.ratio(name, series):
        return None
    sides = [table.values(each, series) for each in ("none", name)]
    return ratio_of_medians(*([value for value in side if value is not None] for side in sides))
